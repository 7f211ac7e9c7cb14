//! The public API: how a server is built, started, spoken to from anywhere, and ended.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;

pub mod adapter;
#[cfg(feature = "admin")]
mod admin;
mod arg_list;
mod arguments;
mod asking;
mod binary;
mod broadcast;
mod builder;
mod cluster;
mod concurrent;
mod config;
mod counters;
mod details;
mod emit;
mod engine;
mod everyone;
#[cfg(feature = "internals")]
pub(crate) mod exchange;
mod extract;
#[cfg(test)]
pub(crate) mod fixture;
mod handler;
mod http;
#[cfg(feature = "tower")]
mod inside;
mod listeners;
mod local;
mod middleware;
mod names;
mod namespace;
mod operators;
mod recovery;
mod remote;
mod reply;
mod rooms;
mod route;
mod server_events;
mod shape;
mod shared;
mod socket;
mod start;
mod state;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg_attr(
    not(feature = "tls"),
    allow(
        dead_code,
        unreachable_pub,
        reason = "without the feature nobody can ask for TLS"
    )
)]
mod tls;
mod watching;
mod websocket;

#[cfg(feature = "admin")]
pub use admin::AdminUi;
pub use arg_list::ArgList;
pub use arguments::{DecodeError, EncodeError};
pub use asking::{Answers, BroadcastAcks};
pub use binary::{Binary, Payload};
pub use broadcast::{Broadcast, Receivers};
pub use builder::Builder;
pub use concurrent::{Concurrent, concurrent};
pub use config::{Config, Transport};
pub use counters::Counters;
pub use details::HandshakeDetails;
pub use emit::EmitError;
pub use engine::{EngineRoute, EngineSocket};
pub use extract::{
    Auth, ConnectContext, Data, DisconnectContext, EventContext, EventName, ExtractError,
    FromConnect, FromDisconnect, FromEvent, Headers, Session, State, TryData,
};
pub use handler::{ConnectHandler, DisconnectHandler, Ending, EventHandler};
pub use http::options::{ConnectionError, Forbidden};
#[cfg(feature = "tower")]
pub use inside::{Layer, Nowhere, Service, ServiceBody, ServiceFuture};
pub use listeners::{EventError, EventErrorKind, Listener, PacketMiddleware};
pub use middleware::{Admission, Middleware, Rejection};
pub use namespace::{Family, FamilyBroadcast, Namespace, NamespaceMatcher, NamespaceRequest};
pub use recovery::{Recoveries, Recovery};
pub use remote::{FetchSockets, IntoRooms, RemoteAck, RemoteSocket, RemoteWithTimeout, Rooms};
pub use reply::{Ack, HandlerError, IntoReply};
pub use route::WebSocketRoute;
pub use server_events::ServerEvent;
pub use socket::{AckError, AckFuture, Socket, WithTimeout};
pub use task::spawn;
#[cfg(feature = "tls")]
pub use tls::Tls;
pub use websocket::{
    CloseFrame, CloseHandler, Message, MessageHandler, OpenHandler, OwnedMessage, WebSocket,
    WebSocketBroadcast,
};

pub use crate::proto::reason::DisconnectReason;
pub use crate::room::JoinError;
pub use crate::shard::handshake::Handshake;
pub use crate::shard::home::SocketId;
pub use crate::wire::cookie::{Cookie, Priority, SameSite};
pub use crate::wire::cors::{Cors, Origin};

use crate::Result;
use crate::shard::mail::Mail;
use crate::shard::thread;
use recovery::Recovering;
use shared::Shared;
use start::Cores;

/// A running server, or one that is about to run: a handle for every thread.
///
/// Handles are cheap to clone, and `Send` and `Sync`. The server runs until [`shutdown`](Server::shutdown), also when
/// all handles are gone.
///
/// ```
/// # fn main() -> ringhall::Result<()> {
/// let server = ringhall::Server::builder().listen("127.0.0.1:0").start()?;
/// println!("listening on {}", server.local_addrs()[0]);
///
/// let handle = server.clone();
/// std::thread::spawn(move || handle.to("lobby").emit("news", "from another thread"));
///
/// server.shutdown();
/// server.wait()
/// # }
/// ```
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Begins to build a server.
    ///
    /// ```
    /// # fn main() -> ringhall::Result<()> {
    /// let server = ringhall::Server::builder()
    ///     .listen("127.0.0.1:0")
    ///     .on("echo", |text: ringhall::Payload| text)
    ///     .start()?;
    /// # server.shutdown();
    /// # server.wait()
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn of_shared(shared: &Arc<Shared>) -> Self {
        Server {
            shared: shared.clone(),
        }
    }

    /// The addresses that the server listens on, with real port numbers where port 0 was asked for.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// for address in server.local_addrs() {
    ///     println!("listening on http://{address}");
    /// }
    /// # }
    /// ```
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.shared.cores().map_or(&[], |cores| &cores.addresses)
    }

    /// The same as URLs: `https://…` where TLS is spoken, `http://…` elsewhere.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// for url in server.local_urls() {
    ///     println!("listening on {url}");
    /// }
    /// # }
    /// ```
    pub fn local_urls(&self) -> Vec<String> {
        self.shared.cores().map_or(Vec::new(), Cores::urls)
    }

    /// What was counted since the start, over all cores: panics of handlers, errors that they returned, and the like.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// assert_eq!(server.counters().panics, 0);
    /// # }
    /// ```
    pub fn counters(&self) -> Counters {
        let recovery = self.shared.recovery.as_ref();
        Counters {
            recoveries: recovery.map(Recovering::counted).unwrap_or_default(),
            ..self.shared.counters.total()
        }
    }

    /// The number of cores that serve.
    ///
    /// ```
    /// # fn main() -> ringhall::Result<()> {
    /// let server = ringhall::Server::builder().listen("127.0.0.1:0").cores(1).start()?;
    /// assert_eq!(server.cores(), 1);
    /// # server.shutdown();
    /// # server.wait()
    /// # }
    /// ```
    pub fn cores(&self) -> usize {
        self.shared.addresses().len()
    }

    /// The value that [`Builder::state`] registered for `T`, for code that has no [`State`] parameter.
    ///
    /// ```
    /// struct Words(Vec<String>);
    /// # fn f(server: &ringhall::Server) {
    /// let words = server.state::<Words>().map_or(0, |words| words.0.len());
    /// # let _ = words;
    /// # }
    /// ```
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared.states.find()
    }

    /// Emits an event to every socket of the main namespace, on all cores.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.emit("news", "to everybody");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl serde::Serialize) {
        self.everyone().emit(event, args);
    }

    /// The members of a room of the main namespace. A socket's id is the name of a room with that one member.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.to("lobby").emit("news", "to the lobby");
    /// # }
    /// ```
    pub fn to<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.everyone().to(room)
    }

    /// The same as [`to`](Server::to).
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.in_("lobby").emit("news", "to the lobby");
    /// # }
    /// ```
    pub fn in_<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.everyone().to(room)
    }

    /// Everybody in the main namespace but the members of a room.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.except("muted").emit("news", "to all but the muted");
    /// # }
    /// ```
    pub fn except<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.everyone().except(room)
    }

    /// Everybody in the main namespace whose connection has nothing waiting behind the send in flight.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.volatile().emit("position", (3.5, 4.5));
    /// # }
    /// ```
    pub fn volatile(&self) -> Broadcast<'_> {
        self.everyone().volatile()
    }

    /// Everybody in the main namespace on this server process.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.local().emit("news", "this process restarts at noon");
    /// # }
    /// ```
    pub fn local(&self) -> Broadcast<'_> {
        self.everyone().local()
    }

    /// Everybody in the main namespace.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// let everyone = server.everyone().except("muted");
    /// everyone.emit("news", "dinner");
    /// everyone.emit("news", "dessert");
    /// # }
    /// ```
    pub fn everyone(&self) -> Broadcast<'_> {
        Broadcast::from_handle(&self.shared, &self.shared.root)
    }

    /// Another namespace. A name without its slash gets one, as in Node.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.of("/chat").to("lobby").emit("news", "to the lobby of the chat");
    /// # }
    /// ```
    pub fn of(&self, namespace: &str) -> NamespaceHandle {
        NamespaceHandle {
            shared: self.shared.clone(),
            name: self.shared.namespaces.name_of(namespace),
        }
    }

    /// The WebSockets of a route, from any thread. `None`: there is no WebSocket route at this path.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// if let Some(all) = server.websockets("/ticker") {
    ///     all.send("42");
    /// }
    /// # }
    /// ```
    pub fn websockets(&self, path: &str) -> Option<WebSocketBroadcast<'_>> {
        let number = self.shared.routes.number_of(path)?;
        let scope = self.shared.routes.scope(number);
        let all = Broadcast::from_handle(&self.shared, scope).local();
        Some(WebSocketBroadcast(all))
    }

    /// Begins a graceful shutdown and returns: the server stops listening, every socket is disconnected ("server
    /// shutting down"), WebSockets are closed with code 1001, and what is not closed after
    /// [`Config::shutdown_timeout`] is cut. Official clients then reconnect by themselves. A second call does nothing.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// let handle = server.clone();
    /// std::thread::spawn(move || handle.shutdown());
    /// # }
    /// ```
    pub fn shutdown(&self) {
        let shared = self.shared.clone();
        shared.end();
        let post = move || {
            for address in shared.addresses() {
                address.post_blocking(Mail::Shutdown);
            }
        };
        // A core must not wait for room in a mailbox, least of all in its own.
        if thread::current().is_some() {
            std::thread::spawn(post);
        } else {
            post();
        }
    }

    /// Waits until the server has ended. Of several waiting threads each gets the answer once all cores have ended.
    ///
    /// # Errors
    /// What a core ended of, if not of a shutdown. Called on one of the server's own cores, in a handler or a task, it would wait
    /// for itself: that is an error at once.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) -> ringhall::Result<()> {
    /// server.wait()
    /// # }
    /// ```
    pub fn wait(&self) -> Result<()> {
        if thread::current().is_some_and(|hall| self.shared.is_home_of(&hall)) {
            let source = std::io::Error::other("a core of the server cannot wait for its own end");
            return Err(crate::Error::system("wait for the server")(source));
        }
        let ended = self.shared.cores().map_or(Ok(()), Cores::wait);
        self.shared.cluster.wait();
        ended
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.local_addrs())
            .finish_non_exhaustive()
    }
}

/// A namespace of a running server, from any thread; see [`Server::of`].
///
/// ```
/// # fn f(server: &ringhall::Server) {
/// let chat = server.of("/chat");
/// chat.emit("news", "to everybody in the chat");
/// # }
/// ```
#[derive(Clone)]
pub struct NamespaceHandle {
    shared: Arc<Shared>,
    name: Arc<str>,
}

impl NamespaceHandle {
    /// The name, such as `/chat`.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// assert_eq!(server.of("chat").name(), "/chat");
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that it is of.
    ///
    /// ```
    /// use ringhall::{NamespaceHandle, Server};
    /// let builder = Server::builder()
    ///     .on_new_namespace(|namespace: &NamespaceHandle| namespace.server().emit("opened", namespace.name()));
    /// # let _ = builder;
    /// ```
    pub fn server(&self) -> Server {
        Server::of_shared(&self.shared)
    }

    /// Emits an event to everybody in the namespace.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.of("/chat").emit("news", "to everybody in the chat");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl serde::Serialize) {
        self.everyone().emit(event, args);
    }

    /// The members of a room.
    ///
    /// ```
    /// # fn f(chat: &ringhall::NamespaceHandle) {
    /// chat.to("lobby").emit("news", "to the lobby of the chat");
    /// # }
    /// ```
    pub fn to<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.everyone().to(room)
    }

    /// The same as [`to`](NamespaceHandle::to).
    ///
    /// ```
    /// # fn f(chat: &ringhall::NamespaceHandle) {
    /// chat.in_("lobby").emit("news", "to the lobby of the chat");
    /// # }
    /// ```
    pub fn in_<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.everyone().to(room)
    }

    /// Everybody in the namespace but the members of a room.
    ///
    /// ```
    /// # fn f(chat: &ringhall::NamespaceHandle) {
    /// chat.except("muted").emit("news", "to all in the chat but the muted");
    /// # }
    /// ```
    pub fn except<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.everyone().except(room)
    }

    /// Everybody in the namespace.
    ///
    /// ```
    /// # fn f(chat: &ringhall::NamespaceHandle) {
    /// chat.everyone().volatile().emit("tick", ());
    /// # }
    /// ```
    pub fn everyone(&self) -> Broadcast<'_> {
        Broadcast::from_handle(&self.shared, &self.name)
    }
}
