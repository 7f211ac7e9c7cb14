//! Adapters: how several servers act as one.
//!
//! A server delivers to its own sockets by itself, on all its cores. An [`Adapter`] adds the other servers of a cluster: what is broadcast here is
//! told to them, and what they tell is handed to this server through its [`Host`]. Without one ([`InMemory`], the default) a server
//! is alone, and a broadcast costs nothing for it.
//!
//! [`ClusterAdapter`] is an adapter for whatever carries messages between servers: it needs a [`ClusterTransport`], and does the rest
//! (who is there, questions and answers, servers that are lost). [`Bus`] is such a transport inside one process, for tests.
//!
//! ```
//! # fn main() -> ringhall::Result<()> {
//! use ringhall::Server;
//! use ringhall::adapter::{Bus, ClusterAdapter};
//!
//! let bus = Bus::new();
//! let start = || {
//!     Server::builder().listen("127.0.0.1:0").adapter(ClusterAdapter::new(bus.transport())).start()
//! };
//! let (one, two) = (start()?, start()?);
//! one.emit("news", "to everybody on both servers");
//! # for server in [one, two] {
//! #     server.shutdown();
//! #     server.wait()?;
//! # }
//! # Ok(())
//! # }
//! ```

mod answers;
mod bus;
mod cluster;
mod host;
mod message;
mod node;
mod packet;

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

pub use answers::{AckReport, AnswerSink, SocketSink};
pub use bus::{Bus, BusTransport};
pub use cluster::{ClusterAdapter, ClusterSettings, ClusterTransport, Incoming};
pub use host::Host;
pub use message::{Body, Message, RequestId, ServerId};
pub use packet::{BadMessage, Flags, Gathered, Options, Packet, SocketDetails};

pub(crate) use host::{Here, Reply};

use super::Payload;

/// What an adapter says later. It may be awaited anywhere; what is asked for is begun when the method is called, not when this is awaited.
///
/// ```
/// use ringhall::adapter::AdapterFuture;
/// fn three() -> AdapterFuture<usize> {
///     Box::pin(async { 3 })
/// }
/// # let _ = three;
/// ```
pub type AdapterFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why an adapter could not do what it was asked for.
///
/// ```
/// let error = ringhall::adapter::AdapterError::new("the broker is gone");
/// assert_eq!(error.to_string(), "the broker is gone");
/// ```
#[derive(Debug)]
pub struct AdapterError(Box<dyn std::error::Error + Send + Sync>);

impl AdapterError {
    /// From another error, or from a text.
    ///
    /// ```
    /// use ringhall::adapter::AdapterError;
    /// let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    /// assert_eq!(AdapterError::new(gone).to_string(), "connection reset");
    /// ```
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        AdapterError(error.into())
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for AdapterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// A session that may be continued by its client: see [`Adapter::persist_session`].
///
/// ```
/// use ringhall::adapter::StoredSession;
/// let session = StoredSession {
///     namespace: "/".into(),
///     id: "abc".into(),
///     secret: "def".into(),
///     rooms: vec!["abc".into()],
///     data: "null".into(),
/// };
/// assert!(!format!("{session:?}").contains("def"), "the secret is not printed");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// The namespace that it was in.
    pub namespace: String,
    /// The socket's id (`sid`).
    pub id: String,
    /// What the client must know to continue it (`pid`).
    pub secret: String,
    /// The rooms that the socket was in.
    pub rooms: Vec<String>,
    /// The socket's data: JSON.
    pub data: String,
}

/// Without the secret.
impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("namespace", &self.namespace)
            .field("id", &self.id)
            .field("rooms", &self.rooms)
            .finish_non_exhaustive()
    }
}

/// A session that goes on, with what its client has missed, in order.
///
/// ```
/// # fn f(restored: ringhall::adapter::RestoredSession) {
/// for packet in &restored.missed {
///     println!("{} at {:?}", packet.event(), packet.offset());
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredSession {
    /// The session.
    pub session: StoredSession,
    /// The packets that were for it since, each with its offset.
    pub missed: Vec<Packet>,
}

/// How a server is joined with others. See the [module](self).
///
/// All methods are called from any thread, cores of the server among them: they must not wait. What one thread asks for is to reach the other
/// servers in that order. They are called for what concerns other servers: not for what is marked as `local`, nor, while
/// [`is_cluster`](Adapter::is_cluster) is false, for anything but `start`, `close` and `wait`.
///
/// ```
/// use ringhall::adapter::*;
///
/// /// Writes down what other servers would be told.
/// struct Dry;
///
/// impl Adapter for Dry {
///     fn broadcast(&self, namespace: &str, packet: Packet, options: Options) {
///         println!("{namespace}: {} for {:?}", packet.event(), options.rooms);
///     }
/// }
///
/// let builder = ringhall::Server::builder().adapter(Dry);
/// # let _ = builder;
/// ```
pub trait Adapter: Send + Sync + 'static {
    /// Called once, when the server has started. `host` is the way to it, for what others say.
    ///
    /// # Errors
    /// The server cannot be started with this adapter: [`Builder::start`](crate::Builder::start) returns it.
    fn start(&self, host: Host) -> Result<(), AdapterError> {
        drop(host);
        Ok(())
    }

    /// The server has ended, and tells and answers nothing any more: take leave of the others. Returns at once.
    fn close(&self) {}

    /// Waits until leave is taken; called by [`Server::wait`](crate::Server::wait) once all cores have ended. It should not take more than a second.
    fn wait(&self) {}

    /// Are there, or may there be, other servers at all? Asked before `start`, and always answered alike. Default: true.
    fn is_cluster(&self) -> bool {
        true
    }

    /// The servers of the cluster, this one among them. Default: 1.
    fn server_count(&self) -> AdapterFuture<usize> {
        Box::pin(ready(1))
    }

    /// Does this adapter hand what is broadcast to this server's own sockets, too? One does that has to know a packet's offset first: the server then
    /// leaves it to the adapter, which calls [`Host::deliver`] in the order of the broadcasts (so that nobody knows at once how many sockets get it:
    /// [`emit_counted`](crate::Broadcast::emit_counted) counts none). Broadcasts whose answers are wanted are not meant. Asked before `start`, and always answered alike. Default: false.
    fn delivers_here(&self) -> bool {
        false
    }

    /// Gives a packet to sockets of the other servers.
    fn broadcast(&self, namespace: &str, packet: Packet, options: Options);

    /// As [`broadcast`](Adapter::broadcast), and brings the sockets' answers. Default: nobody is told, and nobody answers.
    fn broadcast_with_ack(
        &self,
        namespace: &str,
        packet: Packet,
        options: Options,
        answers: AnswerSink,
    ) {
        let _ = (namespace, packet, options);
        answers.report(AckReport::AllCounted);
    }

    /// Tells of the sockets of the other servers. Default: there are none.
    fn fetch_sockets(&self, namespace: &str, options: Options, sockets: SocketSink) {
        let _ = (namespace, options, sockets);
    }

    /// Lets sockets of the other servers join rooms. Default: nothing.
    fn add_sockets(&self, namespace: &str, options: Options, rooms: Vec<String>) {
        let _ = (namespace, options, rooms);
    }

    /// Lets sockets of the other servers leave rooms. Default: nothing.
    fn del_sockets(&self, namespace: &str, options: Options, rooms: Vec<String>) {
        let _ = (namespace, options, rooms);
    }

    /// Disconnects sockets of the other servers, with `close` their connections, too. Default: nothing.
    fn disconnect_sockets(&self, namespace: &str, options: Options, close: bool) {
        let _ = (namespace, options, close);
    }

    /// Tells the other servers an event. Default: nothing.
    fn server_side_emit(&self, namespace: &str, packet: Packet) {
        let _ = (namespace, packet);
    }

    /// As [`server_side_emit`](Adapter::server_side_emit), and brings the servers' answers. `timeout`: how long they are waited for, where that was
    /// said. Default: nobody answers.
    fn server_side_emit_with_ack(
        &self,
        namespace: &str,
        packet: Packet,
        timeout: Option<Duration>,
    ) -> AdapterFuture<Gathered<Payload>> {
        let _ = (namespace, packet, timeout);
        Box::pin(ready(Gathered::default()))
    }

    /// Does it want to know of rooms, for a channel of each? Asked before `start`, and always answered alike. Default: false.
    fn wants_rooms(&self) -> bool {
        false
    }

    /// This server has its first member of a room, that of a socket's own name included. Only where [`wants_rooms`](Adapter::wants_rooms). Default:
    /// nothing.
    fn room_created(&self, namespace: &str, room: &str) {
        let _ = (namespace, room);
    }

    /// This server has no member of a room any more. Default: nothing.
    fn room_deleted(&self, namespace: &str, room: &str) {
        let _ = (namespace, room);
    }

    /// Keeps a session, so that its client can continue it on any server. `false`: this adapter keeps none, and the server does it
    /// for itself. Default: false. Up to now no server asks: each keeps its sessions itself ([`Builder::recovery`](crate::Builder::recovery)).
    fn persist_session(&self, session: StoredSession) -> bool {
        let _ = session;
        false
    }

    /// Takes a kept session out, which works once, with what its client has missed since `offset`. Default: there is none. As
    /// [`persist_session`](Adapter::persist_session), it is not asked up to now.
    fn restore_session(
        &self,
        secret: &str,
        offset: &str,
    ) -> AdapterFuture<Option<RestoredSession>> {
        let _ = (secret, offset);
        Box::pin(ready(None))
    }
}

/// No other servers: the default.
///
/// ```
/// use ringhall::adapter::InMemory;
/// let builder = ringhall::Server::builder().adapter(InMemory);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct InMemory;

impl Adapter for InMemory {
    fn is_cluster(&self) -> bool {
        false
    }

    fn broadcast(&self, namespace: &str, packet: Packet, options: Options) {
        let _ = (namespace, packet, options);
    }
}
