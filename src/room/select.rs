//! Who a message is for.

use super::cores::CoreSet;
use super::crowd::Crowd;
use super::{HIDDEN, Rooms, ScopeId};

/// Some members of one scope: those in any of the rooms `to` and those in `to_members` (everyone, if both are empty), without those in any
/// of the rooms `except`, without `except_members`, and without `not`.
///
/// In Socket.IO every socket is in the room named by its own id. Those rooms are not kept: a thousand of them would cost more than
/// all other rooms together. The caller, who knows ids, looks each name up and passes the member it finds in `to_members` or
/// `except_members`, **besides** the name itself: another socket may have joined a room of that name, and a name that is nobody's must
/// not leave `to` empty, which would mean everyone.
#[derive(Debug)]
pub(crate) struct Selection<'a, R> {
    /// Where all of this happens.
    pub(crate) scope: ScopeId,
    /// Members of any of these rooms are meant,
    pub(crate) to: &'a [R],
    /// and these; a number that is nobody's, or a member of another scope, is passed over.
    pub(crate) to_members: &'a [u32],
    /// Members of any of these rooms are not meant,
    pub(crate) except: &'a [R],
    /// nor are these,
    pub(crate) except_members: &'a [u32],
    /// nor is this one: the sender.
    pub(crate) not: Option<u32>,
}

impl<'a, R: AsRef<str>> Selection<'a, R> {
    /// Everyone in the scope.
    #[cfg(test)]
    pub(crate) fn everyone(scope: ScopeId) -> Self {
        Selection {
            scope,
            to: &[],
            to_members: &[],
            except: &[],
            except_members: &[],
            not: None,
        }
    }

    /// The members of some rooms. No room means everyone.
    #[cfg(test)]
    pub(crate) fn rooms(scope: ScopeId, to: &'a [R]) -> Self {
        Selection {
            to,
            ..Selection::everyone(scope)
        }
    }

    fn is_everyone(&self) -> bool {
        self.to.is_empty() && self.to_members.is_empty()
    }
}

/// A note for each member, good for one selection: that it was met. Beginning the next selection forgets all of them at once.
#[derive(Default)]
pub(super) struct Stamps {
    epoch: u32,
    of: Vec<u32>,
}

impl Stamps {
    /// Makes room for members below `count`.
    pub(super) fn cover(&mut self, count: usize) {
        self.of.resize(count, 0);
    }

    fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Once in four thousand million selections: the old stamps could be taken for new ones.
            self.of.fill(0);
            self.epoch = 1;
        }
    }

    /// Stamps a member; whether it had not been met yet.
    fn meet(&mut self, member: u32) -> bool {
        match self.of.get_mut(member as usize) {
            Some(stamp) => std::mem::replace(stamp, self.epoch) != self.epoch,
            None => false,
        }
    }

    fn was_met(&self, member: u32) -> bool {
        self.of.get(member as usize) == Some(&self.epoch)
    }
}

impl Rooms {
    /// Calls `visit` with the number and the connection of each member selected, once each; not with those that are [`HIDDEN`].
    ///
    /// Costs a step for each member of the rooms named, in `to` and in `except`; nothing is allocated. One room (or everyone) without
    /// exceptions, the usual broadcast, is a scan of one dense array.
    pub(crate) fn for_each<R: AsRef<str>>(
        &mut self,
        selection: &Selection<'_, R>,
        mut visit: impl FnMut(u32, u32),
    ) {
        self.stamps.begin();
        let exceptions = self.stamp_exceptions(selection);
        let only = match (selection.to, selection.to_members) {
            ([], []) => Some(None),
            ([room], []) => Some(Some(room.as_ref())),
            _ => None,
        };
        let Some(only) = only else {
            return self.for_each_of_several(selection, visit);
        };
        let Some(crowd) = self.crowd(selection.scope, only) else {
            return;
        };
        for entry in &crowd.entries {
            if Some(entry.member) != selection.not
                && entry.connection != HIDDEN
                && !(exceptions && self.stamps.was_met(entry.member))
            {
                visit(entry.member, entry.connection);
            }
        }
    }

    /// The other cores that have members selected: those that a message has to be told to.
    ///
    /// `to_members` and exceptions say nothing of other cores: a socket that is elsewhere is told by its id, which names its core.
    pub(crate) fn interest_of<R: AsRef<str>>(&self, selection: &Selection<'_, R>) -> CoreSet {
        if selection.is_everyone() {
            return self.interest(selection.scope, None);
        }
        let interests = selection
            .to
            .iter()
            .map(|room| self.interest(selection.scope, Some(room.as_ref())));
        interests.fold(CoreSet::EMPTY, CoreSet::union)
    }

    /// Stamps those who are not meant, but `not`, as if they had been visited; whether there are any.
    fn stamp_exceptions<R: AsRef<str>>(&mut self, selection: &Selection<'_, R>) -> bool {
        let mut any = !selection.except_members.is_empty();
        for member in selection.except_members {
            self.stamps.meet(*member);
        }
        for room in selection.except {
            if let Some((crowd, stamps)) = self.crowd_and_stamps(selection.scope, room.as_ref()) {
                any |= !crowd.entries.is_empty();
                for entry in &crowd.entries {
                    stamps.meet(entry.member);
                }
            }
        }
        any
    }

    fn for_each_of_several<R: AsRef<str>>(
        &mut self,
        selection: &Selection<'_, R>,
        mut visit: impl FnMut(u32, u32),
    ) {
        if let Some(sender) = selection.not {
            self.stamps.meet(sender);
        }
        for room in selection.to {
            if let Some((crowd, stamps)) = self.crowd_and_stamps(selection.scope, room.as_ref()) {
                for entry in crowd
                    .entries
                    .iter()
                    .filter(|entry| entry.connection != HIDDEN && stamps.meet(entry.member))
                {
                    visit(entry.member, entry.connection);
                }
            }
        }
        for member in selection.to_members {
            let connection = self
                .connection_of(*member)
                .filter(|connection| *connection != HIDDEN)
                .filter(|_| self.scope_of(*member) == Some(selection.scope));
            if let Some(connection) = connection
                && self.stamps.meet(*member)
            {
                visit(*member, connection);
            }
        }
    }

    fn crowd_and_stamps(&mut self, scope: ScopeId, room: &str) -> Option<(&Crowd, &mut Stamps)> {
        let room = self.find_room(scope, room)?;
        Some((&self.rooms.get(room as usize)?.crowd, &mut self.stamps))
    }
}

#[cfg(test)]
mod tests;
