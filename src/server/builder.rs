//! How a server is described before it runs.

use std::future::Future;
use std::path::PathBuf;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use tower_service::Service;

use super::engine::EngineRoute;
use super::handler::{ConnectHandler, DisconnectHandler, EventHandler};
use super::http::fallback::Fallback;
use super::http::options::{ConnectionError, Forbidden, Hooks};
use super::http::script::Scripts;
use super::namespace::{Namespace, Namespaces};
use super::route::{Routes, WebSocketRoute};
use super::shared::{Served, Shared};
use super::start;
use super::state::StateMap;
use super::tls::{Tls, Wardrobe};
use super::websocket::MessageHandler;
use super::{Config, Handshake, Server};
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
    listen: Vec<Listen>,
    states: StateMap,
    root: Namespace,
    others: Vec<(String, Namespace)>,
    families: Vec<(Predicate, Namespace)>,
    websockets: Vec<(String, WebSocketRoute)>,
    pages: Vec<(String, &'static str, Bytes)>,
    engines: Vec<(String, EngineRoute)>,
    hooks: Hooks,
    fallback: Option<Fallback>,
    client_dir: Option<PathBuf>,
}

/// An address to listen on.
#[derive(Clone)]
pub(super) struct Listen {
    pub(super) address: String,
    /// `None`: plain TCP.
    pub(super) tls: Option<Tls>,
}

type Predicate = Box<dyn Fn(&str) -> bool + Send + Sync>;

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
            self.others
                .push((name.to_owned(), describe(Namespace::default())));
        }
        self
    }

    /// Adds all namespaces whose name (with its slash) the predicate takes, with common handlers. They come into being when a
    /// client connects and cost nothing when they are empty. Of several families the first that takes a name gets it.
    /// A predicate that panics takes none: it is logged, and the client is refused.
    ///
    /// ```
    /// use ringhall::{Server, Socket};
    ///
    /// let server = Server::builder().namespaces(
    ///     |name| name.starts_with("/game-"),
    ///     |games| games.on_connection(|socket: Socket| println!("a player in {}", socket.namespace())),
    /// );
    /// # let _ = server;
    /// ```
    pub fn namespaces(
        mut self,
        takes: impl Fn(&str) -> bool + Send + Sync + 'static,
        describe: impl FnOnce(Namespace) -> Namespace,
    ) -> Self {
        self.families
            .push((Box::new(takes), describe(Namespace::default())));
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

    /// Speaks Engine.IO without Socket.IO at a path, on both transports; see [`EngineRoute`].
    ///
    /// ```
    /// use ringhall::{EngineRoute, EngineSocket, Message, Server};
    ///
    /// let echo = EngineRoute::new()
    ///     .on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
    /// let builder = Server::builder().engine_io("/engine.io", echo);
    /// # let _ = builder;
    /// ```
    pub fn engine_io(mut self, path: &str, route: EngineRoute) -> Self {
        self.engines.push((path.to_owned(), route));
        self
    }

    /// Asked for each client that wants to open a session, on either transport, before it is let in (`allowRequest` in Node). The
    /// message of the error is what the client is told. It is not asked again for the requests of a session, nor for an upgrade.
    ///
    /// This is also what keeps pages of other origins from connecting with a WebSocket, which CORS does not do.
    ///
    /// ```
    /// use ringhall::{Forbidden, Handshake, Server};
    ///
    /// let builder = Server::builder().allow_request(|request: Handshake| async move {
    ///     match request.header("origin") {
    ///         None | Some("https://example.org") => Ok(()),
    ///         Some(_) => Err(Forbidden::new("not from there")),
    ///     }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn allow_request<Fut>(
        mut self,
        gate: impl Fn(Handshake) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Fut: Future<Output = std::result::Result<(), Forbidden>> + Send + 'static,
    {
        self.hooks.gate = Some(Box::new(move |handshake| Box::pin(gate(handshake))));
        self
    }

    /// Adds headers to the first answer of each session: that to its first request on polling, or the 101 of one that begins on a
    /// WebSocket (the event `initial_headers` in Node).
    ///
    /// ```
    /// use http::HeaderValue;
    /// let builder = ringhall::Server::builder().initial_headers(|_, headers| {
    ///     headers.insert("x-served-by", HeaderValue::from_static("ringhall"));
    /// });
    /// # let _ = builder;
    /// ```
    pub fn initial_headers(
        mut self,
        hook: impl Fn(&Handshake, &mut HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.initial_headers = Some(Box::new(hook));
        self
    }

    /// Adds headers to each answer of Engine.IO that is no error, each 101 included (the event `headers` in Node).
    ///
    /// ```
    /// use http::HeaderValue;
    /// let builder = ringhall::Server::builder().response_headers(|_, headers| {
    ///     headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    /// });
    /// # let _ = builder;
    /// ```
    pub fn response_headers(
        mut self,
        hook: impl Fn(&Handshake, &mut HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.headers = Some(Box::new(hook));
        self
    }

    /// Hears of each request for Engine.IO that is refused (the event `connection_error` in Node).
    ///
    /// ```
    /// use ringhall::ConnectionError;
    /// let builder = ringhall::Server::builder().on_connection_error(|error: &ConnectionError<'_>| {
    ///     println!("{} {}: {:?}", error.code, error.message, error.request.peer_addr());
    /// });
    /// # let _ = builder;
    /// ```
    pub fn on_connection_error(
        mut self,
        hook: impl Fn(&ConnectionError<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.hooks.connection_error = Some(Box::new(hook));
        self
    }

    /// Chooses names for sessions (`generateId` in Node): the session's `sid` is that name, a dot, and 20 characters, which make it unique
    /// and say where it lives. Names are of at most 64 letters, digits and `-_~`; one that is not, or `None`, is left out.
    ///
    /// ```
    /// let builder = ringhall::Server::builder()
    ///     .session_name(|request| request.query("device").map(|device| device.into_owned()));
    /// # let _ = builder;
    /// ```
    pub fn session_name(
        mut self,
        namer: impl Fn(&Handshake) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.namer = Some(Box::new(namer));
        self
    }

    /// Serves the client script from this folder instead of our own: `client-dist` of the npm package `socket.io`, say, for the official
    /// client. Its files are read when the server starts. Served are `socket.io.js`, `socket.io.min.js`, `socket.io.esm.min.js`,
    /// `socket.io.msgpack.min.js` and their source maps, below Socket.IO's path, unless [`Config::serve_client`] is off.
    ///
    /// ```
    /// use ringhall::Server;
    /// let builder = Server::builder().client_dir("node_modules/socket.io/client-dist");
    /// # let _ = builder;
    /// ```
    pub fn client_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.client_dir = Some(dir.into());
        self
    }

    /// Gives requests that are nobody else's to a service: any tower service of `http::Request`, such as an axum `Router` as it is. What is in
    /// the request's extensions can be extracted there: the client's address, a `SocketAddr`; the `http::uri::Scheme`, `HTTPS` where the request
    /// came over TLS; and the [`Server`].
    ///
    /// It runs on the cores, beside the handlers: it may wait for what tokio offers and start tasks, and what blocks belongs on another
    /// thread (`tokio::task::spawn_blocking`). An error of the service and a panic in it cut the connection, and nothing else. Paths of the
    /// server itself (Socket.IO's, routes, pages) are not given to it.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::{Extension, Router, routing::get};
    /// use ringhall::Server;
    ///
    /// async fn hello(Extension(client): Extension<SocketAddr>, Extension(server): Extension<Server>) -> String {
    ///     server.emit("visit", client.to_string());
    ///     format!("hello, {client}")
    /// }
    ///
    /// let builder = Server::builder().fallback_service(Router::new().route("/hello", get(hello)));
    /// # let _ = builder;
    /// ```
    /// axum's own extractor of the address, `ConnectInfo`, wants its own type there; a line before the router gives it that:
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use axum::extract::{ConnectInfo, Request};
    /// use axum::middleware::map_request;
    /// use axum::{Router, routing::get};
    ///
    /// async fn know_client(mut request: Request) -> Request {
    ///     if let Some(client) = request.extensions().get::<SocketAddr>().copied() {
    ///         request.extensions_mut().insert(ConnectInfo(client));
    ///     }
    ///     request
    /// }
    ///
    /// let app: Router = Router::new()
    ///     .route("/", get(|ConnectInfo(client): ConnectInfo<SocketAddr>| async move { client.to_string() }))
    ///     .layer(map_request(know_client));
    /// let builder = ringhall::Server::builder().fallback_service(app);
    /// # let _ = builder;
    /// ```
    /// The service may upgrade connections for itself (`hyper::upgrade`, axum's `WebSocketUpgrade`). Their bytes then pass through the core,
    /// but are none of its business: no heartbeat, no rooms. They end with the server: reading ends at [`Server::shutdown`], and
    /// what is not dropped by then is cut after [`Config::shutdown_timeout`].
    pub fn fallback_service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S::Future: 'static,
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.fallback = Some(Fallback::new(service));
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

    pub(super) fn into_shared(self) -> Result<Shared> {
        let settings = self.config.settings()?;
        let mut routes = Routes::new(self.config.path_prefix()?);
        for (path, route) in self.websockets {
            check_path(&path, routes.websocket(&path, route))?;
        }
        for (path, content_type, body) in self.pages {
            check_path(&path, routes.page(&path, content_type, body))?;
        }
        for (path, route) in self.engines {
            let prefix = self.config.prefix_of(&path)?;
            if !routes.engine(prefix, route) {
                return Err(Error::setting(
                    "path",
                    format!("{path} is given to two routes"),
                ));
            }
        }
        let scripts = match self.client_dir {
            _ if !self.config.serve_client => None,
            None => Some(Scripts::own()),
            Some(dir) => Some(Scripts::of_dir(&dir).map_err(|error| {
                Error::setting("client_dir", format!("is {}: {error}", dir.display()))
            })?),
        };
        let script_prefix = format!("{}/", self.config.path_prefix()?.trim_end_matches('/'));
        let options = self.config.engine_options(self.hooks)?;
        let mut namespaces = Namespaces::default();
        namespaces.insert("/", self.root.table);
        for (name, namespace) in self.others {
            if !namespaces.insert(&name, namespace.table) {
                return Err(Error::setting(
                    "namespace",
                    format!("{name} is described twice"),
                ));
            }
        }
        for (takes, namespace) in self.families {
            namespaces.insert_family(takes, namespace.table);
        }
        Ok(Shared::new(
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
        ))
    }
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
