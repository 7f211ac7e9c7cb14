//! How a server is described before it runs.

mod listening;
mod over_http;
mod rooms;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::adapter::{Adapter, InMemory};
#[cfg(feature = "admin")]
use super::admin::AdminUi;
use super::cluster::Cluster;
use super::engine::EngineRoute;
use super::handler::{ConnectHandler, DisconnectHandler, EventHandler};
use super::http::fallback::Fallback;
use super::http::options::Hooks;
use super::http::script::Scripts;
use super::middleware::Middleware;
use super::namespace::children::Limits;
use super::namespace::known::{Described, Namespaces, Newcomer, normal_name};
use super::namespace::{Namespace, NamespaceMatcher};
use super::route::{Routes, WebSocketRoute};
use super::shared::{Served, Shared};
use super::start;
use super::state::StateMap;
use super::tls::{Tls, Wardrobe};
use super::websocket::MessageHandler;
use super::{Config, NamespaceHandle, Recovery, Server};
use crate::{Error, Result};

/// A server while it is being described: settings, addresses, namespaces with their handlers, WebSocket routes.
///
/// Everything is fixed when the server starts; so handlers are found without a lock on any core, and cost a connection nothing.
///
/// ```no_run
/// use ringhall::{Data, Server, Socket};
///
/// fn main() -> ringhall::Result<()> {
///     Server::builder()
///         .listen("127.0.0.1:3000")
///         .on_connection(|socket: Socket| socket.join("lobby"))
///         .on("chat message", |socket: Socket, Data(text): Data<String>| {
///             socket.to("lobby").emit("chat message", text);
///         })
///         .run()
/// }
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until it is run or started"]
pub struct Builder {
    config: Config,
    pub(super) recovery: Option<Recovery>,
    listen: Vec<Listen>,
    states: StateMap,
    root: Namespace,
    /// The others, in the order of their description.
    namespaces: Vec<(Described, Namespace)>,
    newcomers: Vec<Newcomer>,
    #[cfg(feature = "admin")]
    admin: Option<AdminUi>,
    websockets: Vec<(String, WebSocketRoute)>,
    pages: Vec<(String, &'static str, Bytes)>,
    engines: Vec<(String, EngineRoute)>,
    hooks: Hooks,
    fallback: Option<Fallback>,
    client_dir: Option<PathBuf>,
    /// `None`: in memory.
    adapter: Option<Arc<dyn Adapter>>,
}

/// An address to listen on.
#[derive(Clone)]
pub(super) struct Listen {
    pub(super) address: String,
    /// `None`: plain TCP.
    pub(super) tls: Option<Tls>,
}

impl Builder {
    /// Replaces all settings.
    ///
    /// ```
    /// use ringhall::{Config, Server};
    /// let config = Config { max_rooms: 10, ..Config::default() };
    /// let builder = Server::builder().config(config);
    /// # let _ = builder;
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the number of cores, see [`Config::cores`].
    ///
    /// ```
    /// let builder = ringhall::Server::builder().cores(2);
    /// # let _ = builder;
    /// ```
    pub fn cores(mut self, cores: usize) -> Self {
        self.config.cores = cores;
        self
    }

    /// Adds an address to listen on, such as `127.0.0.1:3000`, `[::]:80` or `localhost:0`. A name is looked up when the server
    /// starts, and all its addresses are listened on; port 0 takes any free port.
    ///
    /// ```
    /// let builder = ringhall::Server::builder().listen("127.0.0.1:3000").listen("[::1]:3000");
    /// # let _ = builder;
    /// ```
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen.push(Listen {
            address: address.into(),
            tls: None,
        });
        self
    }

    /// Adds an address on which TLS is spoken (https and wss), see [`Tls`]. Otherwise it is like those of [`listen`](Builder::listen):
    /// all namespaces and routes are served on each address, and there may be several of both kinds, with different certificates.
    /// It needs the feature `tls`.
    ///
    /// ```no_run
    /// use ringhall::{Server, Tls};
    ///
    /// let server = Server::builder()
    ///     .listen_tls("[::]:443", Tls::files("fullchain.pem", "privkey.pem"))
    ///     .listen_tls("127.0.0.1:8443", Tls::files("dev.pem", "dev-key.pem"))
    ///     .listen("127.0.0.1:8080");
    /// # let _ = server;
    /// ```
    #[cfg(feature = "tls")]
    pub fn listen_tls(mut self, address: impl Into<String>, tls: Tls) -> Self {
        self.listen.push(Listen {
            address: address.into(),
            tls: Some(tls),
        });
        self
    }

    /// Registers a value for [`State`](crate::State), one for each type; a second of the same type replaces the first.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use ringhall::{Server, State};
    ///
    /// let server = Server::builder()
    ///     .state(AtomicU64::new(0))
    ///     .on("visit", |State(visits): State<AtomicU64>| visits.fetch_add(1, Ordering::Relaxed));
    /// # let _ = server;
    /// ```
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// [`Namespace::middleware`] of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().middleware(|Auth(token): Auth<serde_json::Value>| match token["token"].as_str() {
    ///     Some("secret") => Ok(()),
    ///     _ => Err("invalid token"),
    /// });
    /// # let _ = builder;
    /// ```
    pub fn middleware<M>(mut self, middleware: impl Middleware<M> + Send + Sync) -> Self {
        self.root = self.root.middleware(middleware);
        self
    }

    /// [`Namespace::on_connection`] of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_connection(|socket: Socket| socket.join("lobby"));
    /// # let _ = builder;
    /// ```
    pub fn on_connection<M>(mut self, handler: impl ConnectHandler<M> + Send + Sync) -> Self {
        self.root = self.root.on_connection(handler);
        self
    }

    /// [`Namespace::on`] of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
    /// # let _ = builder;
    /// ```
    pub fn on<M>(mut self, event: &str, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.root = self.root.on(event, handler);
        self
    }

    /// [`Namespace::fallback`] of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().fallback(|EventName(event): EventName| println!("nobody wants {event}"));
    /// # let _ = builder;
    /// ```
    pub fn fallback<M>(mut self, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.root = self.root.fallback(handler);
        self
    }

    /// [`Namespace::on_disconnecting`] of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_disconnecting(|socket: Socket| println!("leaves {:?}", socket.rooms()));
    /// # let _ = builder;
    /// ```
    pub fn on_disconnecting<M>(mut self, handler: impl DisconnectHandler<M> + Send + Sync) -> Self {
        self.root = self.root.on_disconnecting(handler);
        self
    }

    /// [`Namespace::on_disconnect`] of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_disconnect(|socket: Socket| println!("{} left", socket.id()));
    /// # let _ = builder;
    /// ```
    pub fn on_disconnect<M>(mut self, handler: impl DisconnectHandler<M> + Send + Sync) -> Self {
        self.root = self.root.on_disconnect(handler);
        self
    }

    /// Adds a namespace with its handlers. The main namespace `/` always exists; other names are refused with
    /// "Invalid namespace" unless they are added here or taken by [`namespaces`](Builder::namespaces).
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().namespace("/chat", |chat| chat.on("say", || "said"));
    /// # let _ = builder;
    /// ```
    pub fn namespace(mut self, name: &str, describe: impl FnOnce(Namespace) -> Namespace) -> Self {
        if matches!(name, "" | "/") {
            self.root = describe(self.root);
        } else {
            let described = Described::Named(name.to_owned());
            self.namespaces
                .push((described, describe(Namespace::default())));
        }
        self
    }

    /// Adds a family of namespaces: all whose name (with its slash) it takes, with common handlers. What takes a name is a pattern (a regular
    /// expression in the syntax of the crate `regex`, found anywhere in the name unless it is anchored), a function of the name, or a function
    /// of the [`NamespaceRequest`](crate::NamespaceRequest), which knows the client's `auth`, and may be `async`.
    ///
    /// A namespace of a family comes into being when a client connects to it, with the middlewares and handlers of the family. Once it exists its
    /// family is not asked again. Of several families the first that takes a name gets it; they are asked one after the other. One that
    /// panics is logged, and the client is refused with "Invalid namespace", as it is where none takes the name. What becomes of a
    /// namespace that nobody is in any more is said by [`Config::cleanup_empty_child_namespaces`](crate::Config::cleanup_empty_child_namespaces) and
    /// [`Config::max_child_namespaces`](crate::Config::max_child_namespaces).
    ///
    /// As in Node, a single namespace that is described *after* a pattern that takes its name begins with that family's middlewares and
    /// handlers, and is one of its [children](crate::Family::children).
    ///
    /// ```
    /// use ringhall::{NamespaceRequest, Server, Socket};
    ///
    /// let server = Server::builder()
    ///     .namespaces(r"^/game-\d+$", |games| {
    ///         games.on_connection(|socket: Socket| println!("a player in {}", socket.namespace()))
    ///     })
    ///     .namespaces(|name: &str| name.starts_with("/chat-"), |chats| chats)
    ///     .namespaces(
    ///         async |request: NamespaceRequest| {
    ///             let token: Option<String> = request.auth().unwrap_or_default();
    ///             tokio::task::yield_now().await; // asks somebody
    ///             token.is_some()
    ///         },
    ///         |others| others,
    ///     );
    /// # let _ = server;
    /// ```
    pub fn namespaces<M>(
        mut self,
        takes: impl NamespaceMatcher<M>,
        describe: impl FnOnce(Namespace) -> Namespace,
    ) -> Self {
        let described = Described::Family(takes.into_predicate());
        self.namespaces
            .push((described, describe(Namespace::default())));
        self
    }

    /// Hears of each namespace of a family that a client brings into being (`new_namespace` in Node), before the client is in it.
    ///
    /// ```
    /// use ringhall::{NamespaceHandle, Server};
    ///
    /// let server = Server::builder()
    ///     .namespaces(r"^/game-\d+$", |games| games)
    ///     .on_new_namespace(|namespace: &NamespaceHandle| println!("{} begins", namespace.name()));
    /// # let _ = server;
    /// ```
    pub fn on_new_namespace(
        mut self,
        hook: impl Fn(&NamespaceHandle) + Send + Sync + 'static,
    ) -> Self {
        self.newcomers.push(Box::new(hook));
        self
    }

    /// Adds a WebSocket route with a handler for its messages.
    ///
    /// ```
    /// use ringhall::{Message, OwnedMessage, Server, WebSocket};
    ///
    /// let server = Server::builder()
    ///     .websocket("/echo", |socket: &WebSocket, message: Message<'_>| socket.send(message))
    ///     .websocket("/slow-echo", async |socket: WebSocket, message: OwnedMessage| {
    ///         tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    ///         socket.send(&message);
    ///     });
    /// # let _ = server;
    /// ```
    pub fn websocket<M>(self, path: &str, handler: impl MessageHandler<M>) -> Self {
        self.websocket_route(path, WebSocketRoute::new().on_message(handler))
    }

    /// Adds a WebSocket route with all its handlers, see [`WebSocketRoute`].
    ///
    /// ```
    /// use ringhall::{Message, Server, WebSocket, WebSocketRoute};
    /// let route = WebSocketRoute::new()
    ///     .on_message(|socket: &WebSocket, message: Message<'_>| socket.broadcast().send(message));
    /// let builder = Server::builder().websocket_route("/all", route);
    /// # let _ = builder;
    /// ```
    pub fn websocket_route(mut self, path: &str, route: WebSocketRoute) -> Self {
        self.websockets.push((path.to_owned(), route));
        self
    }

    /// Serves a fixed page at a path, to GET and HEAD.
    ///
    /// ```
    /// # use ringhall::Server;
    /// let server = Server::builder().page("/", "text/html; charset=utf-8", "<h1>Hello</h1>");
    /// # let _ = server;
    /// ```
    pub fn page(mut self, path: &str, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        self.pages
            .push((path.to_owned(), content_type, body.into()));
        self
    }

    /// Starts the server and waits until it has ended.
    ///
    /// # Errors
    /// As [`start`](Builder::start) and [`Server::wait`].
    ///
    /// ```no_run
    /// # fn main() -> ringhall::Result<()> {
    /// ringhall::Server::builder().listen("localhost:3000").run()
    /// # }
    /// ```
    pub fn run(self) -> Result<()> {
        self.start()?.wait()
    }

    /// Starts the server: when this returns, it accepts connections on all addresses.
    ///
    /// # Errors
    /// A setting cannot be meant, an address cannot be listened on, or the system does not offer what is needed. The
    /// text says what to do.
    ///
    /// ```
    /// # fn main() -> ringhall::Result<()> {
    /// let server = ringhall::Server::builder().listen("127.0.0.1:0").start()?;
    /// server.shutdown();
    /// server.wait()
    /// # }
    /// ```
    pub fn start(self) -> Result<Server> {
        self.check_listen()?;
        self.start_anyway()
    }

    /// Starts the server as a part of an application that owns the port: [`Server::layer`] and [`Server::service`] bring it what the
    /// application gets. Nothing is listened on, unless [`listen`](Builder::listen) says so; otherwise this is [`start`](Builder::start).
    ///
    /// It needs the feature `tower`.
    ///
    /// # Errors
    /// As for [`start`](Builder::start).
    ///
    /// ```
    /// # fn main() -> ringhall::Result<()> {
    /// use ringhall::{Server, Socket};
    ///
    /// let server = Server::builder()
    ///     .on_connection(|socket: Socket| socket.join("lobby"))
    ///     .start_embedded()?;
    /// let app: axum::Router = axum::Router::new().layer(server.layer());
    /// # let _ = app;
    /// # server.shutdown();
    /// # server.wait()
    /// # }
    /// ```
    #[cfg(feature = "tower")]
    pub fn start_embedded(self) -> Result<Server> {
        self.start_anyway()
    }

    pub(super) fn with_root(mut self, describe: impl FnOnce(Namespace) -> Namespace) -> Self {
        self.root = describe(self.root);
        self
    }

    pub(super) fn with_adapter(mut self, adapter: Arc<dyn Adapter>) -> Self {
        self.adapter = Some(adapter);
        self
    }

    fn start_anyway(self) -> Result<Server> {
        let (config, listen) = (self.config.clone(), self.listen.clone());
        let shared = self.into_shared()?;
        start::start(shared, &config, &listen)
    }

    fn check_listen(&self) -> Result<()> {
        if self.listen.is_empty() {
            return Err(Error::setting(
                "listen",
                "is not given: add an address such as 127.0.0.1:3000",
            ));
        }
        Ok(())
    }

    /// Checks everything that can be checked without starting.
    ///
    /// # Errors
    /// A setting that cannot be meant.
    ///
    /// ```
    /// use ringhall::{Config, Server};
    ///
    /// let config = Config { max_message: 0, ..Config::default() };
    /// let error = Server::builder().listen("127.0.0.1:0").config(config).check().unwrap_err();
    /// assert!(error.to_string().contains("max_message"));
    /// ```
    pub fn check(self) -> Result<()> {
        self.check_listen()?;
        let mut wardrobe = Wardrobe::default();
        for tls in self.listen.iter().filter_map(|listen| listen.tls.as_ref()) {
            wardrobe.index_of(tls)?;
        }
        self.into_shared().map(drop)
    }

    /// How the server is joined with others.
    fn take_cluster(&mut self) -> Result<Cluster> {
        let adapter = (self.adapter.take()).unwrap_or_else(|| Arc::new(InMemory));
        if adapter.is_cluster() && adapter.wants_rooms() {
            Recovery::forbid(self.recovery.as_ref())?;
            self.root.tell_rooms_to_cluster();
            let all = self.namespaces.iter_mut();
            all.for_each(|(_, namespace)| namespace.tell_rooms_to_cluster());
        }
        let mut events = HashMap::new();
        events.insert(
            normal_name("/"),
            std::mem::take(&mut self.root.server_events),
        );
        for (described, namespace) in &mut self.namespaces {
            let handlers = std::mem::take(&mut namespace.server_events);
            match described {
                Described::Named(name) => {
                    events.insert(normal_name(name), handlers);
                }
                Described::Family(_) if handlers.is_empty() => {}
                Described::Family(_) => {
                    return Err(Error::setting(
                        "namespaces",
                        "have a handler of server events, and there is none for a family: give it to a namespace that has a name",
                    ));
                }
            }
        }
        Ok(Cluster::new(adapter, events))
    }

    pub(super) fn into_shared(mut self) -> Result<Shared> {
        let cluster = self.take_cluster()?;
        let settings = self.config.settings()?;
        let described = (self.websockets, self.pages, self.engines);
        let routes = routes_of(&self.config, described)?;
        let scripts = match self.client_dir {
            _ if !self.config.serve_client => None,
            None => Some(Scripts::own()),
            Some(dir) => Some(Scripts::of_dir(&dir).map_err(|error| {
                Error::setting("client_dir", format!("is {}: {error}", dir.display()))
            })?),
        };
        let script_prefix = format!("{}/", self.config.path_prefix()?.trim_end_matches('/'));
        let options = self.config.engine_options(self.hooks)?;
        let limits = Limits {
            children_max: self.config.max_child_namespaces,
            cleanup: self.config.cleanup_empty_child_namespaces,
        };
        let mut namespaces = Namespaces::new(limits, self.newcomers);
        namespaces.insert(Described::Named("/".to_owned()), self.root)?;
        for (described, namespace) in self.namespaces {
            namespaces.insert(described, namespace)?;
        }
        #[cfg(feature = "admin")]
        let admin = match self.admin {
            None => None,
            Some(ui) => Some(ui.install(&mut namespaces)?),
        };
        let mut shared = Shared::new(
            settings,
            self.config.max_rooms,
            self.states,
            namespaces,
            (
                routes,
                options,
                Served {
                    fallback: self.fallback,
                    scripts,
                    script_prefix,
                },
            ),
        );
        shared.recovery = Recovery::begin(self.recovery.as_ref(), &self.config)?;
        #[cfg(feature = "admin")]
        {
            shared.admin = admin;
        }
        shared.cluster = cluster;
        Ok(shared)
    }
}

/// WebSockets, pages, and Engine.IO by itself, each with its path.
type RoutesDescribed = (
    Vec<(String, WebSocketRoute)>,
    Vec<(String, &'static str, Bytes)>,
    Vec<(String, EngineRoute)>,
);

fn routes_of(config: &Config, (websockets, pages, engines): RoutesDescribed) -> Result<Routes> {
    let prefix = config.path_prefix()?;
    let mut routes = Routes::new(config.socket_io.then_some(prefix));
    for (path, route) in websockets {
        check_path(&path, routes.websocket(&path, route))?;
    }
    for (path, content_type, body) in pages {
        check_path(&path, routes.page(&path, content_type, body))?;
    }
    for (path, route) in engines {
        let prefix = config.prefix_of(&path)?;
        if !routes.engine(prefix, route) {
            return Err(Error::setting(
                "path",
                format!("{path} is given to two routes"),
            ));
        }
    }
    if let Some((path, prefix)) = routes.unreachable() {
        return Err(Error::setting(
            "path",
            format!("{path} cannot be reached: all paths that begin with {prefix} are Engine.IO's"),
        ));
    }
    Ok(routes)
}

fn check_path(path: &str, is_free: bool) -> Result<()> {
    let plain = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    if !path.starts_with('/') || !plain {
        return Err(Error::setting(
            "path",
            format!("of a route is {path:?}, and must be like /echo, without query and spaces"),
        ));
    }
    if !is_free {
        return Err(Error::setting(
            "path",
            format!("{path} is given to two routes"),
        ));
    }
    Ok(())
}
