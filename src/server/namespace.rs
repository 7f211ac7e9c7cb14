//! Namespaces: which exist, and the handlers of each.

pub(crate) mod children;
pub(crate) mod family;
pub(crate) mod known;

use std::sync::Arc;

pub use family::{Family, FamilyBroadcast, NamespaceMatcher, NamespaceRequest};

use super::NamespaceHandle;
use super::handler::{
    ConnectHandler, DisconnectHandler, EventHandler, LocalConnectHandler, LocalDisconnectHandler,
    LocalEventHandler, SharedConnectHandler, SharedDisconnectHandler, SharedEventHandler,
    shared_connect, shared_disconnect, shared_event,
};
use super::listeners::{Listeners, SharedListeners};
use super::middleware::{LocalMiddleware, Middleware, SharedMiddleware, shared_middleware};
use super::names::ByName;
use super::rooms::RoomHandlers;
use super::server_events::ServerHandlers;
use super::watching::Watching;

/// The handlers of one namespace, or of a family of namespaces, as they were registered: shared by all cores.
#[derive(Clone, Default)]
pub(crate) struct SharedTable {
    middlewares: Vec<SharedMiddleware>,
    connection: Vec<SharedConnectHandler>,
    events: ByName<Vec<SharedEventHandler>>,
    fallback: Vec<SharedEventHandler>,
    disconnecting: Vec<SharedDisconnectHandler>,
    disconnect: Vec<SharedDisconnectHandler>,
    pub(crate) listeners: SharedListeners,
    pub(crate) rooms: Option<Arc<RoomHandlers>>,
    pub(crate) watching: Watching,
}

/// One core's handles of them: never changed while the server runs, and of no cost to a connection.
pub(crate) struct Table {
    pub(crate) middlewares: Vec<LocalMiddleware>,
    pub(crate) connection: Vec<LocalConnectHandler>,
    pub(crate) events: ByName<Vec<LocalEventHandler>>,
    pub(crate) fallback: Vec<LocalEventHandler>,
    pub(crate) disconnecting: Vec<LocalDisconnectHandler>,
    pub(crate) disconnect: Vec<LocalDisconnectHandler>,
    pub(crate) listeners: Listeners,
    /// It is that of a family, whose namespaces come into being and go.
    pub(crate) is_family: bool,
    pub(crate) rooms: Option<Arc<RoomHandlers>>,
    pub(crate) watching: Watching,
}

impl SharedTable {
    /// All handlers of this table, and then those of the other.
    fn followed_by(mut self, other: SharedTable) -> SharedTable {
        self.middlewares.extend(other.middlewares);
        self.connection.extend(other.connection);
        for (event, handlers) in other.events {
            self.events.entry(event).or_default().extend(handlers);
        }
        self.fallback.extend(other.fallback);
        self.disconnecting.extend(other.disconnecting);
        self.disconnect.extend(other.disconnect);
        self.listeners.extend(other.listeners);
        self.watching.extend(other.watching);
        self.rooms = match (self.rooms, other.rooms) {
            (Some(rooms), Some(others)) => Some(Arc::new(rooms.followed_by(&others))),
            (rooms, others) => rooms.or(others),
        };
        self
    }

    /// A core's own handles.
    fn on_this_core(&self, is_family: bool) -> Table {
        let events = self.events.iter().map(|(event, handlers)| {
            let handlers = handlers.iter().map(|handler| handler()).collect();
            (event.clone(), handlers)
        });
        Table {
            middlewares: self.middlewares.iter().map(|handler| handler()).collect(),
            connection: self.connection.iter().map(|handler| handler()).collect(),
            events: events.collect(),
            fallback: self.fallback.iter().map(|handler| handler()).collect(),
            disconnecting: self.disconnecting.iter().map(|handler| handler()).collect(),
            disconnect: self.disconnect.iter().map(|handler| handler()).collect(),
            listeners: self.listeners.on_this_core(),
            is_family,
            rooms: self.rooms.clone(),
            watching: self.watching.clone(),
        }
    }
}

/// A namespace while its handlers are being registered; see [`Builder::namespace`](crate::Builder::namespace).
///
/// ```
/// use ringhall::{Data, Server, Socket};
///
/// let server = Server::builder().namespace("/chat", |chat| {
///     chat.on_connection(|socket: Socket| socket.join("lobby"))
///         .on("say", |socket: Socket, Data(text): Data<String>| socket.to("lobby").emit("said", text))
/// });
/// # let _ = server;
/// ```
#[derive(Default)]
pub struct Namespace {
    pub(crate) table: SharedTable,
    pub(crate) server_events: ServerHandlers,
    family: Option<String>,
}

impl Namespace {
    /// Names a family of namespaces, for [`Server::family`](crate::Server::family). Without it a pattern's family goes by the pattern's text, and
    /// others have no name. The names of two families must differ, and a single namespace has no such name: the server does not start.
    ///
    /// ```
    /// use ringhall::Server;
    /// let builder = Server::builder().namespaces(r"^/game-\d+$", |games| games.family("games"));
    /// # let _ = builder;
    /// ```
    pub fn family(mut self, name: impl Into<String>) -> Self {
        self.family = Some(name.into());
        self
    }

    /// Decides whether a client may come into this namespace (`namespace.use` in Node): a function of zero to eight extractors, as for
    /// [`on_connection`](Namespace::on_connection), which returns an [`Admission`](crate::Admission); it may be `async`. Several are run one after the
    /// other, in the order of their registration, each when the one before has let the client through.
    ///
    /// With an error the client is not let in: it is told the [`Rejection`](crate::Rejection)'s message and data ("connect_error"), what it had joined is
    /// left, and it may ask again. The rest of its session is untouched. Where a parameter cannot be had the client is refused, too, and told
    /// why; where a middleware panics, "Internal error".
    ///
    /// Until the last middleware has let it through, the socket [is not connected](crate::Socket::is_connected): broadcasts do not reach it, and
    /// [`disconnect`](crate::Socket::disconnect) does nothing. It may already join rooms, be given handlers, and be told things.
    /// When its session ends meanwhile, the middleware that is running runs to its end, and nothing else happens.
    ///
    /// A namespace without middlewares pays nothing for them, and one whose middlewares never wait, no task.
    ///
    /// ```
    /// use ringhall::{Auth, Namespace, Rejection, Socket};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Token { token: String }
    /// # async fn user_of(token: &str) -> Option<String> { Some(token.to_owned()) }
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace
    ///     .middleware(|socket: Socket| match socket.handshake().header("origin") {
    ///         None => Ok(()),
    ///         Some(_) => Err("not from a browser"),
    ///     })
    ///     .middleware(async |socket: Socket, Auth(Token { token }): Auth<Token>| {
    ///         let Some(user) = user_of(&token).await else {
    ///             return Err(Rejection::new("who are you?").data(("token", token)));
    ///         };
    ///         socket.join(format!("user:{user}"));
    ///         Ok(())
    ///     })
    /// # }
    /// ```
    pub fn middleware<M>(mut self, middleware: impl Middleware<M> + Send + Sync) -> Self {
        self.table.middlewares.push(shared_middleware(middleware));
        self
    }

    /// As [`on_connection`](Namespace::on_connection), before all that are registered already.
    #[cfg(feature = "admin")]
    pub(super) fn prepend_connection<M>(
        mut self,
        handler: impl ConnectHandler<M> + Send + Sync,
    ) -> Self {
        self.table.connection.insert(0, shared_connect(handler));
        self
    }

    /// Runs when a client has connected to this namespace, before any of its events.
    ///
    /// ```
    /// # use ringhall::{Namespace, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_connection(|socket: Socket| println!("{} is here", socket.id()))
    /// # }
    /// ```
    pub fn on_connection<M>(mut self, handler: impl ConnectHandler<M> + Send + Sync) -> Self {
        self.table.connection.push(shared_connect(handler));
        self
    }

    /// Handles an event. An event may have several handlers; they are begun in the order of their registration.
    ///
    /// ```
    /// # use ringhall::{Data, Namespace};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on("double", |Data(n): Data<i64>| 2 * n)
    /// # }
    /// ```
    pub fn on<M>(mut self, event: &str, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.table
            .events
            .entry(event.into())
            .or_default()
            .push(shared_event(handler));
        self
    }

    /// Handles each event that has no handler of its own.
    ///
    /// ```
    /// # use ringhall::{EventName, Namespace, Payload, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.fallback(|socket: Socket, EventName(event): EventName, payload: Payload| {
    ///     socket.broadcast().emit_raw(&event, &payload);
    /// })
    /// # }
    /// ```
    pub fn fallback<M>(mut self, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.table.fallback.push(shared_event(handler));
        self
    }

    /// Runs when a socket is about to leave: its rooms are still there.
    ///
    /// ```
    /// # use ringhall::{Namespace, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_disconnecting(|socket: Socket| println!("leaves {:?}", socket.rooms()))
    /// # }
    /// ```
    pub fn on_disconnecting<M>(mut self, handler: impl DisconnectHandler<M> + Send + Sync) -> Self {
        self.table.disconnecting.push(shared_disconnect(handler));
        self
    }

    /// Runs when a socket has left.
    ///
    /// ```
    /// # use ringhall::{DisconnectReason, Namespace, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_disconnect(|socket: Socket, reason: DisconnectReason| println!("{}: {reason}", socket.id()))
    /// # }
    /// ```
    pub fn on_disconnect<M>(mut self, handler: impl DisconnectHandler<M> + Send + Sync) -> Self {
        self.table.disconnect.push(shared_disconnect(handler));
        self
    }
}
