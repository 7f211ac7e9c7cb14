//! One accepted TCP stream: what it speaks at the moment, what it has still to send, and how it ends.
//!
//! The end has three steps. First what is to be said is said and writing is shut down (`Flushing`, `Lingering`), or both directions are shut
//! down at once (`Aborting`). Then every operation that the kernel still holds for this connection ends. Only then is the
//! descriptor closed, and only when that is done is the slot used again.

use std::net::SocketAddr;

use super::application::Application;
use super::command::Command;
use super::engine::Engine;
use super::hall::{Hall, SocketKey};
use super::opening::{Opened, Opening};
use super::outbound::{Outbound, Pool};
use super::secure::Secure;
use super::settings::Settings;
use crate::proto::reason::DisconnectReason;
use crate::proto::websocket::{Expiry, Input, Output, Timeout, WebSocket};
use crate::reactor::{ConnKey, Descriptor, SendBuffer};
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
}

/// What the connection speaks.
enum Phase {
    Opening(Box<Opening>),
    Plain(Box<Plain>),
    Engine(Box<Engine>),
    /// Whatever still comes in is thrown away.
    Over,
}

/// A plain WebSocket.
pub(crate) struct Plain {
    pub(crate) machine: WebSocket,
    pub(crate) socket: SocketKey,
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
    pub(crate) descriptor: Descriptor,
    /// `None`: plain TCP.
    pub(crate) secure: Option<Box<Secure>>,
    phase: Phase,
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
    /// The peer's FIN.
    pub(crate) finished: bool,
}

impl Connection {
    pub(crate) fn new(
        descriptor: Descriptor,
        peer: Option<SocketAddr>,
        secure: Option<Box<Secure>>,
        deadline_ms: u64,
    ) -> Self {
        let opening = Opening::new(peer, secure.is_some(), deadline_ms);
        Connection {
            descriptor,
            secure,
            phase: Phase::Opening(Box::new(opening)),
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

    /// Handles received bytes, all of them.
    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        match &mut self.phase {
            Phase::Opening(opening) => {
                let opened = opening.handle_input(key, bytes, cx);
                self.opened(key, opened, bytes, cx)
            }
            Phase::Plain(plain) => plain.handle_input(key, bytes, cx),
            Phase::Engine(engine) => engine.handle_input(key, bytes, cx),
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
            Opened::Plain(plain, rest) => (Phase::Plain(plain), rest),
            Opened::Engine(engine, rest) => (Phase::Engine(engine), rest),
        };
        let behind = match &self.phase {
            Phase::Opening(opening) => opening.stored_from(rest),
            _ => None,
        };
        self.phase = phase;
        match (behind, rest) {
            (Some(mut behind), _) => self.handle_input(key, &mut behind, cx),
            (None, rest) => match bytes.get_mut(rest..) {
                Some(behind) if !behind.is_empty() => self.handle_input(key, behind, cx),
                _ => Flow::Continue,
            },
        }
    }

    /// The peer sends no more (FIN), or the connection failed.
    pub(crate) fn handle_end<A: Application>(&mut self, failed: bool, cx: &Context<'_, A>) -> Flow {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Plain(plain) => cx
                .app
                .websocket_closed(plain.socket, CloseCode::ABNORMAL, ""),
            Phase::Engine(mut engine) => {
                engine.disconnect_all(DisconnectReason::TransportClose, cx)
            }
            Phase::Opening(_) | Phase::Over => {}
        }
        if failed { Flow::Abort } else { Flow::Finish }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        match self.end {
            End::Open => {}
            End::Closing => return None,
            End::Saying | End::Flushing | End::Lingering | End::Aborting => {
                return Some(self.end_deadline_ms);
            }
        }
        if let Some(deadline_ms) = self.secure.as_ref().and_then(|tls| tls.deadline_ms()) {
            return Some(deadline_ms);
        }
        match &self.phase {
            Phase::Opening(opening) => Some(opening.deadline_ms()),
            Phase::Plain(plain) => plain.machine.next_deadline_ms(),
            Phase::Engine(engine) => engine.next_deadline_ms(),
            Phase::Over => None,
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
            Phase::Plain(plain) => plain.handle_timeout(key, cx),
            Phase::Engine(engine) => engine.handle_timeout(key, cx),
            Phase::Over => Flow::Continue,
        };
        if flow != Flow::Continue {
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
            (Command::EndClient { .. }, Phase::Engine(engine)) => {
                let flow = engine.end(
                    key,
                    DisconnectReason::ServerNamespaceDisconnect,
                    CloseCode::NORMAL,
                    cx,
                );
                self.phase = Phase::Over;
                flow
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
                self.phase = Phase::Over;
                flow
            }
            Phase::Opening(_) => {
                self.phase = Phase::Over;
                Flow::Finish
            }
            Phase::Over => Flow::Continue,
        }
    }
}

impl Plain {
    fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &mut [u8],
        cx: &Context<'_, A>,
    ) -> Flow {
        let mut input = Input::new(bytes);
        while let Some(output) = self
            .machine
            .next(cx.now_ms, &cx.settings.websocket, &mut input)
        {
            match output {
                Output::Message { kind, payload } => {
                    cx.app.websocket_message(self.socket, kind, payload)
                }
                Output::Transmit(frame) => cx.hall.write(key, &[&frame]),
                Output::Closed {
                    code,
                    reason,
                    reply,
                    ..
                } => {
                    cx.app.websocket_closed(self.socket, code, reason);
                    if let Some(frame) = reply {
                        cx.hall.write(key, &[&frame]);
                    }
                    return Flow::Finish;
                }
            }
        }
        Flow::Continue
    }

    fn handle_timeout<A: Application>(&mut self, key: ConnKey, cx: &Context<'_, A>) -> Flow {
        match self
            .machine
            .handle_timeout(cx.now_ms, &cx.settings.websocket)
        {
            Timeout::Nothing => Flow::Continue,
            Timeout::Transmit(frame) => {
                cx.hall.write(key, &[&frame]);
                Flow::Continue
            }
            Timeout::Expired(Expiry::NoPong | Expiry::NoClose) => {
                cx.app
                    .websocket_closed(self.socket, CloseCode::ABNORMAL, "");
                Flow::Abort
            }
        }
    }
}
