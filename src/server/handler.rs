//! From closures to handlers.
//!
//! Any function of zero to eight extractors is a handler, synchronous or `async`. Its parameters are taken from the event by
//! their types, and what it returns is the acknowledgement. The marker `M` of the handler traits exists only so that the
//! compiler can tell the many forms apart; nobody writes it.
//!
//! A namespace's handlers are shared by all cores ([`SharedEventHandler`]); each core makes a handle of its own from them
//! ([`LocalEventHandler`]), so that running a handler touches no memory that another core writes to.

#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use super::arguments::clipped;
use super::counters::Count;
use super::extract::{
    ConnectContext, DisconnectContext, EventContext, ExtractError, FromConnect, FromDisconnect,
    FromEvent,
};
use super::listeners::EventErrorKind;
use super::reply::{Ack, HandlerError, IntoReply};
use super::socket::Socket;

#[cfg(test)]
mod tests;

/// How much of an event's name, which is the peer's, goes into the log.
const LOGGED_NAME_BYTES_MAX: usize = 64;

/// How much of the reason of a failure goes into the log.
const LOGGED_REASON_BYTES_MAX: usize = 512;

/// What is left to do of a handler that was started.
pub enum Outcome {
    /// Nothing: it has run to its end, or could not run.
    Done,
    /// It waits for something; the rest of it is for the core's executor.
    Pending(Pin<Box<dyn Future<Output = ()>>>),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "Done",
            Self::Pending(_) => "Pending",
        })
    }
}

/// A handler of events: a function of zero to eight extractors (see [`FromEvent`]), whose result is the acknowledgement (see
/// [`IntoReply`]).
///
/// These are handlers:
///
/// ```
/// # use ringhall::{Ack, Data, EventHandler, Socket};
/// # #[derive(serde::Deserialize)] struct Doc { title: String }
/// # async fn store(doc: Doc) {}
/// # fn on<M>(event: &str, handler: impl EventHandler<M>) {}
/// on("tick", || {});
/// on("sum", |Data((a, b)): Data<(i64, i64)>| a + b);
/// on("whoami", |socket: Socket| socket.id().to_string());
/// on("save", async |Data(doc): Data<Doc>, ack: Ack| {
///     store(doc).await;
///     ack.send("saved")
/// });
/// ```
///
/// A closure's parameters need their types written out. An `async` closure may use what it has captured; a closure that
/// returns an `async move` block needs clones of its own for each call. A handler has ended when its future has; what it
/// spawns lives on.
///
/// A handler of a namespace serves all cores and must be `Send + Sync`; one that is attached to a single socket need not be.
/// The futures of `async` handlers stay on the core of their socket and need be neither.
#[diagnostic::on_unimplemented(
    message = "this is not an event handler",
    label = "not a function of zero to eight extractors that returns an acknowledgement",
    note = "a handler's parameters are extractors, with their types written out: `|socket: Socket, Data(text): Data<String>| …`",
    note = "it returns `()`, a number, a string, a tuple, `Data(any serialisable value)`, or a `Result` of those; or it is `async`",
    note = "it is called many times: what it would move out of its captures must be cloned first"
)]
pub trait EventHandler<M>: Sized + 'static {
    #[doc(hidden)]
    fn handle<H: Handle<Self>>(handler: &H, context: &EventContext<'_>) -> Outcome;
}

/// What runs when a client joins a namespace: a function of zero to eight extractors (see [`FromConnect`]) that returns `()` or
/// `Result<(), E>`, and may be `async`.
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().on_connection(async |socket: Socket| socket.join("lobby"));
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a connect handler",
    label = "not a function of zero to eight extractors",
    note = "its parameters may be `Socket`, `Auth<T>`, `State<T>`, `Server`, with their types written out; it returns `()` or `Result<(), E>`"
)]
pub trait ConnectHandler<M>: Sized + 'static {
    #[doc(hidden)]
    fn handle<H: Handle<Self>>(
        handler: &H,
        context: &ConnectContext<'_>,
    ) -> Result<Outcome, ExtractError>;
}

/// What runs when a client has left a namespace: a function of zero to eight extractors (see [`FromDisconnect`]) that returns
/// `()` or `Result<(), E>`, and may be `async`.
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().on_disconnect(|socket: Socket, reason: DisconnectReason| println!("{}: {reason}", socket.id()));
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a disconnect handler",
    label = "not a function of zero to eight extractors",
    note = "its parameters may be `Socket`, `DisconnectReason`, `State<T>`, `Server`, with their types written out; it returns `()` or `Result<(), E>`"
)]
pub trait DisconnectHandler<M>: Sized + 'static {
    #[doc(hidden)]
    fn handle<H: Handle<Self>>(handler: &H, context: &DisconnectContext<'_>) -> Outcome;
}

/// What a connect or disconnect handler may return. An error is logged at debug level and counted.
///
/// ```
/// # use ringhall::{Server, Socket};
/// let builder = Server::builder().on_connection(|socket: Socket| socket.try_join("lobby"));
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from a connect or disconnect handler",
    label = "there is nobody to answer",
    note = "return `()` (end the body with `;`) or `Result<(), E>`",
    note = "a closure that loops for ever or always panics needs a written return type: `-> ()`"
)]
pub trait Ending {
    #[doc(hidden)]
    fn ending(self) -> Result<(), HandlerError>;
}

impl Ending for () {
    fn ending(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: fmt::Display> Ending for Result<(), E> {
    fn ending(self) -> Result<(), HandlerError> {
        self.map_err(HandlerError::new)
    }
}

/// A handle to a handler, kept by the future of an `async` handler for as long as it runs.
pub trait Handle<F>: Deref<Target = F> + Clone + 'static {}

impl<F, H: Deref<Target = F> + Clone + 'static> Handle<F> for H {}

/// A core's handle to a handler that all cores share. Counting an `async` handler's calls in the `Arc` itself would have
/// every core write to the same cache line for every event; hence the second allocation.
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is not shared between cores"
)]
pub(super) struct OnCore<F>(Rc<Arc<F>>);

impl<F> OnCore<F> {
    pub(super) fn new(handler: Arc<F>) -> Self {
        Self(Rc::new(handler))
    }
}

impl<F> Clone for OnCore<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Deref for OnCore<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0
    }
}

/// The marker of handlers that return a value. `A` is the tuple of their parameters.
pub struct Immediate<A>(PhantomData<A>);

/// The marker of handlers that return a future. `A` is the tuple of their parameters.
pub struct Deferred<A>(PhantomData<A>);

/// A function whose parameters are the elements of `A`.
pub trait Call<A>: 'static {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(&self, parameters: A) -> Self::Output;
}

/// An asynchronous function whose parameters are the elements of `A`.
pub trait CallAsync<A>: 'static {
    /// What its future yields.
    type Output;

    /// Calls it.
    fn call_async(&self, parameters: A) -> impl Future<Output = Self::Output>;
}

macro_rules! call {
    ($($name:ident: $parameter:ident),*) => {
        impl<F, R, $($parameter),*> Call<($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> R + 'static,
        {
            type Output = R;

            fn call(&self, ($($name,)*): ($($parameter,)*)) -> R {
                self($($name),*)
            }
        }

        // `AsyncFn` rather than `Fn() -> impl Future`, because the future of an `async` closure borrows what the closure has
        // captured, and such a closure is not `Fn`.
        impl<F, R, $($parameter),*> CallAsync<($($parameter,)*)> for F
        where
            F: AsyncFn($($parameter),*) -> R + 'static,
        {
            type Output = R;

            fn call_async(&self, ($($name,)*): ($($parameter,)*)) -> impl Future<Output = R> {
                self($($name),*)
            }
        }
    };
}

call! {}
call! { a: A }
call! { a: A, b: B }
call! { a: A, b: B, c: C }
call! { a: A, b: B, c: C, d: D }
call! { a: A, b: B, c: C, d: D, e: E }
call! { a: A, b: B, c: C, d: D, e: E, f: G }
call! { a: A, b: B, c: C, d: D, e: E, f: G, g: H }
call! { a: A, b: B, c: C, d: D, e: E, f: G, g: H, h: I }

impl<F, A> EventHandler<Immediate<A>> for F
where
    F: Call<A>,
    A: FromEvent,
    F::Output: IntoReply,
{
    fn handle<H: Handle<F>>(handler: &H, context: &EventContext<'_>) -> Outcome {
        if let Some(parameters) = extract::<A>(context) {
            let output = handler.call(parameters);
            let ack = ack_for::<F::Output>(context);
            report(output.into_reply(ack), context.socket(), context.event());
        }
        Outcome::Done
    }
}

impl<F, A> EventHandler<Deferred<A>> for F
where
    F: CallAsync<A>,
    A: FromEvent + 'static,
    F::Output: IntoReply,
{
    fn handle<H: Handle<F>>(handler: &H, context: &EventContext<'_>) -> Outcome {
        let Some(parameters) = extract::<A>(context) else {
            return Outcome::Done;
        };
        let ack = ack_for::<F::Output>(context);
        let (handler, socket) = (handler.clone(), context.socket().clone());
        // The name is wanted for errors alone, so it is copied only if somebody is told of them.
        let told = log::log_enabled!(log::Level::Debug) || socket.hears_errors();
        let event = told.then(|| context.event().to_owned());
        start(async move {
            let output = handler.call_async(parameters).await;
            report(
                output.into_reply(ack),
                &socket,
                event.as_deref().unwrap_or_default(),
            );
        })
    }
}

impl<F, A> ConnectHandler<Immediate<A>> for F
where
    F: Call<A>,
    A: FromConnect,
    F::Output: Ending,
{
    fn handle<H: Handle<F>>(
        handler: &H,
        context: &ConnectContext<'_>,
    ) -> Result<Outcome, ExtractError> {
        let output = handler.call(A::from_connect(context)?);
        report(output.ending(), context.socket(), "connect");
        Ok(Outcome::Done)
    }
}

impl<F, A> ConnectHandler<Deferred<A>> for F
where
    F: CallAsync<A>,
    A: FromConnect + 'static,
    F::Output: Ending,
{
    fn handle<H: Handle<F>>(
        handler: &H,
        context: &ConnectContext<'_>,
    ) -> Result<Outcome, ExtractError> {
        let parameters = A::from_connect(context)?;
        let (handler, socket) = (handler.clone(), context.socket().clone());
        Ok(start(async move {
            let output = handler.call_async(parameters).await;
            report(output.ending(), &socket, "connect");
        }))
    }
}

impl<F, A> DisconnectHandler<Immediate<A>> for F
where
    F: Call<A>,
    A: FromDisconnect,
    F::Output: Ending,
{
    fn handle<H: Handle<F>>(handler: &H, context: &DisconnectContext<'_>) -> Outcome {
        match A::from_disconnect(context) {
            Ok(parameters) => report(
                handler.call(parameters).ending(),
                context.socket(),
                "disconnect",
            ),
            Err(error) => reject(context.socket(), "disconnect", &error),
        }
        Outcome::Done
    }
}

impl<F, A> DisconnectHandler<Deferred<A>> for F
where
    F: CallAsync<A>,
    A: FromDisconnect + 'static,
    F::Output: Ending,
{
    fn handle<H: Handle<F>>(handler: &H, context: &DisconnectContext<'_>) -> Outcome {
        let parameters = match A::from_disconnect(context) {
            Ok(parameters) => parameters,
            Err(error) => {
                reject(context.socket(), "disconnect", &error);
                return Outcome::Done;
            }
        };
        let (handler, socket) = (handler.clone(), context.socket().clone());
        start(async move {
            let output = handler.call_async(parameters).await;
            report(output.ending(), &socket, "disconnect");
        })
    }
}

/// Runs `future` until it first waits. Most handlers never do, and cost no task then. It is polled with a waker that wakes
/// nobody; an executor polls what is pending once more when it takes it on, and the future learns the real waker there.
pub(crate) fn start(future: impl Future<Output = ()> + 'static) -> Outcome {
    let mut future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        std::task::Poll::Ready(()) => Outcome::Done,
        std::task::Poll::Pending => Outcome::Pending(future),
    }
}

/// The handler's parameters, or `None` if the handler cannot run.
// Inlined, and without adaptors: each of them would move the parameters once more.
#[inline(always)]
fn extract<A: FromEvent>(context: &EventContext<'_>) -> Option<A> {
    match A::from_event(context) {
        Ok(parameters) => Some(parameters),
        Err(error) => {
            reject(context.socket(), context.event(), &error);
            None
        }
    }
}

/// The right to answer, for a handler that returns `R`.
fn ack_for<R: IntoReply>(context: &EventContext<'_>) -> Ack {
    if R::ANSWERS {
        context.take_ack()
    } else {
        Ack::new(None)
    }
}

fn reject(socket: &Socket, event: &str, error: &ExtractError) {
    let level = error.log_level();
    log::log!(
        level,
        "{}: the handler of {:?} did not run: {}",
        socket.namespace(),
        loggable(event),
        one_line(error)
    );
    socket.count(Count::Rejected);
    socket.raise(event, EventErrorKind::Rejected, error);
}

/// Runs a connect handler. Where it cannot run, the socket stays: other handlers may listen to it.
pub(crate) fn connect(handler: &LocalConnectHandler, context: &ConnectContext<'_>) -> Outcome {
    handler(context).unwrap_or_else(|error| {
        reject(context.socket(), "connect", &error);
        Outcome::Done
    })
}

fn report(result: Result<(), HandlerError>, socket: &Socket, event: &str) {
    if let Err(error) = result {
        socket.count(Count::Failed);
        tell(socket, event, EventErrorKind::Failed, &error);
    }
}

/// Tells the log, and whoever listens to errors.
pub(crate) fn tell(socket: &Socket, event: &str, kind: EventErrorKind, error: &HandlerError) {
    let what = match kind {
        EventErrorKind::Refused => "a middleware refused",
        _ => "a handler failed at",
    };
    log::debug!(
        "{}: {what} {:?}: {}",
        socket.namespace(),
        loggable(event),
        one_line(error)
    );
    socket.raise(event, kind, error);
}

/// The error as text that cannot pass for another line of the log: what the peer sent may be quoted in it.
fn one_line(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let mut line = String::new();
    for character in clipped(&text, LOGGED_REASON_BYTES_MAX).chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn loggable(event: &str) -> &str {
    clipped(event, LOGGED_NAME_BYTES_MAX)
}

/// A handler of any kind, as one core runs it. `Rc`, so that a handler may be replaced while it runs.
pub(crate) type LocalEventHandler = Rc<dyn Fn(&EventContext<'_>) -> Outcome>;
/// As [`LocalEventHandler`]. An error says that the handler did not run, and leaves it to the caller what becomes of a socket
/// that nobody listens to.
pub(crate) type LocalConnectHandler =
    Rc<dyn Fn(&ConnectContext<'_>) -> Result<Outcome, ExtractError>>;
/// As [`LocalEventHandler`].
pub(crate) type LocalDisconnectHandler = Rc<dyn Fn(&DisconnectContext<'_>) -> Outcome>;

/// A handler of a namespace. Each core calls it once to get its own [`LocalEventHandler`].
pub(crate) type SharedEventHandler = Arc<dyn Fn() -> LocalEventHandler + Send + Sync>;
/// As [`SharedEventHandler`].
pub(crate) type SharedConnectHandler = Arc<dyn Fn() -> LocalConnectHandler + Send + Sync>;
/// As [`SharedEventHandler`].
pub(crate) type SharedDisconnectHandler = Arc<dyn Fn() -> LocalDisconnectHandler + Send + Sync>;

/// Erases the type of a handler, for one core and for all of them.
macro_rules! erase {
    (local $trait:ident: $local:ident -> $local_type:ident) => {
        /// A handler for this core alone.
        pub(crate) fn $local<M, F: $trait<M>>(handler: F) -> $local_type {
            let handler = Rc::new(handler);
            Rc::new(move |context| F::handle(&handler, context))
        }
    };
    (shared $trait:ident: $shared:ident -> $shared_type:ident) => {
        /// A handler for every core.
        pub(crate) fn $shared<M, F: $trait<M> + Send + Sync>(handler: F) -> $shared_type {
            let handler = Arc::new(handler);
            Arc::new(move || {
                let handler = OnCore::new(handler.clone());
                Rc::new(move |context| F::handle(&handler, context))
            })
        }
    };
}

erase! { local EventHandler: local_event -> LocalEventHandler }
erase! { local DisconnectHandler: local_disconnect -> LocalDisconnectHandler }
erase! { shared EventHandler: shared_event -> SharedEventHandler }
erase! { shared ConnectHandler: shared_connect -> SharedConnectHandler }
erase! { shared DisconnectHandler: shared_disconnect -> SharedDisconnectHandler }
