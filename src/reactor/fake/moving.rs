//! Connections that change their key or their core.

use std::io;
use std::sync::{Arc, Weak};

use rustix::io::Errno;

use super::core::{Close, Conn, peer_of};
use super::{Completion, ConnKey, Descriptor, Fake, Handoff, State, Stream};

/// A stream that belongs to no core at the moment. It is closed when this drops, unless a core took it in.
#[derive(Debug)]
pub(crate) struct FakeSocket {
    stream: usize,
    /// The stream knows by this whether it is afoot still: the network is another thread's, perhaps, when this drops.
    _alive: Arc<()>,
}

/// A socket on its way in.
pub(super) struct Attach {
    socket: FakeSocket,
    token: u64,
    late: usize,
}

/// A key that a connection had before.
pub(super) struct Former {
    key: ConnKey,
    late: usize,
    /// A send of this key is pending still.
    pub(super) behind_send: bool,
}

impl Conn {
    /// Whether this slot is, or is still, that of this connection.
    pub(super) fn holds_slot(&self, slot: u32) -> bool {
        let formers = self.formers.iter().map(|former| former.key);
        self.key
            .into_iter()
            .chain(formers)
            .any(|key| key.slot == slot)
    }
}

impl Stream {
    /// The server's side closes. With bytes unread that resets the connection, as TCP does (RFC 1122 4.2.2.13).
    pub(super) fn close(&mut self) {
        self.server_closed = true;
        self.reset |= !self.to_server.is_empty();
    }

    /// Closes a stream whose socket was dropped underway.
    pub(super) fn notice_loss(&mut self) {
        let lost = |alive: &Weak<()>| alive.strong_count() == 0;
        if self.afoot.as_ref().is_some_and(lost) {
            self.afoot = None;
            self.close();
        }
    }
}

impl Fake {
    #[track_caller]
    pub(super) fn rename_connection(&self, from: ConnKey, to: ConnKey, descriptor: Descriptor) {
        let mut state = self.checked(from, descriptor, "rename");
        let (late, moving) = (state.late(), state.late());
        let mut conns = state.cores[self.core].conns();
        let taken = from.slot == to.slot || conns.any(|(_, conn)| conn.holds_slot(to.slot));
        drop(conns);
        state.check(!taken, || {
            format!("rename of {from:?} to {to:?}, whose slot is not free")
        });
        let core = &mut state.cores[self.core];
        let conn = core.conn_mut(descriptor.0).expect("checked");
        conn.key = Some(to);
        conn.formers.push(Former {
            key: from,
            late,
            behind_send: conn.send.is_some(),
        });
        if let Some(receive) = conn.receive.as_mut() {
            receive.moving += moving;
        }
        for completion in &mut core.completed {
            completion.rename(from, to);
        }
    }

    /// Begins a close or a detach.
    #[track_caller]
    pub(super) fn leave(&self, key: ConnKey, descriptor: Descriptor, what: &str) {
        let mut state = self.checked(key, descriptor, what);
        let (seed, late) = (state.seed, state.late());
        let conn = state.cores[self.core]
            .conn_mut(descriptor.0)
            .expect("checked");
        assert!(
            conn.receive.is_none(),
            "seed {seed}: {what} of {key:?} with a receive pending"
        );
        assert!(
            conn.send.is_none(),
            "seed {seed}: {what} of {key:?} with a send pending"
        );
        conn.close = Some(Close {
            late,
            detach: what == "detach",
        });
    }

    #[track_caller]
    pub(super) fn take_in(&self, socket: Handoff, token: u64) {
        let mut state = self.state();
        let (seed, late) = (state.seed, state.late());
        let Handoff::Fake(socket) = socket else {
            panic!("seed {seed}: attach of a socket that is not of this network")
        };
        let attach = Attach {
            socket,
            token,
            late,
        };
        state.cores[self.core].attaching.push(attach);
    }
}

impl State {
    /// Makes a stream one that belongs to nobody but the holder of its socket.
    pub(super) fn take_out(&mut self, stream: usize) -> Handoff {
        let alive = Arc::new(());
        self.streams[stream].afoot = Some(Arc::downgrade(&alive));
        Handoff::Fake(FakeSocket {
            stream,
            _alive: alive,
        })
    }

    pub(super) fn detach(&mut self, stream: usize) -> io::Result<Handoff> {
        if self.rng.hits(self.faults.fail_move) {
            self.streams[stream].close();
            return Err(Errno::MFILE.into());
        }
        Ok(self.take_out(stream))
    }

    /// Sockets whose time to come in has come, in any order.
    pub(super) fn attach(&mut self, core: usize) {
        for mut attach in std::mem::take(&mut self.cores[core].attaching) {
            if attach.late > 0 {
                attach.late -= 1;
                self.cores[core].attaching.push(attach);
                continue;
            }
            let Attach { socket, token, .. } = attach;
            let stream = socket.stream;
            self.streams[stream].afoot = None;
            let result = if self.rng.hits(self.faults.fail_move) {
                self.streams[stream].close();
                Err(Errno::NFILE.into())
            } else {
                Ok((self.cores[core].open(stream), Some(peer_of(stream))))
            };
            self.complete(core, Completion::Attached { token, result });
        }
    }

    /// Tells that there is nothing left under a connection's former keys.
    pub(super) fn forget_formers(&mut self, core: usize, conn: &mut Conn) {
        for mut former in std::mem::take(&mut conn.formers) {
            if former.behind_send || former.late > 0 {
                former.late = former.late.saturating_sub(1);
                conn.formers.push(former);
            } else {
                self.complete(core, Completion::Closed { key: former.key });
            }
        }
    }
}

#[cfg(test)]
mod tests;
