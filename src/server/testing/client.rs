//! A client before it has joined anything.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::session::Session;
use super::socket::{Presence, TestSocket};
use crate::server::{Handshake, Server};
use crate::shard::hall::Hall;
use crate::shard::handshake::Via;
use crate::wire::socket::PacketType;

/// A client of the server under test: one session, which may join several namespaces. See [`Testing::client`](super::Testing::client).
///
/// A clone is the same client, once it has joined something.
///
/// ```
/// use ringhall::{Auth, Server, Socket, testing};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Login { name: String }
///
/// let builder = Server::builder()
///     .on_connection(|socket: Socket, Auth(login): Auth<Login>| {
///         let language = socket.handshake().query("lang").unwrap_or_default().into_owned();
///         socket.emit("welcome", (login.name, language));
///     });
/// testing::run(builder, async |test| {
///     let client = test.client().query("lang", "de").header("user-agent", "a test");
///     let ada = client.auth(Login { name: "Ada".into() }).connect("/").await.unwrap();
///     let welcome: (String, String) = ada.expect("welcome").await;
///     assert_eq!(welcome, ("Ada".into(), "de".into()));
/// });
/// ```
#[derive(Clone)]
pub struct Client {
    hall: Rc<Hall>,
    server: Server,
    query: String,
    headers: String,
    auth: String,
    session: Rc<RefCell<Option<Rc<Session>>>>,
}

impl Client {
    pub(super) fn new(hall: &Rc<Hall>, server: &Server) -> Self {
        Client {
            hall: hall.clone(),
            server: server.clone(),
            query: String::new(),
            headers: String::new(),
            auth: String::new(),
            session: Rc::default(),
        }
    }

    /// Adds a parameter to the query of the handshake. Names and values are given as they are to arrive.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let client = test.client().query("room", "tea & cake");
    ///     client.connect("/").await.unwrap();
    /// });
    /// ```
    pub fn query(mut self, name: &str, value: &str) -> Self {
        for part in ["&", name, "=", value] {
            match part {
                "&" | "=" => self.query.push_str(part),
                text => percent_encode(&mut self.query, text),
            }
        }
        self
    }

    /// Adds a header to the handshake.
    ///
    /// # Panics
    /// If name or value have a line break in them.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let client = test.client().header("cookie", "session=7");
    ///     client.connect("/").await.unwrap();
    /// });
    /// ```
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let whole = !name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']);
        assert!(whole, "{name:?}: {value:?} is no header");
        // Writing into a string does not fail.
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// What the client says when it joins a namespace.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let client = test.client().auth(serde_json::json!({ "token": "secret" }));
    ///     client.connect("/").await.unwrap();
    /// });
    /// ```
    pub fn auth(mut self, auth: impl Serialize) -> Self {
        self.auth = serde_json::to_string(&auth)
            .unwrap_or_else(|error| panic!("the client's auth is no JSON: {error}"));
        self
    }

    /// Joins a namespace. The first one opens the session.
    ///
    /// # Errors
    /// The server refuses the client, with these words.
    ///
    /// # Panics
    /// If the server takes no session, ends it, or does not answer for an hour of the test's time.
    ///
    /// ```
    /// use ringhall::{Server, testing};
    ///
    /// let builder = Server::builder().namespace("/chat", |chat| chat);
    /// testing::run(builder, async |test| {
    ///     let client = test.client();
    ///     let main = client.connect("/").await.unwrap();
    ///     let chat = client.connect("/chat").await.unwrap();
    ///     assert_ne!(main.id(), chat.id());
    /// });
    /// ```
    pub async fn connect(&self, namespace: &str) -> Result<TestSocket, Refused> {
        let namespace = match namespace {
            named if named.starts_with('/') => named.to_owned(),
            named => format!("/{named}"),
        };
        let session = self.session().await;
        let presence = Presence::new(&namespace);
        session
            .presences
            .borrow_mut()
            .insert(namespace.as_str().into(), presence.clone());
        session.send_plain(PacketType::Connect, &namespace, self.auth.as_bytes());
        presence.admitted().await?;
        Ok(TestSocket::new(self.clone(), session, presence))
    }

    /// Closes the session, as a browser does when its tab is closed ("transport close").
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let ada = test.connect().await;
    ///     ada.client().close();
    ///     ada.expect_disconnect().await;
    /// });
    /// ```
    pub fn close(&self) {
        if let Some(session) = &*self.session.borrow() {
            session.close();
        }
    }

    /// Breaks the connection off, as a network does that fails ("transport error").
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let ada = test.connect().await;
    ///     ada.client().cut();
    ///     assert!(!ada.is_connected());
    /// });
    /// ```
    pub fn cut(&self) {
        if let Some(session) = &*self.session.borrow() {
            session.cut();
        }
    }

    /// Answers no heartbeat any more: 45 seconds later, with the default settings, the server gives it up ("ping timeout").
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let ada = test.connect().await;
    ///     ada.client().stop_answering();
    ///     ada.expect_disconnect().await; // the clock jumps there
    /// });
    /// ```
    pub fn stop_answering(&self) {
        if let Some(session) = &*self.session.borrow() {
            session.stop_answering();
        }
    }

    async fn session(&self) -> Rc<Session> {
        let open = self
            .session
            .borrow()
            .clone()
            .filter(|session| session.is_open());
        if let Some(session) = open {
            return session;
        }
        let Some(session) = Session::open(&self.hall, self.handshake()).await else {
            panic!("the server takes no session (see the log)");
        };
        self.session.replace(Some(session.clone()));
        session
    }

    fn handshake(&self) -> Handshake {
        let Client { query, headers, .. } = self;
        let head = format!(
            "GET /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nhost: test\r\n{headers}\r\n"
        );
        let via = Via {
            peer: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1))),
            is_secure: false,
        };
        Handshake::new(head.as_bytes(), via, self.server.shared.now_ms())
    }
}

/// RFC 3986 §2.1, of everything but unreserved characters.
fn percent_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Why a client was not let into a namespace.
///
/// ```
/// # use ringhall::{Server, testing};
/// testing::run(Server::builder(), async |test| {
///     let refused = test.client().connect("/nowhere").await.unwrap_err();
///     assert_eq!(refused.to_string(), "Invalid namespace");
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Refused {
    pub(super) message: String,
    pub(super) data: Option<serde_json::Value>,
}

impl Refused {
    /// The server's words.
    ///
    /// ```
    /// # use ringhall::{Rejection, Server, testing};
    /// let builder = Server::builder().middleware(|| Err::<(), _>(Rejection::new("not today")));
    /// testing::run(builder, async |test| {
    ///     let refused = test.client().connect("/").await.unwrap_err();
    ///     assert_eq!(refused.message(), "not today");
    /// });
    /// ```
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the server said beside the message.
    ///
    /// # Panics
    /// If there is none, or of another form.
    ///
    /// ```no_run
    /// # fn f(refused: ringhall::testing::Refused) {
    /// let code: u32 = refused.data();
    /// # let _ = code;
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> T {
        let data = self.data.clone().unwrap_or_default();
        serde_json::from_value(data)
            .unwrap_or_else(|error| panic!("the refusal's data has another form: {error}"))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}
