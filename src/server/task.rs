//! Tasks of the user on a core.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::counters::{self, Count};
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

/// Runs a future of the user; a panic in it is logged and counted, and ends it.
pub(crate) async fn guarded(task: LocalFuture) {
    all_guarded(vec![task]).await;
}

/// Runs several futures of the user at once, until all have ended.
pub(crate) async fn all_guarded(mut tasks: Vec<LocalFuture>) {
    // All are polled whenever one can go on: they are the handlers of one event, so they are few.
    poll_fn(move |cx| {
        let mut index = 0;
        while let Some(task) = tasks.get_mut(index) {
            match guard(|| task.as_mut().poll(cx)) {
                Some(Poll::Pending) => index += 1,
                Some(Poll::Ready(())) | None => {
                    let ended = tasks.remove(index);
                    discard(ended);
                }
            }
        }
        if tasks.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Drops something that may hold values of the user's, whose destructors may panic.
pub(crate) fn discard<T>(value: T) {
    guard(|| drop(value));
}

/// The same for several things: a second destructor that panics while the first one's panic is under way would end the process.
pub(crate) fn discard_each<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

/// A future that is polled by the shard and counts as a task meanwhile: what it waits for may be brought by the runtime.
pub(crate) async fn counted<T>(hall: Rc<Hall>, future: impl Future<Output = T>) -> T {
    let _alive = Alive::new(hall);
    future.await
}

/// A future of the user's; a panic in it is logged and counted, and `None`.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(Some(future));
    let result = poll_fn(|cx| match future.as_mut().as_pin_mut() {
        None => Poll::Ready(None),
        Some(future) => match guard(|| future.poll(cx)) {
            Some(polled) => polled.map(Some),
            None => Poll::Ready(None),
        },
    })
    .await;
    // What it holds is dropped here, and may panic in it.
    guard(|| future.set(None));
    result
}

/// Runs the user's code; a panic in it is logged and counted, and `None`.
pub(crate) fn guard<T>(run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(panic) => {
            log_panic(&*panic);
            // What was thrown may throw in its turn when it is dropped. Once more is enough: then it is kept for ever.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
                std::mem::forget(again);
            }
            None
        }
    }
}

/// The same of what has no result, for those who know this only by a pointer.
pub(crate) fn shield(act: &mut dyn FnMut()) {
    guard(act);
}

#[cfg(test)]
thread_local! {
    /// Panics of handlers on this thread.
    pub(super) static PANICS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A handler panicked: neither the core nor the connection is harmed. It is logged and counted.
pub(crate) fn log_panic(panic: &(dyn std::any::Any + Send)) {
    #[cfg(test)]
    PANICS.with(|panics| panics.set(panics.get() + 1));
    counters::count_here(Count::Panicked);
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    log::error!("a handler panicked: {}", text.unwrap_or("(no message)"));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Panics when it is dropped, with something that does so, too.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                std::panic::panic_any(Bomb(self.0 - 1));
            }
        }
    }

    fn block_on(future: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(future);
    }

    #[test]
    fn what_panics_when_it_is_dropped_ends_nothing_else() {
        let before = PANICS.get();
        discard(Bomb(1));
        assert_eq!(PANICS.get() - before, 1);
        // The second is thrown by what the first threw.
        discard(Bomb(2));
        assert_eq!(PANICS.get() - before, 2);
        let bomb = Bomb(1);
        let holder = async {
            tokio::task::yield_now().await;
            let _bomb = bomb;
        };
        block_on(guarded(Box::pin(holder)));
        assert_eq!(PANICS.get() - before, 3);
        let bomb = Bomb(1);
        let never = poll_fn(move |_| {
            let _ = &bomb;
            Poll::Ready(7)
        });
        block_on(async { assert_eq!(caught(never).await, Some(7)) });
        assert_eq!(PANICS.get() - before, 4);
        discard_each([Bomb(1), Bomb(0), Bomb(1)]);
        assert_eq!(PANICS.get() - before, 6);
    }

    #[test]
    fn futures_of_one_event_wait_at_the_same_time() {
        let (first, second) = tokio::sync::oneshot::channel::<()>();
        let ended = Rc::new(Cell::new(0));
        let (one, two) = (ended.clone(), ended.clone());
        // The first waits for the second: one after the other they would never end.
        block_on(all_guarded(vec![
            Box::pin(async move {
                second.await.unwrap();
                one.set(one.get() + 1);
            }),
            Box::pin(async { panic!("on purpose") }),
            Box::pin(async move {
                tokio::task::yield_now().await;
                first.send(()).unwrap();
                two.set(two.get() + 1);
            }),
        ]));
        assert_eq!(ended.get(), 2);
    }
}
