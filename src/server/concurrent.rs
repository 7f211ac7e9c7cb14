//! Handlers for whose end the next event does not wait.

use std::marker::PhantomData;
use std::ops::Deref;

use super::extract::EventContext;
use super::handler::{EventHandler, Handle, Outcome};

#[cfg(test)]
mod tests;

/// How many calls of concurrent handlers of one socket run at a time, unless [`Concurrent::at_most`] says otherwise.
const AT_MOST: usize = 64;

/// Lets the events of a socket be handled at the same time: `handler` is begun in order, but while it waits, the next event
/// of the socket is handled already. So answers may come in another order than the events.
///
/// Of one socket at most 64 such calls run at a time, and beyond that the next event waits for one of them, so that a client that floods the server
/// does not make it hold any number of them; [`at_most`](Concurrent::at_most) sets another number.
///
/// ```
/// use std::time::Duration;
/// use ringhall::{Data, Server, concurrent};
///
/// let server = Server::builder()
///     .on("search", concurrent(async |Data(words): Data<String>| {
///         tokio::time::sleep(Duration::from_millis(200)).await; // whoever is faster answers first
///         words.len()
///     }))
///     .on("import", concurrent(async |Data(path): Data<String>| path.len()).at_most(2));
/// # let _ = server;
/// ```
pub fn concurrent<M, F: EventHandler<M>>(handler: F) -> Concurrent<F> {
    Concurrent {
        handler,
        at_most: AT_MOST,
    }
}

/// A handler for whose end the next event does not wait; see [`concurrent`].
///
/// ```
/// use ringhall::{Data, Server, concurrent};
/// let search = concurrent(async |Data(words): Data<String>| words.len()).at_most(4);
/// let builder = Server::builder().on("search", search);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "it is a handler, and has to be registered"]
pub struct Concurrent<F> {
    handler: F,
    at_most: usize,
}

impl<F> Concurrent<F> {
    /// Sets how many calls of concurrent handlers of one socket may be running for this one to be let run beside them. 0 is the order of
    /// ordinary handlers.
    ///
    /// ```
    /// use ringhall::{Server, concurrent};
    /// let builder = Server::builder().on("slow", concurrent(async || "done").at_most(8));
    /// # let _ = builder;
    /// ```
    pub fn at_most(mut self, calls: usize) -> Self {
        self.at_most = calls;
        self
    }
}

/// The marker of concurrent handlers. `M` is that of the handler itself.
pub struct Concurrently<M>(PhantomData<M>);

impl<F, M> EventHandler<Concurrently<M>> for Concurrent<F>
where
    F: EventHandler<M>,
{
    fn handle<H: Handle<Self>>(handler: &H, context: &EventContext<'_>) -> Outcome {
        let within = Within(handler.clone(), PhantomData);
        match F::handle(&within, context) {
            Outcome::Done => Outcome::Done,
            Outcome::Pending(future) => context.socket().run_beside(future, handler.at_most),
        }
    }
}

/// A handle of the handler in a [`Concurrent`].
struct Within<H, F>(H, PhantomData<F>);

impl<H: Clone, F> Clone for Within<H, F> {
    fn clone(&self) -> Self {
        Within(self.0.clone(), PhantomData)
    }
}

impl<F, H: Deref<Target = Concurrent<F>>> Deref for Within<H, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0.handler
    }
}
