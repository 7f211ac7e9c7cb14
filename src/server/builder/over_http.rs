//! The part of the description that is about HTTP: Engine.IO's hooks, the client script, the user's own service.

use std::future::Future;
use std::path::PathBuf;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use tower_service::Service;

use super::Builder;
use crate::server::Handshake;
use crate::server::engine::EngineRoute;
use crate::server::http::fallback::Fallback;
use crate::server::http::options::{ConnectionError, Forbidden};
use crate::server::task;
use crate::shard::grant::Grant;

impl Builder {
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
    /// What it returns with `Ok`, unless that is `()`, is a session value of all sockets of the client, in whatever namespaces: handlers and middlewares
    /// get it as [`Session<T>`](crate::Session). It is made where the request is answered, and goes to the session's core, so it must be `Send`.
    ///
    /// ```
    /// use ringhall::{Forbidden, Handshake, Server, Session};
    ///
    /// struct User { name: String }
    ///
    /// let server = Server::builder()
    ///     .allow_request(|request: Handshake| async move {
    ///         match request.header("x-user") {
    ///             Some(name) => Ok(User { name: name.to_owned() }),
    ///             None => Err(Forbidden::default()),
    ///         }
    ///     })
    ///     .on("whoami", |user: Session<User>| user.name.clone());
    /// # let _ = server;
    /// ```
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
    pub fn allow_request<T, Fut>(
        mut self,
        gate: impl Fn(Handshake) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        T: Send + 'static,
        Fut: Future<Output = Result<T, Forbidden>> + Send + 'static,
    {
        self.hooks.gate = Some(Box::new(move |handshake| {
            let asked = gate(handshake);
            Box::pin(async move { asked.await.map(|value| Grant::new(value, task::shield)) })
        }));
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
    /// `socket.io.msgpack.min.js` and their source maps, below Socket.IO's path, unless [`Config::serve_client`](crate::Config::serve_client) is off.
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
    /// came over TLS; and the [`Server`](crate::Server).
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
    /// but are none of its business: no heartbeat, no rooms. They end with the server: reading ends at [`Server::shutdown`](crate::Server::shutdown),
    /// and what is not dropped by then is cut after [`Config::shutdown_timeout`](crate::Config::shutdown_timeout).
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
}
