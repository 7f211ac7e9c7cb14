//! Typed operations and completions; knows descriptors, not protocols.
//!
//! [`Reactor`] is the surface that a shard drives. `kernel` implements it over io_uring, `fake` over nothing at all, with
//! faults by seed, so that several shards run in one thread in a test.

#![forbid(unsafe_code)]

pub(crate) mod clock;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod kernel;
pub(crate) mod listen;
#[cfg(feature = "testing")]
pub(crate) mod still;

use std::io;
use std::net::SocketAddr;
use std::ops::DerefMut;
use std::os::fd::OwnedFd;

use bytes::Bytes;

/// One connection's place on its core. A slot is used again, with another generation, when nothing of its last
/// connection is in the kernel's hands any more; a completion of an older generation is dropped by whoever looks the key up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnKey {
    /// Index into the core's connections.
    pub(crate) slot: u32,
    /// Counts the connections that have used this slot; wraps at [`ConnKey::GENERATIONS`].
    pub(crate) generation: u32,
}

impl ConnKey {
    /// Generations are 24 bits wide: an operation's tag holds op, generation and slot in 64 bits.
    pub(crate) const GENERATIONS: u32 = 1 << 24;
}

/// An accepted TCP stream, as the reactor names it (for io_uring: the index of a direct descriptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor(pub(crate) u32);

/// Bytes on their way out. The reactor owns them while the kernel reads them and gives them back with [`Completion::Sent`].
#[derive(Debug)]
pub(crate) enum SendBuffer {
    /// Small pieces copied together; the vector is used again afterwards.
    Copied(Vec<u8>),
    /// A large piece, sent from where it lies.
    Shared(Bytes),
}

impl SendBuffer {
    /// All the bytes, those already sent included.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            SendBuffer::Copied(bytes) => bytes,
            SendBuffer::Shared(bytes) => bytes,
        }
    }
}

/// A connected stream socket on its way from one core to another, or from outside of the engine. Dropped, it is closed.
#[derive(Debug)]
pub(crate) enum Handoff {
    /// The kernel's.
    Socket(OwnedFd),
    /// The fake's.
    #[cfg(test)]
    Fake(fake::FakeSocket),
}

/// What came back.
#[derive(Debug)]
pub(crate) enum Completion<B> {
    /// A new connection. Its receiving is not armed yet.
    Accepted {
        descriptor: Descriptor,
        peer: Option<SocketAddr>,
        /// Where it was accepted: the index of its address among those that are listened on.
        listener: usize,
    },
    /// Accepting failed on one listener (`EMFILE`, `ENFILE`, `ENOMEM`, …) and is no longer armed there:
    /// call [`Reactor::accept`] again, after a pause.
    AcceptFailed { error: io::Error },
    /// Bytes came in (never empty). Receiving stays armed.
    Received { key: ConnKey, buffer: B },
    /// Receiving is no longer armed: `Ok` is the peer's FIN, `ECANCELED` the answer to [`Reactor::stop_receiving`], anything else the
    /// end of the connection. Nothing more is received for this key until [`Reactor::receive`].
    ReceiveEnded {
        key: ConnKey,
        result: io::Result<()>,
    },
    /// The peer has hung up (FIN, RST), once for a connection, and also while nothing is received from it. What it
    /// sent before may still be received.
    HungUp { key: ConnKey },
    /// The one send in flight ended. `Ok(n)`: `n` bytes from `from` on were taken (a short send is possible).
    Sent {
        key: ConnKey,
        buffer: SendBuffer,
        from: usize,
        result: io::Result<usize>,
    },
    /// The descriptor is closed and may already belong to somebody else; or it belongs to another key since [`Reactor::rename`]. Nothing
    /// is in the kernel's hands under this key any more.
    Closed { key: ConnKey },
    /// The connection has left this reactor, which has closed its descriptor as for `Closed`. An error means that it is lost.
    Detached {
        key: ConnKey,
        result: io::Result<Handoff>,
    },
    /// A connection has come as [`Reactor::attach`] asked, and with the same token. It is like an accepted one: its receiving is not armed
    /// yet. An error means that it is lost.
    Attached {
        token: u64,
        result: io::Result<(Descriptor, Option<SocketAddr>)>,
    },
    /// Another core or thread asked this one to look at its mailbox.
    Woken,
}

impl<B> Completion<B> {
    /// What was to be told to `from` is told to `to`.
    fn rename(&mut self, from: ConnKey, to: ConnKey) {
        match self {
            Completion::Received { key, .. }
            | Completion::ReceiveEnded { key, .. }
            | Completion::HungUp { key }
            | Completion::Sent { key, .. } => {
                if *key == from {
                    *key = to;
                }
            }
            // The last word on a key is not another one's.
            Completion::Closed { .. } | Completion::Detached { .. } => {}
            Completion::Accepted { .. }
            | Completion::AcceptFailed { .. }
            | Completion::Attached { .. }
            | Completion::Woken => {}
        }
    }
}

/// How long [`Reactor::enter`] may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Submit, reap what is there, return.
    No,
    /// Until something completes.
    Forever,
    /// Until something completes or so many milliseconds went by.
    Ms(u64),
}

/// The operations a shard needs. Nothing here blocks but [`Reactor::enter`]; what is asked for is submitted by the next `enter`.
///
/// The caller keeps the rules: at most one receive and one send pending for a key, `close` and `detach` only when neither is,
/// and no operation for a key after its `close` or `detach`, nor for the old key after a `rename`, until its slot is free again.
pub(crate) trait Reactor {
    /// A received buffer: lent to the holder, given back to the kernel when dropped.
    type Buffer: DerefMut<Target = [u8]>;

    /// Arms accepting on every listener where it is not armed.
    fn accept(&mut self);
    /// Stops accepting for good and closes the listeners.
    fn stop_accepting(&mut self);
    /// Arms receiving. It stays armed until [`Completion::ReceiveEnded`]; running out of buffers is the reactor's own matter.
    fn receive(&mut self, key: ConnKey, descriptor: Descriptor);
    /// Cancels receiving; what was received before may still come. Ends in [`Completion::ReceiveEnded`].
    fn stop_receiving(&mut self, key: ConnKey);
    /// Sends `buffer[from..]`, which must not be empty. Ends in [`Completion::Sent`].
    fn send(&mut self, key: ConnKey, descriptor: Descriptor, buffer: SendBuffer, from: usize);
    /// Shuts down both directions, so that what is pending ends; or only writing (sends FIN). No completion of its own.
    fn shutdown(&mut self, key: ConnKey, descriptor: Descriptor, how: std::net::Shutdown);
    /// Closes the descriptor. Ends in [`Completion::Closed`].
    fn close(&mut self, key: ConnKey, descriptor: Descriptor);
    /// Closes the descriptor of an accepted connection for which there is no key. No completion of its own.
    fn refuse(&mut self, descriptor: Descriptor);
    /// The connection of `from` is that of `to` from now on: the same descriptor, another key. `to` is a key in a slot that is free, and that
    /// is another than that of `from`. A receive and a send of `from` may be pending: what they bring comes as completions of
    /// `to`, in order and complete, and so do completions of the last `enter` that were not handed out yet. Receiving stays armed if it was.
    /// Ends in [`Completion::Closed`] of `from`, when the kernel has nothing under this key any more (a pending send is such a
    /// thing): its slot is free then.
    fn rename(&mut self, from: ConnKey, to: ConnKey, descriptor: Descriptor);
    /// Takes the connection out of this reactor, as `close` would, but alive. Bytes that were not received stay in the socket. Ends in
    /// [`Completion::Detached`].
    fn detach(&mut self, key: ConnKey, descriptor: Descriptor);
    /// Takes a connected socket in, as if it had been accepted. It must be blocking, as accepted ones are, and is made so: for all who
    /// share it. Ends in [`Completion::Attached`]; with an error if there is no free descriptor.
    fn attach(&mut self, socket: Handoff, token: u64);
    /// Wakes another core (its [`Completion::Woken`]).
    fn wake(&mut self, core: usize);

    /// Submits what was asked for, waits as told, and makes what completed available to [`Reactor::next`].
    /// An interrupted wait is no error. An error means that this reactor cannot go on.
    fn enter(&mut self, wait: Wait) -> io::Result<()>;
    /// The next completion that the last [`Reactor::enter`] brought, in the kernel's order.
    fn next(&mut self) -> Option<Completion<Self::Buffer>>;
    /// Monotonic milliseconds since some origin, the same for all cores of a server.
    fn now_ms(&self) -> u64;
}
