//! What a connection is asked as a session, or as the WebSocket that is to take one over.

use super::application::Application;
use super::call::{Above, Refused, Request, Route, Ticket};
use super::command::Command;
use super::connection::{Connection, Context, End, Flow, Move, Phase};
use super::engine::probing::Probing;
use crate::proto::session::Revision;
use crate::proto::websocket::WebSocket;
use crate::reactor::ConnKey;

impl Connection {
    /// Is it the session of this name? (Whether it speaks the revision, at that route, is asked by [`Connection::handle_request`].)
    pub(super) fn is_session(&self, sid: &str) -> bool {
        matches!(&self.phase, Phase::Engine(engine) if engine.sid() == sid)
    }

    /// It has its place now, and begins.
    pub(super) fn begin_session<A: Application>(
        &mut self,
        key: ConnKey,
        above: &Above,
        cx: &Context<'_, A>,
    ) -> Flow {
        if let Phase::Engine(engine) = &mut self.phase {
            engine.begin_polling(key, above, cx);
        }
        Flow::Continue
    }

    pub(super) fn handle_request<A: Application>(
        &mut self,
        key: ConnKey,
        (route, revision): (Route, Revision),
        request: Request,
        cx: &Context<'_, A>,
    ) -> Flow {
        let Phase::Engine(engine) = &mut self.phase else {
            request.refuse(Refused::UnknownSession);
            return Flow::Continue;
        };
        if engine.route() != route {
            request.refuse(Refused::UnknownSession);
            return Flow::Continue;
        }
        if engine.revision() != revision {
            request.refuse(Refused::Revision);
            return Flow::Continue;
        }
        if self.end != End::Open {
            engine.handle_last_poll(request);
            cx.hall.command(Command::Polled { connection: key });
            return Flow::Continue;
        }
        let flow = engine.handle_request(key, request, self.pause, cx);
        self.ended(flow)
    }

    pub(super) fn handle_broken_off<A: Application>(
        &mut self,
        key: ConnKey,
        ticket: Ticket,
        cx: &Context<'_, A>,
    ) -> Flow {
        match &mut self.phase {
            Phase::Engine(engine) if self.end == End::Open => {
                let flow = engine.handle_broken_off(key, ticket, cx);
                self.ended(flow)
            }
            _ => Flow::Continue,
        }
    }

    /// Gives what waits to a held GET. True: something was given.
    pub(super) fn answer_poll(&mut self) -> bool {
        match &mut self.phase {
            Phase::Engine(engine) => engine.answer_poll(&mut self.outbound),
            _ => false,
        }
    }

    /// Releases a held GET that finds nothing.
    pub(super) fn release_poll(&mut self) {
        if let Phase::Engine(engine) = &mut self.phase {
            engine.release_poll();
        }
    }

    /// Whether a session that has ended on polling has last words to say.
    pub(super) fn is_closing(&self) -> bool {
        self.outbound.is_some()
            || matches!(&self.phase, Phase::Engine(engine) if engine.is_closing())
    }

    /// Whether what is said to it can leave at once.
    pub(super) fn is_polled(&self) -> bool {
        matches!(&self.phase, Phase::Engine(engine) if engine.is_polled())
    }

    /// It is not paused any more.
    pub(super) fn resumed(&mut self) {
        if let Phase::Engine(engine) = &mut self.phase {
            engine.resumed();
        }
    }

    // ---- upgrade ----

    /// The name of the session that it wants to take over.
    pub(super) fn probed_sid(&self) -> Option<Box<str>> {
        match &self.phase {
            Phase::Probing(probing) => Some(probing.sid.clone()),
            _ => None,
        }
    }

    /// A WebSocket asks to be let in.
    pub(super) fn begin_probe(&mut self, probe: ConnKey) -> bool {
        match &mut self.phase {
            Phase::Engine(engine) if self.end == End::Open => engine.begin_probe(probe),
            _ => false,
        }
    }

    /// The session's answer to that: without one the connection is closed.
    pub(super) fn let_in<A: Application>(
        &mut self,
        key: ConnKey,
        session: Option<ConnKey>,
        cx: &Context<'_, A>,
    ) -> Flow {
        let Phase::Probing(probing) = &mut self.phase else {
            return Flow::Continue;
        };
        probing.session = session;
        let flow = if session.is_some() {
            let mut bytes = std::mem::take(&mut probing.bytes);
            probing.handle_input(key, &mut bytes, cx)
        } else {
            // As in Node: the handshake has succeeded, and the session is unharmed.
            probing.close(key, cx)
        };
        match flow {
            Flow::Upgrade => flow,
            flow => self.ended(flow),
        }
    }

    /// What the WebSocket was, if it is the one that is to take over.
    pub(super) fn take_probing(&mut self) -> Option<Box<Probing>> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Probing(probing) => Some(probing),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Whether this session has let that WebSocket in. One that has ended may still have something to say on it.
    pub(super) fn is_probed_by(&self, probe: ConnKey) -> bool {
        let is_there = matches!(self.end, End::Open | End::Saying | End::Flushing);
        matches!(&self.phase, Phase::Engine(engine) if is_there && engine.is_probed_by(probe))
    }

    /// What waits for polls is to be written for the WebSocket that takes over: it may take binary messages in another form than they.
    pub(super) fn write_for_websocket(&mut self, base64_only: bool) {
        if let Phase::Engine(engine) = &mut self.phase {
            engine.set_base64_only(base64_only);
            self.dialect = engine.dialect();
        }
    }

    /// The session is carried by this WebSocket from now on.
    pub(super) fn upgrade<A: Application>(
        &mut self,
        key: ConnKey,
        machine: WebSocket,
        cx: &Context<'_, A>,
    ) {
        if let Phase::Engine(engine) = &mut self.phase {
            engine.upgrade(key, machine, cx);
        }
        if self.end != End::Open {
            // It has ended meanwhile: as a connection it says its last words now, and goes on with its end when they are written.
            self.end = End::Saying;
            self.end_deadline_ms = cx.now_ms.saturating_add(cx.settings.linger_ms);
            cx.hall.command(Command::Advance { connection: key });
        }
    }

    /// Nothing is left of the session: nor is there anything to take over.
    pub(super) fn drop_probe<A: Application>(&mut self, cx: &Context<'_, A>) {
        if let Phase::Engine(engine) = &mut self.phase {
            engine.drop_probe(cx);
        }
    }

    // ---- moving ----

    /// What it takes to another core.
    pub(super) fn take_move(&mut self) -> Option<Box<Move>> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Moving(moving) => Some(moving),
            other => {
                self.phase = other;
                None
            }
        }
    }
}
