//! Who is where on this core, which other cores have members of the same, and what was said this turn.
//!
//! - A **scope** is one Socket.IO namespace or one WebSocket route. It has rooms of its own.
//! - A **member** is a socket, named by a small dense number that the shard gives it. It is in exactly one scope from
//!   [`Rooms::enter`] to [`Rooms::leave_all`], and in any of that scope's rooms.
//! - A **connection** is the slot under which a member's messages are marked; it is kept and handed out, never looked at.
//! - **Interest** is what other cores told: that they have members in a room, or in a scope at all. The first member in and the last
//!   one out are reported ([`Change`], [`Departure`]) so that this core's shard can tell the others.
//!
//! Members of a room lie in one dense array, and each knows in its own list where it lies: so a broadcast is one scan, and a leave is one
//! swap. [`select`] says who a message is for, [`turn`] who was told what.

#![forbid(unsafe_code)]

pub(crate) mod cores;
mod crowd;
mod hold;
#[cfg(test)]
pub(crate) mod property;
pub(crate) mod select;
#[cfg(test)]
mod tests;
pub(crate) mod turn;

use crate::pages::Pages;
use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use cores::CoreSet;
use crowd::{Crowd, Entry};
use select::Stamps;

/// In [`Member::scope`]: this number is nobody's at present.
const NOWHERE: u32 = u32::MAX;

/// The connection of a member that is in its rooms, and counts there, but is not selected by any message until it is
/// [shown](Rooms::show): it has not been let in yet.
pub(crate) const HIDDEN: u32 = u32::MAX;

/// A namespace or a route. Good while somebody is in it or another core is interested in it; when neither of that holds any more
/// the scope is released, and another one may get the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ScopeId(u32);

/// What a join or leave meant for the other cores.
#[must_use = "the other cores have to be told"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: there are other members on this core, or nobody joined or left.
    None,
    /// This core has its first member there.
    First,
    /// This core has no member there any more.
    Last,
}

/// What the end of a member meant for the other cores. Names, as the scope itself may be gone.
#[must_use = "the other cores have to be told"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The name of the scope that the member was in.
    pub(crate) scope: Arc<str>,
    /// This core has no member of the scope any more.
    pub(crate) last: bool,
    /// The rooms of the scope in which this core has no member any more.
    pub(crate) emptied: Vec<Arc<str>>,
}

/// Why a room was not joined.
///
/// ```
/// # fn f(socket: &ringhall::Socket) {
/// assert!(socket.try_join("x".repeat(2000)).is_err());
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError {
    /// The socket has left its namespace.
    NotHere,
    /// It is in as many rooms as it may be ([`Config::max_rooms`](crate::Config::max_rooms)).
    TooManyRooms,
    /// The name is longer than 1,024 bytes.
    NameTooLong,
}

impl std::fmt::Display for JoinError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            JoinError::NotHere => "it has left its namespace",
            JoinError::TooManyRooms => "it is in as many rooms as it may be (setting `max_rooms`)",
            JoinError::NameTooLong => "the room's name is longer than 1,024 bytes",
        })
    }
}

impl std::error::Error for JoinError {}

/// What one member may take. With the defaults, a member that is alone in as many rooms as it may costs up to 1.3 MB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Rooms that one member may be in at a time (default 1000; about 20 bytes each, and some 200 for a room of its own).
    pub(crate) rooms_per_member: usize,
    /// The longest name of a room, in bytes (default 1024).
    pub(crate) room_name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            rooms_per_member: 1000,
            room_name_bytes: 1024,
        }
    }
}

struct Scope {
    name: Arc<str>,
    /// Names come from peers: the standard hasher is keyed, so nobody can choose names that collide.
    rooms: HashMap<Arc<str>, u32>,
    everyone: Crowd,
}

struct Room {
    name: Arc<str>,
    scope: u32,
    crowd: Crowd,
}

/// Sixteen bytes, as most members are in no room at all (a Socket.IO socket's own room is not kept here: see [`select`]).
struct Member {
    scope: u32,
    /// Where it lies among the scope's everyone.
    position: u32,
    joined: Option<Box<Joined>>,
}

impl Member {
    const NOBODY: Member = Member {
        scope: NOWHERE,
        position: 0,
        joined: None,
    };

    fn places(&self) -> &[Place] {
        self.joined.as_ref().map_or(&[], |joined| &joined.places)
    }
}

/// A member's rooms, of which there is at least one.
#[derive(Default)]
struct Joined {
    places: Vec<Place>,
}

/// That a member is in `room`, and where it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    room: u32,
    position: u32,
}

/// Scopes, rooms and members of one core.
///
/// Memory: 32 bytes for a member (and those of the highest number stay), 20 for each room it is in, about 200 and the name for each room that
/// has members here or on another core.
pub(crate) struct Rooms {
    limits: Limits,
    scope_ids: HashMap<Arc<str>, u32>,
    scopes: Slab<Scope>,
    rooms: Slab<Room>,
    members: Pages<Member>,
    stamps: Stamps,
}

impl Rooms {
    /// Nobody anywhere.
    pub(crate) fn new(limits: Limits) -> Self {
        Rooms {
            limits,
            scope_ids: HashMap::new(),
            scopes: Slab::new(),
            rooms: Slab::new(),
            members: Pages::default(),
            stamps: Stamps::default(),
        }
    }

    /// The scope of that name, created if there is none. A new one stays until it has been used and is empty again.
    pub(crate) fn scope(&mut self, name: &str) -> ScopeId {
        if let Some(id) = self.find_scope(name) {
            return id;
        }
        let name: Arc<str> = name.into();
        let scope = Scope {
            name: name.clone(),
            rooms: HashMap::new(),
            everyone: Crowd::default(),
        };
        let id = self.scopes.insert(scope) as u32;
        self.scope_ids.insert(name, id);
        ScopeId(id)
    }

    /// The scope of that name, if there is one.
    pub(crate) fn find_scope(&self, name: &str) -> Option<ScopeId> {
        self.scope_ids.get(name).copied().map(ScopeId)
    }

    /// The scope's name, unless it was released.
    pub(crate) fn scope_name(&self, scope: ScopeId) -> Option<&str> {
        self.scopes.get(scope.0 as usize).map(|scope| &*scope.name)
    }

    /// The same, to be kept.
    pub(crate) fn scope_name_shared(&self, scope: ScopeId) -> Option<Arc<str>> {
        let scope = self.scopes.get(scope.0 as usize)?;
        Some(scope.name.clone())
    }

    /// Puts a new member into a scope. Its messages will be marked for `connection`; if that is [`HIDDEN`], it gets none yet.
    pub(crate) fn enter(&mut self, scope: ScopeId, member: u32, connection: u32) -> Change {
        let index = member as usize;
        if index >= self.members.len() {
            self.members.grow_with(index + 1, || Member::NOBODY);
            self.stamps.cover(index + 1);
        }
        let here = &mut self.members[index];
        debug_assert_eq!(here.scope, NOWHERE, "member {member} is in a scope already");
        match self.scopes.get_mut(scope.0 as usize) {
            Some(record) if here.scope == NOWHERE => {
                let position = record.everyone.push(Entry {
                    member,
                    connection,
                    back: 0,
                });
                *here = Member {
                    scope: scope.0,
                    position,
                    joined: None,
                };
                if record.everyone.is_first(position) {
                    Change::First
                } else {
                    Change::None
                }
            }
            _ => Change::None,
        }
    }

    /// A member that was [`HIDDEN`] gets messages from now on, marked for `connection`.
    pub(crate) fn show(&mut self, member: u32, connection: u32) {
        let Some(here) = self
            .members
            .get(member as usize)
            .filter(|here| here.scope != NOWHERE)
        else {
            return;
        };
        if let Some(scope) = self.scopes.get_mut(here.scope as usize) {
            scope.everyone.entries[here.position as usize].connection = connection;
        }
        for place in here.places() {
            if let Some(room) = self.rooms.get_mut(place.room as usize) {
                room.crowd.entries[place.position as usize].connection = connection;
            }
        }
    }

    /// Takes a member out of its rooms and its scope; `None` if it is in none. A scope or room that is of no use any more is freed.
    pub(crate) fn leave_all(&mut self, member: u32) -> Option<Departure> {
        let here = self
            .members
            .get_mut(member as usize)
            .filter(|here| here.scope != NOWHERE)?;
        let gone = std::mem::replace(here, Member::NOBODY);
        let mut emptied = Vec::new();
        for place in gone.places() {
            emptied.extend(self.vacate(*place));
        }
        let everyone = &mut self.scopes[gone.scope as usize].everyone;
        if let Some(moved) = everyone.remove(gone.position) {
            self.members[moved.member as usize].position = gone.position;
        }
        let record = &self.scopes[gone.scope as usize];
        let departure = Departure {
            scope: record.name.clone(),
            last: record.everyone.is_empty_here(),
            emptied,
        };
        self.release_scope_if_vacant(gone.scope);
        Some(departure)
    }

    /// Puts a member into a room of its scope, and creates the room if need be. To be in already is no error, and no change.
    pub(crate) fn join(&mut self, member: u32, room: &str) -> Result<Change, JoinError> {
        if room.len() > self.limits.room_name_bytes {
            return Err(JoinError::NameTooLong);
        }
        self.join_within(member, room, self.limits.rooms_per_member)
    }

    /// As [`Rooms::join`], of one that was in before and comes again: its rooms were counted then.
    pub(crate) fn join_again(&mut self, member: u32, room: &str) -> Result<Change, JoinError> {
        self.join_within(member, room, usize::MAX)
    }

    fn join_within(
        &mut self,
        member: u32,
        room: &str,
        rooms_max: usize,
    ) -> Result<Change, JoinError> {
        let scope = self.scope_of(member).ok_or(JoinError::NotHere)?;
        let connection = self.connection_of(member).ok_or(JoinError::NotHere)?;
        let known = self.find_room(scope, room);
        if known.is_some_and(|known| self.place_in(member, known).is_some()) {
            return Ok(Change::None);
        }
        if self.members[member as usize].places().len() >= rooms_max {
            return Err(JoinError::TooManyRooms);
        }
        let room = known.unwrap_or_else(|| self.add_room(scope, room));
        let places = &mut self.members[member as usize]
            .joined
            .get_or_insert_default()
            .places;
        let back = places.len() as u32;
        let crowd = &mut self.rooms[room as usize].crowd;
        let position = crowd.push(Entry {
            member,
            connection,
            back,
        });
        places.push(Place { room, position });
        Ok(if crowd.is_first(position) {
            Change::First
        } else {
            Change::None
        })
    }

    /// Takes a member out of a room. Not to be in is no error, and no change.
    pub(crate) fn leave(&mut self, member: u32, room: &str) -> Change {
        let place = self
            .scope_of(member)
            .and_then(|scope| self.find_room(scope, room))
            .and_then(|room| self.place_in(member, room));
        let Some(index) = place else {
            return Change::None;
        };
        let place = self.forget_place(member, index);
        match self.vacate(place) {
            Some(_) => Change::Last,
            None => Change::None,
        }
    }

    /// Whether the member is in that room of its scope.
    pub(crate) fn contains(&self, member: u32, room: &str) -> bool {
        let room = self
            .scope_of(member)
            .and_then(|scope| self.find_room(scope, room));
        room.is_some_and(|room| self.place_in(member, room).is_some())
    }

    /// The member's rooms, in no particular order.
    pub(crate) fn rooms_of(&self, member: u32) -> impl Iterator<Item = &str> {
        let places = self
            .members
            .get(member as usize)
            .map_or(&[][..], Member::places);
        places
            .iter()
            .map(|place| &*self.rooms[place.room as usize].name)
    }

    /// The scope that the member is in, if it is anywhere.
    pub(crate) fn scope_of(&self, member: u32) -> Option<ScopeId> {
        self.members
            .get(member as usize)
            .filter(|here| here.scope != NOWHERE)
            .map(|here| ScopeId(here.scope))
    }

    /// The connection for which the member's messages are marked.
    pub(crate) fn connection_of(&self, member: u32) -> Option<u32> {
        let here = self
            .members
            .get(member as usize)
            .filter(|here| here.scope != NOWHERE)?;
        let entry = self
            .scopes
            .get(here.scope as usize)?
            .everyone
            .entries
            .get(here.position as usize)?;
        Some(entry.connection)
    }

    /// How many members this core has in a room, or in the whole scope.
    #[cfg(test)]
    pub(crate) fn population(&self, scope: ScopeId, room: Option<&str>) -> usize {
        self.crowd(scope, room)
            .map_or(0, |crowd| crowd.entries.len())
    }

    /// The scope's rooms that have members on this core, with their number, in no particular order.
    #[cfg(test)]
    pub(crate) fn rooms_in(&self, scope: ScopeId) -> impl Iterator<Item = (&str, usize)> {
        let ids = self
            .scopes
            .get(scope.0 as usize)
            .into_iter()
            .flat_map(|scope| scope.rooms.values());
        let rooms = ids.map(|room| &self.rooms[*room as usize]);
        rooms
            .filter(|room| !room.crowd.entries.is_empty())
            .map(|room| (&*room.name, room.crowd.entries.len()))
    }

    /// Notes what another core told: that it has members in a room (or, with `None`, anywhere in the scope), or none any more.
    pub(crate) fn set_interest(
        &mut self,
        scope: ScopeId,
        room: Option<&str>,
        core: usize,
        on: bool,
    ) {
        let Some(record) = self.scopes.get_mut(scope.0 as usize) else {
            debug_assert!(!on, "interest in a scope that was released");
            return;
        };
        let room = match room {
            None => {
                record.everyone.set_interest(core, on);
                return self.release_scope_if_vacant(scope.0);
            }
            Some(name) => self
                .find_room(scope, name)
                .or_else(|| on.then(|| self.add_room(scope, name))),
        };
        if let Some(room) = room {
            self.rooms[room as usize].crowd.set_interest(core, on);
            self.free_room_if_vacant(room);
            self.release_scope_if_vacant(scope.0);
        }
    }

    /// The other cores that have members in a room, or anywhere in the scope.
    pub(crate) fn interest(&self, scope: ScopeId, room: Option<&str>) -> CoreSet {
        self.crowd(scope, room)
            .map_or(CoreSet::EMPTY, |crowd| crowd.interest)
    }

    fn crowd(&self, scope: ScopeId, room: Option<&str>) -> Option<&Crowd> {
        match room {
            None => self
                .scopes
                .get(scope.0 as usize)
                .map(|scope| &scope.everyone),
            Some(name) => self
                .find_room(scope, name)
                .map(|room| &self.rooms[room as usize].crowd),
        }
    }

    fn find_room(&self, scope: ScopeId, name: &str) -> Option<u32> {
        self.scopes.get(scope.0 as usize)?.rooms.get(name).copied()
    }

    fn add_room(&mut self, scope: ScopeId, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let room = self.rooms.insert(Room {
            name: name.clone(),
            scope: scope.0,
            crowd: Crowd::default(),
        }) as u32;
        self.scopes[scope.0 as usize].rooms.insert(name, room);
        room
    }

    /// Which of the member's places is `room`: searched on the side that has fewer, as either can be long.
    fn place_in(&self, member: u32, room: u32) -> Option<usize> {
        let places = self.members.get(member as usize)?.places();
        let entries = &self.rooms.get(room as usize)?.crowd.entries;
        if places.len() <= entries.len() {
            places.iter().position(|place| place.room == room)
        } else {
            entries
                .iter()
                .find(|entry| entry.member == member)
                .map(|entry| entry.back as usize)
        }
    }

    /// Strikes a place from the member's own list; the last place takes its number, and its room's entry is told so.
    fn forget_place(&mut self, member: u32, index: usize) -> Place {
        let here = &mut self.members[member as usize];
        let places = &mut here.joined.get_or_insert_default().places;
        let gone = places.swap_remove(index);
        if let Some(moved) = places.get(index) {
            self.rooms[moved.room as usize].crowd.entries[moved.position as usize].back =
                index as u32;
        }
        if places.is_empty() {
            here.joined = None;
        }
        gone
    }

    /// Strikes an entry from its room; the last entry takes its position, and its member is told so. The room's name if it was the last.
    fn vacate(&mut self, place: Place) -> Option<Arc<str>> {
        let room = &mut self.rooms[place.room as usize];
        if let Some(moved) = room.crowd.remove(place.position)
            && let Some(joined) = &mut self.members[moved.member as usize].joined
        {
            joined.places[moved.back as usize].position = place.position;
        }
        if !room.crowd.is_empty_here() {
            return None;
        }
        let name = room.name.clone();
        self.free_room_if_vacant(place.room);
        Some(name)
    }

    fn free_room_if_vacant(&mut self, room: u32) {
        if !self
            .rooms
            .get(room as usize)
            .is_some_and(|room| room.crowd.is_vacant())
        {
            return;
        }
        let gone = self.rooms.remove(room as usize);
        let names = &mut self.scopes[gone.scope as usize].rooms;
        names.remove(&gone.name);
        // A crowd of short-lived rooms is not paid for forever.
        if names.capacity() > 1024 && names.len() < names.capacity() / 8 {
            names.shrink_to(names.len() * 2);
        }
    }

    fn release_scope_if_vacant(&mut self, scope: u32) {
        let vacant = |scope: &Scope| scope.everyone.is_vacant() && scope.rooms.is_empty();
        if self.scopes.get(scope as usize).is_some_and(vacant) {
            let gone = self.scopes.remove(scope as usize);
            self.scope_ids.remove(&gone.name);
        }
    }
}
