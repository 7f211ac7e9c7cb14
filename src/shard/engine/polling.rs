//! A session on polling: what GET and POST do to it.

use tokio::sync::oneshot;

use super::form::{self, Form, Piece};
use super::{Carrier, Engine};
use crate::proto::reason::DisconnectReason;
use crate::proto::session::Transport;
use crate::reactor::ConnKey;
use crate::shard::application::Application;
use crate::shard::call::{Answer, Opening, Refused, Reply, Request, Ticket};
use crate::shard::command::Command;
use crate::shard::connection::{Context, Flow, Pause};
use crate::shard::engine::desk::{Desk, Step};
use crate::shard::outbound::Outbound;
use crate::wire::close::CloseCode;
use crate::wire::engine as packet;

/// What a session on polling has beside its rules ([`crate::proto::session`]).
pub(super) struct Poller {
    /// The held GET.
    poll: Option<Poll>,
    /// The GET that was answered last. If it turns out to have been broken off by then, what the answer said is lost.
    answered: Option<Ticket>,
    /// The POST whose body is arriving. Dropping the sender breaks it off.
    push: Option<(Ticket, oneshot::Sender<()>)>,
    /// A POST that was handled, and is not answered as long as the connection is paused: the client is to wait.
    pushed: Option<Reply>,
    /// The client has come back with a request since it opened the session.
    has_come_back: bool,
    /// The session has ended in good order: a GET that finds nothing more gets the close packet.
    closing: bool,
    /// The WebSocket that is about to take over.
    pub(super) probe: Option<ConnKey>,
}

struct Poll {
    ticket: Ticket,
    reply: Reply,
    /// It is the one that opened the session.
    opens: bool,
}

impl Engine {
    /// Opens a session that is carried by polling. The GET that asked for it is its first poll.
    pub(crate) fn open_on_polling<A: Application>(
        key: ConnKey,
        opening: Opening,
        reply: Reply,
        cx: &Context<'_, A>,
    ) -> Option<Box<Engine>> {
        let poller = Poller {
            poll: Some(Poll {
                ticket: Ticket::new(),
                reply,
                opens: true,
            }),
            answered: None,
            push: None,
            pushed: None,
            has_come_back: false,
            closing: false,
            probe: None,
        };
        let mut engine = Engine::new(key, Carrier::Polling(Box::new(poller)), opening, cx)?;
        let held = engine.session.poll();
        debug_assert!(held.is_ok(), "it is the first");
        Some(engine)
    }

    /// The session has its place now: says that it is open.
    pub(crate) fn begin_polling<A: Application>(
        &mut self,
        key: ConnKey,
        above: &super::Above,
        cx: &Context<'_, A>,
    ) {
        let mut first = Vec::with_capacity(160);
        self.write_open(&mut first, cx.settings.upgrades, cx);
        cx.hall.write(key, &[&first]);
        self.opened(key, above, cx);
    }

    /// A GET, a POST, its body, or a WebSocket that asks whether it may come.
    pub(crate) fn handle_request<A: Application>(
        &mut self,
        key: ConnKey,
        request: Request,
        pause: Pause,
        cx: &Context<'_, A>,
    ) -> Flow {
        if let Carrier::Polling(poller) = &mut self.carrier {
            poller.has_come_back = true;
        }
        match request {
            Request::Probe { reply } => {
                answer(reply, Answer::Welcome(self.transport()));
                Flow::Continue
            }
            Request::Unpushed { ticket } => {
                let expected = match &mut self.carrier {
                    Carrier::Polling(poller) => poller.push.take_if(|(of, _)| *of == ticket),
                    Carrier::WebSocket(_) => None,
                };
                if expected.is_some() {
                    let _ = self.session.pushed();
                }
                Flow::Continue
            }
            Request::Poll { ticket, reply } => self.handle_poll(key, ticket, reply, cx),
            Request::Push { ticket, reply } => self.handle_push(key, ticket, reply, cx),
            Request::Pushed {
                ticket,
                body,
                is_binary,
                reply,
            } => self.handle_pushed(key, ticket, (body, is_binary), (reply, pause), cx),
        }
    }

    fn handle_poll<A: Application>(
        &mut self,
        key: ConnKey,
        ticket: Ticket,
        reply: Reply,
        cx: &Context<'_, A>,
    ) -> Flow {
        let Carrier::Polling(poller) = &mut self.carrier else {
            answer(reply, refused(Refused::Transport(Transport::WebSocket)));
            return Flow::Continue;
        };
        if let Err(reason) = self.session.poll() {
            answer(reply, refused(Refused::Duplicate));
            return self.end_polling_now(key, reason.into(), cx);
        }
        poller.poll = Some(Poll {
            ticket,
            reply,
            opens: false,
        });
        cx.hall.set_busy(key.slot, false);
        // What waits, if anything does, is given to it at the end of the turn.
        cx.hall.command(Command::Polled { connection: key });
        Flow::Continue
    }

    fn handle_push<A: Application>(
        &mut self,
        key: ConnKey,
        ticket: Ticket,
        reply: Reply,
        cx: &Context<'_, A>,
    ) -> Flow {
        let Carrier::Polling(poller) = &mut self.carrier else {
            answer(reply, refused(Refused::Transport(Transport::WebSocket)));
            return Flow::Continue;
        };
        // One that was handled and not answered yet counts, too: else what waits for a handler would have no limit.
        let begun = match poller.pushed {
            None => self.session.push(),
            Some(_) => Err(self.session.broken_off()),
        };
        if let Err(reason) = begun {
            answer(reply, refused(Refused::Duplicate));
            return self.end_polling_now(key, reason.into(), cx);
        }
        let (alive, ended) = oneshot::channel();
        poller.push = Some((ticket, alive));
        answer(reply, Answer::Ready(ended));
        Flow::Continue
    }

    fn handle_pushed<A: Application>(
        &mut self,
        key: ConnKey,
        ticket: Ticket,
        (body, is_binary): (Vec<u8>, bool),
        (reply, pause): (Reply, Pause),
        cx: &Context<'_, A>,
    ) -> Flow {
        let expected = match &mut self.carrier {
            Carrier::Polling(poller) => poller.push.take_if(|(of, _)| *of == ticket),
            Carrier::WebSocket(_) => None,
        };
        if expected.is_none() || !self.session.pushed() {
            answer(reply, refused(Refused::Cut));
            return Flow::Continue;
        }
        let step = self.handle_payload(key, body, is_binary, cx);
        // A client that upgrades waits for this answer before it goes on, and polls no more: what it does not take then is no reason to wait.
        let full = pause.outbound && !self.session.releases_polls();
        let paused = full || pause.application > 0 || cx.hall.is_pause_asked(key);
        match &mut self.carrier {
            Carrier::Polling(poller) if paused => poller.pushed = Some(reply),
            // Also when the session ends of it: what came before the bad packet was handled (as in Node).
            _ => answer(reply, Answer::Done),
        }
        match step {
            Step::Continue => Flow::Continue,
            Step::End(reason, code) => self.end(key, reason, code, cx),
        }
    }

    /// The packets of a POST, until one that ends the session.
    fn handle_payload<A: Application>(
        &mut self,
        key: ConnKey,
        body: Vec<u8>,
        is_binary: bool,
        cx: &Context<'_, A>,
    ) -> Step {
        let mut desk = Desk {
            key,
            sid: self.sid.as_str(),
            revision: self.revision,
            handshake: &self.handshake,
            granted: self.granted.as_ref(),
            sockets: &mut self.sockets,
            cx,
        };
        let (session, upper) = (&mut self.session, &mut self.upper);
        let ended = form::decode(self.revision, body, is_binary, |piece| {
            let step = match piece {
                Piece::Text(text) => desk.text(session, upper, text),
                Piece::Binary(bytes) => desk.binary(session, upper, bytes),
                Piece::Broken => Step::End(DisconnectReason::ParseError, CloseCode::PROTOCOL_ERROR),
            };
            matches!(step, Step::End(..)).then_some(step)
        });
        ended.unwrap_or(Step::Continue)
    }

    /// The client has broken a GET or POST off, by closing its connection: the session has ended (as in Node).
    pub(crate) fn handle_broken_off<A: Application>(
        &mut self,
        key: ConnKey,
        ticket: Ticket,
        cx: &Context<'_, A>,
    ) -> Flow {
        let Carrier::Polling(poller) = &self.carrier else {
            return Flow::Continue;
        };
        let is_poll = poller
            .poll
            .as_ref()
            .is_some_and(|poll| poll.ticket == ticket);
        // It ended while its answer was on the way: nobody knows what that said.
        let is_poll = is_poll || poller.answered == Some(ticket);
        let is_push = poller.push.as_ref().is_some_and(|(of, _)| *of == ticket);
        if !is_poll && !is_push {
            return Flow::Continue;
        }
        let reason = self.session.broken_off();
        self.end_polling_now(key, reason.into(), cx)
    }

    /// Gives what waits to the held GET, if there are both. True: there was.
    pub(crate) fn answer_poll(&mut self, waiting: &mut Option<Box<Outbound>>) -> bool {
        let Carrier::Polling(poller) = &mut self.carrier else {
            return false;
        };
        let Some(mut outbound) = waiting.take_if(|_| poller.poll.is_some()) else {
            return false;
        };
        let Some(poll) = poller.poll.take() else {
            return false;
        };
        poller.answered = Some(poll.ticket);
        self.session.answered();
        let form = Form {
            revision: self.revision,
            base64_only: self.base64_only,
        };
        let (body, is_binary) = form::encode_all(form, &mut outbound);
        let packets = if poll.opens {
            Answer::Opened {
                sid: self.sid.as_str().into(),
                body,
                is_binary,
            }
        } else {
            Answer::Packets { body, is_binary }
        };
        // A client that has gone meanwhile has lost it: its session ends with it, as that is noticed.
        answer(poll.reply, packets);
        true
    }

    /// Releases a held GET that found nothing: for the sake of an upgrade, or because nothing is to come any more.
    ///
    /// The close packet comes in an answer of its own, as from Node: clients close at once when they read it, and would not come to what
    /// stands before it.
    pub(crate) fn release_poll(&mut self) {
        match &mut self.carrier {
            Carrier::Polling(poller) if poller.closing && poller.poll.is_some() => {
                poller.closing = false;
                self.release(packet::CLOSE);
            }
            Carrier::Polling(_) if self.session.releases_polls() => self.release(packet::NOOP),
            _ => {}
        }
    }

    /// Was it opened and left? Clients of the protocol poll at once.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(&self.carrier, Carrier::Polling(poller) if !poller.has_come_back)
    }

    /// Whether the close packet is still to be fetched.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(&self.carrier, Carrier::Polling(poller) if poller.closing)
    }

    fn release(&mut self, kind: u8) {
        let Carrier::Polling(poller) = &mut self.carrier else {
            return;
        };
        if let Some(poll) = poller.poll.take() {
            self.session.answered();
            let form = Form {
                revision: self.revision,
                base64_only: self.base64_only,
            };
            let (body, is_binary) = form::encode(form, &[&[0x81, 1, kind]]);
            answer(poll.reply, Answer::Packets { body, is_binary });
        }
    }

    /// What waits for a handler is below its limit again: the POST that brought it is answered.
    pub(crate) fn resumed(&mut self) {
        if let Carrier::Polling(poller) = &mut self.carrier
            && let Some(reply) = poller.pushed.take()
        {
            answer(reply, Answer::Done);
        }
    }

    /// The sockets were told. In good order: the close packet follows what waits, to the held GET or the next one. Otherwise at once.
    pub(super) fn end_polling<A: Application>(
        &mut self,
        reason: DisconnectReason,
        cx: &Context<'_, A>,
    ) -> Flow {
        let _ = self.session.broken_off();
        self.resumed();
        let Carrier::Polling(poller) = &mut self.carrier else {
            return Flow::Continue;
        };
        poller.push = None;
        let in_good_order = matches!(
            reason,
            DisconnectReason::ForcedClose
                | DisconnectReason::ForcedServerClose
                | DisconnectReason::ServerNamespaceDisconnect
        );
        // A client whose probe was answered polls no more: its WebSocket takes over, and hears the last words. Without them it would notice
        // nothing before its ping timeout, so that a shutdown waits for it, too.
        let may_wait = in_good_order || reason == DisconnectReason::ServerShuttingDown;
        let takes_over = may_wait && self.session.releases_polls();
        if !takes_over && let Some(connection) = poller.probe.take() {
            cx.hall.command(Command::DropProbe { connection });
        }
        if in_good_order || takes_over {
            poller.closing = true;
            return Flow::Finish;
        }
        // Engine.IO protocol: who closes by POST gets a noop on the GET, everybody else a close packet.
        self.release(match reason {
            DisconnectReason::TransportClose => packet::NOOP,
            _ => packet::CLOSE,
        });
        Flow::Abort
    }

    /// The WebSocket that was about to take over is told that there is nothing any more.
    pub(crate) fn drop_probe<A: Application>(&mut self, cx: &Context<'_, A>) {
        if let Carrier::Polling(poller) = &mut self.carrier
            && let Some(connection) = poller.probe.take()
        {
            cx.hall.command(Command::DropProbe { connection });
        }
    }

    fn end_polling_now<A: Application>(
        &mut self,
        key: ConnKey,
        reason: DisconnectReason,
        cx: &Context<'_, A>,
    ) -> Flow {
        self.disconnect_all(key, reason, cx);
        self.end_polling(reason, cx)
    }

    /// A GET for a session that has ended in good order and has last words to say.
    pub(crate) fn handle_last_poll(&mut self, request: Request) {
        match (request, &mut self.carrier) {
            (Request::Poll { ticket, reply }, Carrier::Polling(poller))
                if poller.poll.is_none() =>
            {
                poller.poll = Some(Poll {
                    ticket,
                    reply,
                    opens: false,
                });
            }
            (request, _) => request.refuse(Refused::UnknownSession),
        }
    }

    /// Whether a GET is held. It may have been broken off, which is told a little later.
    pub(crate) fn is_polled(&self) -> bool {
        matches!(&self.carrier, Carrier::Polling(poller) if poller.poll.is_some())
    }
}

#[cfg(test)]
impl Engine {
    /// On polling: is a GET held, is a POST not answered, is there a probe?
    pub(crate) fn polling(&self) -> Option<(bool, bool, bool)> {
        let Carrier::Polling(poller) = &self.carrier else {
            return None;
        };
        let pushes = poller.push.is_some() || poller.pushed.is_some();
        Some((poller.poll.is_some(), pushes, poller.probe.is_some()))
    }
}

impl Request {
    pub(crate) fn refuse(self, why: Refused) {
        match self {
            Request::Poll { reply, .. }
            | Request::Push { reply, .. }
            | Request::Pushed { reply, .. }
            | Request::Probe { reply } => answer(reply, refused(why)),
            Request::Unpushed { .. } => {}
        }
    }
}

fn refused(why: Refused) -> Answer {
    Answer::Refused(why)
}

/// Whoever asked may have gone.
fn answer(reply: Reply, answer: Answer) {
    let _ = reply.send(answer);
}
