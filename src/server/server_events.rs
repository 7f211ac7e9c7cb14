//! Events from one server of a cluster to the others.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::adapter::{AdapterFuture, Gathered, Packet, Reply};
use super::arguments::DecodeError;
use super::binary::Payload;
use super::emit::{EmitError, or_log};
use super::shared::Shared;
use super::{Builder, Namespace, NamespaceHandle, Server, task};

/// Names that Socket.IO keeps for itself among servers.
const RESERVED: [&str; 3] = ["connect", "connection", "new_namespace"];

/// An event of another server of the cluster; see [`Builder::on_server_event`]. A clone is the same event, of which one answer is taken.
///
/// ```
/// use ringhall::{Server, ServerEvent};
///
/// let builder = Server::builder().on_server_event("load", |event: ServerEvent| {
///     let of = event.data::<String>().unwrap_or_default();
///     println!("asked for the load of {of}");
///     event.reply(0.25);
/// });
/// # let _ = builder;
/// ```
#[derive(Clone)]
pub struct ServerEvent {
    server: Server,
    namespace: Arc<str>,
    packet: Packet,
    reply: Option<Arc<Mutex<Option<Reply>>>>,
}

impl ServerEvent {
    pub(crate) fn new(
        server: Server,
        namespace: Arc<str>,
        packet: Packet,
        reply: Option<Reply>,
    ) -> Self {
        let reply = reply.map(|reply| Arc::new(Mutex::new(Some(reply))));
        ServerEvent {
            server,
            namespace,
            packet,
            reply,
        }
    }

    /// The event's name.
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// println!("another server says {:?}", event.event());
    /// # }
    /// ```
    pub fn event(&self) -> &str {
        self.packet.event()
    }

    /// The namespace that it was emitted in.
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// event.server().of(event.namespace()).everyone().local().emit("news", "from another server");
    /// # }
    /// ```
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// This server: the one that the event came to.
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// event.server().local().emit("news", "from another server");
    /// # }
    /// ```
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The arguments as they came.
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// println!("{} with {}", event.event(), event.payload().json());
    /// # }
    /// ```
    pub fn payload(&self) -> &Payload {
        self.packet.args()
    }

    /// The arguments as a value: a tuple is the list of arguments, any other type the first.
    ///
    /// # Errors
    /// They are not of this type.
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// if let Ok((room, count)) = event.data::<(String, u32)>() {
    ///     println!("{count} in {room}");
    /// }
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.payload().decode()
    }

    /// Is an answer wanted?
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// if event.wants_reply() {
    ///     event.reply(event.server().counters().panics);
    /// }
    /// # }
    /// ```
    pub fn wants_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Answers. Where no answer is wanted, or one was given already, nothing happens; a value that cannot be encoded is logged.
    ///
    /// ```
    /// # fn f(event: ringhall::ServerEvent) {
    /// ringhall::spawn(async move {
    ///     tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    ///     event.reply("done");
    /// });
    /// # }
    /// ```
    pub fn reply(&self, value: impl Serialize) {
        // One argument, whatever it is: `(1, 2)` is a list here.
        match Payload::encode(&(value,)) {
            Ok(answer) => self.reply_raw(answer),
            Err(error) => log::error!("the answer to {:?} was not sent: {error}", self.event()),
        }
    }

    fn reply_raw(&self, answer: Payload) {
        let reply = self
            .reply
            .as_ref()
            .and_then(|reply| reply.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(reply) = reply {
            reply(answer);
        }
    }
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvent")
            .field("event", &self.event())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

type Handler = Arc<dyn Fn(ServerEvent) + Send + Sync>;

/// The handlers of one namespace, by event.
#[derive(Clone, Default)]
pub(crate) struct ServerHandlers(HashMap<Box<str>, Vec<Handler>>);

impl ServerHandlers {
    fn insert(&mut self, event: &str, handler: impl Fn(ServerEvent) + Send + Sync + 'static) {
        let handlers = self.0.entry(event.into()).or_default();
        handlers.push(Arc::new(handler));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn find(&self, event: &str) -> &[Handler] {
        self.0.get(event).map_or(&[], |handlers| handlers)
    }
}

/// Calls each; a panic in one is logged, and the others are called all the same.
pub(crate) fn call(handlers: &[Handler], event: &ServerEvent) {
    for handler in handlers {
        task::guard(|| handler(event.clone()));
    }
}

impl Namespace {
    /// Handles an event that another server of the cluster emits in this namespace with
    /// [`server_side_emit`](NamespaceHandle::server_side_emit). The handler runs on a core of this server, to its end: what takes time belongs into
    /// [`spawn`](crate::spawn), and may [reply](ServerEvent::reply) from there.
    ///
    /// A family of namespaces ([`Builder::namespaces`]) has no such handlers: the server does not start with them.
    ///
    /// ```
    /// use ringhall::{Namespace, ServerEvent};
    /// # fn f(chat: Namespace) -> Namespace {
    /// chat.on_server_event("closing", |event: ServerEvent| event.server().of("/chat").emit("closing", ()))
    /// # }
    /// ```
    pub fn on_server_event(
        mut self,
        event: &str,
        handler: impl Fn(ServerEvent) + Send + Sync + 'static,
    ) -> Self {
        self.server_events.insert(event, handler);
        self
    }
}

impl Builder {
    /// [`Namespace::on_server_event`] of the main namespace.
    ///
    /// ```
    /// use ringhall::{Server, ServerEvent};
    /// let builder = Server::builder().on_server_event("ping", |event: ServerEvent| event.reply("pong"));
    /// # let _ = builder;
    /// ```
    pub fn on_server_event(
        self,
        event: &str,
        handler: impl Fn(ServerEvent) + Send + Sync + 'static,
    ) -> Self {
        self.with_root(|root| root.on_server_event(event, handler))
    }
}

impl Server {
    /// The servers of the cluster, this one among them; 1 without a cluster. Where servers tell each other that they live, one that has
    /// vanished counts for another 10 seconds.
    ///
    /// ```
    /// # async fn f(server: &ringhall::Server) {
    /// println!("{} servers", server.server_count().await);
    /// # }
    /// ```
    pub async fn server_count(&self) -> usize {
        match self.shared.cluster.others() {
            Some(others) => others.server_count().await,
            None => 1,
        }
    }

    /// Emits an event to the *other servers* of the cluster, in the main namespace: see [`Namespace::on_server_event`]. Without other servers nobody
    /// gets it.
    ///
    /// What cannot be emitted is logged; [`try_server_side_emit`](Server::try_server_side_emit) returns the error instead.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.server_side_emit("cache dropped", "users");
    /// # }
    /// ```
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) {
        or_log(event, self.try_server_side_emit(event, args));
    }

    /// As [`server_side_emit`](Server::server_side_emit).
    ///
    /// # Errors
    /// The event's name is reserved (`connect`, `connection`, `new_namespace`, and those that are reserved for sockets), or the arguments cannot be
    /// written as JSON.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// assert!(server.try_server_side_emit("new_namespace", ()).is_err());
    /// # }
    /// ```
    pub fn try_server_side_emit(&self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        emit(&self.shared, &self.shared.root, event, &args)
    }

    /// As [`server_side_emit`](Server::server_side_emit), and brings the answer of each other server; servers that do not answer within 5 seconds,
    /// or not with a `T`, are missing. The event is emitted at once, not when the future is awaited.
    ///
    /// ```
    /// # async fn f(server: &ringhall::Server) {
    /// let loads = server.server_side_emit_with_ack::<f64>("load", ()).await;
    /// println!("{:?}, and {} servers did not say", loads.values, loads.missing);
    /// # }
    /// ```
    pub fn server_side_emit_with_ack<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> AdapterFuture<Gathered<T>> {
        answers(ask(&self.shared, &self.shared.root, event, &args))
    }
}

impl NamespaceHandle {
    /// [`Server::server_side_emit`] in this namespace.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.of("/chat").server_side_emit("closing", ());
    /// # }
    /// ```
    pub fn server_side_emit(&self, event: &str, args: impl Serialize) {
        or_log(event, self.try_server_side_emit(event, args));
    }

    /// [`Server::try_server_side_emit`] in this namespace.
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// if let Err(error) = server.of("/chat").try_server_side_emit("closing", ()) {
    ///     println!("the others were not told: {error}");
    /// }
    /// # }
    /// ```
    pub fn try_server_side_emit(&self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        emit(&self.shared, &self.name, event, &args)
    }

    /// [`Server::server_side_emit_with_ack`] in this namespace.
    ///
    /// ```
    /// # async fn f(server: &ringhall::Server) {
    /// let counts = server.of("/chat").server_side_emit_with_ack::<u32>("count", "lobby").await;
    /// println!("{} elsewhere", counts.values.iter().sum::<u32>());
    /// # }
    /// ```
    pub fn server_side_emit_with_ack<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> AdapterFuture<Gathered<T>> {
        answers(ask(&self.shared, &self.name, event, &args))
    }
}

fn packet(event: &str, args: &impl Serialize) -> Result<Packet, EmitError> {
    if RESERVED.contains(&event) {
        return Err(EmitError::Reserved);
    }
    let args = Payload::encode(args).map_err(EmitError::Encode)?;
    Packet::new(event, args).map_err(|_| EmitError::Reserved)
}

fn emit(
    shared: &Shared,
    namespace: &str,
    event: &str,
    args: &impl Serialize,
) -> Result<(), EmitError> {
    let packet = packet(event, args)?;
    if let Some(others) = shared.cluster.others() {
        others.server_side_emit(namespace, packet);
    }
    Ok(())
}

/// `None`: there is nobody to ask.
fn ask(
    shared: &Shared,
    namespace: &str,
    event: &str,
    args: &impl Serialize,
) -> Option<AdapterFuture<Gathered<Payload>>> {
    let packet = packet(event, args)
        .inspect_err(|error| log::error!("event {event:?} was not sent: {error}"))
        .ok()?;
    let others = shared.cluster.others()?;
    Some(others.server_side_emit_with_ack(namespace, packet, None))
}

fn answers<T: DeserializeOwned + 'static>(
    asked: Option<AdapterFuture<Gathered<Payload>>>,
) -> AdapterFuture<Gathered<T>> {
    Box::pin(decoded(asked))
}

async fn decoded<T: DeserializeOwned>(
    asked: Option<AdapterFuture<Gathered<Payload>>>,
) -> Gathered<T> {
    let Some(asked) = asked else {
        return Gathered::default();
    };
    let Gathered { values, missing } = asked.await;
    let all = values.len();
    let values: Vec<T> = values
        .iter()
        .filter_map(|answer| {
            // An answer is one value: a tuple is a list in it.
            let decoded = answer.decode::<(T,)>();
            decoded
                .map(|(value,)| value)
                .inspect_err(|error| log::warn!("the answer of a server: {error}"))
                .ok()
        })
        .collect();
    Gathered {
        missing: missing + (all - values.len()),
        values,
    }
}
