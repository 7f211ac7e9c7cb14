//! One WebSocket after its handshake: frames in, messages out (RFC 6455 §5 to §7).
//!
//! The caller lends received bytes as an [`Input`] and calls [`WebSocket::next`] until it returns `None`. A message that lies whole in
//! the input is unmasked and checked there and lent from there; only a message in pieces is copied together. Such copies, and
//! control frames cut in two, are all that a machine ever allocates, and they are gone as soon as they were handed out.
//!
//! ```text
//! Open ── close() ──> Closing ── peer's Close, or no Close in time ──> Ended
//!   └──── peer's Close, a violation, or no pong in time ──────────────> Ended
//! ```

mod control;
mod input;
mod message;
mod violation;

#[cfg(test)]
mod tests;

use std::str;

use crate::wire::Status;
use crate::wire::close::{self, CloseCode};
use crate::wire::frame::{self, FrameError, HEAD_MAX, Head, Opcode};
use crate::wire::parser::Parser;

pub(crate) use control::Control;
use control::Kept;
use input::Frame;
pub(crate) use input::Input;
use message::Message;
pub(crate) use violation::Violation;

/// How many empty fragments a message may have before it is refused: 4,096. They cost work and bring nothing, and no limit on
/// bytes ever meets them. Fragments with content are only limited by [`Limits::max_message`].
pub(crate) const EMPTY_FRAGMENTS_MAX: u16 = 4096;

/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

/// Which end of the connection this is (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes masked frames and sends unmasked ones.
    Server,
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the other side, for tests in which both sides are ours"
        )
    )]
    /// Takes unmasked frames and masks its own, always with the same key: for tests against the server.
    Client {
        /// The key.
        mask: [u8; 4],
    },
}

/// What a WebSocket may cost. The same limits are passed to each call, so that no connection keeps a copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest message that is taken, in bytes. What an unfinished message pins stays below it plus 1 KiB.
    pub(crate) max_message: usize,
    /// How long after our Close the peer's Close is waited for.
    pub(crate) close_timeout_ms: u64,
    /// When to ask whether the peer is there; `None` leaves that to another layer.
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// Pings to a peer that is silent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    /// So long after the last complete frame a ping is sent.
    pub(crate) interval_ms: u64,
    /// So long after the ping the peer is given up, unless a frame came meanwhile.
    pub(crate) timeout_ms: u64,
}

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// UTF-8.
    Text,
    /// Bytes.
    Binary,
}

impl Kind {
    /// Of the messages that begin a packet.
    pub(crate) fn of(parser: Parser) -> Self {
        match parser {
            Parser::Default => Kind::Text,
            Parser::MsgPack => Kind::Binary,
        }
    }
}

/// What [`WebSocket::next`] has to say.
#[derive(Debug)]
pub(crate) enum Output<'a> {
    /// One whole message, unmasked.
    Message {
        /// Text is valid UTF-8.
        kind: Kind,
        /// The content.
        payload: &'a mut [u8],
    },
    /// Send this: a pong.
    Transmit(Control),
    /// The machine has ended: the peer sent Close, or broke a rule. Send the reply, then FIN; nothing comes any more.
    Closed {
        /// The peer's code ([`CloseCode::NO_STATUS`] where it named none), or that of the broken rule.
        code: CloseCode,
        /// The peer's reason, or the broken rule in words.
        reason: &'a str,
        /// Our Close, unless it was sent before.
        reply: Option<Control>,
        /// The broken rule, when it was not the peer's Close that ended the machine.
        fault: Option<Violation>,
    },
}

/// What [`WebSocket::handle_timeout`] has to say.
#[derive(Debug)]
pub(crate) enum Timeout {
    /// The deadline has not come, or there is none.
    Nothing,
    /// Send this: a ping.
    Transmit(Control),
    /// The machine has ended; the connection is of no more use.
    Expired(Expiry),
}

/// What did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Any frame after our ping.
    NoPong,
    /// The peer's Close after ours.
    NoClose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Open, and a ping is unanswered.
    Pinged,
    /// Our Close is sent.
    Closing,
    Ended,
}

/// Where in the stream of frames the machine is.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// In a head, of which these bytes came with earlier inputs.
    Head {
        bytes: [u8; HEAD_MAX - 1],
        len: u8,
    },
    Payload(Frame),
}

const AT_HEAD: Reading = Reading::Head {
    bytes: [0; HEAD_MAX - 1],
    len: 0,
};

/// What one step through the input found. It borrows from the input only, so that steps can be repeated.
enum Step<'a> {
    /// Nothing to say yet; there may be more in the input.
    Again,
    /// The input is used up.
    Starved,
    /// A whole message, in the input.
    Lent(Kind, &'a mut [u8]),
    /// A whole message, in `self.message`.
    Assembled,
    /// A whole control frame, its payload in the input, or in `self.kept`.
    Control(Opcode, Option<&'a [u8]>),
}

/// The machine. Idle, it holds no memory besides itself.
#[derive(Debug)]
pub(crate) struct WebSocket {
    reading: Reading,
    /// The message whose parts are being collected, or that was handed out with the last output.
    message: Option<Box<Message>>,
    /// The control payload whose parts are being collected, or that was lent with the last output.
    kept: Option<Box<Kept>>,
    /// When a ping, a pong or the peer's Close is due, by `phase`.
    deadline_ms: u64,
    role: Role,
    phase: Phase,
}

impl WebSocket {
    /// A WebSocket whose handshake is done.
    pub(crate) fn new(role: Role) -> Self {
        Self {
            reading: AT_HEAD,
            message: None,
            kept: None,
            deadline_ms: NEVER,
            role,
            phase: Phase::Open,
        }
    }

    /// Starts the heartbeat, if the limits have one.
    pub(crate) fn open(&mut self, now_ms: u64, limits: &Limits) {
        if self.is_open() {
            self.heard(now_ms, limits);
        }
    }

    /// Whether neither side has begun to close.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Pinged)
    }

    /// Bytes allocated for an unfinished message or control frame, or for the message of the last output.
    #[cfg(test)]
    pub(crate) fn pinned_bytes(&self) -> usize {
        self.message
            .as_ref()
            .map_or(0, |message| message.pinned_bytes())
            + self.kept.as_ref().map_or(0, |_| size_of::<Kept>())
    }

    /// The next output, or `None` when the input is used up. After the end the rest of the input is dropped unread.
    #[inline]
    pub(crate) fn next<'a, 'i: 'a>(
        &'a mut self,
        now_ms: u64,
        limits: &Limits,
        input: &mut Input<'i>,
    ) -> Option<Output<'a>> {
        self.forget_handed_out();
        loop {
            match self.step(now_ms, limits, input) {
                Ok(Step::Again) => {}
                Ok(Step::Starved) => return None,
                Ok(Step::Lent(kind, payload)) => return Some(Output::Message { kind, payload }),
                Ok(Step::Assembled) => {
                    return self.message.as_mut().map(|message| message.hand_out());
                }
                Ok(Step::Control(Opcode::Close, payload)) => {
                    return Some(self.peer_closed(payload));
                }
                Ok(Step::Control(Opcode::Ping, payload)) if self.is_open() => {
                    return Some(self.pong(payload));
                }
                // A pong has done its work by being a frame (RFC 6455 §5.5.3: unsolicited ones are fine). A ping after our Close
                // is not answered: nothing follows a Close.
                Ok(Step::Control(..)) => self.kept = None,
                Err(violation) => return Some(self.violated(violation)),
            }
        }
    }

    /// Begins the closing handshake (RFC 6455 §7.1.2) and returns the Close frame to send; `None` when it has begun already. What comes
    /// after this is read and dropped until the peer's Close. A code that must not be sent gives a Close frame without
    /// code and reason; a long reason is cut.
    pub(crate) fn close(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        code: CloseCode,
        reason: &str,
    ) -> Option<Control> {
        if !self.is_open() {
            return None;
        }
        self.phase = Phase::Closing;
        self.deadline_ms = now_ms.saturating_add(limits.close_timeout_ms);
        self.message = None;
        Some(Control::close(self.role, code, reason))
    }

    /// To be called when [`next_deadline_ms`](Self::next_deadline_ms) has come; too early, it does nothing.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64, limits: &Limits) -> Timeout {
        if now_ms < self.deadline_ms || self.deadline_ms == NEVER {
            return Timeout::Nothing;
        }
        match self.phase {
            Phase::Open => self.ping(now_ms, limits),
            Phase::Pinged => self.expire(Expiry::NoPong),
            Phase::Closing => self.expire(Expiry::NoClose),
            Phase::Ended => Timeout::Nothing,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called. It may move into the future with every input.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        Some(self.deadline_ms).filter(|deadline_ms| *deadline_ms != NEVER)
    }

    fn ping(&mut self, now_ms: u64, limits: &Limits) -> Timeout {
        let Some(heartbeat) = limits.heartbeat else {
            self.deadline_ms = NEVER;
            return Timeout::Nothing;
        };
        self.phase = Phase::Pinged;
        self.deadline_ms = now_ms.saturating_add(heartbeat.timeout_ms);
        Timeout::Transmit(Control::new(self.role, Opcode::Ping, &[]))
    }

    fn expire(&mut self, expiry: Expiry) -> Timeout {
        self.end();
        self.forget_handed_out();
        Timeout::Expired(expiry)
    }

    /// A complete frame came. Any frame proves that the peer lives, not only a pong: a peer that is busy sending may have its pong
    /// far back in its queue. Parts of a frame prove nothing, or one byte now and then would hold a connection for ever.
    #[inline]
    fn heard(&mut self, now_ms: u64, limits: &Limits) {
        if let (Some(heartbeat), true) = (limits.heartbeat, self.is_open()) {
            self.phase = Phase::Open;
            self.deadline_ms = now_ms.saturating_add(heartbeat.interval_ms);
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Ended;
        self.deadline_ms = NEVER;
        self.reading = AT_HEAD;
        self.message = None;
    }

    /// What the last output borrowed is free now.
    #[inline]
    fn forget_handed_out(&mut self) {
        if self
            .message
            .as_ref()
            .is_some_and(|message| message.is_handed_out())
        {
            self.message = None;
        }
        if self.phase == Phase::Ended {
            self.kept = None;
        }
    }

    #[inline]
    fn step<'a>(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        input: &mut Input<'a>,
    ) -> Result<Step<'a>, Violation> {
        if self.phase == Phase::Ended {
            input.rest = &mut [];
        }
        if input.rest.is_empty() {
            return Ok(Step::Starved);
        }
        let frame = match self.reading {
            Reading::Payload(frame) => frame,
            Reading::Head { bytes, len } => match self.read_head(bytes, usize::from(len), input)? {
                Status::Complete(head) => self.begin_frame(&head, limits)?,
                Status::Partial => return Ok(Step::Starved),
            },
        };
        let step = if frame.opcode.is_control() {
            self.read_control(frame, input)
        } else if self.is_open() {
            self.read_data(frame, limits, input)?
        } else {
            self.skip(frame, input)
        };
        if !matches!(step, Step::Starved) {
            self.reading = AT_HEAD;
            self.heard(now_ms, limits);
        }
        Ok(step)
    }

    /// Takes a head from the input, or what there is of one. `carry[..len]` came before.
    #[inline]
    fn read_head(
        &mut self,
        carry: [u8; HEAD_MAX - 1],
        len: usize,
        input: &mut Input<'_>,
    ) -> Result<Status<Head>, Violation> {
        if len == 0
            && let Status::Complete(head) =
                frame::decode_head(input.rest).map_err(Violation::Frame)?
        {
            input.take(head.head_len);
            return Ok(Status::Complete(head));
        }
        let mut joined = [0; HEAD_MAX];
        joined[..HEAD_MAX - 1].copy_from_slice(&carry);
        let fresh = input.rest.len().min(HEAD_MAX - len);
        joined[len..len + fresh].copy_from_slice(&input.rest[..fresh]);
        let status = frame::decode_head(&joined[..len + fresh]).map_err(Violation::Frame)?;
        match status {
            Status::Complete(head) => {
                input.take(head.head_len - len);
                self.reading = AT_HEAD;
            }
            Status::Partial => {
                input.take(fresh);
                let mut bytes = [0; HEAD_MAX - 1];
                bytes.copy_from_slice(&joined[..HEAD_MAX - 1]);
                self.reading = Reading::Head {
                    bytes,
                    len: (len + fresh) as u8,
                };
            }
        }
        Ok(status)
    }

    /// The rules that a head must obey before any of its payload is looked at.
    #[inline]
    fn begin_frame(&self, head: &Head, limits: &Limits) -> Result<Frame, Violation> {
        // RFC 6455 §5.2: no extension was negotiated that gives RSV1 a meaning.
        if head.rsv1 {
            return Err(Violation::Frame(FrameError::ReservedBits));
        }
        // RFC 6455 §5.1: a client masks every frame, a server none.
        match (self.role, head.mask) {
            (Role::Server, None) => return Err(Violation::NotMasked),
            (Role::Client { .. }, Some(_)) => return Err(Violation::Masked),
            _ => {}
        }
        // After our Close data is only skipped, wherever in a message it belongs.
        if !head.opcode.is_control() && self.is_open() {
            self.check_sequence(head.opcode)?;
            self.check_length(head.payload_len, limits)?;
        }
        Ok(Frame {
            remaining: head.payload_len,
            mask: head.mask,
            opcode: head.opcode,
            fin: head.fin,
        })
    }

    /// RFC 6455 §5.4: the parts of one message follow each other, with only control frames between them.
    #[inline]
    fn check_sequence(&self, opcode: Opcode) -> Result<(), Violation> {
        match (opcode, &self.message) {
            (Opcode::Continuation, None) => Err(Violation::ContinuationOfNothing),
            (Opcode::Text | Opcode::Binary, Some(_)) => Err(Violation::MessageInsideMessage),
            _ => Ok(()),
        }
    }

    /// The declared length counts, before a byte of it is there or memory for it is asked for.
    #[inline]
    fn check_length(&self, payload_len: u64, limits: &Limits) -> Result<(), Violation> {
        let collected = self
            .message
            .as_ref()
            .map_or(0, |message| message.len() as u64);
        match collected.checked_add(payload_len) {
            Some(total) if total <= limits.max_message as u64 => Ok(()),
            _ => Err(Violation::MessageTooBig),
        }
    }

    #[inline]
    fn read_data<'a>(
        &mut self,
        mut frame: Frame,
        limits: &Limits,
        input: &mut Input<'a>,
    ) -> Result<Step<'a>, Violation> {
        let kind = if frame.opcode == Opcode::Text {
            Kind::Text
        } else {
            Kind::Binary
        };
        if frame.fin && self.message.is_none() && frame.is_whole_in(input) {
            let payload = frame.take(input);
            // RFC 6455 §8.1.
            if kind == Kind::Text && str::from_utf8(payload).is_err() {
                return Err(Violation::TextNotUtf8);
            }
            return Ok(Step::Lent(kind, payload));
        }
        // The message's kind is that of its first frame.
        let message = self
            .message
            .get_or_insert_with(|| Box::new(Message::new(kind)));
        if frame.remaining == 0 && !frame.fin {
            message.count_empty_fragment()?;
        }
        let piece = frame.take(input);
        message.push(piece, frame.fin.then_some(frame.remaining), limits)?;
        if frame.remaining > 0 {
            self.reading = Reading::Payload(frame);
            return Ok(Step::Starved);
        }
        if !frame.fin {
            return Ok(Step::Again);
        }
        message.finish()?;
        Ok(Step::Assembled)
    }

    #[inline]
    fn read_control<'a>(&mut self, mut frame: Frame, input: &mut Input<'a>) -> Step<'a> {
        if self.kept.is_none() && frame.is_whole_in(input) {
            return Step::Control(frame.opcode, Some(frame.take(input)));
        }
        self.kept.get_or_insert_default().push(frame.take(input));
        if frame.remaining > 0 {
            self.reading = Reading::Payload(frame);
            return Step::Starved;
        }
        Step::Control(frame.opcode, None)
    }

    /// Data after our Close: nobody waits for it.
    fn skip<'a>(&mut self, mut frame: Frame, input: &mut Input<'a>) -> Step<'a> {
        frame.mask = None;
        frame.take(input);
        if frame.remaining > 0 {
            self.reading = Reading::Payload(frame);
            return Step::Starved;
        }
        Step::Again
    }

    fn pong(&mut self, payload: Option<&[u8]>) -> Output<'static> {
        let payload = payload.unwrap_or_else(|| kept_bytes(&self.kept));
        // RFC 6455 §5.5.3: a pong says what the ping said.
        let pong = Control::new(self.role, Opcode::Pong, payload);
        self.kept = None;
        Output::Transmit(pong)
    }

    /// RFC 6455 §5.5.1: a Close is answered with its own code, if ours is not sent yet. It may come inside a fragmented message.
    fn peer_closed<'a>(&'a mut self, payload: Option<&'a [u8]>) -> Output<'a> {
        let (role, reply_is_due) = (self.role, self.is_open());
        self.end();
        let payload = payload.unwrap_or_else(|| kept_bytes(&self.kept));
        match close::decode_payload(payload) {
            Ok((code, reason)) => {
                let reply = reply_is_due.then(|| Control::close(role, code, ""));
                Output::Closed {
                    code,
                    reason,
                    reply,
                    fault: None,
                }
            }
            Err(error) => failed(role, reply_is_due, Violation::Close(error)),
        }
    }

    #[cold]
    fn violated(&mut self, violation: Violation) -> Output<'static> {
        let reply_is_due = self.is_open();
        self.end();
        failed(self.role, reply_is_due, violation)
    }
}

/// RFC 6455 §7.1.7: a connection that fails after it was established says why in a Close frame.
fn failed(role: Role, reply_is_due: bool, violation: Violation) -> Output<'static> {
    let (code, reason) = (violation.close_code(), violation.reason());
    let reply = reply_is_due.then(|| Control::close(role, code, reason));
    Output::Closed {
        code,
        reason,
        reply,
        fault: Some(violation),
    }
}

fn kept_bytes(kept: &Option<Box<Kept>>) -> &[u8] {
    kept.as_ref().map_or(&[], |kept| kept.bytes())
}
