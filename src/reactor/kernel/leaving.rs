//! How a connection leaves its slot: shut down, hung up, closed, or detached.

#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::conn::{Conn, Hangup, Leaving, Receiving, live};
use super::{Kernel, key_of};
use crate::reactor::{Completion, ConnKey, Descriptor, Handoff};
use crate::ring::{Buffer, Op, Tag};

impl Kernel {
    pub(super) fn handle_shutdown(&mut self, tag: Tag) -> Option<Completion<Buffer>> {
        let key = self.current(key_of(tag));
        let Some(conn) = live(&mut self.conns, key).filter(|conn| conn.shutdowns > 0) else {
            return self.count_stale();
        };
        conn.shutdowns -= 1;
        self.leave_if_let_go(key);
        self.drained(key_of(tag), |forward| {
            forward.shutdowns = forward.shutdowns.saturating_sub(1);
        });
        None
    }

    pub(super) fn handle_hangup(
        &mut self,
        tag: Tag,
        result: Result<u32, Errno>,
    ) -> Option<Completion<Buffer>> {
        let key = self.current(key_of(tag));
        let Some(conn) = live(&mut self.conns, key).filter(|conn| conn.is_watched()) else {
            return self.count_stale();
        };
        let moved = conn.hangup == Hangup::Moving && result == Err(Errno::CANCELED);
        let leaving = conn.is_leaving();
        if moved && !leaving {
            conn.hangup = Hangup::Watched;
            self.ring
                .watch_hangup(conn.descriptor, key.slot, key.generation);
        } else {
            conn.hangup = Hangup::Seen;
            if conn.is_receiving() {
                self.hung_up.push(key);
            }
        }
        self.leave_if_let_go(key);
        self.drained(key_of(tag), |forward| forward.hangup = false);
        (!moved && !leaving).then_some(Completion::HungUp { key })
    }

    /// Begins a close or a detach. Before the descriptor can be closed, a shutdown still with the kernel has to have found it, or it would
    /// find the next connection there; and nothing may hold the connection open.
    pub(super) fn leave(&mut self, key: ConnKey, descriptor: Descriptor, how: Leaving) {
        let conn = self.conn(key, descriptor);
        debug_assert!(
            conn.receiving == Receiving::Idle && !conn.sending,
            "{how:?} comes after everything else"
        );
        conn.leaving = how;
        if conn.hangup == Hangup::Watched {
            self.ring
                .cancel(Tag::new(Op::Hangup, key.slot, key.generation));
        }
        self.leave_if_let_go(key);
    }

    fn leave_if_let_go(&mut self, key: ConnKey) {
        let Some(conn) = live(&mut self.conns, key).filter(|conn| conn.is_let_go()) else {
            return;
        };
        match conn.leaving {
            Leaving::Stays => {}
            Leaving::Detaching if self.ring.can_install() => {
                self.ring.detach(conn.descriptor, key.slot, key.generation);
            }
            Leaving::Closing | Leaving::Detaching => {
                self.ring.close(conn.descriptor, key.slot, key.generation);
            }
        }
    }

    /// The socket is told of only when its direct descriptor is closed: the slot is vacant then, and the connection in one place.
    pub(super) fn handle_detached(
        &mut self,
        key: ConnKey,
        result: Result<OwnedFd, Errno>,
    ) -> Option<Completion<Buffer>> {
        let conn = live(&mut self.conns, key);
        let Some(conn) = conn.filter(|conn| conn.leaving == Leaving::Detaching) else {
            return self.count_stale();
        };
        self.ring.close(conn.descriptor, key.slot, key.generation);
        self.detached.insert(key, result);
        None
    }

    pub(super) fn handle_closed(&mut self, key: ConnKey) -> Option<Completion<Buffer>> {
        let Some(conn) = live(&mut self.conns, key).filter(|conn| conn.is_leaving()) else {
            return self.count_stale();
        };
        let detaching = conn.leaving == Leaving::Detaching;
        // Whatever the close said: the descriptor is gone.
        *conn = Conn::VACANT;
        self.descriptor_freed();
        if !detaching {
            return Some(Completion::Closed { key });
        }
        // Before Linux 6.8 nobody leaves alive.
        let socket = self.detached.remove(&key).unwrap_or(Err(Errno::OPNOTSUPP));
        Some(Completion::Detached {
            key,
            result: socket.map(Handoff::Socket).map_err(Into::into),
        })
    }
}
