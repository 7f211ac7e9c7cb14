//! From a CONNECT to a socket.
//!
//! Which namespace is meant is said by its name, or by the families, which are asked one after the other. A namespace without middlewares
//! lets everybody in at once. One that has some gives the client a *pending* seat, and runs them one after the other. All of this
//! happens in place, as long as nobody of those who are asked has to wait. Otherwise the verdict is "later", and a task goes on with it. What it
//! decides is a command to the shard, since the client's session is the shard's; until that is carried out, what was asked is kept
//! ([`Asked`]), so that a session that ends meanwhile leaves nothing behind.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::children::{Inhabited, Place};
use super::line::{all, caught};
use super::{Local, Seat};
use crate::reactor::ConnKey;
use crate::server::handler::{self, Outcome};
use crate::server::middleware::{Passage, Rejection, Undecided};
use crate::server::namespace::family::{Answer, LaterAnswer, LocalTakes, NamespaceRequest};
use crate::server::namespace::known::Namespaces;
use crate::server::socket::Socket;
use crate::server::task;
use crate::shard::application::{Decision, Entry, Knock, Verdict};
use crate::shard::command::Command;
use crate::shard::hall::{SocketKey, Standing};

/// What a core needs to let clients in.
pub(super) struct Admissions {
    asked: RefCell<Asked>,
    /// By the number of the family.
    takes: Vec<Option<LocalTakes>>,
    pub(super) children: RefCell<Inhabited>,
}

impl Admissions {
    pub(super) fn new(namespaces: &Namespaces) -> Self {
        Admissions {
            asked: RefCell::default(),
            takes: namespaces.takes_on_this_core(),
            children: RefCell::default(),
        }
    }
}

/// What clients have asked for and is not decided, or not carried out, by their session. A client may ask for as many namespaces at a time as it
/// may be in (`max_namespaces`).
#[derive(Default)]
struct Asked(HashMap<ConnKey, SmallVec<[Question; 1]>>);

/// The namespace, and the socket once it has a seat.
type Question = (Arc<str>, Option<SocketKey>);

impl Asked {
    /// Notes what a client asks for, or the seat that it has got.
    fn note(&mut self, connection: ConnKey, namespace: &Arc<str>, socket: Option<SocketKey>) {
        let asked = self.0.entry(connection).or_default();
        match asked.iter_mut().find(|(name, _)| name == namespace) {
            Some((_, seat)) => *seat = socket,
            None => asked.push((namespace.clone(), socket)),
        }
    }

    fn contains(&self, connection: ConnKey, namespace: &Arc<str>) -> bool {
        let asked = self.0.get(&connection);
        asked.is_some_and(|asked| asked.iter().any(|(name, _)| name == namespace))
    }

    fn remove(&mut self, connection: ConnKey, namespace: &Arc<str>) {
        if let Some(asked) = self.0.get_mut(&connection) {
            asked.retain(|(name, _)| name != namespace);
            if asked.is_empty() {
                self.0.remove(&connection);
            }
        }
    }
}

/// Which family takes a name.
enum Taken {
    By(usize),
    ByNobody,
    /// The rest of what this family says.
    Waiting(LaterAnswer, usize),
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

const INVALID: &str = "Invalid namespace";
const TOO_MANY: &str = "Too many namespaces";
const FULL: &str = "Server is full";

impl Local {
    /// A client asks to be let in.
    pub(super) fn handle_knock(self: &Rc<Self>, knock: Knock<'_>) -> Verdict {
        if let Some((scope, number)) = self.shared.namespaces.find(knock.namespace) {
            return self.receive(&knock, &scope, number);
        }
        if self.shared.namespaces.families() == 0 {
            return refusal(INVALID);
        }
        match self.enter_child(knock.namespace, None) {
            Place::Unknown => {}
            place => return self.receive_at(&knock, place),
        }
        let request = NamespaceRequest::new(knock);
        match self.ask_families(&request, 0) {
            Taken::By(family) => {
                let place = self.enter_child(knock.namespace, Some(family));
                self.receive_at(&knock, place)
            }
            Taken::ByNobody => refusal(INVALID),
            Taken::Waiting(rest, family) => {
                let name = request.shared_name();
                let asked = &self.admissions.asked;
                asked.borrow_mut().note(knock.connection, name, None);
                self.place_later(knock.connection, request, rest, family);
                Verdict::Later
            }
        }
    }

    fn receive_at(self: &Rc<Self>, knock: &Knock<'_>, place: Place) -> Verdict {
        match place {
            Place::At(scope, number) => self.receive(knock, &scope, number),
            Place::Unknown => refusal(INVALID),
            Place::Full => refusal(TOO_MANY),
        }
    }

    /// There is such a namespace, with this table: is the client let in?
    fn receive(self: &Rc<Self>, knock: &Knock<'_>, scope: &Arc<str>, number: usize) -> Verdict {
        let recovered = self.recover(knock, scope, number);
        recovered.unwrap_or_else(|| self.receive_new(knock, scope, number))
    }

    /// The same for one that does not go on with a session that it had.
    fn receive_new(self: &Rc<Self>, knock: &Knock<'_>, scope: &Arc<str>, number: usize) -> Verdict {
        let is_open = self.tables[number].middlewares.is_empty();
        let standing = if is_open {
            Standing::Here
        } else {
            Standing::Pending
        };
        let Some(socket) = self.take_seat(knock, scope, number, standing) else {
            return refusal(FULL);
        };
        let passed = if is_open {
            Passed::In
        } else {
            self.pass(&socket, 0)
        };
        self.verdict(knock.connection, socket, passed)
    }

    /// A client that is in this namespace, and did not get back its session there, asks to be let in anew.
    pub(super) fn receive_again(self: &Rc<Self>, knock: &Knock<'_>) -> Verdict {
        let place = match self.shared.namespaces.find(knock.namespace) {
            Some((scope, number)) => Place::At(scope, number),
            None => self.enter_child(knock.namespace, None),
        };
        match place {
            Place::At(scope, number) => self.receive_new(knock, &scope, number),
            Place::Unknown => refusal(INVALID),
            Place::Full => refusal(TOO_MANY),
        }
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
                self.note_asked(connection, &socket);
                let this = self.clone();
                let run = async move {
                    let passed = this.pass_later(&socket, rest, next).await;
                    this.decided(connection, &socket, passed);
                };
                task::spawn_on(self.hall.clone(), Box::pin(run));
                Verdict::Later
            }
            // While its input is handled a session does not end.
            Passed::Gone => Verdict::Later,
        }
    }

    /// `None`: this core holds as many sockets as it may.
    fn take_seat(
        self: &Rc<Self>,
        knock: &Knock<'_>,
        scope: &Arc<str>,
        number: usize,
        standing: Standing,
    ) -> Option<Socket> {
        let table = self.tables[number].clone();
        let seated = match standing {
            Standing::Here | Standing::Silent => self.hall.seat(knock.connection, scope),
            Standing::Pending => self.hall.seat_pending(knock.connection, scope),
        };
        let Some((key, id)) = seated else {
            if table.is_family {
                self.child_left(scope);
            }
            return None;
        };
        let socket = Socket::new(key, id, (scope, table), knock.handshake, knock.auth, self);
        if let Some(granted) = knock.granted {
            socket.keep_granted(granted);
        }
        self.set_seat(key, Seat::Socket(socket.clone()));
        self.begin_recoverable(&socket);
        Some(socket)
    }

    /// Remembers until it is in, or refused, for whom this seat is.
    pub(super) fn note_asked(&self, connection: ConnKey, socket: &Socket) {
        let namespace = socket.id_and_namespace().1;
        let asked = &self.admissions.asked;
        let key = Some(socket.key());
        asked.borrow_mut().note(connection, namespace, key);
    }

    pub(super) fn forget_question(&self, connection: ConnKey, namespace: &Arc<str>) {
        let asked = &self.admissions.asked;
        asked.borrow_mut().remove(connection, namespace);
    }

    /// Asks the families from that number on, until one takes the name or waits.
    fn ask_families(&self, request: &NamespaceRequest, first: usize) -> Taken {
        for (number, takes) in self.admissions.takes.iter().enumerate().skip(first) {
            // The user's code decides, and the name is the peer's.
            let answer = task::guard(|| match takes {
                Some(takes) => takes(request.clone()),
                None => {
                    let namespaces = &self.shared.namespaces;
                    Answer::Now(namespaces.takes_name(number, request.name()) == Some(true))
                }
            });
            match answer {
                Some(Answer::Now(false)) => {}
                Some(Answer::Now(true)) => return Taken::By(number),
                Some(Answer::Later(rest)) => return Taken::Waiting(rest, number),
                None => return Taken::ByNobody,
            }
        }
        Taken::ByNobody
    }

    /// Waits for a family's answer, then goes on as if all had been said at once.
    fn place_later(
        self: &Rc<Self>,
        connection: ConnKey,
        request: NamespaceRequest,
        mut rest: LaterAnswer,
        mut family: usize,
    ) {
        let this = self.clone();
        let run = async move {
            let name = request.shared_name();
            let is_asked = || this.admissions.asked.borrow().contains(connection, name);
            let taken = loop {
                let answer = task::caught(rest).await;
                if !is_asked() {
                    return;
                }
                match answer {
                    Some(true) => break Some(family),
                    None => break None,
                    Some(false) => {}
                }
                match this.ask_families(&request, family + 1) {
                    Taken::By(family) => break Some(family),
                    Taken::ByNobody => break None,
                    Taken::Waiting(another, number) => (rest, family) = (another, number),
                }
            };
            let place = match taken {
                Some(family) => this.enter_child(name, Some(family)),
                None => Place::Unknown,
            };
            let knock = request.as_knock(connection);
            if let Place::At(scope, number) = &place
                && let Some(verdict) = this.recover(&knock, scope, *number)
            {
                return this.tell(connection, scope, verdict);
            }
            let seated = match place {
                Place::At(scope, number) => this
                    .take_seat(&knock, &scope, number, Standing::Pending)
                    .ok_or(FULL),
                Place::Unknown => Err(INVALID),
                Place::Full => Err(TOO_MANY),
            };
            match seated {
                Err(message) => this.refuse(connection, name, &message.into()),
                Ok(socket) => {
                    let key = Some(socket.key());
                    let asked = &this.admissions.asked;
                    asked.borrow_mut().note(connection, name, key);
                    let passed = match this.pass(&socket, 0) {
                        Passed::Waiting(rest, next) => this.pass_later(&socket, rest, next).await,
                        passed => passed,
                    };
                    this.decided(connection, &socket, passed);
                }
            }
        };
        task::spawn_on(self.hall.clone(), Box::pin(run));
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

    /// Waits for a middleware, then runs the others.
    async fn pass_later(&self, socket: &Socket, mut rest: Undecided, mut next: usize) -> Passed {
        loop {
            let decided = task::caught(rest).await;
            match decided.unwrap_or_else(|| Err(Rejection::internal())) {
                Err(rejection) => return Passed::Refused(rejection),
                Ok(()) => match self.pass(socket, next) {
                    Passed::Waiting(another, number) => (rest, next) = (another, number),
                    passed => return passed,
                },
            }
        }
    }

    /// Tells the shard what came of it, unless the session has ended meanwhile.
    fn decided(&self, connection: ConnKey, socket: &Socket, passed: Passed) {
        if self.hall.standing_of(socket.key()) != Some(Standing::Pending) {
            return;
        }
        let namespace = socket.id_and_namespace().1;
        match passed {
            // What was asked is remembered until the client is in: the session may yet end before.
            Passed::In => self.hall.command(Command::Decide {
                connection,
                namespace: namespace.clone(),
                decision: Box::new(Decision::Enter(entry_of(socket))),
            }),
            Passed::Refused(rejection) => {
                self.turn_away(socket);
                self.refuse(connection, namespace, &rejection);
            }
            Passed::Waiting(..) | Passed::Gone => {}
        }
    }

    fn refuse(&self, connection: ConnKey, namespace: &Arc<str>, rejection: &Rejection) {
        let asked = &self.admissions.asked;
        asked.borrow_mut().remove(connection, namespace);
        self.hall.command(Command::Decide {
            connection,
            namespace: namespace.clone(),
            decision: Box::new(Decision::Refuse {
                json: rejection.to_json(),
            }),
        });
    }

    /// Nothing comes of a pending socket: what it joined is left, and nobody is told.
    pub(super) fn turn_away(&self, socket: &Socket) {
        self.clear_seat(socket.key());
        self.vacate(socket);
        if socket.table().is_family {
            self.child_left(socket.id_and_namespace().1);
        }
        // The user's closures are dropped here, and may panic in it.
        caught(|| {
            socket.forget();
            Outcome::Done
        });
    }

    /// The session has ended, and with it what it had asked for.
    pub(super) fn forget_asked(&self, connection: ConnKey) {
        let asked = self.admissions.asked.borrow_mut().0.remove(&connection);
        let seats = asked.into_iter().flatten().filter_map(|(_, key)| key);
        for socket in seats.filter_map(|key| self.socket(key)) {
            self.turn_away(&socket);
        }
    }

    /// How many sessions wait for an answer.
    #[cfg(test)]
    pub(crate) fn asking(&self) -> usize {
        self.admissions.asked.borrow().0.len()
    }

    /// The client is in: the handlers are told.
    pub(super) fn welcome(&self, key: SocketKey) {
        let Some(socket) = self.socket(key) else {
            return;
        };
        let asked = &self.admissions.asked;
        if !asked.borrow().0.is_empty()
            && let Some(connection) = self.hall.connection_of(key)
        {
            let namespace = socket.id_and_namespace().1;
            asked.borrow_mut().remove(connection, namespace);
        }
        self.tell_entered(&socket);
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
