//! One Engine.IO session on the WebSocket transport: what each packet means to it, and its heartbeat.
//!
//! The server pings, the client answers (Engine.IO protocol 4, "Heartbeat"). The caller sends what it is told to send; the session only
//! keeps the time.

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

/// What came of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// Nothing for the caller to do.
    Nothing,
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

/// What the session's deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
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
}

impl Session {
    /// A session that opens now. The caller sends [`Session::open_packet`].
    pub(crate) fn open(now_ms: u64, heartbeat: &Heartbeat) -> Self {
        Self {
            deadline_ms: now_ms.saturating_add(heartbeat.interval_ms),
            phase: Phase::Resting,
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
            // In protocol 4 pings go from server to client only.
            Packet::Ping(_) => return self.close(CloseReason::TransportError),
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
            Packet::Binary(base64) => Output::Binary(Cow::Owned(engine::decode_base64(base64))),
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
            Phase::AwaitingPong { .. } => {
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

    /// A packet other than a pong. While a pong is awaited the first such packet starts the wait anew (Node since 6.6.12): the
    /// pong may be queued behind a large message that is still arriving.
    fn heard(&mut self, now_ms: u64, heartbeat: &Heartbeat) {
        if self.phase == (Phase::AwaitingPong { moved: false }) {
            self.phase = Phase::AwaitingPong { moved: true };
            self.deadline_ms = now_ms.saturating_add(heartbeat.timeout_ms);
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
