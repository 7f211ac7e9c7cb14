//! One core of the fake kernel: what it was asked for, and how it gets done.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};

use rustix::io::Errno;

use super::moving::{Attach, Former};
use super::{BUFFER_BYTES, BUFFERS, Completion, ConnKey, Descriptor, SendBuffer, State, Stream};

/// No fault delays anything for more turns than this.
const TURNS_LATE_MAX: usize = 6;

pub(super) struct Receive {
    pub(super) stopping: bool,
    pub(super) late: usize,
    /// Turns in which nothing is received, since it is on its way from one key to another.
    pub(super) moving: usize,
}

pub(super) struct Send {
    pub(super) buffer: SendBuffer,
    pub(super) from: usize,
    /// Bytes already on their way to the client.
    pub(super) sent: usize,
    pub(super) delay: usize,
}

pub(super) struct Ending {
    pub(super) how: Shutdown,
    pub(super) late: usize,
}

pub(super) struct Close {
    pub(super) late: usize,
    /// The connection is to leave alive.
    pub(super) detach: bool,
}

/// An open descriptor.
pub(super) struct Conn {
    pub(super) stream: usize,
    /// Bound by the first operation.
    pub(super) key: Option<ConnKey>,
    pub(super) receive: Option<Receive>,
    pub(super) send: Option<Send>,
    /// Shutdowns that were asked for and have not happened yet.
    pub(super) endings: Vec<Ending>,
    pub(super) close: Option<Close>,
    /// Its hanging up was told.
    pub(super) hung_up: bool,
    /// The keys it had before, until they are told closed.
    pub(super) formers: Vec<Former>,
}

#[derive(Default)]
pub(super) struct Core {
    pub(super) accepting: bool,
    pub(super) accepting_ended: bool,
    pub(super) backlog: VecDeque<usize>,
    /// Sockets that are on their way in.
    pub(super) attaching: Vec<Attach>,
    open: BTreeMap<u32, Conn>,
    /// Closed descriptors, the last closed on top: it is the next to be used.
    closed: Vec<u32>,
    pub(super) completed: VecDeque<Completion<Vec<u8>>>,
    pub(super) lent: usize,
    pub(super) woken: bool,
    pub(super) sleeps_until: Option<u64>,
}

impl Core {
    pub(super) fn conns(&self) -> impl Iterator<Item = (u32, &Conn)> {
        self.open
            .iter()
            .map(|(descriptor, conn)| (*descriptor, conn))
    }

    /// Closes a connection on which nothing was ever asked for; returns its stream.
    pub(super) fn refuse(&mut self, descriptor: u32) -> Option<usize> {
        let new = self
            .open
            .get(&descriptor)
            .is_some_and(|conn| conn.key.is_none());
        let conn = if new {
            self.open.remove(&descriptor)
        } else {
            None
        };
        self.closed.extend(conn.is_some().then_some(descriptor));
        conn.map(|conn| conn.stream)
    }

    /// Gives a stream a descriptor.
    pub(super) fn open(&mut self, stream: usize) -> Descriptor {
        let descriptor = self.closed.pop().unwrap_or(self.open.len() as u32);
        let conn = Conn {
            stream,
            key: None,
            receive: None,
            send: None,
            endings: Vec::new(),
            close: None,
            hung_up: false,
            formers: Vec::new(),
        };
        self.open.insert(descriptor, conn);
        Descriptor(descriptor)
    }

    pub(super) fn conn_mut(&mut self, descriptor: u32) -> Option<&mut Conn> {
        self.open.get_mut(&descriptor)
    }

    pub(super) fn conn_of(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.open.values_mut().find(|conn| conn.key == Some(key))
    }

    pub(super) fn open_descriptors(&self) -> usize {
        self.open.len()
    }

    pub(super) fn has_work(&self, streams: &[Stream], window: usize) -> bool {
        self.woken
            || !self.completed.is_empty()
            || (self.accepting && !self.backlog.is_empty())
            || !self.attaching.is_empty()
            || self
                .open
                .values()
                .any(|conn| conn.has_work(&streams[conn.stream], window))
    }
}

impl Conn {
    fn has_work(&self, stream: &Stream, window: usize) -> bool {
        let broken = stream.reset;
        let receivable =
            !stream.to_server.is_empty() || stream.client_finished || stream.server_deaf || broken;
        let receives = self
            .receive
            .as_ref()
            .is_some_and(|receive| receive.stopping || receivable);
        // A send for which the client makes no room is nobody's work until it reads or goes.
        let room = stream.to_client.len() < window || stream.server_finished || broken;
        let sends = self
            .send
            .as_ref()
            .is_some_and(|send| room || send.delay > 0);
        let hangs_up = self.is_hung_up(stream).is_some();
        let forgets = self.formers.iter().any(|former| !former.behind_send);
        receives || sends || hangs_up || forgets || !self.endings.is_empty() || self.close.is_some()
    }

    /// Whose hanging up is to be told, if it is.
    fn is_hung_up(&self, stream: &Stream) -> Option<ConnKey> {
        let gone = stream.client_finished || stream.reset;
        self.key
            .filter(|_| gone && !self.hung_up && self.close.is_none())
    }
}

impl State {
    /// For how many turns something that was to end goes on.
    pub(super) fn late(&mut self) -> usize {
        let hit = self.rng.hits(self.faults.late);
        if hit {
            1 + self.rng.below(TURNS_LATE_MAX)
        } else {
            0
        }
    }

    pub(super) fn send_delay(&mut self) -> usize {
        let hit = self.rng.hits(self.faults.delay_send);
        if hit {
            1 + self.rng.below(TURNS_LATE_MAX)
        } else {
            0
        }
    }

    /// Everything that happens in one enter of a core.
    pub(super) fn turn(&mut self, core: usize) {
        let before = self.cores[core].completed.len();
        self.accept(core);
        self.attach(core);
        let descriptors: Vec<u32> = self.cores[core].open.keys().copied().collect();
        for descriptor in descriptors {
            let Some(mut conn) = self.cores[core].open.remove(&descriptor) else {
                continue;
            };
            self.end(&mut conn);
            self.send(core, &mut conn);
            self.receive(core, &mut conn);
            if let Some(key) = conn.is_hung_up(&self.streams[conn.stream]) {
                conn.hung_up = true;
                self.complete(core, Completion::HungUp { key });
            }
            self.forget_formers(core, &mut conn);
            if self.close(core, &mut conn) {
                self.cores[core].closed.push(descriptor);
            } else {
                self.cores[core].open.insert(descriptor, conn);
            }
        }
        if self.rng.hits(self.faults.wake) || self.cores[core].woken {
            self.cores[core].woken = false;
            self.complete(core, Completion::Woken);
        }
        self.reorder(core, before);
    }

    pub(super) fn complete(&mut self, core: usize, completion: Completion<Vec<u8>>) {
        self.cores[core].completed.push_back(completion);
    }

    fn accept(&mut self, core: usize) {
        while self.cores[core].accepting && !self.cores[core].backlog.is_empty() {
            if self.rng.hits(self.faults.fail_accept) {
                self.cores[core].accepting = false;
                self.complete(
                    core,
                    Completion::AcceptFailed {
                        error: Errno::MFILE.into(),
                    },
                );
                return;
            }
            let place = &mut self.cores[core];
            let Some(stream) = place.backlog.pop_front() else {
                return;
            };
            let descriptor = place.open(stream);
            let peer = Some(peer_of(stream));
            self.complete(
                core,
                Completion::Accepted {
                    descriptor,
                    peer,
                    listener: 0,
                },
            );
        }
    }

    /// Shutdowns whose time has come.
    fn end(&mut self, conn: &mut Conn) {
        let stream = &mut self.streams[conn.stream];
        conn.endings.retain_mut(|ending| {
            if ending.late > 0 {
                ending.late -= 1;
                return true;
            }
            stream.server_finished |= ending.how != Shutdown::Read;
            stream.server_deaf |= ending.how != Shutdown::Write;
            false
        });
    }

    fn send(&mut self, core: usize, conn: &mut Conn) {
        let Some(mut send) = conn.send.take() else {
            return;
        };
        let result = self.send_some(conn, &mut send);
        let (Some(result), Some(key)) = (result, conn.key) else {
            conn.send = Some(send);
            return;
        };
        let Send { buffer, from, .. } = send;
        conn.formers
            .iter_mut()
            .for_each(|former| former.behind_send = false);
        self.complete(
            core,
            Completion::Sent {
                key,
                buffer,
                from,
                result,
            },
        );
    }

    /// Moves bytes to the client as far as its window is open. The send has ended when it gives a result.
    fn send_some(&mut self, conn: &Conn, send: &mut Send) -> Option<io::Result<usize>> {
        if self.rng.hits(self.faults.fail_send) {
            self.streams[conn.stream].reset = true;
        }
        let stream = &mut self.streams[conn.stream];
        if stream.reset || stream.server_finished {
            let errno = if stream.reset && self.rng.hits(500) {
                Errno::CONNRESET
            } else {
                Errno::PIPE
            };
            // Bytes that were taken before count: the error is for the next send.
            return Some(if send.sent > 0 {
                Ok(send.sent)
            } else {
                Err(errno.into())
            });
        }
        if send.delay > 0 {
            send.delay -= 1;
            return None;
        }
        let rest = send
            .buffer
            .bytes()
            .get(send.from + send.sent..)
            .unwrap_or_default();
        let room = self.faults.window().saturating_sub(stream.to_client.len());
        let short = self.rng.hits(self.faults.short_send);
        let len = if short {
            1 + self.rng.below(rest.len())
        } else {
            rest.len()
        }
        .min(room);
        stream.to_client.extend_from_slice(&rest[..len]);
        let whole = len == rest.len();
        send.sent += len;
        (whole || (short && len > 0)).then_some(Ok(send.sent))
    }

    fn receive(&mut self, core: usize, conn: &mut Conn) {
        let (Some(receive), Some(key)) = (conn.receive.as_mut(), conn.key) else {
            return;
        };
        if !self.streams[conn.stream].to_server.is_empty() && self.rng.hits(self.faults.reset) {
            self.streams[conn.stream].reset = true;
        }
        if receive.stopping && receive.late == 0 {
            conn.receive = None;
            let result = Err(Errno::CANCELED.into());
            return self.complete(core, Completion::ReceiveEnded { key, result });
        }
        receive.late = receive.late.saturating_sub(1);
        if receive.moving > 0 {
            receive.moving -= 1;
            return;
        }
        while let Some(piece) = self.take_piece(core, conn.stream) {
            self.cores[core].lent += 1;
            self.complete(core, Completion::Received { key, buffer: piece });
        }
        let stream = &self.streams[conn.stream];
        let result = match stream {
            Stream { reset: true, .. } => Err(Errno::CONNRESET.into()),
            Stream {
                server_deaf: true, ..
            } => Ok(()),
            Stream {
                client_finished: true,
                to_server,
                ..
            } if to_server.is_empty() => Ok(()),
            _ => return,
        };
        conn.receive = None;
        self.complete(core, Completion::ReceiveEnded { key, result });
    }

    /// The next piece of what the client sent, if there is a buffer for it.
    fn take_piece(&mut self, core: usize, stream: usize) -> Option<Vec<u8>> {
        let stream = &mut self.streams[stream];
        if stream.reset || stream.server_deaf || stream.to_server.is_empty() {
            return None;
        }
        if self.cores[core].lent >= BUFFERS || self.rng.hits(self.faults.starve) {
            return None;
        }
        let all = stream.to_server.len().min(BUFFER_BYTES);
        let len = if self.rng.hits(self.faults.cut) {
            1 + self.rng.below(all)
        } else {
            all
        };
        Some(stream.to_server.drain(..len).collect())
    }

    fn close(&mut self, core: usize, conn: &mut Conn) -> bool {
        let (Some(close), Some(key)) = (conn.close.as_mut(), conn.key) else {
            return false;
        };
        // A shutdown comes before the close that was asked for after it.
        if close.late > 0 || !conn.endings.is_empty() || !conn.formers.is_empty() {
            close.late = close.late.saturating_sub(1);
            return false;
        }
        if close.detach {
            let result = self.detach(conn.stream);
            self.complete(core, Completion::Detached { key, result });
        } else {
            self.streams[conn.stream].close();
            self.complete(core, Completion::Closed { key });
        }
        true
    }

    /// Deals the new completions anew. Those of one connection and kind keep their order, and the end of a receive stays behind its bytes.
    fn reorder(&mut self, core: usize, first: usize) {
        if !self.rng.hits(self.faults.reorder) {
            return;
        }
        let mut queues: BTreeMap<(u8, u64), VecDeque<Completion<Vec<u8>>>> = BTreeMap::new();
        for completion in self.cores[core].completed.split_off(first) {
            queues
                .entry(order_of(&completion))
                .or_default()
                .push_back(completion);
        }
        let mut queues: Vec<_> = queues.into_values().collect();
        while !queues.is_empty() {
            let index = self.rng.below(queues.len());
            match queues[index].pop_front() {
                Some(completion) => self.complete(core, completion),
                None => drop(queues.swap_remove(index)),
            }
        }
    }
}

/// The address of a stream's client.
pub(super) fn peer_of(stream: usize) -> SocketAddr {
    let port = 1024 + (stream % 60_000) as u16;
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Completions with the same of these stay in order.
fn order_of(completion: &Completion<Vec<u8>>) -> (u8, u64) {
    let key = |key: &ConnKey| u64::from(key.slot) << 32 | u64::from(key.generation);
    match completion {
        // In order among themselves: a descriptor is told closed before it is told accepted again.
        Completion::Accepted { .. } | Completion::AcceptFailed { .. } => (0, 0),
        Completion::Attached { .. } => (0, 0),
        Completion::Closed { .. } | Completion::Detached { .. } => (0, 0),
        Completion::Received { key: of, .. } | Completion::ReceiveEnded { key: of, .. } => {
            (1, key(of))
        }
        Completion::Sent { key: of, .. } => (2, key(of)),
        Completion::Woken => (3, 0),
        Completion::HungUp { key: of } => (4, key(of)),
    }
}
