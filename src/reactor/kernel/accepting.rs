//! Listeners, and how an accepted connection becomes known.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::getpeername;

use super::Kernel;
use crate::reactor::{Completion, Descriptor, Reactor};
use crate::ring::{Buffer, Op, Tag};

/// A table of direct descriptors smaller than this is never left to a multishot accept.
pub(super) const FEW: u32 = 256;

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
                self.descriptor_taken();
                self.rearm_accept(index);
                self.introduce(descriptor, index)
            }
            _ if self.accepting_ended => None,
            // The peer's doing, or nobody's: not worth a pause.
            Err(Errno::INTR | Errno::AGAIN | Errno::CONNABORTED | Errno::PROTO) => {
                self.rearm_accept(index);
                None
            }
            // Now one at a time.
            Err(Errno::CANCELED) => {
                self.rearm_accept(index);
                None
            }
            Err(errno) => {
                self.scarce |= matches!(errno, Errno::NFILE | Errno::MFILE);
                Some(Completion::AcceptFailed {
                    error: errno.into(),
                })
            }
        }
    }

    /// A multishot accept cannot tell whom it accepted (there would be one address for many), so the connection gets an ordinary descriptor
    /// for a moment, which can be asked.
    fn introduce(&mut self, descriptor: u32, listener: usize) -> Option<Completion<Buffer>> {
        if self.ring.can_install() {
            self.ring.install(descriptor, listener as u32);
            return None;
        }
        Some(Completion::Accepted {
            descriptor: Descriptor(descriptor),
            peer: None,
            listener,
        })
    }

    fn rearm_accept(&mut self, index: usize) {
        if !self.accepting_ended && self.arm_accept(index) {
            self.counters.rearmed += 1;
        }
    }

    /// A direct descriptor is free again.
    pub(super) fn descriptor_freed(&mut self) {
        debug_assert!(self.descriptors > 0, "it was counted when it came");
        self.descriptors = self.descriptors.saturating_sub(1);
        if !self.scarce {
            return;
        }
        let files = self.ring.files();
        if self.descriptors <= files / 4 {
            self.scarce = files < FEW;
            self.told_full = false;
        }
        self.accept();
    }

    /// From half of the table on descriptors count as scarce: a multishot accept takes all that wait in one go, and must not meet the end
    /// of the table.
    pub(super) fn descriptor_taken(&mut self) {
        self.descriptors += 1;
        if !self.scarce && self.descriptors > self.ring.files() / 2 {
            self.scarce = true;
            self.cancel_accepts();
        }
        if self.descriptors >= self.ring.files() && !self.told_full {
            self.told_full = true;
            self.own.push_back(Completion::AcceptFailed {
                error: Errno::MFILE.into(),
            });
        }
    }

    fn cancel_accepts(&mut self) {
        for (index, listener) in self.listeners.iter().enumerate() {
            if listener.armed {
                self.ring.cancel(Tag::new(Op::Accept, index as u32, 0));
            }
        }
    }

    /// Whether there is a descriptor for one more accept, or one more socket from elsewhere. As long as they are not scarce nobody counts.
    pub(super) fn has_room(&self) -> bool {
        let armed = self.listeners.iter().filter(|one| one.armed).count();
        !self.scarce || (self.descriptors as usize) + armed < self.ring.files() as usize
    }

    /// While descriptors are scarce one connection is accepted at a time, and none without a descriptor for it: whoever is not accepted waits
    /// with the kernel, instead of being thrown away by an accept that fails.
    pub(super) fn arm_accept(&mut self, index: usize) -> bool {
        if !self.has_room() {
            return false;
        }
        let Some(Listener {
            fd: Some(fd),
            armed: armed @ false,
        }) = self.listeners.get_mut(index)
        else {
            return false;
        };
        *armed = true;
        if self.scarce {
            self.ring.accept_one(index as u32, fd.as_fd());
        } else {
            self.ring.accept(index as u32, fd.as_fd());
        }
        true
    }
}

pub(super) fn peer_of(fd: &OwnedFd) -> Option<SocketAddr> {
    getpeername(fd).ok()??.try_into().ok()
}
