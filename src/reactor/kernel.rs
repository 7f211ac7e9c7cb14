//! [`Reactor`] over io_uring. What the kernel does on its own terms is put right here: a multishot operation that ended is armed again,
//! an accepted connection gets its peer's address, a close waits for the shutdown before it.

#![forbid(unsafe_code)]

mod accepting;
mod conn;
mod doorbell;
mod leaving;
mod moving;
mod support;
mod waker;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use super::clock::Clock;
use super::{Completion, ConnKey, Descriptor, Handoff, Reactor, SendBuffer, Wait};
use crate::pages::Pages;
use crate::ring::{Buffer, Event, Op, Ring, Sizes, Tag};

use accepting::{FEW, Listener, peer_of};
use conn::{Conn, Hangup, Leaving, Receiving, live};
use doorbell::Doorbell;
use moving::Forward;
pub(crate) use support::{Unsupported, check_support};
pub(crate) use waker::Waker;

const _: () = assert!(
    ConnKey::GENERATIONS == crate::ring::GENERATIONS,
    "a key's generation must fit into a tag"
);

/// What one core's reactor is made of.
#[derive(Debug)]
pub(crate) struct Config {
    /// How large its ring and its pool are.
    pub(crate) sizes: Sizes,
    /// This core's listeners, one per address; blocking sockets.
    pub(crate) listeners: Vec<OwnedFd>,
    /// What others wake it with. Made beforehand, so that every core can be given every other's before any of them runs.
    pub(crate) waker: Waker,
    /// A copy of the server's clock.
    pub(crate) clock: Clock,
}

/// What was seen and cannot be seen otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Completions of an operation that this reactor does not know, or no longer. Never acted on.
    pub(crate) stale: u64,
    /// Receives that ended because no buffer was posted, and were armed again later.
    pub(crate) starved: u64,
    /// Multishot operations that ended without a reason, and were armed again at once.
    pub(crate) rearmed: u64,
    /// Receives that slept through the end of their connection, and were woken.
    pub(crate) revived: u64,
    /// Calls of [`Reactor::enter`].
    pub(crate) enters: u64,
}

/// The bytes of one send that are still to go, as the ring sees them.
struct Outgoing {
    key: ConnKey,
    buffer: SendBuffer,
    from: usize,
}

impl AsRef<[u8]> for Outgoing {
    fn as_ref(&self) -> &[u8] {
        self.buffer.bytes().get(self.from..).unwrap_or_default()
    }
}

/// One core's reactor. It stays on the thread that made it.
pub(crate) struct Kernel {
    ring: Ring<Outgoing>,
    listeners: Vec<Listener>,
    accepting_ended: bool,
    /// Direct descriptors in use.
    descriptors: u32,
    /// Many of them are in use: connections are accepted one at a time.
    scarce: bool,
    /// It was said that all of them are in use, and not many have come free since.
    told_full: bool,
    /// By slot.
    conns: Pages<Conn>,
    /// Connections to be armed again as soon as buffers are posted, the longest waiting first. An entry whose connection is no longer
    /// [`Receiving::Starved`] is void.
    starved: VecDeque<ConnKey>,
    /// Connections that were hung up; their receives should have noticed by the next turn.
    hung_up: Vec<ConnKey>,
    /// By their old keys, connections that were renamed and of which the kernel still has something under that key.
    forwards: HashMap<ConnKey, Forward>,
    /// Sockets of connections that are leaving, until their direct descriptors are closed.
    detached: HashMap<ConnKey, Result<OwnedFd, Errno>>,
    /// Completions that the kernel owes nobody, to be given before its own.
    own: VecDeque<Completion<Buffer>>,
    waker: Waker,
    peers: Vec<Waker>,
    clock: Clock,
    counters: Counters,
    doorbell: Option<Rc<Doorbell>>,
    doorbell_on: bool,
}

impl Kernel {
    /// Sets the ring up. To be called on the thread that will drive it.
    ///
    /// # Errors
    ///
    /// [`Unsupported`], whose `Display` tells an operator what to do.
    pub(crate) fn new(config: Config) -> Result<Kernel, Unsupported> {
        let mut ring = Ring::new(&config.sizes)?;
        ring.watch(config.waker.as_fd());
        let listeners = config
            .listeners
            .into_iter()
            .map(|fd| Listener {
                fd: Some(fd),
                armed: false,
            })
            .collect();
        let files = ring.files();
        Ok(Kernel {
            ring,
            listeners,
            accepting_ended: false,
            descriptors: 0,
            scarce: files < FEW,
            told_full: false,
            conns: Pages::default(),
            starved: VecDeque::new(),
            hung_up: Vec::new(),
            forwards: HashMap::new(),
            detached: HashMap::new(),
            own: VecDeque::new(),
            waker: config.waker,
            peers: Vec::new(),
            clock: config.clock,
            counters: Counters::default(),
            doorbell: None,
            doorbell_on: false,
        })
    }

    /// Wakes this core from any thread.
    #[cfg(test)]
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Whom [`Reactor::wake`] wakes, by core.
    pub(crate) fn set_peers(&mut self, peers: Vec<Waker>) {
        self.peers = peers;
    }

    /// What was counted so far.
    #[cfg(test)]
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Received buffers that somebody holds.
    #[cfg(test)]
    pub(crate) fn buffers_lent(&self) -> usize {
        self.ring.buffers_lent()
    }

    /// Waits for something to complete through the tokio runtime of this thread, for use while other tasks run there: submits, looks, and gives
    /// a future that ends when [`Reactor::enter`] is worth calling (or, rarely, is not). The future borrows nothing. Dropping it is fine.
    ///
    /// The order is this: switch the doorbell on; *then* enter and look; only then sleep. What comes before the look is seen by it, what comes
    /// after it rings. The other half of the order is in [`Doorbell::rung`].
    ///
    /// # Errors
    ///
    /// No eventfd, no tokio runtime with I/O on this thread, or an [`Reactor::enter`] that failed.
    pub(crate) fn ready(&mut self) -> io::Result<impl Future<Output = io::Result<()>> + use<>> {
        let doorbell = self.doorbell()?;
        self.doorbell_on = true;
        self.ring.ring_doorbell(true);
        // Not to have looked means not to know: what the kernel has already put off rings no more.
        let looked = self.turn(Wait::No)?;
        let ready = !looked || self.must_not_wait() || self.ring.has_completions();
        Ok(async move { if ready { Ok(()) } else { doorbell.rung().await } })
    }

    fn doorbell(&mut self) -> io::Result<Rc<Doorbell>> {
        if let Some(doorbell) = &self.doorbell {
            return Ok(Rc::clone(doorbell));
        }
        let doorbell = Rc::new(Doorbell::new(self.waker.clone())?);
        self.ring.set_doorbell(doorbell.eventfd())?;
        self.doorbell = Some(Rc::clone(&doorbell));
        Ok(doorbell)
    }

    fn turn(&mut self, wait: Wait) -> io::Result<bool> {
        self.ring.post_buffers();
        self.rearm_starved();
        self.revive_sleeping();
        let entered = match if self.must_not_wait() { Wait::No } else { wait } {
            Wait::No | Wait::Ms(0) => self.ring.poll(),
            Wait::Forever => self.ring.wait(),
            Wait::Ms(ms) => self.ring.wait_for(Duration::from_millis(ms)),
        };
        entered.map_err(|errno| {
            let why = io::Error::from(errno);
            io::Error::new(
                why.kind(),
                format!("entering the ring (io_uring_enter): {why}"),
            )
        })
    }

    /// Whether there is something to do that no completion would announce.
    fn must_not_wait(&self) -> bool {
        !self.own.is_empty() || (!self.starved.is_empty() && self.ring.buffers_posted() > 0)
    }

    /// Arms as many starved receives as there are buffers posted for them: with none, it would be for nothing; with all of them at once,
    /// all but a few would starve again.
    fn rearm_starved(&mut self) {
        let mut budget = self.ring.buffers_posted();
        while budget > 0 {
            let Some(key) = self.starved.pop_front() else {
                break;
            };
            let Some(conn) = live(&mut self.conns, key) else {
                continue;
            };
            if conn.receiving == Receiving::Starved {
                conn.receiving = Receiving::Armed;
                self.ring.receive(conn.descriptor, key.slot, key.generation);
                budget -= 1;
            }
        }
    }

    /// Wakes the receives that have not noticed that their connection was hung up: a fresh one looks at the connection first.
    fn revive_sleeping(&mut self) {
        for key in self.hung_up.drain(..) {
            let conn = live(&mut self.conns, key);
            if let Some(conn) = conn.filter(|conn| conn.receiving == Receiving::Armed) {
                conn.receiving = Receiving::Reviving;
                self.ring
                    .cancel(Tag::new(Op::Receive, key.slot, key.generation));
                self.counters.revived += 1;
            }
        }
    }

    /// The connection's place, taken into use if this is its first operation.
    fn conn(&mut self, key: ConnKey, Descriptor(descriptor): Descriptor) -> &mut Conn {
        debug_assert!(
            !self.forwards.contains_key(&key),
            "nothing is asked for a renamed key"
        );
        let slot = key.slot as usize;
        self.conns.grow_with(slot + 1, || Conn::VACANT);
        let conn = &mut self.conns[slot];
        if !conn.open || conn.generation != key.generation {
            debug_assert!(
                !conn.open,
                "a slot is used again only after the close of its last connection"
            );
            *conn = Conn {
                generation: key.generation,
                descriptor,
                open: true,
                ..Conn::VACANT
            };
        }
        debug_assert_eq!(
            conn.descriptor, descriptor,
            "a connection keeps its descriptor"
        );
        debug_assert!(
            !conn.is_leaving(),
            "nothing is asked for after close or detach"
        );
        conn
    }

    fn handle(&mut self, event: Event<Outgoing>) -> Option<Completion<Buffer>> {
        match event {
            Event::Accepted {
                listener,
                result,
                more,
            } => self.handle_accepted(listener as usize, result, more),
            Event::Installed {
                descriptor,
                listener,
                result,
            } => Some(Completion::Accepted {
                descriptor: Descriptor(descriptor),
                peer: result.ok().and_then(|fd| peer_of(&fd)),
                listener: listener as usize,
            }),
            Event::Detached { tag, result } => self.handle_detached(key_of(tag), result),
            Event::Adopted {
                socket,
                token,
                result,
            } => Some(self.handle_adopted(&socket, token, result)),
            Event::Received { tag, result, more } => {
                let key = self.current(key_of(tag));
                let completion = self.handle_received(key, result, more);
                if !more {
                    self.drained(key_of(tag), |forward| forward.receiving = false);
                }
                completion
            }
            Event::Sent { load, result } => self.handle_sent(load, result),
            Event::Done { tag, result, more } => self.handle_done(tag, result, more),
            Event::Unknown => self.count_stale(),
        }
    }

    fn count_stale(&mut self) -> Option<Completion<Buffer>> {
        self.counters.stale += 1;
        None
    }

    fn handle_received(
        &mut self,
        key: ConnKey,
        result: Result<Option<Buffer>, Errno>,
        more: bool,
    ) -> Option<Completion<Buffer>> {
        let Some(conn) = live(&mut self.conns, key).filter(|conn| conn.is_receiving()) else {
            return self.count_stale();
        };
        let stopping = conn.receiving == Receiving::Stopping;
        let again = matches!(result, Err(Errno::INTR | Errno::AGAIN))
            || (conn.receiving == Receiving::Reviving && matches!(result, Err(Errno::CANCELED)));
        match result {
            Ok(Some(buffer)) => {
                if !more && stopping {
                    conn.receiving = Receiving::Idle;
                    self.own.push_back(canceled(key));
                } else if !more {
                    self.rearm_receive(key);
                }
                Some(Completion::Received { key, buffer })
            }
            Err(Errno::NOBUFS) if !stopping => {
                conn.receiving = Receiving::Starved;
                self.starved.push_back(key);
                self.counters.starved += 1;
                None
            }
            _ if again && !stopping => {
                self.rearm_receive(key);
                None
            }
            _ => {
                conn.receiving = Receiving::Idle;
                Some(match result {
                    Ok(_) => Completion::ReceiveEnded {
                        key,
                        result: Ok(()),
                    },
                    // It had ended anyway before it could be stopped.
                    Err(Errno::NOBUFS | Errno::INTR | Errno::AGAIN) => canceled(key),
                    Err(errno) => Completion::ReceiveEnded {
                        key,
                        result: Err(errno.into()),
                    },
                })
            }
        }
    }

    fn rearm_receive(&mut self, key: ConnKey) {
        if let Some(conn) = live(&mut self.conns, key) {
            conn.receiving = Receiving::Armed;
            self.ring.receive(conn.descriptor, key.slot, key.generation);
            self.counters.rearmed += 1;
        }
    }

    fn handle_sent(
        &mut self,
        load: Outgoing,
        result: Result<usize, Errno>,
    ) -> Option<Completion<Buffer>> {
        let Outgoing {
            key: of,
            buffer,
            from,
        } = load;
        let key = self.current(of);
        match live(&mut self.conns, key) {
            Some(conn) => conn.sending = false,
            None => debug_assert!(false, "a connection is closed only when its send has ended"),
        }
        self.drained(of, |forward| forward.sending = false);
        Some(Completion::Sent {
            key,
            buffer,
            from,
            result: result.map_err(io::Error::from),
        })
    }

    fn handle_done(
        &mut self,
        tag: Tag,
        result: Result<u32, Errno>,
        more: bool,
    ) -> Option<Completion<Buffer>> {
        match tag.op {
            Op::Shutdown => self.handle_shutdown(tag),
            Op::Close => self.handle_closed(key_of(tag)),
            Op::Hangup => self.handle_hangup(tag, result),
            Op::Wake => {
                if !more {
                    self.ring.watch(self.waker.as_fd());
                }
                self.waker.acknowledge();
                result.ok().map(|_| Completion::Woken)
            }
            Op::Refuse => {
                self.descriptor_freed();
                None
            }
            // A cancel that found nothing came too late; what it was to cancel says so itself.
            _ => None,
        }
    }
}

impl Reactor for Kernel {
    type Buffer = Buffer;

    fn accept(&mut self) {
        if !self.accepting_ended {
            for index in 0..self.listeners.len() {
                self.arm_accept(index);
            }
        }
    }

    fn stop_accepting(&mut self) {
        self.accepting_ended = true;
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if listener.armed {
                self.ring.cancel(Tag::new(Op::Accept, index as u32, 0));
            } else {
                listener.fd = None;
            }
        }
    }

    fn receive(&mut self, key: ConnKey, descriptor: Descriptor) {
        let conn = self.conn(key, descriptor);
        debug_assert_eq!(conn.receiving, Receiving::Idle, "one receive at a time");
        conn.receiving = Receiving::Armed;
        let watch = conn.hangup == Hangup::Unwatched;
        if watch {
            conn.hangup = Hangup::Watched;
        }
        self.ring.receive(descriptor.0, key.slot, key.generation);
        if watch {
            self.ring
                .watch_hangup(descriptor.0, key.slot, key.generation);
        }
    }

    fn stop_receiving(&mut self, key: ConnKey) {
        let Some(conn) = live(&mut self.conns, key) else {
            return;
        };
        match conn.receiving {
            Receiving::Armed => {
                conn.receiving = Receiving::Stopping;
                self.ring
                    .cancel(Tag::new(Op::Receive, key.slot, key.generation));
            }
            Receiving::Starved => {
                conn.receiving = Receiving::Idle;
                self.own.push_back(canceled(key));
            }
            // It is being cancelled already.
            Receiving::Reviving => conn.receiving = Receiving::Stopping,
            Receiving::Idle | Receiving::Stopping => {}
        }
    }

    fn send(&mut self, key: ConnKey, descriptor: Descriptor, buffer: SendBuffer, from: usize) {
        let conn = self.conn(key, descriptor);
        debug_assert!(!conn.sending, "one send at a time");
        debug_assert!(from < buffer.bytes().len(), "a send has bytes");
        conn.sending = true;
        self.ring.send(descriptor.0, Outgoing { key, buffer, from });
    }

    fn shutdown(&mut self, key: ConnKey, descriptor: Descriptor, how: Shutdown) {
        let conn = self.conn(key, descriptor);
        debug_assert!(
            conn.shutdowns < u8::MAX,
            "a connection is shut down once or twice"
        );
        conn.shutdowns = conn.shutdowns.saturating_add(1);
        self.ring
            .shutdown(descriptor.0, how, key.slot, key.generation);
    }

    fn close(&mut self, key: ConnKey, descriptor: Descriptor) {
        self.leave(key, descriptor, Leaving::Closing);
    }

    fn refuse(&mut self, Descriptor(descriptor): Descriptor) {
        self.ring.refuse(descriptor);
    }

    fn rename(&mut self, from: ConnKey, to: ConnKey, descriptor: Descriptor) {
        self.rename_connection(from, to, descriptor);
    }

    fn detach(&mut self, key: ConnKey, descriptor: Descriptor) {
        self.leave(key, descriptor, Leaving::Detaching);
    }

    fn attach(&mut self, socket: Handoff, token: u64) {
        let asked = match socket {
            Handoff::Socket(socket) => self.adopt(socket, token),
            #[cfg(test)]
            Handoff::Fake(_) => Err(Errno::BADF.into()),
        };
        if let Err(error) = asked {
            let result = Err(error);
            self.own.push_back(Completion::Attached { token, result });
        }
    }

    fn wake(&mut self, core: usize) {
        debug_assert!(core < self.peers.len(), "core {core} is not known here");
        if let Some(peer) = self.peers.get(core) {
            peer.wake();
        }
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.counters.enters += 1;
        if self.doorbell_on {
            self.doorbell_on = false;
            self.ring.ring_doorbell(false);
        }
        self.turn(wait).map(drop)
    }

    fn next(&mut self) -> Option<Completion<Buffer>> {
        loop {
            if let Some(completion) = self.own.pop_front() {
                return Some(completion);
            }
            let event = self.ring.next()?;
            if let Some(completion) = self.handle(event) {
                return Some(completion);
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }
}

fn canceled<B>(key: ConnKey) -> Completion<B> {
    Completion::ReceiveEnded {
        key,
        result: Err(Errno::CANCELED.into()),
    }
}

fn key_of(tag: Tag) -> ConnKey {
    ConnKey {
        slot: tag.slot,
        generation: tag.generation,
    }
}

#[cfg(test)]
mod tests;
