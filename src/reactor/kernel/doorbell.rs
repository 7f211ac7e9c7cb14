//! Waiting for a ring through tokio.
//!
//! The ring's own descriptor cannot be waited for: with deferred task work nothing completes, and so nothing becomes readable, before
//! somebody enters. Instead the kernel writes to an eventfd when something *could* complete. It does so reliably but for one case: if what
//! could complete is the ring's poll of the waker, which is an eventfd too, the kernel may not write to one eventfd from within a write to another
//! and puts it off, or (seen on Linux 6.18) forgets it. So both are waited for.
//!
//! Neither eventfd is ever read. tokio polls edge-triggered, and each write is an edge, however high the count stands.

#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::event::{EventfdFlags, eventfd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::waker::Waker;

/// The two eventfds, registered with the tokio runtime of this thread.
#[derive(Debug)]
pub(super) struct Doorbell {
    completions: AsyncFd<OwnedFd>,
    wakes: AsyncFd<Waker>,
}

impl Doorbell {
    /// To be called inside a tokio runtime with I/O.
    #[allow(
        deprecated,
        reason = "deprecated for the sake of descriptors that may change or close; these two do neither"
    )]
    pub(super) fn new(waker: Waker) -> io::Result<Doorbell> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(io::Error::other(
                "waiting for the ring through tokio: no tokio runtime on this thread",
            ));
        }
        let completions = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Doorbell {
            completions: AsyncFd::with_interest(completions, Interest::READABLE)?,
            wakes: AsyncFd::with_interest(waker, Interest::READABLE)?,
        })
    }

    /// What the ring is to write to.
    pub(super) fn eventfd(&self) -> BorrowedFd<'_> {
        self.completions.get_ref().as_fd()
    }

    /// Waits until one of them is written to. What tokio remembers of it is cleared *before* this returns, and so before the caller
    /// looks again: a write during that look is not lost. A write before the call may end it at once.
    pub(super) async fn rung(&self) -> io::Result<()> {
        poll_fn(|cx| {
            let completed = clear(&self.completions, cx)?;
            let woken = clear(&self.wakes, cx)?;
            if completed || woken {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

fn clear<T: AsRawFd>(fd: &AsyncFd<T>, cx: &mut Context<'_>) -> io::Result<bool> {
    match fd.poll_read_ready(cx) {
        Poll::Ready(ready) => {
            ready?.clear_ready();
            Ok(true)
        }
        Poll::Pending => Ok(false),
    }
}
