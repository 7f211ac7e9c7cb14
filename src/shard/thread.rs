//! The thread of one core: a tokio-uring runtime on which the shard and the user's async handlers live.
//!
//! While no task of the user is alive, the shard waits in its own ring: one system call for each wake. Otherwise it waits
//! through the runtime, which watches the ring's descriptor, and lets the tasks run in between.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::application::Application;
use super::hall::Hall;
use super::{Pace, Shard};
use crate::reactor::Wait;
use crate::reactor::kernel::Kernel;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Hall>>> = const { RefCell::new(None) };
}

/// The hall of the core that this thread is, if it is one.
pub(crate) fn current() -> Option<Rc<Hall>> {
    // What is dropped with a thread may still ask.
    let current = CURRENT.try_with(|current| current.borrow().clone());
    current.ok().flatten()
}

/// Makes this thread the core of `hall` until the guard drops.
pub(crate) fn enter(hall: Rc<Hall>) -> Entered {
    Entered(CURRENT.with(|current| current.replace(Some(hall))))
}

pub(crate) struct Entered(Option<Rc<Hall>>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.0.take()));
    }
}

/// Runs a shard on this thread until it is over.
pub(crate) fn run<A: Application>(mut shard: Shard<Kernel, A>, hall: &Rc<Hall>) -> io::Result<()> {
    let _core = enter(hall.clone());
    let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(64))?;
    runtime.block_on(async move {
        let metrics = tokio::runtime::Handle::current().metrics();
        let mut pace = Pace {
            active: true,
            more: true,
            deadline_ms: None,
        };
        while !shard.is_over() {
            let alone = hall.tasks() == 0 && metrics.num_alive_tasks() == 0;
            if alone {
                // A task that has just ended may have marked something since the last turn.
                let wait = if pace.more || hall.wants_turn() {
                    Wait::No
                } else {
                    sleep(&shard, pace.deadline_ms)
                };
                pace = shard.turn(wait)?;
            } else {
                pace = shard.turn(Wait::No)?;
                if pace.active || pace.more {
                    tokio::task::yield_now().await;
                } else {
                    wait_with_tasks(&mut shard, hall, pace.deadline_ms).await?;
                }
            }
        }
        Ok(())
    })
}

/// Announces sleep and says how long it may last.
fn sleep<A: Application>(shard: &Shard<Kernel, A>, deadline_ms: Option<u64>) -> Wait {
    if !shard.fall_asleep() {
        return Wait::No;
    }
    deadline_ms.map_or(Wait::Forever, |at| {
        Wait::Ms(at.saturating_sub(shard.clock_ms()))
    })
}

/// Waits through the runtime for the ring, for a mark by a task, or for the deadline.
///
/// The order matters: sleep is announced to those who post mail, *then* the ring is looked at, *then* this waits.
async fn wait_with_tasks<A: Application>(
    shard: &mut Shard<Kernel, A>,
    hall: &Rc<Hall>,
    deadline_ms: Option<u64>,
) -> io::Result<()> {
    let wait = sleep(shard, deadline_ms);
    let mut timeout = pin!(async {
        match wait {
            Wait::No => {}
            Wait::Forever => std::future::pending().await,
            Wait::Ms(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
    });
    let mut ready = pin!(shard.reactor_mut().ready()?);
    poll_fn(|cx| {
        hall.set_waker(cx.waker());
        if hall.wants_turn() || timeout.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        ready.as_mut().poll(cx)
    })
    .await
}
