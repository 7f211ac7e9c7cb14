//! TLS between a connection and the reactor: what comes in is decrypted before the connection sees it, and what goes out is encrypted
//! when it is sent.
//!
//! Encrypting as late as that means that a large message to a thousand members waits a thousand times as one, and only what is in flight
//! exists once for each.

use std::collections::VecDeque;

use super::Shard;
use super::application::Application;
use super::connection::{Connection, End, Phase};
use super::handshake::Via;
use super::outbound::{Outbound, Pool};
use super::slots::Slots;
use crate::reactor::{ConnKey, Reactor, SendBuffer};
use crate::tls::{Acceptor, Error, Records, State};

/// How much is encrypted for one send: three full records, which with all they add fit into a vector of the pool.
const SEALED_AT_ONCE: usize = 3 * 16 * 1024;

/// The TLS of one connection.
pub(crate) struct Secure {
    records: Records,
    /// What the record layer has to say by itself. It goes before all that is encrypted after it.
    ready: Vec<u8>,
    /// Until the handshake is over.
    deadline_ms: Option<u64>,
    stage: Stage,
    /// The peer sends no more, or nothing that can be understood.
    input_is_over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// An alert or `close_notify` was the last word, and what is said after it is thrown away.
    Over,
    /// Something could not be encrypted: the keys are used up (TLS 1.2 cannot change them), and the connection must be cut.
    Broken,
}

impl Secure {
    fn new(records: Records, deadline_ms: u64) -> Self {
        Secure {
            records,
            ready: Vec::new(),
            deadline_ms: Some(deadline_ms),
            stage: Stage::Open,
            input_is_over: false,
        }
    }

    /// When the handshake must be over, as long as it is not.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// Whether the connection must be cut.
    pub(crate) fn is_broken(&self) -> bool {
        self.stage == Stage::Broken
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next bytes to send: what is ready, and the first of what waits, encrypted.
    pub(crate) fn next_buffer(
        &mut self,
        outbound: Option<&mut Outbound>,
        pool: &mut Pool,
    ) -> Option<SendBuffer> {
        let mut sealed = match self.ready.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut self.ready),
        };
        if let Some(outbound) = outbound {
            self.seal(outbound, &mut sealed, pool);
        }
        (!sealed.is_empty()).then_some(SendBuffer::Copied(sealed))
    }

    fn seal(&mut self, outbound: &mut Outbound, sealed: &mut Vec<u8>, pool: &mut Pool) {
        let mut room = SEALED_AT_ONCE;
        while let Stage::Open = self.stage
            && room > 0
            && let Some(plain) = outbound.pop_at_most(room)
        {
            if sealed.capacity() == 0 {
                *sealed = pool.take();
            }
            room = room.saturating_sub(plain.bytes().len());
            if self.records.encrypt(plain.bytes(), sealed).is_err() {
                self.stage = Stage::Broken;
            }
            pool.recycle(plain);
        }
        if self.stage != Stage::Open {
            while let Some(plain) = outbound.pop() {
                pool.recycle(plain);
            }
        }
    }

    /// Makes `close_notify` ready (RFC 8446 §6.1), once. Whether there is anything to send.
    fn close(&mut self) -> bool {
        if self.stage == Stage::Open {
            self.stage = Stage::Over;
            self.records.close_notify(&mut self.ready);
        }
        self.has_ready()
    }
}

impl Connection {
    /// What its first request comes over.
    pub(super) fn via(&self) -> Via {
        let peer = match &self.phase {
            Phase::Opening(opening) => opening.peer(),
            _ => None,
        };
        Via {
            peer,
            is_secure: self.secure.is_some(),
        }
    }

    /// Whether nothing waits to be sent; one send may be in flight.
    pub(crate) fn has_said_all(&self) -> bool {
        let ready = self.secure.as_ref().is_some_and(|tls| tls.has_ready());
        self.outbound.is_none() && !ready
    }

    /// Whether nothing can be sent on it any more, for reasons of TLS.
    pub(crate) fn is_broken(&self) -> bool {
        self.secure.as_ref().is_some_and(|tls| tls.is_broken())
    }

    /// The next bytes to send of what waits here.
    pub(crate) fn next_buffer(&mut self, pool: &mut Pool) -> Option<SendBuffer> {
        let mut outbound = self.outbound.take();
        let buffer = self.next_buffer_of(outbound.as_deref_mut(), pool);
        self.outbound = outbound;
        buffer
    }

    /// The next bytes to send of `outbound`, in the form in which they go over the line.
    pub(crate) fn next_buffer_of(
        &mut self,
        outbound: Option<&mut Outbound>,
        pool: &mut Pool,
    ) -> Option<SendBuffer> {
        match &mut self.secure {
            None => outbound?.pop(),
            Some(secure) => secure.next_buffer(outbound, pool),
        }
    }
}

/// What a core has for all its TLS connections.
#[derive(Default)]
pub(crate) struct Gate {
    /// By listener: `None` speaks TCP alone.
    acceptors: Vec<Option<Acceptor>>,
    /// Connections whose handshake is not over, the oldest first; and some that it is over for, or that have gone.
    handshaking: VecDeque<ConnKey>,
    /// What was decrypted last: room that is used again.
    plain: Vec<u8>,
}

/// Of the decrypted bytes' room, what is kept from one receive to the next.
const PLAIN_KEPT: usize = 64 * 1024;

impl Gate {
    pub(crate) fn new(acceptors: Vec<Option<Acceptor>>) -> Self {
        Gate {
            acceptors,
            ..Gate::default()
        }
    }

    /// What a connection from this listener begins with: `Ok(None)` for plain TCP.
    pub(crate) fn accept(
        &mut self,
        listener: usize,
        deadline_ms: u64,
    ) -> Result<Option<Box<Secure>>, Error> {
        match self.acceptors.get_mut(listener) {
            Some(Some(acceptor)) => {
                let records = acceptor.accept()?;
                Ok(Some(Box::new(Secure::new(records, deadline_ms))))
            }
            _ => Ok(None),
        }
    }

    /// Counts one more handshake. Beyond `most` the oldest one is to be cut, which this returns.
    ///
    /// An honest client is through after a few round trips, so the oldest is the likeliest to be stalled by intent. Whoever would close the
    /// newest instead, or let it wait, would let a few stalled ones shut everybody out.
    pub(crate) fn begin(
        &mut self,
        key: ConnKey,
        connections: &Slots<Connection>,
        most: usize,
    ) -> Option<ConnKey> {
        self.handshaking.push_back(key);
        if self.handshaking.len() <= most {
            return None;
        }
        self.handshaking.retain(|key| {
            connections
                .get(*key)
                .filter(|connection| connection.end == End::Open)
                .and_then(|connection| connection.secure.as_ref())
                .is_some_and(|secure| secure.deadline_ms.is_some())
        });
        (self.handshaking.len() > most)
            .then(|| self.handshaking.pop_front())
            .flatten()
    }
}

impl<R: Reactor, A: Application> Shard<R, A> {
    /// A TLS connection was accepted.
    pub(super) fn begin_handshake(&mut self, key: ConnKey) {
        let most = self.settings.tls_handshakes_max;
        if let Some(oldest) = self.gate.begin(key, &self.connections, most) {
            self.abort(oldest);
        }
    }

    /// Handles what a TLS connection received.
    pub(super) fn received_secure(&mut self, key: ConnKey, bytes: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(secure) = &mut connection.secure else {
            return;
        };
        let mut plain = std::mem::take(&mut self.gate.plain);
        let received = secure.records.receive(bytes, &mut plain, &mut secure.ready);
        if !secure.records.is_handshaking() {
            secure.deadline_ms = None;
        }
        match received {
            Ok(State::Handshaking | State::Open) => {}
            Ok(State::Closed) => secure.input_is_over = true,
            Err(error) => {
                log::debug!("a TLS connection ends: {error}");
                secure.input_is_over = true;
                secure.stage = Stage::Over;
            }
        }
        if secure.has_ready() && !connection.send_submitted {
            self.send_next(key);
        }
        if !plain.is_empty() {
            self.received_plain(key, &mut plain);
        }
        plain.clear();
        plain.shrink_to(PLAIN_KEPT);
        self.gate.plain = plain;
        self.end_of_secure_input(key);
    }

    /// Does what a FIN would, if TLS has told of the end of what the peer sends. (It goes with the connection where that goes meanwhile.)
    pub(super) fn end_of_secure_input(&mut self, key: ConnKey) {
        let is_over = self.connections.get(key).is_some_and(|connection| {
            let secure = connection.secure.as_ref();
            connection.end == End::Open && secure.is_some_and(|secure| secure.input_is_over)
        });
        if is_over {
            self.with_connection(key, |connection, cx| connection.handle_end(key, false, cx));
        }
    }

    /// Says the last word of TLS on a connection that has said all else. Whether it still has to be sent.
    pub(super) fn close_secure(&mut self, key: ConnKey) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let waits = connection
            .secure
            .as_mut()
            .is_some_and(|secure| secure.close());
        if waits && !connection.send_submitted {
            self.send_next(key);
        }
        waits
    }
}
