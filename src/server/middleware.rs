//! Middlewares of namespaces: who may come in.

#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use serde::Serialize;

use super::extract::{ConnectContext, ExtractError, FromConnect, Session};
use super::handler::{Call, CallAsync, Deferred, Handle, Immediate, OnCore};
use super::socket::Socket;

#[cfg(test)]
mod tests;

/// Why a client is not let into a namespace: what its `connect_error` says.
///
/// In JavaScript it is an `Error` with this message, and with `data` if there is any. A string is a rejection without data.
///
/// ```
/// use ringhall::{Rejection, Server, Socket};
///
/// let server = Server::builder().middleware(|socket: Socket| {
///     match socket.handshake().header("x-tenant") {
///         Some(_) => Ok(()),
///         None => Err(Rejection::new("which tenant?").data(serde_json::json!({ "code": 17 }))),
///     }
/// });
/// # let _ = server;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    message: String,
    /// JSON.
    data: Option<String>,
}

impl Rejection {
    /// With this message, and without data.
    ///
    /// ```
    /// assert_eq!(ringhall::Rejection::new("not today").to_string(), "not today");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Rejection {
            message: message.into(),
            data: None,
        }
    }

    /// Adds data for the client. A value that cannot be written as JSON is logged and left out.
    ///
    /// ```
    /// let rejection = ringhall::Rejection::new("slow down").data(("retry after", 30));
    /// # let _ = rejection;
    /// ```
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = serde_json::to_string(&data)
            .inspect_err(|error| log::error!("the data of a rejection cannot be JSON: {error}"))
            .ok();
        self
    }

    /// What CONNECT_ERROR carries (Socket.IO protocol, "Connection to a namespace"): without `data` if there is none, as in Node.
    pub(crate) fn to_json(&self) -> String {
        let message = serde_json::Value::from(self.message.as_str());
        match &self.data {
            None => format!(r#"{{"message":{message}}}"#),
            Some(data) => format!(r#"{{"message":{message},"data":{data}}}"#),
        }
    }

    /// Something is wrong with the program, which is none of the client's business.
    pub(crate) fn internal() -> Self {
        Rejection::new("Internal error")
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Rejection {}

impl From<&str> for Rejection {
    fn from(message: &str) -> Self {
        Rejection::new(message)
    }
}

impl From<String> for Rejection {
    fn from(message: String) -> Self {
        Rejection::new(message)
    }
}

/// A middleware's parameter could not be had.
impl From<ExtractError> for Rejection {
    fn from(error: ExtractError) -> Self {
        log::log!(error.log_level(), "a middleware did not run: {error:?}");
        match error {
            ExtractError::MissingState { .. } | ExtractError::MissingSession { .. } => {
                Rejection::internal()
            }
            error => Rejection::new(error.to_string()),
        }
    }
}

/// What a [middleware](crate::Namespace::middleware) may return: `()` lets everybody in, a [`Session`] does and gives the socket its session
/// value; with a `Result` of one of these, whose error can be a string or a [`Rejection`], it depends.
///
/// ```
/// # use ringhall::{Server, Socket};
/// let builder = Server::builder().middleware(|socket: Socket| socket.join("newcomers"));
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from a middleware",
    label = "neither lets in nor refuses",
    note = "return `()` (end the body with `;`), `Session<T>`, or a `Result` of these, whose error is `&str`, `String` or `Rejection`",
    note = "a closure that loops for ever or always panics needs a written return type: `-> ()`"
)]
pub trait Admission {
    #[doc(hidden)]
    fn admit(self, socket: &Socket) -> Result<(), Rejection>;
}

impl Admission for () {
    fn admit(self, _socket: &Socket) -> Result<(), Rejection> {
        Ok(())
    }
}

/// The value is the socket's session from now on: see [`Session`].
impl<T: 'static> Admission for Session<T> {
    fn admit(self, socket: &Socket) -> Result<(), Rejection> {
        socket.keep_session(self.0);
        Ok(())
    }
}

impl<T: Admission, E: Into<Rejection>> Admission for Result<T, E> {
    fn admit(self, socket: &Socket) -> Result<(), Rejection> {
        self.map_err(Into::into)?.admit(socket)
    }
}

/// How far a middleware has come.
pub enum Passage {
    /// It has run to its end.
    Decided(Result<(), Rejection>),
    /// It waits for something.
    Undecided(Undecided),
}

/// The rest of a middleware.
pub(crate) type Undecided = Pin<Box<dyn Future<Output = Result<(), Rejection>>>>;

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Decided(_) => "Decided",
            Self::Undecided(_) => "Undecided",
        })
    }
}

/// What decides who may come into a namespace: a function of zero to eight extractors (see [`FromConnect`]) that returns an
/// [`Admission`], and may be `async`; see [`Namespace::middleware`](crate::Namespace::middleware).
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().middleware(async |socket: Socket, Auth(token): Auth<Option<String>>| {
///     tokio::task::yield_now().await;
///     token.map(|token| socket.join(token)).ok_or("no token")
/// });
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a middleware",
    label = "not a function of zero to eight extractors that lets in or refuses",
    note = "its parameters may be `Socket`, `Auth<T>`, `State<T>`, `Server`, with their types written out",
    note = "it returns `()`, `Session<T>`, or a `Result` of these, whose error is `&str`, `String` or `Rejection`"
)]
pub trait Middleware<M>: Sized + 'static {
    #[doc(hidden)]
    fn decide<H: Handle<Self>>(middleware: &H, context: &ConnectContext<'_>) -> Passage;
}

impl<F, A> Middleware<Immediate<A>> for F
where
    F: Call<A>,
    A: FromConnect,
    F::Output: Admission,
{
    fn decide<H: Handle<F>>(middleware: &H, context: &ConnectContext<'_>) -> Passage {
        let parameters = A::from_connect(context).map_err(Rejection::from);
        Passage::Decided(
            parameters.and_then(|parameters| middleware.call(parameters).admit(context.socket())),
        )
    }
}

impl<F, A> Middleware<Deferred<A>> for F
where
    F: CallAsync<A>,
    A: FromConnect + 'static,
    F::Output: Admission,
{
    fn decide<H: Handle<F>>(middleware: &H, context: &ConnectContext<'_>) -> Passage {
        let parameters = match A::from_connect(context) {
            Ok(parameters) => parameters,
            Err(error) => return Passage::Decided(Err(error.into())),
        };
        let (middleware, socket) = (middleware.clone(), context.socket().clone());
        let mut rest: Undecided =
            Box::pin(async move { middleware.call_async(parameters).await.admit(&socket) });
        // As for handlers: one that never waits costs no task.
        match rest.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decided) => Passage::Decided(decided),
            Poll::Pending => Passage::Undecided(rest),
        }
    }
}

/// A middleware of any kind, as one core runs it.
pub(crate) type LocalMiddleware = Rc<dyn Fn(&ConnectContext<'_>) -> Passage>;
/// A middleware of a namespace. Each core calls it once to get its own [`LocalMiddleware`].
pub(crate) type SharedMiddleware = Arc<dyn Fn() -> LocalMiddleware + Send + Sync>;

/// Erases the type of a middleware.
pub(crate) fn shared_middleware<M, F: Middleware<M> + Send + Sync>(
    middleware: F,
) -> SharedMiddleware {
    let middleware = Arc::new(middleware);
    Arc::new(move || {
        let middleware = OnCore::new(middleware.clone());
        Rc::new(move |context| F::decide(&middleware, context))
    })
}
