//! SIGINT and SIGTERM end the server in good order; a second one ends it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ringhall::Server;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals as Iter;

pub(crate) struct Signals(Iter);

impl Signals {
    /// To be called before the server starts, so that no signal is missed.
    pub(crate) fn catch() -> io::Result<Self> {
        for signal in [SIGINT, SIGTERM] {
            let second = Arc::new(AtomicBool::new(false));
            // In this order: the first signal finds `second` false and sets it, the next one finds it true.
            flag::register_conditional_shutdown(signal, 1, second.clone())?;
            flag::register(signal, second)?;
        }
        Iter::new([SIGINT, SIGTERM]).map(Signals)
    }

    /// Waits for the first signal on a thread of its own.
    pub(crate) fn shut_down_on_first(mut self, server: &Server) {
        let server = server.clone();
        std::thread::spawn(move || {
            if self.0.forever().next().is_some() {
                server.shutdown();
            }
        });
    }
}
