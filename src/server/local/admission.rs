//! From a CONNECT to a socket.
//!
//! A namespace without middlewares lets everybody in at once. One that has some gives the client a *pending* seat, and runs them one
//! after the other: in place, as long as none of them waits. Otherwise the verdict is "later", and a task goes on with them. What it
//! decides is a command to the shard, since the client's session is the shard's; until that is carried out, what was asked is kept
//! ([`Asked`]), so that a session that ends meanwhile leaves nothing behind.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::line::{all, caught};
use super::{Local, Seat};
use crate::reactor::ConnKey;
use crate::server::handler::{self, Outcome};
use crate::server::middleware::{Passage, Rejection, Undecided};
use crate::server::socket::Socket;
use crate::server::task;
use crate::shard::application::{Decision, Entry, Knock, Verdict};
use crate::shard::command::Command;
use crate::shard::hall::{SocketKey, Standing};

/// What clients have asked for and is not decided, or not carried out, by their session. A client may ask for as many namespaces at a time as it
/// may be in (`max_namespaces`).
#[derive(Default)]
pub(super) struct Asked(HashMap<ConnKey, SmallVec<[SocketKey; 1]>>);

impl Asked {
    pub(super) fn add(&mut self, connection: ConnKey, socket: SocketKey) {
        self.0.entry(connection).or_default().push(socket);
    }

    pub(super) fn remove(&mut self, connection: ConnKey, socket: SocketKey) {
        if let Some(sockets) = self.0.get_mut(&connection) {
            sockets.retain(|other| *other != socket);
            if sockets.is_empty() {
                self.0.remove(&connection);
            }
        }
    }
}

/// What has come of the middlewares so far.
pub(super) enum Passed {
    In,
    Refused(Rejection),
    /// The rest of one, and the number of the next.
    Waiting(Undecided, usize),
    /// The session has ended.
    Gone,
}

impl Local {
    /// A client asks to be let in.
    pub(super) fn handle_knock(self: &Rc<Self>, knock: Knock<'_>) -> Verdict {
        let Some((scope, number)) = self.find_namespace(knock.namespace) else {
            return refusal("Invalid namespace");
        };
        let recovered = self.recover(&knock, &scope, number);
        recovered.unwrap_or_else(|| self.seat_new(&knock, &scope, number))
    }

    /// A client without a session that it could go on with asks to be let in.
    pub(super) fn knock_as_new(self: &Rc<Self>, knock: Knock<'_>) -> Verdict {
        match self.find_namespace(knock.namespace) {
            Some((scope, number)) => self.seat_new(&knock, &scope, number),
            None => refusal("Invalid namespace"),
        }
    }

    fn seat_new(self: &Rc<Self>, knock: &Knock<'_>, scope: &Arc<str>, number: usize) -> Verdict {
        let table = &self.tables[number];
        let (hall, is_open) = (&self.hall, table.middlewares.is_empty());
        let seated = if is_open {
            hall.seat(knock.connection, scope)
        } else {
            hall.seat_pending(knock.connection, scope)
        };
        let Some((key, id)) = seated else {
            return refusal("Server is full");
        };
        let socket = Socket::new(
            key,
            id,
            (scope, table.clone()),
            knock.handshake,
            knock.auth,
            self,
        );
        self.set_seat(key, Seat::Socket(socket.clone()));
        // Clients of Socket.IO 2 know nothing of it.
        if self.shared.recovery.is_some() && knock.handshake.query("EIO").as_deref() != Some("3") {
            hall.begin_recoverable(key);
        }
        let passed = if is_open {
            Passed::In
        } else {
            self.pass(&socket, 0)
        };
        self.verdict(knock.connection, socket, passed)
    }

    /// What a client is told at once.
    pub(super) fn verdict(
        self: &Rc<Self>,
        connection: ConnKey,
        socket: Socket,
        passed: Passed,
    ) -> Verdict {
        match passed {
            Passed::In => Verdict::Enter(entry_of(&socket)),
            Passed::Refused(rejection) => {
                self.turn_away(&socket);
                Verdict::Refuse {
                    json: rejection.to_json(),
                }
            }
            Passed::Waiting(rest, next) => {
                self.asked.borrow_mut().add(connection, socket.key());
                self.decide_later(connection, socket, rest, next);
                Verdict::Later
            }
            Passed::Gone => Verdict::Later,
        }
    }

    /// Is there such a namespace?
    fn find_namespace(&self, namespace: &str) -> Option<(Arc<str>, usize)> {
        // Whether a family takes a name is said by the user's code, and the name is the peer's.
        let find = AssertUnwindSafe(|| self.shared.namespaces.find(namespace));
        catch_unwind(find).unwrap_or_else(|panic| {
            task::log_panic(&*panic);
            None
        })
    }

    /// Runs the middlewares from that number on, until one waits or refuses.
    pub(super) fn pass(&self, socket: &Socket, first: usize) -> Passed {
        let middlewares = &socket.table().middlewares;
        for (number, middleware) in middlewares.iter().enumerate().skip(first) {
            if self.hall.standing_of(socket.key()) != Some(Standing::Pending) {
                return Passed::Gone;
            }
            let context = socket.connect_context();
            match task::guard(|| middleware(&context)) {
                Some(Passage::Decided(Ok(()))) => {}
                Some(Passage::Decided(Err(rejection))) => return Passed::Refused(rejection),
                Some(Passage::Undecided(rest)) => return Passed::Waiting(rest, number + 1),
                None => return Passed::Refused(Rejection::internal()),
            }
        }
        Passed::In
    }

    /// Waits for a middleware, then runs the others, and tells the shard what came of it.
    fn decide_later(
        self: &Rc<Self>,
        connection: ConnKey,
        socket: Socket,
        mut rest: Undecided,
        mut next: usize,
    ) {
        let this = self.clone();
        let run = async move {
            let passed = loop {
                let decided = task::caught(rest).await;
                match decided.unwrap_or_else(|| Err(Rejection::internal())) {
                    Err(rejection) => break Passed::Refused(rejection),
                    Ok(()) => match this.pass(&socket, next) {
                        Passed::Waiting(another, number) => (rest, next) = (another, number),
                        passed => break passed,
                    },
                }
            };
            this.decided(connection, &socket, passed);
        };
        task::spawn_on(self.hall.clone(), Box::pin(run));
    }

    fn decided(&self, connection: ConnKey, socket: &Socket, passed: Passed) {
        if self.hall.standing_of(socket.key()) != Some(Standing::Pending) {
            return;
        }
        let decision = match passed {
            // It is remembered until the client is in: the session may yet end before.
            Passed::In => Decision::Enter(entry_of(socket)),
            Passed::Refused(rejection) => {
                self.asked.borrow_mut().remove(connection, socket.key());
                self.turn_away(socket);
                Decision::Refuse {
                    json: rejection.to_json(),
                }
            }
            Passed::Waiting(..) | Passed::Gone => return,
        };
        self.hall.command(Command::Decide {
            connection,
            namespace: socket.id_and_namespace().1.clone(),
            decision: Box::new(decision),
        });
    }

    /// Nothing comes of a pending socket: what it joined is left, and nobody is told.
    pub(super) fn turn_away(&self, socket: &Socket) {
        self.clear_seat(socket.key());
        self.hall.vacate(socket.key());
        // The user's closures are dropped here, and may panic in it.
        caught(|| {
            socket.forget();
            Outcome::Done
        });
    }

    /// The session has ended, and with it what it had asked for.
    pub(super) fn forget_asked(&self, connection: ConnKey) {
        let asked = self.asked.borrow_mut().0.remove(&connection);
        for key in asked.into_iter().flatten() {
            if let Some(socket) = self.socket(key) {
                self.turn_away(&socket);
            }
        }
    }

    /// The client is in: the handlers are told.
    pub(super) fn welcome(&self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        if !self.asked.borrow().0.is_empty()
            && let Some(connection) = self.hall.connection_of(key)
        {
            self.asked.borrow_mut().remove(connection, key);
        }
        let run = || {
            let context = socket.connect_context();
            all(socket
                .table()
                .connection
                .iter()
                .map(|handler| caught(|| handler::connect(handler, &context))))
        };
        self.run_in_order(key, run, || (0, Box::new(|| Outcome::Done)));
    }
}

/// What the client is told that it is in as.
pub(super) fn entry_of(socket: &Socket) -> Entry {
    let (id, scope) = socket.id_and_namespace();
    let pid = socket.pid();
    Entry {
        socket: socket.key(),
        id,
        pid: pid.map(|pid| pid.as_str().into()),
        scope: scope.clone(),
    }
}

fn refusal(message: &str) -> Verdict {
    Verdict::Refuse {
        json: Rejection::new(message).to_json(),
    }
}
