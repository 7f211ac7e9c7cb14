//! Tasks of the user on a core.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::shard::hall::Hall;
use crate::shard::thread;

/// A future of a handler, on the core of its socket.
pub(crate) type LocalFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Starts a task on the core that this is called from, and returns at once. The task may use what belongs to the
/// core, such as a [`Socket`](crate::Socket), and everything built on tokio: timers, sockets, channels, client libraries.
///
/// Use it rather than `tokio::task::spawn_local`: a core that knows of no task waits in a way in which tasks do not run.
/// A panic in the task is logged and ends the task alone.
///
/// # Panics
/// Outside of a core of a server, that is, anywhere but in a handler or in a task started from one.
///
/// ```
/// use std::time::Duration;
/// use ringhall::{Server, Socket};
///
/// let server = Server::builder().on_connection(|socket: Socket| {
///     ringhall::spawn(async move {
///         while socket.is_connected() {
///             socket.emit("tick", ());
///             tokio::time::sleep(Duration::from_secs(1)).await;
///         }
///     });
/// });
/// # let _ = server;
/// ```
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    let Some(hall) = thread::current() else {
        panic!("ringhall::spawn was called on a thread that is no core of a server");
    };
    spawn_on(hall, Box::pin(task));
}

/// Counts as a task as long as it lives, however it ends.
pub(crate) struct Alive(Rc<Hall>);

impl Alive {
    pub(crate) fn new(hall: Rc<Hall>) -> Self {
        hall.task_started();
        Alive(hall)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.task_ended();
    }
}

pub(crate) fn spawn_on(hall: Rc<Hall>, task: LocalFuture) {
    let alive = Alive::new(hall);
    tokio::task::spawn_local(async move {
        let _alive = alive;
        guarded(task).await;
    });
}

/// Runs a future of the user; a panic in it is logged, and ends it.
pub(crate) async fn guarded(mut task: LocalFuture) {
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            log_panic(&*panic);
            Poll::Ready(())
        })
    })
    .await;
}

/// A future that is polled by the shard and counts as a task meanwhile: what it waits for may be brought by the runtime.
pub(crate) async fn counted<T>(hall: Rc<Hall>, future: impl Future<Output = T>) -> T {
    let _alive = Alive::new(hall);
    future.await
}

/// A future of the user's; a panic in it is logged, and `None`.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(panic) => {
                log_panic(&*panic);
                Poll::Ready(None)
            }
        }
    })
    .await
}

/// Runs the user's code; a panic in it is logged, and `None`.
pub(crate) fn guard<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run))
        .inspect_err(|panic| log_panic(&**panic))
        .ok()
}

#[cfg(test)]
thread_local! {
    /// Panics of handlers on this thread.
    pub(super) static PANICS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A handler panicked: neither the core nor the connection is harmed.
pub(crate) fn log_panic(panic: &(dyn std::any::Any + Send)) {
    #[cfg(test)]
    PANICS.with(|panics| panics.set(panics.get() + 1));
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    log::error!("a handler panicked: {}", text.unwrap_or("(no message)"));
}
