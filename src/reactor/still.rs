//! A reactor without a network, on tokio's clock: for servers whose clients live in the same test (`server::testing`).
//!
//! Such clients are sessions on polling, which have no connection of their own, so nothing is ever asked of this.

use std::io;

use super::clock::VirtualClock;
use super::{Completion, ConnKey, Descriptor, Handoff, Reactor, SendBuffer, Wait};

pub(crate) struct Still {
    clock: VirtualClock,
}

impl Still {
    /// In a runtime, whose clock it goes by.
    pub(crate) fn new() -> Self {
        Still {
            clock: VirtualClock::start(),
        }
    }
}

impl Reactor for Still {
    type Buffer = Vec<u8>;

    fn accept(&mut self) {}
    fn stop_accepting(&mut self) {}
    fn receive(&mut self, _: ConnKey, _: Descriptor) {}
    fn stop_receiving(&mut self, _: ConnKey) {}
    fn send(&mut self, _: ConnKey, _: Descriptor, _: SendBuffer, _: usize) {}
    fn shutdown(&mut self, _: ConnKey, _: Descriptor, _: std::net::Shutdown) {}
    fn close(&mut self, _: ConnKey, _: Descriptor) {}
    fn refuse(&mut self, _: Descriptor) {}
    fn rename(&mut self, _: ConnKey, _: ConnKey, _: Descriptor) {}
    fn detach(&mut self, _: ConnKey, _: Descriptor) {}
    fn attach(&mut self, _: Handoff, _: u64) {}
    fn wake(&mut self, _: usize) {}

    fn enter(&mut self, _: Wait) -> io::Result<()> {
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<Vec<u8>>> {
        None
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
}
