//! What the hall does for sessions that can be recovered. Without recovery all of this is nothing, and costs a branch.

use std::sync::Arc;

use super::broadcast::{Wanted, tell};
use super::fence::{Moved, Note};
use super::memory::holding::Floor;
use super::memory::{Claim, Memory};
use super::{Hall, Outgoing, SocketKey, Standing, State, Target, tell_interest};
use crate::reactor::ConnKey;
use crate::room::Change;
use crate::shard::command::Command;
use crate::shard::home::SocketId;
use crate::shard::mail::{Broadcast, Tally};
use crate::shard::recovery::offset::Offset;
use crate::shard::recovery::{Pid, Recovery, Refusal};

impl State {
    /// The memory, and what it needs of the rest.
    fn memory(&mut self) -> Option<(&mut Memory, Floor<'_>)> {
        let floor = Floor {
            rooms: &mut self.rooms,
            outbox: &mut self.outbox,
        };
        Some((self.memory.as_deref_mut()?, floor))
    }

    /// A socket's seat has been given up.
    pub(super) fn forget_seat(&mut self, key: SocketKey, sid: &SocketId) {
        if let Some((memory, mut floor)) = self.memory() {
            memory.vacated(&mut floor, key, sid);
        }
    }

    /// Keeps what is said to many, if it has a name and anybody here may have to be told again. To be called before it is marked, or at
    /// least before anything else can be said: the log has the order of the marks.
    pub(super) fn record(
        &mut self,
        core: usize,
        target: &Target<'_>,
        message: Outgoing<'_>,
        parcel: Option<&Arc<Broadcast>>,
    ) {
        let (Some(memory), Some(_)) = (&self.memory, message.offset) else {
            return;
        };
        let Some(scope) = self.rooms.find_scope(target.scope) else {
            return;
        };
        let is_name = |name: &&&str| {
            memory.is_awaited(name)
                || SocketId::locate(name).is_some_and(|(home, place)| {
                    let seat = self.seats.at(place);
                    home == core && seat.is_some_and(|(_, seat)| seat.id.as_str() == **name)
                })
        };
        let meant =
            self.rooms.is_peopled(scope, target.to) || target.to.iter().any(|name| is_name(&name));
        if !meant {
            return;
        }
        let parcel = match parcel {
            Some(parcel) => parcel.clone(),
            None => Arc::new(self.parcel(target, message, None)),
        };
        if let Some(memory) = &mut self.memory {
            memory.log.push(memory.now_ms, parcel);
        }
    }

    /// The form in which a message crosses cores, and is kept.
    pub(super) fn parcel(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        tally: Option<Arc<Tally>>,
    ) -> Broadcast {
        let mut parcel = Broadcast::new(target, message, tally);
        let sender = target.not.filter(|_| message.offset.is_some());
        if let Some(seat) = sender.and_then(|sender| self.seats.get(sender)) {
            // Whoever has said it does not hear it when he comes back, on whatever core.
            parcel.except.push(seat.id.as_str().into());
        }
        parcel
    }

    pub(super) fn handle_note(&mut self, note: Note) {
        let Some((memory, mut floor)) = self.memory() else {
            return;
        };
        if let Some(moved) = memory.handle_note(&mut floor, note) {
            self.returned(moved);
        }
    }

    /// Keeps what is said to one socket. `true`: it will be told when it is let in, and not before.
    pub(super) fn record_for(&mut self, key: SocketKey, message: Outgoing<'_>) -> bool {
        let (Some(memory), Some(_)) = (&mut self.memory, message.offset) else {
            return false;
        };
        let Some(seat) = self.seats.get(key) else {
            return false;
        };
        if let Some(scope) = self.rooms.scope_name_shared(seat.scope) {
            let parcel = Broadcast::to_one(scope, &seat.id, message);
            memory.log.push(memory.now_ms, parcel);
        }
        memory.returning.contains_key(&key)
    }

    /// The socket in this seat has been let in: if it returns to a session, it is told what it missed, before anything else.
    pub(super) fn replay(&mut self, key: SocketKey) {
        let Some(seat) = self.seats.get(key) else {
            return;
        };
        let connection = seat.connection;
        let Some((memory, mut floor)) = self.memory() else {
            return;
        };
        if !memory.returning.contains_key(&key) {
            return;
        }
        let (recovery, missed) = (memory.recovery.clone(), memory.admit(&mut floor, key));
        match missed {
            Ok(missed) => {
                recovery.count_recovered();
                for message in &missed {
                    tell(&mut self.turn, connection.slot, Outgoing::of(message));
                }
            }
            Err(why) => {
                // It was promised the session: as an ordinary one it would have a gap. The client connects again, and gets another.
                recovery.count_refused(why);
                self.commands.push(Command::EndClient { connection });
            }
        }
    }

    fn returned(&mut self, Moved { seat, outcome }: Moved) {
        let connection = self.seats.get(seat).map(|seat| seat.connection);
        if let Some(connection) = connection {
            self.commands.push(Command::Returned {
                connection,
                socket: seat,
                refused: outcome.err(),
            });
        }
    }
}

impl Hall {
    /// See [`State::record`].
    pub(super) fn record(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        parcel: Option<&Arc<Broadcast>>,
    ) {
        if message.offset.is_some() {
            let state = &mut *self.state.borrow_mut();
            state.record(self.core, target, message, parcel);
        }
    }

    /// What a program says to a socket that has left: its session may be away, or have come back elsewhere. `false`: nothing is recovered here.
    pub(crate) fn deliver_later(
        &self,
        scope: &Arc<str>,
        id: &SocketId,
        message: Outgoing<'_>,
    ) -> bool {
        let target = Target {
            scope,
            to: &[id.as_str()],
            except: &[],
            not: None,
            volatile: false,
        };
        self.broadcast(&target, message, Wanted::default());
        true
    }

    /// Sessions of this core can be recovered.
    pub(crate) fn set_recovery(&self, recovery: Option<&Arc<Recovery>>) {
        let memory = recovery.map(|recovery| Memory::new(self.core, recovery.clone()));
        self.state.borrow_mut().memory = memory.map(Box::new);
    }

    /// A name for what is said next; `None`: nothing is recovered here.
    pub(crate) fn next_offset(&self) -> Option<Offset> {
        let state = &mut *self.state.borrow_mut();
        state.memory.as_mut().map(|memory| memory.next_offset())
    }

    /// Makes a socket that was just seated one whose session can be recovered.
    pub(crate) fn begin_recoverable(&self, key: SocketKey) {
        let state = &mut *self.state.borrow_mut();
        if let Some(memory) = &mut state.memory
            && let Ok(pid) = state.ids.next(0)
        {
            memory.begin(key, pid);
        }
    }

    /// The secret by which the client of this socket gets its session back.
    pub(crate) fn pid_of(&self, key: SocketKey) -> Option<Pid> {
        let state = self.state.borrow();
        state.memory.as_ref()?.pid_of(key)
    }

    /// The connection of this socket was lost: its seat is given up, and its places are held. `data` is JSON. Gives what [`Hall::vacate`] does.
    pub(crate) fn depart(&self, key: SocketKey, data: Option<Arc<str>>) -> Vec<Arc<str>> {
        {
            let state = &mut *self.state.borrow_mut();
            let mut floor = Floor {
                rooms: &mut state.rooms,
                outbox: &mut state.outbox,
            };
            if let (Some(memory), Some(seat)) = (&mut state.memory, state.seats.get(key)) {
                memory.depart(&mut floor, (key, seat), data);
            }
        }
        self.vacate(key)
    }

    /// A client asks for a session: pid and offset are what it says. Whoever has claimed a session must take a seat for it
    /// ([`Hall::seat_returning`]) or give it back ([`Hall::put_back`]).
    pub(crate) fn claim(&self, namespace: &str, asked: (&str, &str)) -> Result<Claim, Refusal> {
        let state = &mut *self.state.borrow_mut();
        let Some((memory, mut floor)) = state.memory() else {
            return Err(Refusal::Unavailable);
        };
        let claimed = memory.claim(&mut floor, namespace, asked);
        if let Err(why) = &claimed {
            memory.recovery.count_refused(*why);
        }
        self.wake_shard();
        claimed
    }

    /// Gives the client of this connection a pending seat for the session that it claimed, with its id and its rooms. It is let in as every
    /// pending socket is ([`Hall::admit`]), and then told what it missed; if it is not, the session is put back.
    pub(crate) fn seat_returning(
        &self,
        connection: ConnKey,
        scope: &Arc<str>,
        claim: &Claim,
    ) -> Option<SocketKey> {
        let id = Some(claim.sid);
        let Some((key, _)) = self.seat_as(Standing::Pending, id, connection, scope) else {
            self.put_back(claim);
            return None;
        };
        let state = &mut *self.state.borrow_mut();
        let is_native = SocketId::locate(&claim.sid) == Some((self.core, key.slot));
        let own = (!is_native).then(|| claim.sid.as_str());
        for room in own
            .into_iter()
            .chain(claim.rooms.iter().map(|room| &**room))
        {
            if state.rooms.join_again(key.slot, room) == Ok(Change::First) {
                tell_interest(&mut state.outbox, self.core, scope, Some(room), true);
            }
        }
        if let Some(memory) = &mut state.memory {
            memory.take_back(key, claim.pid);
        }
        self.wake_shard();
        Some(key)
    }

    /// Nobody could be seated for it.
    fn put_back(&self, claim: &Claim) {
        let state = &mut *self.state.borrow_mut();
        if let Some((memory, mut floor)) = state.memory() {
            memory.put_back(&mut floor, claim.pid);
        }
    }

    /// Whether this core has no other member of that room.
    pub(crate) fn is_alone_in(&self, key: SocketKey, room: &str) -> bool {
        let state = self.state.borrow();
        let scope = state.seats.get(key).map(|seat| seat.scope);
        scope.is_some_and(|scope| state.rooms.members_in(scope, room) == 1)
    }

    // ---- for the shard's side ----

    /// A turn begins.
    pub(crate) fn set_now(&self, now_ms: u64) {
        if let Some(memory) = &mut self.state.borrow_mut().memory {
            memory.now_ms = now_ms;
        }
    }

    /// When [`Hall::forget_old`] has something to do.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.state.borrow().memory.as_ref()?.next_deadline_ms()
    }

    /// Forgets messages and sessions that are too old.
    pub(crate) fn forget_old(&self) {
        let state = &mut *self.state.borrow_mut();
        let Some((memory, mut floor)) = state.memory() else {
            return;
        };
        memory.expire(&mut floor);
        let moved = memory.expire_moves(&mut floor);
        for moved in moved {
            state.returned(moved);
        }
    }

    /// The core shuts down: nobody comes back.
    pub(crate) fn close_memory(&self) {
        let state = &mut *self.state.borrow_mut();
        if let Some((memory, mut floor)) = state.memory() {
            memory.close(&mut floor);
        }
    }

    /// Whether nothing is remembered for anybody.
    #[cfg(test)]
    pub(crate) fn remembers_nobody(&self) -> bool {
        let state = self.state.borrow();
        state.memory.as_ref().is_none_or(|memory| memory.is_empty())
    }
}
