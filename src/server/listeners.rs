//! Handlers beside those of single events: catch-all listeners, packet middlewares, handlers of errors.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::extract::{EventContext, FromEvent};
use super::handler::{
    Call, CallAsync, Deferred, Ending, EventHandler, Handle, Immediate, LocalEventHandler, OnCore,
    SharedEventHandler, shared_event,
};
use super::namespace::Namespace;
use super::reply::{Ack, HandlerError, IntoReply};
use super::socket::Socket;

#[cfg(test)]
mod tests;

/// Names a handler that was attached to a socket, so that [`Socket::off_listener`] can take it off again.
///
/// ```
/// # fn f(socket: &ringhall::Socket) {
/// let listener = socket.on("tick", || println!("tick"));
/// socket.off_listener(listener);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    core: usize,
    number: u64,
}

impl Listener {
    pub(super) fn new(core: usize, number: u64) -> Self {
        Listener { core, number }
    }
}

/// So that `|socket: Socket| socket.on(…)` is a handler.
impl Ending for Listener {
    fn ending(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// As for connect handlers: it answers nothing.
impl IntoReply for Listener {
    const ANSWERS: bool = false;

    fn into_reply(self, _: Ack) -> Result<(), HandlerError> {
        Ok(())
    }
}

/// What went wrong on a socket, as it is told to the handlers of [`Namespace::on_error`] and [`Socket::on_error`].
///
/// It prints as the message of the error.
///
/// ```
/// use ringhall::{EventError, Server, Socket};
///
/// let server = Server::builder().on_error(|socket: &Socket, error: &EventError| {
///     println!("{}: {:?} at {:?}: {error}", socket.id(), error.kind(), error.event());
/// });
/// # let _ = server;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    event: String,
    kind: EventErrorKind,
    message: String,
}

/// Where an [`EventError`] comes from.
///
/// ```
/// use ringhall::{EventError, EventErrorKind, Server, Socket};
/// let server = Server::builder().on_error(|socket: &Socket, error: &EventError| {
///     if error.kind() == EventErrorKind::Protocol {
///         println!("{} does not speak Socket.IO: {error}", socket.id());
///     }
/// });
/// # let _ = server;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventErrorKind {
    /// A packet middleware did not let the event pass: no handler has seen it.
    Refused,
    /// A handler did not run, because one of its parameters could not be had.
    Rejected,
    /// A handler returned an error, or an answer that cannot be encoded.
    Failed,
    /// The client broke the protocol. Its session ends now.
    Protocol,
}

impl EventError {
    pub(crate) fn new(event: &str, kind: EventErrorKind, message: impl fmt::Display) -> Self {
        EventError {
            event: event.to_owned(),
            kind,
            message: message.to_string(),
        }
    }

    /// The name of the event; `connect` or `disconnect` for a handler of those. Empty if the client broke the protocol.
    ///
    /// ```
    /// # fn f(error: &ringhall::EventError) {
    /// println!("{:?} went wrong: {error}", error.event());
    /// # }
    /// ```
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Where the error comes from.
    ///
    /// ```
    /// # fn f(error: &ringhall::EventError) {
    /// let is_ours = error.kind() == ringhall::EventErrorKind::Failed;
    /// # let _ = is_ours;
    /// # }
    /// ```
    pub fn kind(&self) -> EventErrorKind {
        self.kind
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EventError {}

/// What a middleware says of an event.
#[doc(hidden)]
pub enum Passage {
    Now(Result<(), HandlerError>),
    Later(PassageFuture),
}

/// A middleware that waits for something.
pub(crate) type PassageFuture = Pin<Box<dyn Future<Output = Result<(), HandlerError>>>>;

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
        })
    }
}

/// A packet middleware: a function of zero to eight extractors (see [`FromEvent`]) that returns `()` or `Result<(), E>`, and may
/// be `async`; see [`Namespace::packet_middleware`].
///
/// ```
/// use ringhall::{EventName, Server, Session, Socket};
///
/// struct User { is_admin: bool }
///
/// let server = Server::builder().packet_middleware(|EventName(event): EventName, user: Session<User>| {
///     if event.starts_with("admin:") && !user.is_admin {
///         return Err("not yours");
///     }
///     Ok(())
/// });
/// # let _ = server;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a packet middleware",
    label = "not a function of zero to eight extractors that returns `()` or `Result<(), E>`",
    note = "its parameters may be `EventName`, `Payload`, `Data<T>`, `Socket`, `State<T>`, `Session<T>`, `Server`, with their types written out"
)]
pub trait PacketMiddleware<M>: Sized + 'static {
    #[doc(hidden)]
    fn pass<H: Handle<Self>>(middleware: &H, context: &EventContext<'_>) -> Passage;
}

impl<F, A> PacketMiddleware<Immediate<A>> for F
where
    F: Call<A>,
    A: FromEvent,
    F::Output: Ending,
{
    fn pass<H: Handle<F>>(middleware: &H, context: &EventContext<'_>) -> Passage {
        // A gate whose parameters cannot be had does not open.
        Passage::Now(match A::from_event(context) {
            Ok(parameters) => middleware.call(parameters).ending(),
            Err(error) => Err(HandlerError::new(error)),
        })
    }
}

impl<F, A> PacketMiddleware<Deferred<A>> for F
where
    F: CallAsync<A>,
    A: FromEvent + 'static,
    F::Output: Ending,
{
    fn pass<H: Handle<F>>(middleware: &H, context: &EventContext<'_>) -> Passage {
        let parameters = match A::from_event(context) {
            Ok(parameters) => parameters,
            Err(error) => return Passage::Now(Err(HandlerError::new(error))),
        };
        let middleware = middleware.clone();
        let mut future: PassageFuture =
            Box::pin(async move { middleware.call_async(parameters).await.ending() });
        // As for handlers: most never wait.
        let mut context = Context::from_waker(Waker::noop());
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => Passage::Now(result),
            Poll::Pending => Passage::Later(future),
        }
    }
}

/// As [`LocalEventHandler`].
pub(crate) type LocalMiddleware = Rc<dyn Fn(&EventContext<'_>) -> Passage>;
/// As [`SharedEventHandler`].
type SharedMiddleware = Arc<dyn Fn() -> LocalMiddleware + Send + Sync>;
/// A handler of errors of one socket.
pub(crate) type LocalErrorHandler = Rc<dyn Fn(&Socket, &EventError)>;
/// A handler of errors of a namespace.
type SharedErrorHandler = Arc<dyn Fn(&Socket, &EventError) + Send + Sync>;

/// A middleware for this core alone.
pub(crate) fn local_middleware<M, F: PacketMiddleware<M>>(middleware: F) -> LocalMiddleware {
    let middleware = Rc::new(middleware);
    Rc::new(move |context| F::pass(&middleware, context))
}

/// A middleware for every core.
fn shared_middleware<M, F: PacketMiddleware<M> + Send + Sync>(middleware: F) -> SharedMiddleware {
    let middleware = Arc::new(middleware);
    Arc::new(move || {
        let middleware = OnCore::new(middleware.clone());
        Rc::new(move |context| F::pass(&middleware, context))
    })
}

/// Those of a namespace as they were registered.
#[derive(Clone, Default)]
pub(crate) struct SharedListeners {
    any: Vec<SharedEventHandler>,
    any_outgoing: Vec<SharedEventHandler>,
    middlewares: Vec<SharedMiddleware>,
    errors: Vec<SharedErrorHandler>,
}

/// One core's handles of them.
pub(crate) struct Listeners {
    pub(crate) any: Vec<LocalEventHandler>,
    pub(crate) any_outgoing: Vec<LocalEventHandler>,
    pub(crate) middlewares: Vec<LocalMiddleware>,
    pub(crate) errors: Vec<SharedErrorHandler>,
    /// Is anything to be done with an event before its handlers?
    pub(crate) inspect: bool,
    /// Those of outgoing events are being called.
    pub(crate) telling: Cell<bool>,
}

impl SharedListeners {
    /// Those of another table come behind these.
    pub(crate) fn extend(&mut self, other: SharedListeners) {
        self.any.extend(other.any);
        self.any_outgoing.extend(other.any_outgoing);
        self.middlewares.extend(other.middlewares);
        self.errors.extend(other.errors);
    }

    pub(crate) fn on_this_core(&self) -> Listeners {
        Listeners {
            any: self.any.iter().map(|handler| handler()).collect(),
            any_outgoing: self.any_outgoing.iter().map(|handler| handler()).collect(),
            middlewares: self.middlewares.iter().map(|handler| handler()).collect(),
            errors: self.errors.clone(),
            inspect: !self.any.is_empty() || !self.middlewares.is_empty(),
            telling: Cell::new(false),
        }
    }
}

impl Namespace {
    /// Sees each event that comes in, before its middlewares and handlers. Catch-all handlers run in the order of their registration; an event
    /// that a middleware refuses was seen by them, too. They may not answer: an [`Ack`] that they take is lost to the handlers.
    ///
    /// ```
    /// # use ringhall::{EventName, Namespace, Payload, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_any(|socket: Socket, EventName(event): EventName, payload: Payload| {
    ///     println!("{} says {event}{}", socket.id(), payload.json());
    /// })
    /// # }
    /// ```
    pub fn on_any<M>(mut self, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.table.listeners.any.push(shared_event(handler));
        self
    }

    /// Sees each event that goes out to a socket of the namespace, before it is sent: those that are emitted to the socket, and broadcasts, once for each
    /// socket that gets it. Acknowledgements and what belongs to connecting are not seen.
    ///
    /// A broadcast is read again on each core where somebody watches, and the handlers are called for each receiver, when it has been handed to them: this is for
    /// finding faults and for measuring. What such a handler emits in this namespace itself is sent and not seen, as far as it is emitted
    /// before the handler first waits: else it would call itself without end.
    ///
    /// ```
    /// # use ringhall::{EventName, Namespace, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_any_outgoing(|socket: Socket, EventName(event): EventName| println!("{event} to {}", socket.id()))
    /// # }
    /// ```
    pub fn on_any_outgoing<M>(mut self, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.table
            .listeners
            .any_outgoing
            .push(shared_event(handler));
        self
    }

    /// Asks before each event whether it may pass (Node's `socket.use`, for all sockets of the namespace). Middlewares are asked one after the other in the order of
    /// their registration, and an `async` one is waited for: meanwhile later events of the same socket wait in line. With an error the
    /// event is dropped, whoever sent it gets no acknowledgement, and the handlers of [`on_error`](Namespace::on_error) are told; the
    /// connection lives on. A middleware that panics, or one of whose parameters cannot be had, lets nothing pass.
    ///
    /// A middleware may answer by itself: it takes an [`Ack`] then, and handlers behind it find that no answer is expected.
    ///
    /// ```
    /// # use ringhall::{EventName, Namespace};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.packet_middleware(|EventName(event): EventName| match event.as_str() {
    ///     "shutdown" => Err("nobody may"),
    ///     _ => Ok(()),
    /// })
    /// # }
    /// ```
    pub fn packet_middleware<M>(
        mut self,
        middleware: impl PacketMiddleware<M> + Send + Sync,
    ) -> Self {
        self.table
            .listeners
            .middlewares
            .push(shared_middleware(middleware));
        self
    }

    /// Is told what goes wrong on a socket of the namespace (Node's `error` event): a middleware refused an event, a handler could not run or returned an error, or the
    /// client broke the protocol, in which case its session ends next. Without such a handler errors are logged at debug level, and counted
    /// ([`Server::counters`](crate::Server::counters)) in any case. A panic of a handler is no such error: it is logged at error level.
    ///
    /// ```
    /// # use ringhall::{EventError, Namespace, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_error(|socket: &Socket, error: &EventError| {
    ///     socket.emit("refused", (error.event(), error.to_string()));
    /// })
    /// # }
    /// ```
    pub fn on_error(
        mut self,
        handler: impl Fn(&Socket, &EventError) + Send + Sync + 'static,
    ) -> Self {
        self.table.listeners.errors.push(Arc::new(handler));
        self
    }
}
