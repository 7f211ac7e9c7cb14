//! Listeners, and how an accepted connection becomes known.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::getpeername;

use super::Kernel;
use crate::reactor::{Completion, Descriptor};
use crate::ring::Buffer;

#[derive(Debug)]
pub(super) struct Listener {
    /// Open until its last accept has ended after [`Reactor::stop_accepting`].
    pub(super) fd: Option<OwnedFd>,
    pub(super) armed: bool,
}

impl Kernel {
    pub(super) fn handle_accepted(
        &mut self,
        index: usize,
        result: Result<u32, Errno>,
        more: bool,
    ) -> Option<Completion<Buffer>> {
        let Some(listener) = self.listeners.get_mut(index) else {
            return self.count_stale();
        };
        listener.armed = more;
        if !more && self.accepting_ended {
            listener.fd = None;
        }
        match result {
            Ok(descriptor) => {
                self.rearm_accept(index);
                self.introduce(descriptor)
            }
            _ if self.accepting_ended => None,
            // The peer's doing, or nobody's: not worth a pause.
            Err(Errno::INTR | Errno::AGAIN | Errno::CONNABORTED | Errno::PROTO) => {
                self.rearm_accept(index);
                None
            }
            Err(errno) => Some(Completion::AcceptFailed {
                error: errno.into(),
            }),
        }
    }

    /// A multishot accept cannot tell whom it accepted (there would be one address for many), so the connection gets an ordinary descriptor
    /// for a moment, which can be asked.
    fn introduce(&mut self, descriptor: u32) -> Option<Completion<Buffer>> {
        if self.ring.can_install() {
            self.ring.install(descriptor);
            return None;
        }
        Some(Completion::Accepted {
            descriptor: Descriptor(descriptor),
            peer: None,
        })
    }

    fn rearm_accept(&mut self, index: usize) {
        if !self.accepting_ended && self.arm_accept(index) {
            self.counters.rearmed += 1;
        }
    }

    pub(super) fn arm_accept(&mut self, index: usize) -> bool {
        let Some(Listener {
            fd: Some(fd),
            armed: armed @ false,
        }) = self.listeners.get_mut(index)
        else {
            return false;
        };
        *armed = true;
        self.ring.accept(index as u32, fd.as_fd());
        true
    }
}

pub(super) fn peer_of(fd: &OwnedFd) -> Option<SocketAddr> {
    getpeername(fd).ok()??.try_into().ok()
}
