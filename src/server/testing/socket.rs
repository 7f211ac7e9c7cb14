//! A client in one namespace.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, oneshot};

use super::client::{Client, Refused};
use super::session::Session;
use crate::server::arguments::Arguments;
use crate::server::binary::Payload;
use crate::server::emit;
use crate::wire::socket::PacketType;

/// How long a test waits for what it expects: of its own time, which costs none.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What a client knows of its presence in one namespace.
pub(super) struct Presence {
    namespace: Box<str>,
    standing: RefCell<Standing>,
    inbox: RefCell<VecDeque<Heard>>,
    questions: RefCell<HashMap<u64, oneshot::Sender<Payload>>>,
    /// Something of this has changed.
    changed: Notify,
}

enum Standing {
    Asking,
    Inside { id: String },
    Refused(Refused),
    Outside,
}

struct Heard {
    event: Event,
    id: Option<u64>,
}

/// An event as a client heard it.
///
/// ```
/// # use ringhall::{Server, Socket, testing};
/// let builder = Server::builder().on_connection(|socket: Socket| socket.emit("welcome", "hello"));
/// testing::run(builder, async |test| {
///     let event = test.connect().await.next().await;
///     assert_eq!(event.name, "welcome");
///     assert_eq!(event.payload.decode::<String>().unwrap(), "hello");
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub payload: Payload,
}

impl Presence {
    pub(super) fn new(namespace: &str) -> Rc<Self> {
        Rc::new(Presence {
            namespace: namespace.into(),
            standing: RefCell::new(Standing::Asking),
            inbox: RefCell::default(),
            questions: RefCell::default(),
            changed: Notify::new(),
        })
    }

    /// Waits for the server's decision.
    pub(super) async fn admitted(&self) -> Result<(), Refused> {
        self.until("the server's decision", || match &*self.standing.borrow() {
            Standing::Asking => None,
            Standing::Inside { .. } => Some(Ok(())),
            Standing::Refused(refused) => Some(Err(refused.clone())),
            Standing::Outside => panic!("the session ended before the client was let in"),
        })
        .await
    }

    pub(super) fn entered(&self, json: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Connect {
            sid: String,
        }
        let connect: Connect = serde_json::from_slice(json)
            .unwrap_or_else(|error| panic!("the server sent no CONNECT: {error}"));
        self.stand(Standing::Inside { id: connect.sid });
    }

    pub(super) fn refused(&self, json: &[u8]) {
        #[derive(serde::Deserialize)]
        struct ConnectError {
            message: String,
            data: Option<serde_json::Value>,
        }
        let ConnectError { message, data } = serde_json::from_slice(json)
            .unwrap_or_else(|error| panic!("the server sent no CONNECT_ERROR: {error}"));
        self.stand(Standing::Refused(Refused { message, data }));
    }

    pub(super) fn leave(&self) {
        // What was asked is not answered any more.
        self.questions.take();
        self.stand(Standing::Outside);
    }

    pub(super) fn heard(&self, name: String, payload: Payload, id: Option<u64>) {
        let event = Event { name, payload };
        self.inbox.borrow_mut().push_back(Heard { event, id });
        self.changed.notify_waiters();
    }

    pub(super) fn answered(&self, id: u64, payload: Payload) {
        if let Some(asker) = self.questions.borrow_mut().remove(&id) {
            // The test may have stopped waiting.
            let _ = asker.send(payload);
        }
    }

    fn stand(&self, standing: Standing) {
        self.standing.replace(standing);
        self.changed.notify_waiters();
    }

    /// Waits until `look` finds something.
    async fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = look() {
                    return found;
                }
                changed.await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!(
                "{what} did not come within {} minutes of the test's time; what came instead: {:?}",
                PATIENCE.as_secs() / 60,
                self.names()
            ),
        }
    }

    fn names(&self) -> Vec<String> {
        let inbox = self.inbox.borrow();
        inbox.iter().map(|heard| heard.event.name.clone()).collect()
    }

    /// Takes the first event of this name, or of any.
    fn take(&self, name: Option<&str>) -> Option<Heard> {
        let mut inbox = self.inbox.borrow_mut();
        let at = inbox
            .iter()
            .position(|heard| name.is_none_or(|name| heard.event.name == name))?;
        inbox.remove(at)
    }
}

/// A client in one namespace, on its side of the (missing) network; see [`Testing::connect`](super::Testing::connect) and [`Client::connect`].
///
/// ```
/// use ringhall::{Data, Server, testing};
///
/// let builder = Server::builder().on("double", |Data(n): Data<i64>| 2 * n);
/// testing::run(builder, async |test| {
///     let ada = test.connect().await;
///     let doubled: i64 = ada.emit_with_ack("double", 21).await;
///     assert_eq!(doubled, 42);
/// });
/// ```
pub struct TestSocket {
    client: Client,
    session: Rc<Session>,
    presence: Rc<Presence>,
    id: String,
}

impl TestSocket {
    pub(super) fn new(client: Client, session: Rc<Session>, presence: Rc<Presence>) -> Self {
        let id = match &*presence.standing.borrow() {
            Standing::Inside { id } => id.clone(),
            _ => String::new(),
        };
        TestSocket {
            client,
            session,
            presence,
            id,
        }
    }

    /// The socket's id, as the server told it.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let (ada, bob) = (test.connect().await, test.connect().await);
    ///     test.server().to(ada.id()).emit("hello", "ada");
    ///     assert_eq!(ada.expect::<String>("hello").await, "ada");
    ///     bob.expect_nothing().await;
    /// });
    /// ```
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The client, to join further namespaces, or to end all of them.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// let builder = Server::builder().namespace("/chat", |chat| chat);
    /// testing::run(builder, async |test| {
    ///     let ada = test.connect().await;
    ///     let chat = ada.client().connect("/chat").await.unwrap();
    ///     assert_ne!(ada.id(), chat.id());
    /// });
    /// ```
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the server has neither put it out nor lost it, as far as this client knows.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let ada = test.connect().await;
    ///     assert!(ada.is_connected());
    ///     test.server().disconnect_sockets(false);
    ///     ada.expect_disconnect().await;
    ///     assert!(!ada.is_connected());
    /// });
    /// ```
    pub fn is_connected(&self) -> bool {
        matches!(&*self.presence.standing.borrow(), Standing::Inside { .. })
    }

    /// Sends an event; a tuple is the list of its arguments. It returns at once: what comes of it is seen by
    /// [`expect`](TestSocket::expect), or after [`settle`](super::Testing::settle).
    ///
    /// # Panics
    /// If the arguments cannot be written as JSON, or the name is reserved.
    ///
    /// ```
    /// # use ringhall::{Data, Server, Socket, testing};
    /// let builder = Server::builder().on("echo", |socket: Socket, Data(text): Data<String>| socket.emit("echo", text));
    /// testing::run(builder, async |test| {
    ///     let ada = test.connect().await;
    ///     ada.emit("echo", "hello");
    ///     assert_eq!(ada.expect::<String>("echo").await, "hello");
    /// });
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        self.send(event, None, &args);
    }

    /// Sends an event and waits for its acknowledgement: a tuple is the list of what was answered, any other type the first.
    ///
    /// # Panics
    /// If none comes, or of another form.
    ///
    /// ```
    /// # use ringhall::{Data, Server, testing};
    /// let builder = Server::builder().on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
    /// testing::run(builder, async |test| {
    ///     let sum: i64 = test.connect().await.emit_with_ack("sum", (1, 2)).await;
    ///     assert_eq!(sum, 3);
    /// });
    /// ```
    pub async fn emit_with_ack<T: DeserializeOwned>(&self, event: &str, args: impl Serialize) -> T {
        let id = self.session.next_ack();
        let (asker, answer) = oneshot::channel();
        self.presence.questions.borrow_mut().insert(id, asker);
        self.send(event, Some(id), &args);
        let payload = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(payload)) => payload,
            Ok(Err(_)) => panic!("the client was disconnected before {event:?} was acknowledged"),
            Err(_) => panic!(
                "{event:?} was not acknowledged within {} minutes of the test's time",
                PATIENCE.as_secs() / 60
            ),
        };
        decode(event, &payload)
    }

    /// Waits for an event of this name, and returns its arguments: a tuple is the list, any other type the first. What else
    /// came before it stays for later calls.
    ///
    /// # Panics
    /// If it does not come within an hour of the test's time, or with other arguments.
    ///
    /// ```
    /// # use ringhall::{Server, Socket, testing};
    /// let builder = Server::builder().on_connection(|socket: Socket| socket.emit("position", (3, 4)));
    /// testing::run(builder, async |test| {
    ///     let (x, y): (i32, i32) = test.connect().await.expect("position").await;
    ///     assert_eq!((x, y), (3, 4));
    /// });
    /// ```
    pub async fn expect<T: DeserializeOwned>(&self, event: &str) -> T {
        let heard = self.wait_for(Some(event)).await;
        decode(event, &heard.event.payload)
    }

    /// Waits for the next event, whatever its name.
    ///
    /// # Panics
    /// If none comes within an hour of the test's time.
    ///
    /// ```
    /// # use ringhall::{Server, Socket, testing};
    /// let builder = Server::builder().on_connection(|socket: Socket| socket.emit("welcome", ()));
    /// testing::run(builder, async |test| {
    ///     assert_eq!(test.connect().await.next().await.name, "welcome");
    /// });
    /// ```
    pub async fn next(&self) -> Event {
        self.wait_for(None).await.event
    }

    /// Waits for an event that the server wants acknowledged.
    ///
    /// # Panics
    /// If it does not come within an hour of the test's time, with other arguments, or without asking.
    ///
    /// ```
    /// use ringhall::{Server, Socket, testing};
    ///
    /// let builder = Server::builder().on("play", async |socket: Socket| -> Result<String, ringhall::AckError> {
    ///     let name: String = socket.emit_with_ack("what is your name?", ()).await?;
    ///     Ok(format!("hello {name}"))
    /// });
    /// testing::run(builder, async |test| {
    ///     let ada = test.connect().await;
    ///     let answer = async {
    ///         ada.expect_question::<()>("what is your name?").await.answer("Ada");
    ///     };
    ///     let (hello, ()) = tokio::join!(ada.emit_with_ack::<String>("play", ()), answer);
    ///     assert_eq!(hello, "hello Ada");
    /// });
    /// ```
    pub async fn expect_question<T: DeserializeOwned>(&self, event: &str) -> Question<'_, T> {
        let heard = self.wait_for(Some(event)).await;
        let Some(id) = heard.id else {
            panic!("{event:?} came, and the server wants no acknowledgement of it");
        };
        Question {
            socket: self,
            id,
            data: decode(event, &heard.event.payload),
        }
    }

    /// Lets everything happen that is to happen at once.
    ///
    /// # Panics
    /// If there is an event that was not expected.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let ada = test.connect().await;
    ///     test.server().to("a room that it is not in").emit("news", ());
    ///     ada.expect_nothing().await;
    /// });
    /// ```
    pub async fn expect_nothing(&self) {
        // The clock moves only when nobody has anything left to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let names = self.presence.names();
        assert!(
            names.is_empty(),
            "nothing was to come, and there is {names:?}"
        );
    }

    /// Waits until the server has put this client out, or the session is over.
    ///
    /// # Panics
    /// If that does not happen within an hour of the test's time.
    ///
    /// ```
    /// # use ringhall::{Server, Socket, testing};
    /// let builder = Server::builder().on("bye", |socket: Socket| socket.disconnect(false));
    /// testing::run(builder, async |test| {
    ///     let ada = test.connect().await;
    ///     ada.emit("bye", ());
    ///     ada.expect_disconnect().await;
    /// });
    /// ```
    pub async fn expect_disconnect(&self) {
        let presence = &self.presence;
        presence
            .until("the end", || (!self.is_connected()).then_some(()))
            .await;
    }

    /// Leaves the namespace ("client namespace disconnect"); the session goes on.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let ada = test.connect().await;
    ///     ada.disconnect();
    ///     assert!(!ada.is_connected());
    /// });
    /// ```
    pub fn disconnect(&self) {
        if !self.is_connected() {
            return;
        }
        self.session
            .send_plain(PacketType::Disconnect, &self.presence.namespace, b"");
        self.session
            .presences
            .borrow_mut()
            .remove(&self.presence.namespace);
        self.presence.leave();
    }

    async fn wait_for(&self, name: Option<&str>) -> Heard {
        let what = name.map_or_else(
            || "an event".to_owned(),
            |name| format!("the event {name:?}"),
        );
        self.presence
            .until(&what, || self.presence.take(name))
            .await
    }

    fn send(&self, event: &str, ack: Option<u64>, args: &impl Serialize) {
        let sent = emit::with_event(
            self.session.parser(),
            &self.presence.namespace,
            event,
            ack,
            args,
            |packet| self.session.send_packet(packet),
        );
        if let Err(error) = sent {
            panic!("{event:?} cannot be sent: {error}");
        }
    }

    fn answer(&self, id: u64, json: &[u8], attachments: &[Bytes]) {
        let sent = emit::with_ack(
            self.session.parser(),
            &self.presence.namespace,
            id,
            json,
            attachments,
            |packet| self.session.send_packet(packet),
        );
        if let Err(error) = sent {
            panic!("the answer cannot be sent: {error}");
        }
    }
}

impl fmt::Debug for TestSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSocket")
            .field("id", &self.id)
            .field("namespace", &self.presence.namespace)
            .finish_non_exhaustive()
    }
}

/// An event that the server wants acknowledged; see [`TestSocket::expect_question`].
///
/// ```
/// # use ringhall::{AckError, Server, Socket, testing};
/// let builder = Server::builder().on("play", async |socket: Socket| -> Result<u8, AckError> {
///     socket.emit_with_ack("double", 4).await
/// });
/// testing::run(builder, async |test| {
///     let ada = test.connect().await;
///     let answer = async {
///         let question = ada.expect_question::<u8>("double").await;
///         let doubled = 2 * question.data;
///         question.answer(doubled);
///     };
///     let (played, ()) = tokio::join!(ada.emit_with_ack::<u8>("play", ()), answer);
///     assert_eq!(played, 8);
/// });
/// ```
#[must_use = "the server waits for the answer"]
pub struct Question<'a, T> {
    socket: &'a TestSocket,
    id: u64,
    /// Its arguments.
    pub data: T,
}

impl<T> Question<'_, T> {
    /// Acknowledges it; a tuple is a list of answers.
    ///
    /// # Panics
    /// If the answer cannot be written as JSON.
    ///
    /// ```
    /// # use ringhall::{AckError, Server, Socket, testing};
    /// let builder = Server::builder().on("play", async |socket: Socket| -> Result<bool, AckError> {
    ///     socket.emit_with_ack("ready?", ()).await
    /// });
    /// testing::run(builder, async |test| {
    ///     let ada = test.connect().await;
    ///     let answer = async { ada.expect_question::<()>("ready?").await.answer(true) };
    ///     let (ready, ()) = tokio::join!(ada.emit_with_ack::<bool>("play", ()), answer);
    ///     assert!(ready);
    /// });
    /// ```
    pub fn answer(self, answer: impl Serialize) {
        let arguments = Arguments::of(&answer)
            .unwrap_or_else(|error| panic!("the answer cannot be sent: {error}"));
        self.socket
            .answer(self.id, &arguments.json, &arguments.attachments);
    }
}

fn decode<T: DeserializeOwned>(event: &str, payload: &Payload) -> T {
    payload.decode().unwrap_or_else(|error| {
        panic!(
            "{event:?} came with other arguments: {error}; they are {}",
            payload.json()
        )
    })
}
