//! The sideways part of a core: who sits where, what was said this turn, what is to be told to other cores.
//!
//! Handlers run while their connection is borrowed by the shard, so they never touch a connection. They act on the
//! hall: marks, memberships, mail, commands. The shard carries all of it out at the end of the turn.

pub(crate) mod asking;
pub(crate) mod broadcast;
pub(crate) mod fence;
pub(crate) mod memory;
pub(crate) mod operation;
mod recovering;
mod seating;

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::call::Call;
use asking::Asked;
use broadcast::{listening, tell};
use operation::Assumed;
pub(crate) use seating::Standing;

use super::command::Command;
use super::home::{self, IdSource, SocketId};
use super::lane::Lane;
use super::mail::Mail;
use super::mailbox::{Address, Outbox};
use super::recovery::offset::Offset;
use super::slots::Slots;
use super::traffic::Traffic;
use crate::proto::websocket::Kind;
use crate::reactor::ConnKey;
use crate::room::turn::{SHARED_MIN, Turn};
use crate::room::{Change, JoinError, Rooms, ScopeId};
use crate::wire::parser::Parser;
use memory::Memory;

/// A socket's (or a plain WebSocket's) place on its core. Stale keys resolve to nothing.
pub(crate) type SocketKey = ConnKey;

/// One encoded message: for a plain WebSocket the message itself, for Socket.IO the Engine.IO text with its attachments, or a packet of
/// the other parser, which is binary.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) kind: Kind,
    pub(crate) body: &'a [u8],
    pub(crate) attachments: &'a [Bytes],
    /// Its name, if it can be recovered. It has been written into the message.
    pub(crate) offset: Option<Offset>,
}

/// Whom a broadcast is for. Names in `to` and `except` are rooms; a socket's id is the name of a room with that one member.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) scope: &'a Arc<str>,
    pub(crate) to: &'a [&'a str],
    pub(crate) except: &'a [&'a str],
    /// The sender, where it does not get its own message.
    pub(crate) not: Option<SocketKey>,
    /// Drop the message for receivers whose connection has something unsent.
    pub(crate) volatile: bool,
}

/// By connection slot: does something wait behind the send in flight? (A send alone has commonly ended when the turn that began it has.)
#[derive(Default)]
pub(crate) struct Busy(Vec<bool>);

impl Busy {
    pub(crate) fn is_set(&self, slot: u32) -> bool {
        self.0.get(slot as usize).copied().unwrap_or(false)
    }

    pub(crate) fn set(&mut self, slot: u32, busy: bool) {
        let index = slot as usize;
        if index >= self.0.len() && busy {
            self.0.resize(index + 1, false);
        }
        if let Some(entry) = self.0.get_mut(index) {
            *entry = busy;
        }
    }
}

struct Seat {
    id: SocketId,
    connection: ConnKey,
    scope: ScopeId,
    /// False before the socket was let in, and once it has left the room of its own name.
    in_own_room: bool,
    standing: Standing,
    /// The application is told of broadcasts that reach it.
    watched: bool,
}

/// Acts for the hall where that needs the application. It is called when nothing of the hall is borrowed, so it may run the user's code.
pub(crate) trait Usher {
    /// A broadcast was marked for these sockets, all of them watched ([`Hall::watch`]).
    fn reached(&self, message: Outgoing<'_>, sockets: &[SocketKey]);
    /// An operation concerns these sockets, or none.
    fn operate(&self, deed: &operation::Deed, sockets: &[SocketKey]);
}

struct State {
    seats: Slots<Seat>,
    rooms: Rooms,
    turn: Turn,
    busy: Busy,
    /// By connection slot: is it a session on polling?
    polling: Busy,
    commands: Vec<Command>,
    outbox: Outbox<Mail>,
    ids: IdSource,
    /// Broadcasts whose receivers here have not all answered.
    asked: Asked,
    /// The interest of other cores that is as good as told.
    assumed: Assumed,
    /// How many seats are watched.
    watched: usize,
    /// Present where sessions can be recovered.
    memory: Option<Box<Memory>>,
}

/// See the module's text.
pub(crate) struct Hall {
    core: usize,
    state: RefCell<State>,
    lane: Lane,
    traffic: Arc<Traffic>,
    /// True while the shard runs: what is marked then is written at the end of this turn anyway.
    in_turn: Cell<bool>,
    shard: Cell<Option<Waker>>,
    tasks: Cell<usize>,
    usher: OnceCell<Weak<dyn Usher>>,
    parser: Cell<Parser>,
}

impl Hall {
    pub(crate) fn new(core: usize, outbox: Outbox<Mail>, sockets_max: u32, rooms: Rooms) -> Self {
        let lane = Lane::new(outbox.alarm());
        let state = State {
            seats: Slots::with_limit(sockets_max),
            rooms,
            turn: Turn::default(),
            busy: Busy::default(),
            polling: Busy::default(),
            commands: Vec::new(),
            outbox,
            ids: IdSource::new(core),
            asked: Asked::default(),
            assumed: Assumed::default(),
            watched: 0,
            memory: None,
        };
        Hall {
            core,
            state: RefCell::new(state),
            lane,
            traffic: Arc::default(),
            in_turn: Cell::new(false),
            shard: Cell::new(None),
            tasks: Cell::new(0),
            usher: OnceCell::new(),
            parser: Cell::default(),
        }
    }

    /// Once, when there is an application.
    pub(crate) fn set_usher(&self, usher: Weak<dyn Usher>) {
        let first = self.usher.set(usher).is_ok();
        debug_assert!(first, "a hall has one usher");
    }

    fn usher(&self) -> Option<Rc<dyn Usher>> {
        self.usher.get()?.upgrade()
    }

    /// The form that the server's packets have, for whoever writes one.
    pub(crate) fn parser(&self) -> Parser {
        self.parser.get()
    }

    /// Once, before anything is said.
    pub(crate) fn set_parser(&self, parser: Parser) {
        self.parser.set(parser);
    }

    pub(crate) fn core(&self) -> usize {
        self.core
    }

    // ---- for the handlers' side ----

    /// A name for the Engine.IO session on this connection.
    pub(crate) fn session_id(&self, connection: ConnKey) -> Option<SocketId> {
        self.state.borrow_mut().ids.next(connection.slot).ok()
    }

    /// Takes a socket out of all its rooms and of its scope. What was marked for it is still sent. Gives the rooms that have no member on this
    /// core any more.
    pub(crate) fn vacate(&self, key: SocketKey) -> Vec<Arc<str>> {
        let state = &mut *self.state.borrow_mut();
        let Some(seat) = state.seats.remove(key) else {
            return Vec::new();
        };
        state.watched -= usize::from(seat.watched);
        let emptied = match &state.memory {
            None => leave_rooms(state, self.core, key),
            // Places that are held are no members.
            Some(_) => {
                let alone = state.rooms.alone_in(key.slot);
                leave_rooms(state, self.core, key);
                alone
            }
        };
        state.forget_seat(key, &seat.id);
        state.commands.push(Command::Left {
            connection: seat.connection,
            socket: key,
        });
        self.wake_shard();
        emptied
    }

    /// The last word to a socket was said: it keeps its seat, but leaves its rooms and its scope, and nothing is marked for it any more.
    pub(crate) fn silence(&self, key: SocketKey) {
        let state = &mut *self.state.borrow_mut();
        if let Some(seat) = state.seats.get_mut(key) {
            seat.standing = Standing::Silent;
            seat.in_own_room = false;
            leave_rooms(state, self.core, key);
            self.wake_shard();
        }
    }

    /// From now on, or no longer, the application is told of broadcasts that reach this socket.
    pub(crate) fn watch(&self, key: SocketKey, watched: bool) {
        let state = &mut *self.state.borrow_mut();
        if let Some(seat) = state.seats.get_mut(key) {
            state.watched += usize::from(watched);
            state.watched -= usize::from(std::mem::replace(&mut seat.watched, watched));
        }
    }

    pub(crate) fn is_seated(&self, key: SocketKey) -> bool {
        self.state.borrow().seats.get(key).is_some()
    }

    pub(crate) fn id_of(&self, key: SocketKey) -> Option<SocketId> {
        self.state.borrow().seats.get(key).map(|seat| seat.id)
    }

    pub(crate) fn connection_of(&self, key: SocketKey) -> Option<ConnKey> {
        self.state
            .borrow()
            .seats
            .get(key)
            .map(|seat| seat.connection)
    }

    /// Is the session of this connection carried by polling?
    pub(crate) fn is_polling(&self, connection: ConnKey) -> bool {
        self.state.borrow().polling.is_set(connection.slot)
    }

    /// What carries the session of this connection from now on.
    pub(crate) fn set_polling(&self, connection: ConnKey, polling: bool) {
        self.state
            .borrow_mut()
            .polling
            .set(connection.slot, polling);
    }

    /// `true`: it is the first member of the room on this core.
    pub(crate) fn join(&self, key: SocketKey, room: &str) -> Result<bool, JoinError> {
        let state = &mut *self.state.borrow_mut();
        let Some(seat) = state
            .seats
            .get_mut(key)
            .filter(|seat| seat.standing != Standing::Silent)
        else {
            return Ok(false);
        };
        if room == seat.id.as_str() && seat.is_native(self.core, key) {
            return Ok(!std::mem::replace(&mut seat.in_own_room, true));
        }
        let is_first = state.rooms.join(key.slot, room)? == Change::First;
        let scope = seat.scope;
        if is_first && let Some(scope) = state.rooms.scope_name(seat.scope) {
            tell_interest(&mut state.outbox, self.core, scope, Some(room), true);
            self.wake_shard();
        }
        Ok(is_first || state.memory.is_some() && state.rooms.members_in(scope, room) == 1)
    }

    /// `true`: it was the last member of the room on this core.
    pub(crate) fn leave(&self, key: SocketKey, room: &str) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Some(seat) = state.seats.get_mut(key) else {
            return false;
        };
        if room == seat.id.as_str() && seat.is_native(self.core, key) {
            return std::mem::replace(&mut seat.in_own_room, false);
        }
        let was_last = state.rooms.leave(key.slot, room) == Change::Last;
        let scope = seat.scope;
        if was_last && let Some(scope) = state.rooms.scope_name(seat.scope) {
            tell_interest(&mut state.outbox, self.core, scope, Some(room), false);
            self.wake_shard();
        }
        was_last || state.memory.is_some() && state.rooms.members_in(scope, room) == 0
    }

    pub(crate) fn is_in(&self, key: SocketKey, room: &str) -> bool {
        let state = self.state.borrow();
        state.seats.get(key).is_some_and(|seat| {
            (room == seat.id.as_str() && seat.in_own_room) || state.rooms.contains(key.slot, room)
        })
    }

    /// The socket's rooms, its own id first.
    pub(crate) fn rooms_of(&self, key: SocketKey) -> Vec<String> {
        let state = self.state.borrow();
        let Some(seat) = state.seats.get(key) else {
            return Vec::new();
        };
        let own = seat.in_own_room.then(|| seat.id.to_string());
        own.into_iter()
            .chain(state.rooms.rooms_of(key.slot).map(str::to_owned))
            .collect()
    }

    /// Marks a message for one socket. `false`: it is gone or silenced, or the message was volatile and the connection busy.
    pub(crate) fn deliver(&self, key: SocketKey, message: Outgoing<'_>, volatile: bool) -> bool {
        let state = &mut *self.state.borrow_mut();
        let Some(slot) = listening(state, key) else {
            return false;
        };
        if volatile && state.busy.is_set(slot) {
            return false;
        }
        if state.record_for(key, message) {
            return true;
        }
        tell(&mut state.turn, slot, message);
        self.wake_shard();
        true
    }

    /// Marks bytes that are already in their final form for one connection.
    pub(crate) fn write(&self, connection: ConnKey, parts: &[&[u8]]) {
        let state = &mut *self.state.borrow_mut();
        state.turn.tell(connection.slot, parts);
        self.wake_shard();
    }

    /// As [`Hall::write`], of bytes that need not be copied.
    pub(crate) fn write_owned(&self, connection: ConnKey, bytes: Vec<u8>) {
        if bytes.len() < SHARED_MIN {
            if !bytes.is_empty() {
                self.write(connection, &[&bytes]);
            }
            return;
        }
        let state = &mut *self.state.borrow_mut();
        let id = state.turn.say_shared(bytes.into());
        state.turn.mark(connection.slot, id);
        self.wake_shard();
    }

    pub(crate) fn command(&self, command: Command) {
        self.state.borrow_mut().commands.push(command);
        self.wake_shard();
    }

    /// Nothing is read from this connection until it is resumed as often.
    pub(crate) fn pause(&self, connection: ConnKey) {
        self.command(Command::Pause { connection });
    }

    pub(crate) fn resume(&self, connection: ConnKey) {
        self.command(Command::Resume { connection });
    }

    /// Was a pause asked for in this turn?
    pub(crate) fn is_pause_asked(&self, key: ConnKey) -> bool {
        let state = self.state.borrow();
        state
            .commands
            .iter()
            .any(|command| matches!(command, Command::Pause { connection } if *connection == key))
    }

    /// Does the session of this name live on this core, if anywhere?
    pub(crate) fn is_home_of(&self, sid: &str) -> bool {
        home::locate(sid).is_none_or(|(core, _)| core == self.core)
    }

    /// Asks something of a session, wherever it lives: it is carried out there, at the end of the turn.
    pub(crate) fn call(&self, call: Call) {
        let home = call.sid().and_then(home::locate).map(|(core, _)| core);
        let state = &mut *self.state.borrow_mut();
        match home {
            Some(core) if core != self.core && core < state.outbox.cores() => {
                state.outbox.post(core, Mail::Call(Box::new(call)));
            }
            _ => state.commands.push(Command::Call(Box::new(call))),
        }
        self.wake_shard();
    }

    /// What goes through this core.
    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Who waits for something other than bytes.
    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Is this one of the cores that these addresses are of?
    pub(crate) fn posts_to(&self, addresses: &Arc<[Address<Mail>]>) -> bool {
        self.state.borrow().outbox.is_among(addresses)
    }

    /// Counts the user's tasks: while there are any, the shard waits through the runtime.
    pub(crate) fn task_started(&self) {
        self.tasks.set(self.tasks.get() + 1);
    }

    pub(crate) fn task_ended(&self) {
        self.tasks.set(self.tasks.get().saturating_sub(1));
    }

    fn wake_shard(&self) {
        if !self.in_turn.get()
            && let Some(waker) = self.shard.take()
        {
            waker.wake();
        }
    }

    // ---- for the shard's side ----

    pub(crate) fn tasks(&self) -> usize {
        self.tasks.get()
    }

    pub(crate) fn set_in_turn(&self, in_turn: bool) {
        self.in_turn.set(in_turn);
    }

    /// Who is to be woken when a task of the user marks something between two turns.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.shard.set(Some(waker.clone()));
    }

    /// Is there anything marked, or any command to carry out?
    pub(crate) fn has_work(&self) -> bool {
        let state = self.state.borrow();
        !state.turn.is_empty() || !state.commands.is_empty()
    }

    /// Is there anything at all for which the shard must turn: work, or mail whose receiver may have to be woken?
    pub(crate) fn wants_turn(&self) -> bool {
        self.has_work() || !self.lane.is_empty() || self.state.borrow().outbox.has_posted()
    }

    pub(crate) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.state.borrow_mut().commands)
    }

    pub(crate) fn set_busy(&self, slot: u32, busy: bool) {
        self.state.borrow_mut().busy.set(slot, busy);
    }

    pub(crate) fn with_turn<T>(&self, act: impl FnOnce(&mut Turn, &mut Busy) -> T) -> T {
        let state = &mut *self.state.borrow_mut();
        act(&mut state.turn, &mut state.busy)
    }

    pub(crate) fn with_outbox<T>(&self, act: impl FnOnce(&mut Outbox<Mail>) -> T) -> T {
        act(&mut self.state.borrow_mut().outbox)
    }

    #[cfg(test)]
    pub(crate) fn with_rooms<T>(&self, act: impl FnOnce(&Rooms) -> T) -> T {
        act(&self.state.borrow().rooms)
    }

    /// How many seats are taken, and how many of them by the silenced.
    #[cfg(test)]
    pub(crate) fn seats(&self) -> (usize, usize) {
        let seats = &self.state.borrow().seats;
        let silent = seats
            .iter()
            .filter(|(_, seat)| seat.standing == Standing::Silent)
            .count();
        (seats.len(), silent)
    }

    /// Whether any connection counts as having something unsent.
    #[cfg(test)]
    pub(crate) fn is_busy(&self) -> bool {
        self.state.borrow().busy.0.contains(&true)
    }

    /// Acts on what another core, or a thread that is none, has told.
    pub(crate) fn handle_mail(&self, mail: Mail) {
        match mail {
            Mail::Interest {
                scope,
                room,
                core,
                on,
            } => note_interest(
                &mut self.state.borrow_mut(),
                &scope,
                room.as_deref(),
                core,
                on,
            ),
            Mail::Broadcast(broadcast) => self.handle_broadcast(&broadcast),
            Mail::Relay(broadcast) => {
                self.with_outbox(|outbox| outbox.post_all(|| Mail::Broadcast(broadcast.clone())));
                self.handle_broadcast(&broadcast);
            }
            Mail::Operation(operation) => self.handle_operation(&operation),
            Mail::Joined { operation, core } => {
                self.state.borrow_mut().assumed.settle(&operation, core);
            }
            Mail::Recovery(note) => self.state.borrow_mut().handle_note(*note),
            Mail::Unasked { id } => self.unask(id),
            Mail::Call(call) => self.state.borrow_mut().commands.push(Command::Call(call)),
            Mail::Shutdown | Mail::Errand(_) => {
                debug_assert!(false, "the shard itself acts on these");
            }
        }
    }
}

/// Notes what another core told of its members.
fn note_interest(state: &mut State, scope: &str, room: Option<&str>, core: usize, on: bool) {
    // The end of an interest in a scope that is unknown here is no reason to make one.
    let known = if on {
        Some(state.rooms.scope(scope))
    } else {
        state.rooms.find_scope(scope)
    };
    if let Some(scope) = known {
        state.rooms.set_interest(scope, room, core, on);
    }
}

/// Takes a socket out of its rooms and its scope, and tells the other cores what that means to them.
fn leave_rooms(state: &mut State, core: usize, key: SocketKey) -> Vec<Arc<str>> {
    let Some(departure) = state.rooms.leave_all(key.slot) else {
        return Vec::new();
    };
    for room in &departure.emptied {
        tell_interest(&mut state.outbox, core, &departure.scope, Some(room), false);
    }
    if departure.last {
        tell_interest(&mut state.outbox, core, &departure.scope, None, false);
    }
    departure.emptied
}

fn tell_interest(
    outbox: &mut Outbox<Mail>,
    core: usize,
    scope: &str,
    room: Option<&str>,
    on: bool,
) {
    if outbox.cores() > 1 {
        let (scope, room): (Arc<str>, Option<Arc<str>>) = (scope.into(), room.map(Arc::from));
        outbox.post_all(|| Mail::Interest {
            scope: scope.clone(),
            room: room.clone(),
            core,
            on,
        });
    }
}

#[cfg(test)]
mod tests;
