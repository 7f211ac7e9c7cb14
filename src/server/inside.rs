//! Ringhall inside of an application that owns the port: its HTTP is that of the application, its connections are handed over.

mod bridge;
mod handover;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Scheme;
use http::{Extensions, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::Either;
use hyper::upgrade::OnUpgrade;

use super::Server;
use super::http::engine::{Port, Served};
use super::http::{self as routes, refusal};
use super::route::Place;
use super::shared::Shared;
use crate::shard::call::Call;
use crate::shard::handshake::Via;
use crate::shard::home;
use crate::shard::http::{BoxError, Cut};
use crate::shard::mail::Mail;
use crate::shard::mailbox::posting::Posting;
use crate::wire::handshake::Refusal;
use handover::Handover;

const UPGRADE: Refusal = Refusal::new(
    400,
    "This connection cannot become a WebSocket: it is not HTTP/1.1, or its server allows no upgrades.",
);

/// Finds the client's address in the extensions of a request.
type Address = Arc<dyn Fn(&Extensions) -> Option<SocketAddr> + Send + Sync>;

/// Puts a running server in front of the services of an application; from [`Server::layer`].
///
/// What the server has a path for (Socket.IO, Engine.IO, WebSocket routes, pages) is answered by it, all else by the service below.
///
/// ```
/// # fn f(server: &ringhall::Server) {
/// let layer: ringhall::Layer = server.layer();
/// let app: axum::Router = axum::Router::new().layer(layer);
/// # let _ = app;
/// # }
/// ```
#[derive(Clone)]
pub struct Layer {
    desk: Arc<Desk>,
}

/// A running server as a tower service; from [`Server::service`], or from [`Server::layer`] with the service `S` below it.
///
/// ```
/// # fn f(server: &ringhall::Server) {
/// let service: ringhall::Service = server.service();
/// let app: axum::Router = axum::Router::new().fallback_service(service);
/// # let _ = app;
/// # }
/// ```
#[derive(Clone)]
pub struct Service<S = Nowhere> {
    desk: Arc<Desk>,
    inner: S,
}

/// The end of the way: answers 404. What is below [`Server::service`].
///
/// ```
/// use tower::Layer as _;
/// # fn f(server: &ringhall::Server) {
/// // What `server.service()` is:
/// let service: ringhall::Service = server.layer().layer(ringhall::Nowhere);
/// # let _ = service;
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Server {
    /// The server as a layer for an application that owns the port, such as axum's: polling, pages and the openings of WebSockets are served
    /// through the application's HTTP, and a connection that has become a WebSocket leaves it: its descriptor, with the bytes that were
    /// already read, is handed to the core that is to have it. So WebSockets cost what they cost with a port of Ringhall's own. See
    /// [`Builder::start_embedded`](crate::Builder::start_embedded).
    ///
    /// That needs a `tokio::net::TcpStream` or `UnixStream` under hyper, as `axum::serve` has it. A stream of another kind, such as TLS, stays
    /// with the application, and a task copies between it and the core: each message then costs two system calls and two copies more.
    ///
    /// Whether a request came over TLS ([`Handshake::is_secure`](crate::Handshake::is_secure)) is what an `http::uri::Scheme` in its extensions
    /// says, or its URI.
    ///
    /// Polls wait for as long as there is nothing to say. So that the application's own graceful shutdown need not wait for them, call
    /// [`Server::shutdown`] first. Broadcasts work from everywhere, through clones of the server.
    /// It needs the feature `tower`.
    ///
    /// ```
    /// # fn main() -> ringhall::Result<()> {
    /// use axum::{Router, routing::get};
    /// use ringhall::Server;
    ///
    /// let server = Server::builder().on("echo", |text: ringhall::Payload| text).start_embedded()?;
    /// let app: Router = Router::new()
    ///     .route("/", get(|| async { "a page of the application" }))
    ///     .layer(server.layer());
    /// # let _ = app;
    /// # server.shutdown();
    /// # server.wait()
    /// # }
    /// ```
    pub fn layer(&self) -> Layer {
        Layer {
            desk: Arc::new(Desk::new(self)),
        }
    }

    /// The server as a service by itself, which answers 404 where it has nothing; otherwise as [`layer`](Server::layer). The path is looked up
    /// as the service gets it: without what a router has stripped from its front.
    ///
    /// ```
    /// # fn main() -> ringhall::Result<()> {
    /// let server = ringhall::Server::builder().start_embedded()?;
    /// let app: axum::Router = axum::Router::new().fallback_service(server.service());
    /// # let _ = app;
    /// # server.shutdown();
    /// # server.wait()
    /// # }
    /// ```
    pub fn service(&self) -> Service {
        tower_layer::Layer::layer(&self.layer(), Nowhere)
    }
}

impl Layer {
    /// Where the client's address is to be found, which handlers get as [`Handshake::peer_addr`](crate::Handshake::peer_addr). Default: a
    /// `SocketAddr` in the extensions of the request. (A TCP connection that begins as a WebSocket is asked for it when it is handed over.)
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// use std::net::SocketAddr;
    /// use axum::extract::ConnectInfo;
    ///
    /// // For `axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())`.
    /// let layer = server.layer().peer_addr(|extensions| {
    ///     extensions.get().map(|ConnectInfo(address): &ConnectInfo<SocketAddr>| *address)
    /// });
    /// # let _ = layer;
    /// # }
    /// ```
    pub fn peer_addr(
        self,
        find: impl Fn(&Extensions) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        Layer {
            desk: Arc::new(Desk {
                shared: self.desk.shared.clone(),
                port: self.desk.port.clone(),
                address: Arc::new(find),
            }),
        }
    }
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer").finish_non_exhaustive()
    }
}

impl<S> std::fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl<S> tower_layer::Layer<S> for Layer {
    type Service = Service<S>;

    fn layer(&self, inner: S) -> Service<S> {
        Service {
            desk: self.desk.clone(),
            inner,
        }
    }
}

impl<S, Q, B> tower_service::Service<Request<Q>> for Service<S>
where
    S: tower_service::Service<Request<Q>, Response = Response<B>>,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Either<B, ServiceBody>>;
    type Error = S::Error;
    type Future = ServiceFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let place = self.desk.shared.routes.find(request.uri().path());
        ServiceFuture(match place {
            Place::Nowhere => Either::Left(Box::pin(self.inner.call(request))),
            _ => Either::Right(Box::pin(self.desk.clone().serve(request))),
        })
    }
}

impl<Q> tower_service::Service<Request<Q>> for Nowhere {
    type Response = Response<ServiceBody>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Q>) -> Self::Future {
        std::future::ready(Ok(refusal(&routes::NOT_FOUND).map(ServiceBody::whole)))
    }
}

/// Ringhall's answer to a request.
type Own = Pin<Box<dyn Future<Output = Response<ServiceBody>> + Send>>;

/// The answer of a [`Service`], when it is there.
///
/// ```
/// use ringhall::{Nowhere, Service, ServiceFuture};
/// use tower::Service as _;
/// # type Answer = <Nowhere as tower::Service<http::Request<axum::body::Body>>>::Future;
/// fn ask(service: &mut Service, request: http::Request<axum::body::Body>) -> ServiceFuture<Answer> {
///     service.call(request)
/// }
/// # let _ = ask;
/// ```
#[must_use = "nothing is answered unless it is polled"]
pub struct ServiceFuture<F>(Either<Pin<Box<F>>, Own>);

impl<F, B, E> Future for ServiceFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Either<B, ServiceBody>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Either::Left(inner) => inner
                .as_mut()
                .poll(cx)
                .map(|answer| answer.map(|response| response.map(Either::Left))),
            Either::Right(own) => own
                .as_mut()
                .poll(cx)
                .map(|response| Ok(response.map(Either::Right))),
        }
    }
}

impl<F> std::fmt::Debug for ServiceFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceFuture").finish_non_exhaustive()
    }
}

/// The body of an answer of Ringhall's.
///
/// ```
/// use http_body::Body as _;
/// fn is_empty(body: &ringhall::ServiceBody) -> bool {
///     body.is_end_stream()
/// }
/// # let _ = is_empty;
/// ```
#[derive(Debug)]
pub struct ServiceBody(Option<Result<Bytes, Cut>>);

impl ServiceBody {
    fn whole(bytes: Bytes) -> Self {
        ServiceBody((!bytes.is_empty()).then_some(Ok(bytes)))
    }

    /// A service cannot end a connection, but a body that fails does.
    fn cut() -> Self {
        ServiceBody(Some(Err(Cut)))
    }
}

impl http_body::Body for ServiceBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.0.take();
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            None => SizeHint::with_exact(0),
            Some(Ok(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Err(Cut)) => SizeHint::default(),
        }
    }
}

/// Where requests from outside are served.
struct Desk {
    shared: Arc<Shared>,
    port: Outside,
    address: Address,
}

impl Desk {
    fn new(server: &Server) -> Self {
        Desk {
            shared: server.shared.clone(),
            port: Outside {
                posting: Arc::new(Posting::new(server.shared.addresses_to_keep())),
                opened: Arc::new(AtomicUsize::new(0)),
            },
            address: Arc::new(|extensions| extensions.get().copied()),
        }
    }

    async fn serve<Q>(self: Arc<Self>, mut request: Request<Q>) -> Response<ServiceBody>
    where
        Q: http_body::Body<Data = Bytes> + Send,
    {
        if let Some(refused) = routes::refused(&request) {
            return refusal(&refused).map(ServiceBody::whole);
        }
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let via = Via {
            peer: (self.address)(request.extensions()),
            is_secure: is_secure(&request),
        };
        let place = self.shared.routes.find(request.uri().path());
        let served = routes::serve_own(&self.shared, &self.port, place, request, via).await;
        match served {
            Served::Answer(response) => response.map(ServiceBody::whole),
            Served::Cut => Response::new(ServiceBody::cut()),
            Served::TakeOver(response, takeover) => {
                let handover = Handover {
                    takeover,
                    peer: via.peer,
                    port: self.port.clone(),
                    linger_ms: self.shared.settings.linger_ms,
                };
                match upgrade.map(|upgrade| handover.begin(upgrade)) {
                    Some(true) => response.map(ServiceBody::whole),
                    Some(false) | None => refusal(&UPGRADE).map(ServiceBody::whole),
                }
            }
        }
    }
}

/// HTTP/2 says it in the request; for HTTP/1.1 the application may.
fn is_secure<Q>(request: &Request<Q>) -> bool {
    let said = request.extensions().get().or(request.uri().scheme());
    said == Some(&Scheme::HTTPS)
}

/// The way to the sessions from a thread that is no core.
#[derive(Clone)]
struct Outside {
    posting: Arc<Posting<Mail>>,
    /// How much went to no core in particular.
    opened: Arc<AtomicUsize>,
}

impl Port for Outside {
    fn call(&self, call: Call) {
        let cores = self.posting.cores().max(1);
        let core = match call.sid() {
            // A name that says no core is nobody's, as any core can tell.
            Some(sid) => home::locate(sid).map_or(0, |(core, _)| core % cores),
            None => self.opened.fetch_add(1, Ordering::Relaxed) % cores,
        };
        self.posting.post(core, Mail::Call(Box::new(call)));
    }
}
