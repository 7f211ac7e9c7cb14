//! One accepted TCP stream: what it speaks at the moment, what it has still to send, and how it ends.
//!
//! A session on polling has a place here, too, without a stream: what it has to send waits for a GET on another connection.
//!
//! The end has three steps. First what is to be said is said and writing is shut down (`Flushing`, `Lingering`), or both directions are shut
//! down at once (`Aborting`). Then every operation that the kernel still holds for this connection ends. Only then is the
//! descriptor closed, and only when that is done is the slot used again.

use std::net::SocketAddr;

use super::application::Application;
use super::call::Takeover;
use super::command::Command;
use super::dialect::Dialect;
use super::engine::Engine;
use super::engine::probing::Probing;
use super::hall::Hall;
use super::http::{Http, Progress, UNTAKEN_MAX};
use super::opening::{Opened, Opening};
use super::outbound::{Outbound, Pool};
use super::plain::Plain;
use super::secure::Secure;
use super::settings::Settings;
use crate::proto::reason::DisconnectReason;
use crate::reactor::{ConnKey, Descriptor};
use crate::room::turn::Piece;
use crate::wire::close::CloseCode;

/// What a connection may use while it handles something.
pub(crate) struct Context<'a, A> {
    pub(crate) app: &'a A,
    pub(crate) hall: &'a Hall,
    pub(crate) settings: &'a Settings,
    pub(crate) now_ms: u64,
}

/// What is to become of a connection after it handled something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flow {
    Continue,
    /// Send what is marked, then FIN, then wait a while for the peer's FIN.
    Finish,
    /// Cut it now.
    Abort,
    /// Ask the session that it names to let it in.
    Probe,
    /// It is to carry the session that has let it in.
    Upgrade,
    /// It goes on on another core.
    Move,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    /// It ends, but what it says last is only marked.
    Saying,
    Flushing,
    Lingering,
    Aborting,
    Closing,
    /// It goes to another core, but what it says last here is only marked.
    Leaving,
    /// As soon as nothing of it is with the kernel, it goes.
    Moving,
}

/// What the connection speaks.
pub(super) enum Phase {
    Opening(Box<Opening>),
    Http(Box<Http>),
    Plain(Box<Plain>),
    Engine(Box<Engine>),
    /// A WebSocket that is to take over a session.
    Probing(Box<Probing>),
    /// On its way to another core.
    Moving(Box<Move>),
    /// Whatever still comes in is thrown away.
    Over,
}

/// What a connection takes to another core.
pub(crate) struct Move {
    pub(crate) takeover: Takeover,
    pub(crate) bytes: Vec<u8>,
}

/// Why nothing is read from a connection: for unsent output, or because the application asked.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) outbound: bool,
    /// How many sockets of this connection asked for it.
    pub(crate) application: u32,
}

impl Pause {
    pub(crate) fn is_on(self) -> bool {
        self.outbound || self.application > 0
    }
}

pub(crate) struct Connection {
    /// `None` for a session on polling.
    pub(crate) descriptor: Option<Descriptor>,
    /// `None`: plain TCP, or a session on polling.
    pub(crate) secure: Option<Box<Secure>>,
    /// It is a session on polling, and counts as one ([`Settings::sessions_max`]).
    pub(super) on_polling: bool,
    /// How its client wants binary messages, if not as everybody else's. It is here so that a broadcast need not look into the session.
    pub(super) dialect: Option<Dialect>,
    pub(super) phase: Phase,
    pub(crate) end: End,
    pub(crate) end_deadline_ms: u64,
    pub(crate) pause: Pause,
    /// True exactly while a receive of this connection is in the kernel's hands.
    pub(crate) receive_submitted: bool,
    /// True exactly while a send of this connection is in the kernel's hands.
    pub(crate) send_submitted: bool,
    /// Behind the send in flight. `None` on a connection that keeps up.
    pub(crate) outbound: Option<Box<Outbound>>,
    /// The peer has hung up; what it sent before may still be unread.
    pub(crate) hung_up: bool,
    /// `None` on a connection that was not paused in the middle of its input.
    pub(crate) held: Option<Box<Held>>,
}

/// What came in while reading was paused, and counts when it resumes.
#[derive(Default)]
pub(crate) struct Held {
    /// At most the buffers that were under way when the pause began.
    pub(crate) bytes: Vec<u8>,
    /// What was under way and is not decrypted yet; it comes behind the above.
    pub(crate) sealed: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(
        descriptor: Descriptor,
        peer: Option<SocketAddr>,
        secure: Option<Box<Secure>>,
        deadline_ms: u64,
    ) -> Self {
        let phase = Phase::Opening(Box::new(Opening::new(peer, deadline_ms)));
        Connection {
            secure,
            ..Connection::with_phase(Some(descriptor), phase)
        }
    }

    /// A session on polling.
    pub(crate) fn session(engine: Box<Engine>) -> Self {
        let dialect = engine.dialect();
        Connection {
            dialect,
            on_polling: true,
            ..Connection::with_phase(None, Phase::Engine(engine))
        }
    }

    /// A connection whose HTTP was spoken elsewhere; see [`Connection::take_over`].
    pub(crate) fn adopted(descriptor: Descriptor, secure: Option<Box<Secure>>) -> Self {
        Connection {
            secure,
            ..Connection::with_phase(Some(descriptor), Phase::Over)
        }
    }

    fn with_phase(descriptor: Option<Descriptor>, phase: Phase) -> Self {
        Connection {
            descriptor,
            secure: None,
            phase,
            on_polling: false,
            dialect: None,
            end: End::Open,
            end_deadline_ms: 0,
            pause: Pause::default(),
            receive_submitted: false,
            send_submitted: false,
            outbound: None,
            hung_up: false,
            held: None,
        }
    }

    pub(crate) fn unsent(&self) -> usize {
        self.outbound
            .as_ref()
            .map_or(0, |outbound| outbound.bytes())
    }

    /// Adds what it was told to what waits, in the form that its client wants. For a poll there is another one, made later.
    pub(crate) fn add_to<'a>(
        &self,
        outbound: &mut Outbound,
        pieces: impl Iterator<Item = Piece<'a>>,
        pool: &mut Pool,
    ) {
        match self.dialect.filter(|_| self.descriptor.is_some()) {
            Some(dialect) => dialect.extend(outbound, pieces, pool),
            None => outbound.extend(pieces, pool),
        }
    }

    /// Is it an Engine.IO session?
    pub(crate) fn is_engine(&self) -> bool {
        matches!(self.phase, Phase::Engine(_))
    }

    /// Adds what it was told to what waits behind the send in flight, or for a poll.
    pub(crate) fn hold<'a>(&mut self, pieces: impl Iterator<Item = Piece<'a>>, pool: &mut Pool) {
        let mut outbound = self.outbound.take().unwrap_or_default();
        self.add_to(&mut outbound, pieces, pool);
        self.outbound = Some(outbound);
    }

    /// May anything be sent that is marked for it?
    pub(crate) fn may_say(&self) -> bool {
        matches!(
            self.end,
            End::Open | End::Saying | End::Flushing | End::Leaving
        )
    }

    /// Is so much waiting to be sent that nothing more is to be read from it, as it is now?
    pub(crate) fn must_rest(&self, settings: &Settings) -> bool {
        self.unsent() > settings.outbound_soft && !self.pause.outbound
    }

    /// So many bytes more may be kept for it to send: HTTP alone asks. What was marked in this turn counts, or each piece of input could bring as
    /// much output again before anything is written.
    fn room<A>(&self, key: ConnKey, cx: &Context<'_, A>) -> usize {
        if !matches!(self.phase, Phase::Http(_)) {
            return 0;
        }
        let marked = cx.hall.with_turn(|turn, _| turn.pending_bytes(key.slot));
        let kept = self.unsent().saturating_add(marked);
        cx.settings
            .outbound_soft
            .min(UNTAKEN_MAX)
            .saturating_sub(kept)
    }

    /// Handles received bytes, all of them.
    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let (room, via) = (self.room(key, cx), self.via());
        match &mut self.phase {
            Phase::Opening(opening) => {
                let opened = opening.handle_input(key, bytes, via, cx);
                self.opened(key, opened, bytes, cx)
            }
            Phase::Http(http) => {
                let progress = http.handle_input(key, bytes, room, cx);
                self.progressed(key, progress, cx)
            }
            Phase::Plain(plain) => plain.handle_input(key, bytes, cx),
            Phase::Engine(engine) => engine.handle_input(key, bytes, cx),
            Phase::Probing(probing) => probing.handle_input(key, bytes, cx),
            Phase::Moving(moving) => {
                moving.bytes.extend_from_slice(bytes);
                Flow::Continue
            }
            Phase::Over => Flow::Continue,
        }
    }

    /// The request is whole (or not yet, or refused): goes on with what it asked for and with the bytes behind it.
    fn opened<A: Application>(
        &mut self,
        key: ConnKey,
        opened: Opened,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let (phase, rest) = match opened {
            Opened::NotYet => return Flow::Continue,
            Opened::Refused => {
                self.phase = Phase::Over;
                return Flow::Finish;
            }
            // hyper reads the request once more, from its beginning.
            Opened::Http => (Phase::Http(Box::new(Http::new(key, self.via(), cx))), 0),
            Opened::Plain(plain, rest) => (Phase::Plain(plain), rest),
            Opened::Engine(engine, rest) => (Phase::Engine(engine), rest),
        };
        let behind = match &self.phase {
            Phase::Opening(opening) => opening.stored_from(rest),
            _ => None,
        };
        self.go_on(phase);
        match (behind, rest) {
            (Some(mut behind), _) => self.handle_input(key, &mut behind, cx),
            (None, rest) => match bytes.get_mut(rest..) {
                Some(behind) if !behind.is_empty() => self.handle_input(key, behind, cx),
                _ => Flow::Continue,
            },
        }
    }

    fn go_on(&mut self, phase: Phase) {
        if let Phase::Engine(engine) = &phase {
            self.dialect = engine.dialect();
        }
        self.phase = phase;
    }

    /// HTTP went on, or has ended.
    fn progressed<A: Application>(
        &mut self,
        key: ConnKey,
        progress: Progress,
        cx: &Context<'_, A>,
    ) -> Flow {
        match progress {
            Progress::Going => Flow::Continue,
            Progress::Ended => {
                self.phase = Phase::Over;
                Flow::Finish
            }
            Progress::TakenOver(takeover, bytes) => self.take_over(key, takeover, bytes, cx),
        }
    }

    /// The 101 answer is marked, or was sent elsewhere: goes on as what it announced, with the bytes behind the request.
    pub(crate) fn take_over<A: Application>(
        &mut self,
        key: ConnKey,
        takeover: Takeover,
        mut bytes: Vec<u8>,
        cx: &Context<'_, A>,
    ) -> Flow {
        let phase = match takeover {
            Takeover::Plain {
                number,
                scope,
                handshake,
            } => Plain::open(key, number, &scope, &handshake, &[], cx)
                .map(|plain| Phase::Plain(Box::new(plain))),
            Takeover::Engine(opening) => {
                Engine::open_on_websocket(key, Vec::new(), *opening, cx).map(Phase::Engine)
            }
            Takeover::Probe { sid, base64_only } if cx.hall.is_home_of(&sid) => {
                let probing = Probing::new(sid, base64_only, bytes, cx);
                self.phase = Phase::Probing(Box::new(probing));
                return Flow::Probe;
            }
            takeover @ Takeover::Probe { .. } => {
                self.phase = Phase::Moving(Box::new(Move { takeover, bytes }));
                return Flow::Move;
            }
        };
        match phase {
            Some(phase) => self.go_on(phase),
            // This core holds as many sockets as it may. It is too late for an answer that says so.
            None => return Flow::Abort,
        }
        if bytes.is_empty() {
            Flow::Continue
        } else {
            self.handle_input(key, &mut bytes, cx)
        }
    }

    /// Something that HTTP waited for is there, or room to write.
    pub(crate) fn handle_wake<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        let room = self.room(key, cx);
        match &mut self.phase {
            Phase::Http(http) if self.end == End::Open => {
                let progress = http.poll(key, room, cx);
                self.progressed(key, progress, cx)
            }
            _ => Flow::Continue,
        }
    }

    /// A send has ended, and another one is under way or not.
    pub(crate) fn handle_taken(&mut self, now_ms: u64) {
        let is_more = self.send_submitted;
        if let Phase::Http(http) = &mut self.phase {
            http.taken(is_more, now_ms);
        }
    }

    pub(crate) fn is_http(&self) -> bool {
        matches!(self.phase, Phase::Http(_))
    }

    /// Whether it is HTTP's, and not read because of what came and nobody took.
    pub(crate) fn is_stuffed(&self) -> bool {
        matches!(&self.phase, Phase::Http(http) if http.is_stuffed())
    }

    /// Whether it has more to write than there was room for.
    pub(crate) fn wants_room(&self) -> bool {
        matches!(&self.phase, Phase::Http(http) if http.wants_room())
    }

    /// The peer sends no more (FIN), or the connection failed.
    pub(crate) fn handle_end<A: Application>(
        &mut self,
        key: ConnKey,
        failed: bool,
        cx: &Context<'_, A>,
    ) -> Flow {
        let room = self.room(key, cx);
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Plain(plain) => cx
                .app
                .websocket_closed(plain.socket, CloseCode::ABNORMAL, ""),
            Phase::Engine(mut engine) => engine.handle_end(key, cx),
            Phase::Probing(probing) => probing.tell_end(key, cx),
            // What it was about to answer may still be on its way.
            Phase::Http(mut http) if !failed => {
                let _ = http.handle_end(key, room, cx);
            }
            Phase::Http(_) | Phase::Opening(_) | Phase::Moving(_) | Phase::Over => {}
        }
        if failed { Flow::Abort } else { Flow::Finish }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        match self.end {
            End::Open => {}
            End::Closing => return None,
            End::Saying
            | End::Flushing
            | End::Lingering
            | End::Aborting
            | End::Leaving
            | End::Moving => {
                return Some(self.end_deadline_ms);
            }
        }
        if let Some(deadline_ms) = self.secure.as_ref().and_then(|tls| tls.deadline_ms()) {
            return Some(deadline_ms);
        }
        match &self.phase {
            Phase::Opening(opening) => Some(opening.deadline_ms()),
            Phase::Http(http) => http.next_deadline_ms(),
            Phase::Probing(probing) => Some(probing.deadline_ms()),
            Phase::Plain(plain) => plain.machine.next_deadline_ms(),
            Phase::Engine(engine) => engine.next_deadline_ms(),
            Phase::Moving(_) | Phase::Over => None,
        }
    }

    pub(crate) fn handle_timeout<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        if self.end != End::Open {
            let late = cx.now_ms >= self.end_deadline_ms;
            return if late { Flow::Abort } else { Flow::Continue };
        }
        if let Some(deadline_ms) = self.secure.as_ref().and_then(|tls| tls.deadline_ms()) {
            // Nobody is there yet who could be told anything.
            let late = cx.now_ms >= deadline_ms;
            return if late { Flow::Abort } else { Flow::Continue };
        }
        let flow = match &mut self.phase {
            Phase::Opening(opening) => opening.handle_timeout(key, cx),
            Phase::Http(http) if http.is_stalled(cx.now_ms) => Flow::Abort,
            Phase::Http(_) => return self.handle_wake(key, cx),
            Phase::Plain(plain) => plain.handle_timeout(key, cx),
            Phase::Engine(engine) => engine.handle_timeout(key, cx),
            Phase::Probing(probing) => probing.handle_timeout(key, cx),
            Phase::Moving(_) | Phase::Over => Flow::Continue,
        };
        self.ended(flow)
    }

    /// What is spoken is over with this flow, except that a session on polling keeps its last words for the next GET.
    pub(super) fn ended(&mut self, flow: Flow) -> Flow {
        let says_more = self.descriptor.is_none() && flow == Flow::Finish;
        if flow != Flow::Continue && !says_more {
            self.phase = Phase::Over;
        }
        flow
    }

    /// Carries out what a handler asked for.
    pub(crate) fn handle_command<A: Application>(
        &mut self,
        key: ConnKey,
        command: Command,
        cx: &Context<'_, A>,
    ) -> Flow {
        match (command, &mut self.phase) {
            (Command::Close { code, reason, .. }, _) => {
                self.close(key, CloseCode::new(code), &reason, cx)
            }
            (Command::Left { socket, .. }, Phase::Engine(engine)) => {
                engine.left(socket);
                Flow::Continue
            }
            (
                Command::Decide {
                    namespace,
                    decision,
                    ..
                },
                Phase::Engine(engine),
            ) => {
                engine.decide(key, &namespace, *decision, cx);
                Flow::Continue
            }
            (Command::EndClient { .. }, Phase::Engine(engine)) => {
                // Without a code, as in Node.
                let flow = engine.end(key, engine.put_out_reason(), CloseCode::NO_STATUS, cx);
                self.ended(flow)
            }
            (Command::Probed { .. }, Phase::Engine(engine)) => {
                engine.probed();
                if self.pause.application == 0 {
                    // It waits for the end of its POST before it takes over, and for nothing that is unsent.
                    engine.resumed();
                }
                Flow::Continue
            }
            (Command::ProbeEnded { probe, .. }, Phase::Engine(engine)) => {
                engine.probe_ended(probe);
                Flow::Continue
            }
            (Command::DropProbe { .. }, Phase::Probing(probing)) => {
                let flow = probing.close(key, cx);
                self.ended(flow)
            }
            _ => Flow::Continue,
        }
    }

    /// Closes in good order: a plain WebSocket by the closing handshake, an Engine.IO session at once.
    pub(crate) fn close<A: Application>(
        &mut self,
        key: ConnKey,
        code: CloseCode,
        reason: &str,
        cx: &Context<'_, A>,
    ) -> Flow {
        let room = self.room(key, cx);
        match &mut self.phase {
            Phase::Plain(plain) => {
                if let Some(frame) =
                    plain
                        .machine
                        .close(cx.now_ms, &cx.settings.websocket, code, reason)
                {
                    cx.hall.write(key, &[&frame]);
                    // RFC 6455 §5.5.1: no data frames behind a Close, so no broadcast may reach it while it waits for the peer's.
                    cx.hall.silence(plain.socket);
                    // Messages are thrown away from now on, so none waits for a handler; and the peer's Close has to be read.
                    cx.hall.command(Command::Resume { connection: key });
                }
                Flow::Continue
            }
            Phase::Engine(engine) => {
                let flow = engine.end(key, DisconnectReason::ServerShuttingDown, code, cx);
                self.ended(flow)
            }
            Phase::Http(http) => {
                let progress = http.shut_down(key, room, cx);
                self.progressed(key, progress, cx)
            }
            // It hears of the end from its session, which it is about to take over.
            Phase::Probing(probing) if probing.is_answered => Flow::Continue,
            Phase::Probing(probing) => {
                let flow = probing.close(key, cx);
                self.ended(flow)
            }
            Phase::Opening(_) => {
                self.phase = Phase::Over;
                Flow::Finish
            }
            Phase::Moving(_) | Phase::Over => Flow::Continue,
        }
    }
}

#[cfg(test)]
mod tests;
