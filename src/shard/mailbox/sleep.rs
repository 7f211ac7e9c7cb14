//! The announcement of sleep, apart from the mailbox so that every interleaving of its two sides can be tried (`tests.rs`).
//!
//! ```text
//! core                              poster
//! announce sleep                    post
//! ---- fence ----                   ---- fence ----
//! is the mailbox empty? then wait   is sleep announced? then wake
//! ```
//!
//! Of the two fences one comes first, and whoever comes to the other sees what was done before the first.

use std::sync::atomic::{AtomicBool, Ordering, fence};

/// What the protocol asks of memory.
pub(super) trait Flag {
    fn store(&self, value: bool);
    fn load(&self) -> bool;
    fn swap(&self, value: bool) -> bool;
    /// Sequentially consistent, between a write before it and a read after it.
    fn fence();
}

impl Flag for AtomicBool {
    fn store(&self, value: bool) {
        AtomicBool::store(self, value, Ordering::SeqCst);
    }

    fn load(&self) -> bool {
        AtomicBool::load(self, Ordering::SeqCst)
    }

    fn swap(&self, value: bool) -> bool {
        AtomicBool::swap(self, value, Ordering::SeqCst)
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// Whether a core sleeps: on a cache line of its own, as every poster reads it.
#[repr(align(128))]
pub(super) struct Sleep<F>(F);

impl<F: Flag> Sleep<F> {
    /// For a core that is awake.
    pub(super) fn new(flag: F) -> Self {
        Sleep(flag)
    }

    /// The core's side: announces sleep, then looks. `false`: there is mail (and the announcement is taken back).
    pub(super) fn fall_asleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.0.store(true);
        F::fence();
        if is_empty() {
            return true;
        }
        self.awake();
        false
    }

    pub(super) fn awake(&self) {
        self.0.store(false);
    }

    /// The poster's side, after posting. True once for each sleep: the caller that gets it does the waking.
    pub(super) fn must_be_woken(&self) -> bool {
        F::fence();
        self.0.load() && self.0.swap(false)
    }
}
