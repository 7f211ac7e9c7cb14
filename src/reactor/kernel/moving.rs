//! Connections that change their key, and sockets that come from elsewhere.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, ioctl_fionbio};

use super::Kernel;
use super::accepting::peer_of;
use super::conn::{Conn, Hangup, Receiving};
use crate::reactor::{Completion, ConnKey, Descriptor};
use crate::ring::{Buffer, Op, Tag};

/// What the kernel still has under a connection's old key. Its completions are the connection's under its new one; the last of them
/// frees the old key's slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forward {
    pub(super) to: ConnKey,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    pub(super) hangup: bool,
    pub(super) shutdowns: u8,
}

impl Forward {
    fn is_drained(&self) -> bool {
        !self.receiving && !self.sending && !self.hangup && self.shutdowns == 0
    }

    /// What is the kernel's under an older key still is not its under this one.
    fn without(self, older: &Forward) -> Forward {
        Forward {
            to: self.to,
            receiving: self.receiving && !older.receiving,
            sending: self.sending && !older.sending,
            hangup: self.hangup && !older.hangup,
            shutdowns: self.shutdowns.saturating_sub(older.shutdowns),
        }
    }
}

impl Kernel {
    /// An old key's slot is vacant. A forward may last as long as a slow send does, so nobody else is to pay for looking it up.
    fn is_old(&self, key: ConnKey) -> bool {
        let conn = self.conns.get(key.slot as usize);
        let is_live = |conn: &Conn| conn.open && conn.generation == key.generation;
        !self.forwards.is_empty() && !conn.is_some_and(is_live)
    }

    /// Whose a completion for this key is.
    pub(super) fn current(&self, key: ConnKey) -> ConnKey {
        if !self.is_old(key) {
            return key;
        }
        self.forwards.get(&key).map_or(key, |forward| forward.to)
    }

    /// Notes what of an old key has come back from the kernel.
    pub(super) fn drained(&mut self, key: ConnKey, note: impl FnOnce(&mut Forward)) {
        if !self.is_old(key) {
            return;
        }
        let Some(forward) = self.forwards.get_mut(&key) else {
            return;
        };
        note(forward);
        if forward.is_drained() {
            self.forwards.remove(&key);
            self.own.push_back(Completion::Closed { key });
        }
    }

    /// What is pending cannot be given another tag. So a send and a shutdown end under the old key, while the receive and the watch, which
    /// might never end, are cancelled there and armed again under the new one when that has come back.
    pub(super) fn rename_connection(&mut self, from: ConnKey, to: ConnKey, descriptor: Descriptor) {
        debug_assert_ne!(from.slot, to.slot, "another key is in another slot");
        debug_assert!(
            !self.forwards.contains_key(&to),
            "nothing is asked for a renamed key"
        );
        let mut conn = *self.conn(from, descriptor);
        let mut left = Forward {
            to,
            receiving: conn.is_receiving(),
            sending: conn.sending,
            hangup: conn.is_watched(),
            shutdowns: conn.shutdowns,
        };
        for older in self.forwards.values_mut().filter(|older| older.to == from) {
            older.to = to;
            left = left.without(older);
        }
        match conn.receiving {
            Receiving::Armed => {
                conn.receiving = Receiving::Reviving;
                self.cancel(Op::Receive, from);
            }
            Receiving::Starved => self.starved.push_back(to),
            // It is being cancelled already, or there is nothing.
            Receiving::Stopping | Receiving::Reviving | Receiving::Idle => {}
        }
        if conn.hangup == Hangup::Watched {
            conn.hangup = Hangup::Moving;
            self.cancel(Op::Hangup, from);
        }
        self.own.iter_mut().for_each(|owed| owed.rename(from, to));
        self.conns[from.slot as usize] = Conn::VACANT;
        self.conns.grow_with(to.slot as usize + 1, || Conn::VACANT);
        let place = &mut self.conns[to.slot as usize];
        debug_assert!(!place.open, "a connection is renamed to a free key");
        *place = Conn {
            generation: to.generation,
            ..conn
        };
        if left.is_drained() {
            self.own.push_back(Completion::Closed { key: from });
        } else {
            self.forwards.insert(from, left);
        }
    }

    fn cancel(&mut self, op: Op, key: ConnKey) {
        self.ring.cancel(Tag::new(op, key.slot, key.generation));
    }

    /// Has the ring take a socket in. Its descriptor is counted from here on.
    ///
    /// # Errors
    ///
    /// All direct descriptors are in use or promised to accepts.
    pub(super) fn adopt(&mut self, socket: OwnedFd, token: u64) -> io::Result<()> {
        // With O_NONBLOCK the kernel may answer EAGAIN instead of waiting (Linux 6.18 waits all the same).
        ioctl_fionbio(&socket, false)?;
        if !self.has_room() {
            return Err(Errno::NFILE.into());
        }
        self.descriptor_taken();
        self.ring.adopt(socket, token);
        Ok(())
    }

    pub(super) fn handle_adopted(
        &mut self,
        socket: &OwnedFd,
        token: u64,
        result: Result<u32, Errno>,
    ) -> Completion<Buffer> {
        if result.is_err() {
            self.descriptor_freed();
        }
        let result = result
            .map(|descriptor| (Descriptor(descriptor), peer_of(socket)))
            .map_err(io::Error::from);
        Completion::Attached { token, result }
    }
}
