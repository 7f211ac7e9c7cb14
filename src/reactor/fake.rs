//! [`Reactor`] without a kernel: an in-memory network and a clock that a test owns, with faults by seed.
//!
//! One [`Network`] holds everything: the reactors of all cores ([`Fake`]) and the far ends of all connections ([`FakeClient`]) run in one thread, and
//! nothing happens but in calls of theirs. The same seed and the same calls give the same run. Beside doing what a kernel may do, it
//! checks what a shard must do: the rules of [`Reactor`], broken, panic with the seed.

#![forbid(unsafe_code)]

mod client;
mod core;
mod faults;
mod moving;

use std::cell::{RefCell, RefMut};
use std::io;
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Weak;

use self::core::{Core, Ending, Receive, Send};
use super::{Completion, ConnKey, Descriptor, Handoff, Reactor, SendBuffer, Wait};

pub(crate) use client::FakeClient;
pub(crate) use faults::Faults;
use faults::Rng;
pub(crate) use moving::FakeSocket;

/// The largest piece that one receive brings, as the kernel's buffers would have it.
const BUFFER_BYTES: usize = crate::ring::BUFFER_BYTES;
/// Buffers that may be held at a time on one core.
const BUFFERS: usize = 256;
/// What a buffer is filled with when it is returned.
const POISON: u8 = 0xDB;

/// The network, its clock and its dice. Clones are the same network.
#[derive(Clone)]
pub(crate) struct Network {
    state: Rc<RefCell<State>>,
}

struct State {
    seed: u64,
    rng: Rng,
    faults: Faults,
    now_ms: u64,
    cores: Vec<Core>,
    streams: Vec<Stream>,
}

/// One connection between a client and a core, from both sides.
#[derive(Default)]
struct Stream {
    /// Sent by the client, not yet received.
    to_server: Vec<u8>,
    /// Sent by the server, not yet taken by the client.
    to_client: Vec<u8>,
    /// The client will send no more.
    client_finished: bool,
    /// The client sent FIN or RST, or never got through: it is not there any more.
    client_gone: bool,
    /// An RST went over the line, in whichever direction; both ends see it.
    reset: bool,
    /// The server will send no more.
    server_finished: bool,
    /// The server does not receive any more.
    server_deaf: bool,
    /// The server's descriptor is closed, or was never accepted.
    server_closed: bool,
    /// It belongs to no core but to a [`FakeSocket`], as long as that is there.
    afoot: Option<Weak<()>>,
}

impl Network {
    /// A network without cores, at time 0.
    pub(crate) fn new(seed: u64, faults: Faults) -> Network {
        let state = State {
            seed,
            rng: Rng::new(seed),
            faults,
            now_ms: 0,
            cores: Vec::new(),
            streams: Vec::new(),
        };
        Network {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// The reactor of a core. Once for each.
    pub(crate) fn reactor(&self, core: usize) -> Fake {
        let mut state = self.state.borrow_mut();
        while state.cores.len() <= core {
            state.cores.push(Core::default());
        }
        Fake {
            network: self.clone(),
            core,
        }
    }

    /// Connects a client to a core. It waits in the backlog until the core accepts.
    pub(crate) fn connect(&self, core: usize) -> FakeClient {
        let mut state = self.state.borrow_mut();
        let stream = state.streams.len();
        let refused = state.cores[core].accepting_ended;
        state.streams.push(Stream {
            server_closed: refused,
            reset: refused,
            ..Stream::default()
        });
        if !refused {
            state.cores[core].backlog.push_back(stream);
        }
        FakeClient::new(self.clone(), stream)
    }

    /// Connects a client to something outside of the engine, which has the other end to give away.
    pub(crate) fn connect_outside(&self) -> (FakeClient, Handoff) {
        let mut state = self.state.borrow_mut();
        let stream = state.streams.len();
        state.streams.push(Stream::default());
        let socket = state.take_out(stream);
        (FakeClient::new(self.clone(), stream), socket)
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, ms: u64) {
        self.state.borrow_mut().now_ms += ms;
    }

    /// The time.
    pub(crate) fn now_ms(&self) -> u64 {
        self.state.borrow().now_ms
    }

    /// Whether a core that enters now would find anything, or would if it entered some more times.
    pub(crate) fn has_work(&self, core: usize) -> bool {
        let state = self.state.borrow();
        state.cores[core].has_work(&state.streams, state.faults.window())
    }

    /// When the first of the cores wants to be woken by time, by what they told in their last enter.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.state
            .borrow()
            .cores
            .iter()
            .filter_map(|core| core.sleeps_until)
            .min()
    }

    /// Received buffers that a core holds.
    pub(crate) fn buffers_lent(&self, core: usize) -> usize {
        self.state.borrow().cores[core].lent
    }

    /// Descriptors that a core has open.
    pub(crate) fn open_descriptors(&self, core: usize) -> usize {
        self.state.borrow().cores[core].open_descriptors()
    }

    /// Panics unless every buffer was returned, every completion was taken, every descriptor whose client is gone was closed, and every
    /// connection that left a core was attached to one or dropped.
    pub(crate) fn check_quiescent(&self) {
        let mut state = self.state.borrow_mut();
        state.streams.iter_mut().for_each(Stream::notice_loss);
        let afoot = state.streams.iter().any(|stream| stream.afoot.is_some());
        state.check(!afoot, || {
            "a connection has left a core and came to none".to_owned()
        });
        for (index, core) in state.cores.iter().enumerate() {
            state.check(core.lent == 0, || {
                format!("core {index} still holds {} buffers", core.lent)
            });
            state.check(core.completed.is_empty(), || {
                format!("core {index} left completions untaken")
            });
            for (descriptor, conn) in core.conns() {
                let gone = state.streams[conn.stream].client_gone;
                state.check(!gone, || {
                    format!("core {index} keeps descriptor {descriptor} of a client that is gone")
                });
            }
        }
    }
}

impl State {
    #[track_caller]
    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        assert!(holds, "seed {}: {}", self.seed, what());
    }
}

/// One core's reactor.
pub(crate) struct Fake {
    network: Network,
    core: usize,
}

/// Received bytes; counted as held until dropped.
pub(crate) struct FakeBuffer {
    network: Network,
    core: usize,
    bytes: Vec<u8>,
}

impl Deref for FakeBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for FakeBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for FakeBuffer {
    fn drop(&mut self) {
        self.bytes.fill(POISON);
        self.network.state.borrow_mut().cores[self.core].lent -= 1;
    }
}

impl std::fmt::Debug for FakeBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FakeBuffer").field(&self.bytes).finish()
    }
}

impl Fake {
    fn state(&self) -> RefMut<'_, State> {
        self.network.state.borrow_mut()
    }

    /// The state, after the checks that every operation with a descriptor shares.
    #[track_caller]
    fn checked(
        &self,
        key: ConnKey,
        Descriptor(descriptor): Descriptor,
        what: &str,
    ) -> RefMut<'_, State> {
        let mut state = self.state();
        let taken = state.cores[self.core]
            .conns()
            .find(|(_, conn)| conn.holds_slot(key.slot));
        let elsewhere = taken.is_some_and(|(other, _)| other != descriptor);
        state.check(!elsewhere, || {
            format!("{what} for {key:?}, whose slot still belongs to another descriptor")
        });
        let seed = state.seed;
        let Some(conn) = state.cores[self.core].conn_mut(descriptor) else {
            panic!("seed {seed}: {what} on descriptor {descriptor}, which is not open")
        };
        let bound = *conn.key.get_or_insert(key);
        let closing = conn.close.is_some();
        state.check(bound == key, || {
            format!("{what} for {key:?} on the descriptor of {bound:?}")
        });
        state.check(!closing, || format!("{what} for {key:?} after its close"));
        state
    }
}

impl Reactor for Fake {
    type Buffer = FakeBuffer;

    fn accept(&mut self) {
        let core = &mut self.state().cores[self.core];
        core.accepting = !core.accepting_ended;
    }

    fn stop_accepting(&mut self) {
        let mut state = self.state();
        let core = &mut state.cores[self.core];
        core.accepting = false;
        core.accepting_ended = true;
        for stream in std::mem::take(&mut core.backlog) {
            state.streams[stream].reset = true;
            state.streams[stream].server_closed = true;
        }
    }

    fn receive(&mut self, key: ConnKey, descriptor: Descriptor) {
        let mut state = self.checked(key, descriptor, "receive");
        let seed = state.seed;
        let conn = state.cores[self.core]
            .conn_mut(descriptor.0)
            .expect("checked");
        assert!(
            conn.receive.is_none(),
            "seed {seed}: a second receive for {key:?}"
        );
        conn.receive = Some(Receive {
            stopping: false,
            late: 0,
            moving: 0,
        });
    }

    fn stop_receiving(&mut self, key: ConnKey) {
        let mut state = self.state();
        let late = state.late();
        let conn = state.cores[self.core].conn_of(key);
        if let Some(receive) = conn.and_then(|conn| conn.receive.as_mut()) {
            receive.stopping = true;
            receive.late = late;
        }
    }

    fn send(&mut self, key: ConnKey, descriptor: Descriptor, buffer: SendBuffer, from: usize) {
        let mut state = self.checked(key, descriptor, "send");
        let seed = state.seed;
        assert!(
            from < buffer.bytes().len(),
            "seed {seed}: a send without bytes for {key:?}"
        );
        let delay = state.send_delay();
        let conn = state.cores[self.core]
            .conn_mut(descriptor.0)
            .expect("checked");
        assert!(
            conn.send.is_none(),
            "seed {seed}: a second send for {key:?}"
        );
        conn.send = Some(Send {
            buffer,
            from,
            sent: 0,
            delay,
        });
    }

    fn shutdown(&mut self, key: ConnKey, descriptor: Descriptor, how: Shutdown) {
        let mut state = self.checked(key, descriptor, "shutdown");
        let late = state.late();
        let conn = state.cores[self.core]
            .conn_mut(descriptor.0)
            .expect("checked");
        conn.endings.push(Ending { how, late });
    }

    fn close(&mut self, key: ConnKey, descriptor: Descriptor) {
        self.leave(key, descriptor, "close");
    }

    fn refuse(&mut self, descriptor: Descriptor) {
        let mut state = self.state();
        let stream = state.cores[self.core].refuse(descriptor.0);
        state.check(stream.is_some(), || {
            format!("refuses {descriptor:?}, which is not a new connection")
        });
        if let Some(stream) = stream {
            state.streams[stream].reset = true;
            state.streams[stream].server_closed = true;
        }
    }

    fn rename(&mut self, from: ConnKey, to: ConnKey, descriptor: Descriptor) {
        self.rename_connection(from, to, descriptor);
    }

    fn detach(&mut self, key: ConnKey, descriptor: Descriptor) {
        self.leave(key, descriptor, "detach");
    }

    fn attach(&mut self, socket: Handoff, token: u64) {
        self.take_in(socket, token);
    }

    fn wake(&mut self, core: usize) {
        self.state().cores[core].woken = true;
    }

    /// Never waits: how long it was to is remembered for [`Network::next_deadline`].
    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let mut state = self.state();
        let now_ms = state.now_ms;
        state.cores[self.core].sleeps_until = match wait {
            Wait::Ms(ms) => Some(now_ms.saturating_add(ms)),
            Wait::No | Wait::Forever => None,
        };
        state.turn(self.core);
        Ok(())
    }

    fn next(&mut self) -> Option<Completion<FakeBuffer>> {
        let completion = self.state().cores[self.core].completed.pop_front()?;
        let lend = |bytes| FakeBuffer {
            network: self.network.clone(),
            core: self.core,
            bytes,
        };
        Some(match completion {
            Completion::Accepted {
                descriptor,
                peer,
                listener,
            } => Completion::Accepted {
                descriptor,
                peer,
                listener,
            },
            Completion::AcceptFailed { error } => Completion::AcceptFailed { error },
            Completion::Received { key, buffer } => Completion::Received {
                key,
                buffer: lend(buffer),
            },
            Completion::ReceiveEnded { key, result } => Completion::ReceiveEnded { key, result },
            Completion::Sent {
                key,
                buffer,
                from,
                result,
            } => Completion::Sent {
                key,
                buffer,
                from,
                result,
            },
            Completion::HungUp { key } => Completion::HungUp { key },
            Completion::Closed { key } => Completion::Closed { key },
            Completion::Detached { key, result } => Completion::Detached { key, result },
            Completion::Attached { token, result } => Completion::Attached { token, result },
            Completion::Woken => Completion::Woken,
        })
    }

    fn now_ms(&self) -> u64 {
        self.network.now_ms()
    }
}

#[cfg(test)]
mod tests;
