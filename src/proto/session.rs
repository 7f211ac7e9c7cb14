//! One Engine.IO session: what each packet means to it, its heartbeat, and the rules of its transport.
//!
//! In revision 4 the server pings and the client answers (Engine.IO protocol 4, "Heartbeat"); in revision 3 it is the other way round.
//! The caller sends what it is told to send, and keeps what waits to be sent; the session keeps the time and the rules.
//!
//! On polling, a session is asked by GET ([`Session::poll`]) and told by POST ([`Session::push`]), at most one of each at a time
//! (Engine.IO protocol, "HTTP long-polling"). A WebSocket that wants to take over probes it first:
//!
//! ```text
//! Polling ── probe_begin() ──> probed ── probed() ──> upgrading ── upgrade() ──> WebSocket
//!    └──────────── probe_end() ──┴──────────────────────┘
//! ```

use std::borrow::Cow;

use crate::wire::engine::{self, Packet};
use crate::wire::json::{write_decimal, write_string};

#[cfg(test)]
mod tests;

/// How often to ping, and how long to wait for the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    /// From the opening, or from the last pong, to the next ping. 25,000 by default in Socket.IO.
    pub interval_ms: u64,
    /// From a ping until the session counts as dead. 20,000 by default.
    pub timeout_ms: u64,
}

impl Heartbeat {
    /// So long may a client of revision 3 be silent.
    fn silence_ms(&self) -> u64 {
        self.interval_ms.saturating_add(self.timeout_ms)
    }
}

/// What came of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// Nothing for the caller to do.
    Nothing,
    /// Answer with a pong packet that has these data (revision 3, where the client pings).
    Pong(&'a [u8]),
    /// A text message for the layer above. May be empty.
    Message(&'a mut [u8]),
    /// A binary message for the layer above: lent when it came as a binary frame, owned when it came as base64.
    Binary(Cow<'a, [u8]>),
    /// The session is over: close the transport, and tell the layer above why.
    Close(CloseReason),
}

/// What came of a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// It was too early, or the session is over.
    Nothing,
    /// Send a ping packet (`2`).
    Ping,
    /// The session is over.
    Close(CloseReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The transport broke a rule of its own, or the client pinged.
    TransportError,
    /// The client left: a close frame, a close packet, the end of the stream.
    TransportClose,
    /// No pong in time.
    PingTimeout,
    /// What came was no Engine.IO packet.
    ParseError,
}

/// The revision of Engine.IO's protocol that a client speaks: what its requests say as `EIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    /// Of Socket.IO 2.
    V3,
    V4,
}

/// What carries a session at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Polling,
    WebSocket,
}

/// What a text message on a probing WebSocket asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// `2probe`: answer with [`PROBE_ANSWER`].
    Ask,
    /// `5`: take over.
    Upgrade,
    /// Anything else: this WebSocket is closed, and the session lives on.
    Nonsense,
}

/// The pong to a probe.
pub(crate) const PROBE_ANSWER: &[u8] = b"3probe";

/// What a text message of a WebSocket means that names a session on polling (Engine.IO protocol, "Upgrade").
pub(crate) fn read_probe(text: &[u8]) -> Probe {
    match text {
        b"2probe" => Probe::Ask,
        b"5" => Probe::Upgrade,
        _ => Probe::Nonsense,
    }
}

/// Whether a WebSocket is about to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    No,
    /// There is one, and it has said nothing yet.
    Probed,
    /// It was answered. The client waits for its polls to come back before it goes on: none is held any more.
    Upgrading,
}

/// The transport, with the state of its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Polling {
        /// A GET is held.
        polled: bool,
        /// The body of a POST is arriving.
        pushed: bool,
        upgrade: Upgrade,
    },
    WebSocket,
}

/// What the session's deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Time is up for a ping of the client (revision 3). Any packet is a sign of life.
    AwaitingPing,
    /// Time for a ping.
    Resting,
    /// Time is up for the pong. Only the first packet after a ping moves the deadline, so chatter alone keeps nobody alive.
    AwaitingPong { moved: bool },
    /// None: the session is over.
    Closed,
}

/// One session. There is one for each connected client, most of them idle, so it is kept small.
#[derive(Debug)]
pub(crate) struct Session {
    deadline_ms: u64,
    phase: Phase,
    carrier: Carrier,
}

impl Session {
    /// A session that opens now. The caller sends [`Session::open_packet`].
    pub(crate) fn open(
        now_ms: u64,
        heartbeat: &Heartbeat,
        transport: Transport,
        revision: Revision,
    ) -> Self {
        let carrier = match transport {
            Transport::WebSocket => Carrier::WebSocket,
            Transport::Polling => Carrier::Polling {
                polled: false,
                pushed: false,
                upgrade: Upgrade::No,
            },
        };
        let (phase, patience_ms) = match revision {
            Revision::V4 => (Phase::Resting, heartbeat.interval_ms),
            Revision::V3 => (Phase::AwaitingPing, heartbeat.silence_ms()),
        };
        Self {
            deadline_ms: now_ms.saturating_add(patience_ms),
            phase,
            carrier,
        }
    }

    pub(crate) fn transport(&self) -> Transport {
        match self.carrier {
            Carrier::Polling { .. } => Transport::Polling,
            Carrier::WebSocket => Transport::WebSocket,
        }
    }

    /// Appends the open packet: `0` and an object of exactly these five keys, in this order (Engine.IO protocol, "Handshake").
    /// `upgrades` is empty for a session that begins on WebSocket. `max_payload` is in bytes.
    pub(crate) fn open_packet(
        out: &mut Vec<u8>,
        sid: &str,
        upgrades: &[&str],
        heartbeat: &Heartbeat,
        max_payload: usize,
    ) {
        engine::encode_text(out, engine::OPEN, b"{\"sid\":");
        write_string(out, sid);
        out.extend_from_slice(b",\"upgrades\":[");
        for (index, transport) in upgrades.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(out, transport);
        }
        out.extend_from_slice(b"],\"pingInterval\":");
        write_decimal(out, heartbeat.interval_ms);
        out.extend_from_slice(b",\"pingTimeout\":");
        write_decimal(out, heartbeat.timeout_ms);
        out.extend_from_slice(b",\"maxPayload\":");
        write_decimal(out, max_payload as u64);
        out.push(b'}');
    }

    /// A text message of the WebSocket.
    pub(crate) fn handle_text<'a>(
        &mut self,
        now_ms: u64,
        heartbeat: &Heartbeat,
        text: &'a mut [u8],
    ) -> Output<'a> {
        if self.phase == Phase::Closed {
            return Output::Nothing;
        }
        let Ok(packet) = engine::decode_text(text) else {
            return self.close(CloseReason::ParseError);
        };
        match packet {
            Packet::Ping(data) if self.phase == Phase::AwaitingPing => {
                self.deadline_ms = now_ms.saturating_add(heartbeat.silence_ms());
                return Output::Pong(data);
            }
            // In protocol 4 pings go from server to client only, in protocol 3 pongs do.
            Packet::Ping(_) => return self.close(CloseReason::TransportError),
            Packet::Pong(_) if self.phase == Phase::AwaitingPing => {
                return self.close(CloseReason::TransportError);
            }
            // Node takes no notice of a close packet on WebSocket, and the ping timeout ends the session later. Nothing but time
            // separates the two.
            Packet::Close => return self.close(CloseReason::TransportClose),
            Packet::Pong(_) => {
                // Also when none was awaited.
                self.phase = Phase::Resting;
                self.deadline_ms = now_ms.saturating_add(heartbeat.interval_ms);
                return Output::Nothing;
            }
            _ => self.heard(now_ms, heartbeat),
        }
        match packet {
            Packet::Message(data) => Output::Message(data),
            Packet::Binary(base64) => match self.without_type(base64) {
                Some(base64) => Output::Binary(Cow::Owned(engine::decode_base64(base64))),
                None => self.close(CloseReason::ParseError),
            },
            // Open, upgrade and noop mean nothing here, and harm nobody.
            _ => Output::Nothing,
        }
    }

    /// A binary message of the WebSocket: a message packet without a type byte.
    pub(crate) fn handle_binary<'a>(
        &mut self,
        now_ms: u64,
        heartbeat: &Heartbeat,
        bytes: &'a [u8],
    ) -> Output<'a> {
        if self.phase == Phase::Closed {
            return Output::Nothing;
        }
        self.heard(now_ms, heartbeat);
        Output::Binary(Cow::Borrowed(bytes))
    }

    /// Time has passed. To be called at [`Session::next_deadline_ms`]; earlier does nothing.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64, heartbeat: &Heartbeat) -> Timeout {
        if now_ms < self.deadline_ms {
            return Timeout::Nothing;
        }
        match self.phase {
            Phase::Resting => {
                self.phase = Phase::AwaitingPong { moved: false };
                self.deadline_ms = now_ms.saturating_add(heartbeat.timeout_ms);
                Timeout::Ping
            }
            Phase::AwaitingPong { .. } | Phase::AwaitingPing => {
                self.end();
                Timeout::Close(CloseReason::PingTimeout)
            }
            Phase::Closed => Timeout::Nothing,
        }
    }

    /// When [`Session::handle_timeout`] is due; `u64::MAX` when the session is over.
    pub(crate) fn next_deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    // ---- polling ----

    /// A GET came. Without a word to say it is held; [`Session::answered`] when it is answered. The error is a second one while one is held:
    /// that one is refused, the held one gets a close packet, and the session is over.
    pub(crate) fn poll(&mut self) -> Result<(), CloseReason> {
        match &mut self.carrier {
            Carrier::Polling {
                polled: held @ false,
                ..
            } if self.phase != Phase::Closed => {
                *held = true;
                Ok(())
            }
            _ => {
                self.end();
                Err(CloseReason::TransportError)
            }
        }
    }

    /// Whether a GET is held: the transport is writable.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(self.carrier, Carrier::Polling { polled: true, .. })
    }

    /// Whether a GET that finds nothing is answered with a noop packet at once, because the client is waiting for its end to upgrade.
    pub(crate) fn releases_polls(&self) -> bool {
        matches!(
            self.carrier,
            Carrier::Polling {
                upgrade: Upgrade::Upgrading,
                ..
            }
        )
    }

    /// The held GET was answered.
    pub(crate) fn answered(&mut self) {
        if let Carrier::Polling { polled, .. } = &mut self.carrier {
            *polled = false;
        }
    }

    /// The head of a POST came. The error is a second one while the first's body is arriving: both are broken off, and the session is over.
    pub(crate) fn push(&mut self) -> Result<(), CloseReason> {
        match &mut self.carrier {
            Carrier::Polling {
                pushed: arriving @ false,
                ..
            } if self.phase != Phase::Closed => {
                *arriving = true;
                Ok(())
            }
            _ => {
                self.end();
                Err(CloseReason::TransportError)
            }
        }
    }

    /// The body of the POST is here. False: the session is on polling no more, or waits for none.
    pub(crate) fn pushed(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Polling { pushed, .. } => std::mem::replace(pushed, false),
            Carrier::WebSocket => false,
        }
    }

    /// The client broke a GET or a POST off (it closed the connection): the session is over.
    pub(crate) fn broken_off(&mut self) -> CloseReason {
        self.end();
        CloseReason::TransportError
    }

    // ---- upgrade ----

    /// A WebSocket names this session. False: another one has done so, or the session is on a WebSocket already.
    pub(crate) fn probe_begin(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Polling {
                upgrade: upgrade @ Upgrade::No,
                ..
            } if self.phase != Phase::Closed => {
                *upgrade = Upgrade::Probed;
                true
            }
            _ => false,
        }
    }

    /// The probe is being answered. True: a GET is held, and is to be released with a noop packet.
    pub(crate) fn probed(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Polling {
                upgrade, polled, ..
            } if *upgrade != Upgrade::No => {
                *upgrade = Upgrade::Upgrading;
                *polled
            }
            _ => false,
        }
    }

    /// The WebSocket failed, or took too long: the session goes on as it was, and another may try.
    pub(crate) fn probe_end(&mut self) {
        if let Carrier::Polling { upgrade, .. } = &mut self.carrier {
            *upgrade = Upgrade::No;
        }
    }

    /// The WebSocket takes over: from now on it alone carries the session. The heartbeat goes on as it was (Node stops waiting for a pong at
    /// the switch; here the wait begins anew, so that a client that has gone is still found).
    pub(crate) fn upgrade(&mut self, now_ms: u64, heartbeat: &Heartbeat) {
        debug_assert!(
            matches!(
                self.carrier,
                Carrier::Polling {
                    upgrade: Upgrade::Probed | Upgrade::Upgrading,
                    ..
                }
            ),
            "only a WebSocket that was let in takes over"
        );
        self.carrier = Carrier::WebSocket;
        if let Phase::AwaitingPong { .. } = self.phase {
            self.phase = Phase::AwaitingPong { moved: false };
            self.deadline_ms = now_ms.saturating_add(heartbeat.timeout_ms);
        }
    }

    /// In revision 3 the type of a message packet stands before its base64.
    fn without_type<'a>(&self, base64: &'a mut [u8]) -> Option<&'a mut [u8]> {
        if self.phase != Phase::AwaitingPing {
            return Some(base64);
        }
        match base64.split_first_mut() {
            Some((&mut engine::MESSAGE, base64)) => Some(base64),
            _ => None,
        }
    }

    /// A packet other than a pong. While a pong is awaited the first such packet starts the wait anew (Node since 6.6.12): the
    /// pong may be queued behind a large message that is still arriving.
    fn heard(&mut self, now_ms: u64, heartbeat: &Heartbeat) {
        match self.phase {
            Phase::AwaitingPong { moved: false } => {
                self.phase = Phase::AwaitingPong { moved: true };
                self.deadline_ms = now_ms.saturating_add(heartbeat.timeout_ms);
            }
            Phase::AwaitingPing => {
                self.deadline_ms = now_ms.saturating_add(heartbeat.silence_ms());
            }
            _ => {}
        }
    }

    fn close(&mut self, reason: CloseReason) -> Output<'static> {
        self.end();
        Output::Close(reason)
    }

    fn end(&mut self) {
        self.phase = Phase::Closed;
        self.deadline_ms = u64::MAX;
    }
}
