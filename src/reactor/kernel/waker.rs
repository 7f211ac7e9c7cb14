//! Waking a core that waits in its ring.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes one core, from any thread. An eventfd that the core's ring polls: the same for other cores and for foreign threads, which
/// have no ring to send from; and unlike a message from ring to ring it keeps no other core's ring alive.
#[derive(Clone, Debug)]
pub(crate) struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    eventfd: OwnedFd,
    /// True from the write until the core has seen it: further wakes in between are already answered.
    written: AtomicBool,
}

impl Waker {
    /// A waker that no core listens to yet.
    pub(crate) fn new() -> std::io::Result<Waker> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Waker {
            shared: Arc::new(Shared {
                eventfd,
                written: AtomicBool::new(false),
            }),
        })
    }

    /// Has the core look at its mailbox. What was posted before this call is seen by the look that follows.
    pub(crate) fn wake(&self) {
        if !self.shared.written.swap(true, Ordering::AcqRel) {
            // Fails only when 2^64 wakes were never read; then the core is awake.
            let _ = rustix::io::write(&self.shared.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// To be called by the core before it looks: from here on a wake writes again.
    pub(super) fn acknowledge(&self) {
        self.shared.written.swap(false, Ordering::AcqRel);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.eventfd.as_fd()
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.eventfd.as_raw_fd()
    }
}
