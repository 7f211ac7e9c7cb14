//! Sessions apart from their connections: what HTTP asks of them, how a WebSocket takes one over, how a connection comes to another core.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use super::Shard;
use super::application::Application;
use super::call::{Adopted, Answer, Call, Opening, Refused, Reply, Takeover};
use super::command::Command;
use super::connection::{Connection, Context, End, Flow, Held};
use super::engine::Engine;
use super::engine::probing::Probing;
use super::home;
use super::secure::Secure;
use crate::reactor::{ConnKey, Descriptor, Handoff, Reactor};

/// Connections that are on their way to this core, by the token of the reactor's work on them.
#[derive(Default)]
pub(crate) struct Arriving {
    next: u64,
    waiting: HashMap<u64, Arrival>,
}

/// What comes with a socket.
struct Arrival {
    peer: Option<SocketAddr>,
    secure: Option<Box<Secure>>,
    bytes: Vec<u8>,
    takeover: Takeover,
}

#[cfg(test)]
impl Arriving {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl<R: Reactor, A: Application> Shard<R, A> {
    /// Polls the connections that something has happened for, outside of them.
    pub(super) fn wake_waiting(&mut self) {
        // A connection that wakes itself comes again in the next round.
        for _ in 0..self.hall.lane().len() {
            let Some(key) = self.hall.lane().next() else {
                return;
            };
            self.with_connection(key, |connection, cx| connection.handle_wake(key, cx));
        }
    }

    /// HTTP may go on writing, if it waited for that.
    pub(super) fn give_room(&mut self, key: ConnKey) {
        let wants_room = self
            .connections
            .get(key)
            .is_some_and(|connection| connection.wants_room());
        if wants_room {
            self.with_connection(key, |connection, cx| connection.handle_wake(key, cx));
        }
    }

    pub(super) fn handle_call(&mut self, call: Call) {
        match call {
            Call::Open(opening, reply) => self.open_session(*opening, reply),
            Call::Session {
                sid,
                route,
                revision,
                request,
            } => match self.session(&sid) {
                Some(key) => self.with_connection(key, |connection, cx| {
                    connection.handle_request(key, (route, revision), request, cx)
                }),
                None => request.refuse(Refused::UnknownSession),
            },
            Call::BrokenOff { sid, ticket } => {
                if let Some(key) = self.session(&sid) {
                    self.with_connection(key, |connection, cx| {
                        connection.handle_broken_off(key, ticket, cx)
                    });
                }
            }
            Call::Adopt(adopted) => self.adopt(*adopted),
        }
    }

    /// The session of this name.
    fn session(&self, sid: &str) -> Option<ConnKey> {
        let (core, place) = home::locate(sid)?;
        let (key, connection) = self.connections.at(place)?;
        (core == self.hall.core() && connection.is_session(sid)).then_some(key)
    }

    fn open_session(&mut self, opening: Opening, reply: Reply) {
        let full = |reply: Reply| {
            // Whoever asked may have gone.
            let _ = reply.send(Answer::Refused(Refused::Full));
        };
        let key = self
            .connections
            .next_key()
            .filter(|_| self.shutdown_deadline_ms.is_none())
            .filter(|_| self.on_polling < self.settings.sessions_max as usize);
        let Some(key) = key else { return full(reply) };
        let cx = Context {
            app: &self.app,
            hall: &self.hall,
            settings: &self.settings,
            now_ms: self.now_ms,
        };
        let above = opening.above.clone();
        let Some(engine) = Engine::open_on_polling(key, opening, reply, &cx) else {
            return;
        };
        let inserted = self.connections.insert(Connection::session(engine));
        debug_assert!(inserted.is_ok_and(|at| at == key), "it was the next key");
        self.on_polling += 1;
        self.hall.traffic().set_on_polling(self.on_polling);
        self.with_connection(key, |connection, cx| {
            connection.begin_session(key, &above, cx)
        });
        self.schedule(key);
    }

    /// Gives what waits for a session to the GET that it holds. Without anything it is held on, except during an upgrade.
    pub(super) fn answer_poll(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.descriptor.is_some() {
            // It was upgraded meanwhile.
            return;
        }
        let answered = connection.answer_poll();
        if !answered {
            connection.release_poll();
        }
        let busy = !connection.is_polled() || connection.outbound.is_some();
        self.hall.set_busy(key.slot, busy);
        if answered && connection.pause.outbound {
            self.set_pause(key, |pause| pause.outbound = false);
        }
        self.advance_end(key);
    }

    // ---- upgrade ----

    /// Asks the session that `probe` names whether it may take over.
    pub(super) fn begin_probe(&mut self, probe: ConnKey) {
        let sid = self
            .connections
            .get(probe)
            .and_then(|connection| connection.probed_sid());
        let session = sid.and_then(|sid| self.session(&sid)).filter(|session| {
            self.connections
                .get_mut(*session)
                .is_some_and(|connection| connection.begin_probe(probe))
        });
        self.with_connection(probe, |connection, cx| {
            connection.let_in(probe, session, cx)
        });
        self.schedule(probe);
    }

    /// The WebSocket `probe` takes its session over: its descriptor, and all that is under way on it, are the session's from now on.
    pub(super) fn upgrade(&mut self, probe: ConnKey) {
        let Some(connection) = self.connections.get_mut(probe) else {
            return;
        };
        let (descriptor, probing) = (connection.descriptor, connection.take_probing());
        let session = probing.as_ref().and_then(|probing| probing.session);
        let session = session.filter(|session| {
            self.connections
                .get(*session)
                .is_some_and(|connection| connection.is_probed_by(probe))
        });
        let (Some(session), Some(probing), Some(descriptor)) = (session, probing, descriptor)
        else {
            // It has ended meanwhile.
            return self.abort(probe);
        };
        let Probing {
            machine,
            mut bytes,
            base64_only,
            ..
        } = *probing;
        if let Some(connection) = self.connections.get_mut(session) {
            connection.write_for_websocket(base64_only);
        }
        let held = self.rename(probe, session, descriptor);
        self.with_connection(session, |connection, cx| {
            connection.upgrade(session, machine, cx);
            Flow::Continue
        });
        let idle = self
            .connections
            .get(session)
            .is_some_and(|connection| !connection.send_submitted);
        if idle {
            self.send_next(session);
        }
        self.schedule(session);
        if !bytes.is_empty() {
            self.received_plain(session, &mut bytes);
        }
        if let Some(held) = held {
            self.received_held(session, *held);
        }
        self.end_of_secure_input(session);
        self.read_on(session);
    }

    /// Reads from a session whose WebSocket was paused before it took over, unless it is paused itself.
    fn read_on(&mut self, session: ConnKey) {
        let rests = self.connections.get(session).is_some_and(|connection| {
            let reads = matches!(connection.end, End::Open | End::Saying | End::Flushing);
            reads && !connection.receive_submitted && !connection.pause.is_on()
        });
        if rests {
            self.start_receiving(session);
        }
    }

    /// The connection `from` becomes that of `to`; what `from` was told goes out before what waits for `to`. Gives what was held back on
    /// `from`, if it was paused.
    fn rename(&mut self, from: ConnKey, to: ConnKey, descriptor: Descriptor) -> Option<Box<Held>> {
        let Shard {
            connections,
            hall,
            pool,
            ..
        } = self;
        let old = connections.get_mut(from)?;
        let mut waiting = old.outbound.take().unwrap_or_default();
        hall.with_turn(|turn, _| {
            if let Some(marked) = turn.take_of(from.slot) {
                waiting.extend(turn.pieces(marked), pool);
            }
        });
        let (receiving, sending) = (old.receive_submitted, old.send_submitted);
        let (secure, held) = (old.secure.take(), old.held.take());
        let hung_up = old.hung_up;
        old.descriptor = None;
        old.receive_submitted = false;
        old.send_submitted = false;
        // Its slot is free again when the reactor says so.
        old.end = End::Closing;
        self.wheel.cancel(from.slot);
        let new = connections.get_mut(to)?;
        if let Some(mut behind) = new.outbound.take() {
            match new.dialect {
                Some(dialect) => waiting.append(&mut dialect.convert(&mut behind, pool)),
                None => waiting.append(&mut behind),
            }
        }
        new.outbound = (!waiting.is_empty()).then_some(waiting);
        new.descriptor = Some(descriptor);
        self.on_polling -= usize::from(std::mem::take(&mut new.on_polling));
        hall.traffic().set_on_polling(self.on_polling);
        new.secure = secure;
        new.hung_up = hung_up;
        new.receive_submitted = receiving;
        new.send_submitted = sending;
        let (busy, paused) = (new.outbound.is_some(), new.pause.is_on());
        hall.set_busy(to.slot, busy);
        self.reactor.rename(from, to, descriptor);
        if paused && receiving {
            self.reactor.stop_receiving(to);
        }
        held
    }

    // ---- moving to another core ----

    /// The connection goes to the core of the session that it names, once what was said on it is sent.
    pub(super) fn begin_move(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.end = End::Leaving;
        connection.end_deadline_ms = self.now_ms + self.settings.linger_ms;
        let held = connection.held.take();
        if connection.receive_submitted {
            self.reactor.stop_receiving(key);
        }
        if let Some(held) = held {
            // It goes along, behind what goes along already.
            self.received_held(key, *held);
        }
        self.schedule(key);
        self.hall.command(Command::Advance { connection: key });
    }

    pub(super) fn detached(&mut self, key: ConnKey, result: io::Result<Handoff>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let secure = connection.secure.take();
        let moving = connection.take_move();
        self.vacate(key);
        match (result, moving) {
            (Ok(socket), Some(moving)) => self.hall.call(Call::Adopt(Box::new(Adopted {
                socket,
                peer: None,
                secure,
                bytes: moving.bytes,
                takeover: moving.takeover,
            }))),
            (Err(error), _) => {
                log::warn!("a connection could not be moved to the core of its session: {error}");
            }
            (Ok(_), None) => debug_assert!(false, "who moves knows where to"),
        }
    }

    /// A connection comes from another core, or from outside.
    fn adopt(&mut self, adopted: Adopted) {
        if self.shutdown_deadline_ms.is_some() {
            return;
        }
        let token = self.arriving.next;
        self.arriving.next += 1;
        let Adopted {
            socket,
            peer,
            secure,
            bytes,
            takeover,
        } = adopted;
        self.reactor.attach(socket, token);
        let arrival = Arrival {
            peer,
            secure,
            bytes,
            takeover,
        };
        self.arriving.waiting.insert(token, arrival);
    }

    pub(super) fn attached(
        &mut self,
        token: u64,
        result: io::Result<(Descriptor, Option<SocketAddr>)>,
    ) {
        let arrival = self.arriving.waiting.remove(&token);
        let (descriptor, peer) = match result {
            Ok(arrived) => arrived,
            Err(error) => return log::warn!("a connection could not be taken over: {error}"),
        };
        let arrival = arrival.filter(|_| self.shutdown_deadline_ms.is_none());
        let Some(mut arrival) = arrival else {
            return self.reactor.refuse(descriptor);
        };
        let peer = arrival.peer.or(peer);
        arrival.takeover.learn_peer(peer);
        let connection = Connection::adopted(descriptor, arrival.secure);
        match self.connections.insert(connection) {
            Ok(key) => {
                self.counters.accepted += 1;
                self.start_receiving(key);
                self.with_connection(key, |connection, cx| {
                    connection.take_over(key, arrival.takeover, arrival.bytes, cx)
                });
                self.end_of_secure_input(key);
                self.schedule(key);
            }
            Err(refused) => {
                self.counters.refused_full += 1;
                self.refuse(&refused);
            }
        }
    }
}
