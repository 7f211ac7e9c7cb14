//! Places that are held for members who are away and may come back: the core stays interested in their rooms, so that what is said there
//! still reaches it.

use std::sync::Arc;

use super::{Change, Member, Rooms, ScopeId};

impl Rooms {
    /// Holds a place in a room, or with `None` in the scope itself. There may be no room of that name yet. A scope is held before its
    /// rooms, and released behind them; then its number stays good in between.
    pub(crate) fn hold(&mut self, scope: ScopeId, room: Option<&str>) -> Change {
        let Some(record) = self.scopes.get_mut(scope.0 as usize) else {
            return Change::None;
        };
        let crowd = match room {
            None => &mut record.everyone,
            Some(name) => {
                let known = record.rooms.get(name).copied();
                let room = known.unwrap_or_else(|| self.add_room(scope, name));
                &mut self.rooms[room as usize].crowd
            }
        };
        let first = crowd.is_empty_here();
        crowd.held += 1;
        if first { Change::First } else { Change::None }
    }

    /// Gives a held place up.
    pub(crate) fn release(&mut self, scope: ScopeId, room: Option<&str>) -> Change {
        let known = room.map(|name| self.find_room(scope, name));
        let crowd = match known {
            None => self
                .scopes
                .get_mut(scope.0 as usize)
                .map(|scope| &mut scope.everyone),
            Some(known) => known
                .and_then(|room| self.rooms.get_mut(room as usize))
                .map(|room| &mut room.crowd),
        };
        let Some(crowd) = crowd.filter(|crowd| crowd.held > 0) else {
            debug_assert!(false, "a place is released that was not held");
            return Change::None;
        };
        crowd.held -= 1;
        let last = crowd.is_empty_here();
        if let Some(room) = known.flatten() {
            self.free_room_if_vacant(room);
        }
        self.release_scope_if_vacant(scope.0);
        if last { Change::Last } else { Change::None }
    }

    /// Whether this core has members or held places in any of these rooms, or in the scope if there are none.
    pub(crate) fn is_peopled<R: AsRef<str>>(&self, scope: ScopeId, to: &[R]) -> bool {
        let peopled = |room| {
            self.crowd(scope, room)
                .is_some_and(|crowd| !crowd.is_empty_here())
        };
        if to.is_empty() {
            peopled(None)
        } else {
            to.iter().any(|room| peopled(Some(room.as_ref())))
        }
    }

    /// How many members this core has in a room. Places that are held are none.
    pub(crate) fn members_in(&self, scope: ScopeId, room: &str) -> usize {
        let crowd = self.crowd(scope, Some(room));
        crowd.map_or(0, |crowd| crowd.entries.len())
    }

    /// The rooms of a member in which this core has no other.
    pub(crate) fn alone_in(&self, member: u32) -> Vec<Arc<str>> {
        let member = self.members.get(member as usize);
        let rooms = member.map_or(&[][..], Member::places).iter();
        rooms
            .filter_map(|place| self.rooms.get(place.room as usize))
            .filter(|room| room.crowd.entries.len() == 1)
            .map(|room| room.name.clone())
            .collect()
    }

    /// How many places are held in a room, or in the whole scope.
    #[cfg(test)]
    pub(crate) fn held(&self, scope: ScopeId, room: Option<&str>) -> usize {
        self.crowd(scope, room)
            .map_or(0, |crowd| crowd.held as usize)
    }
}
