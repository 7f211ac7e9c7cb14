//! The members of one room, or of a whole scope.

use super::cores::CoreSet;

/// Below this many a dense array is not worth shrinking.
const SHRINK_MIN: usize = 64;

/// One member's place in a [`Crowd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) member: u32,
    /// Here too, so that a broadcast reads this array and nothing else.
    pub(super) connection: u32,
    /// Which of the member's own places points here; unused where the crowd is a scope's everyone.
    pub(super) back: u32,
}

/// A dense array of members, the other cores that have members of the same, and for how many that are away a place is held.
#[derive(Default)]
pub(super) struct Crowd {
    pub(super) entries: Vec<Entry>,
    pub(super) interest: CoreSet,
    pub(super) held: u32,
}

impl Crowd {
    /// Adds a member, who must not be in, and says at which position.
    pub(super) fn push(&mut self, entry: Entry) -> u32 {
        debug_assert!(self.entries.len() < u32::MAX as usize);
        self.entries.push(entry);
        (self.entries.len() - 1) as u32
    }

    /// Removes the entry at `position`. The last one takes its place and is returned: whoever points at it must be told.
    pub(super) fn remove(&mut self, position: u32) -> Option<Entry> {
        self.entries.swap_remove(position as usize);
        if self.entries.len() >= SHRINK_MIN && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        self.entries.get(position as usize).copied()
    }

    /// Notes whether another core has members.
    pub(super) fn set_interest(&mut self, core: usize, on: bool) {
        if on {
            self.interest.insert(core);
        } else {
            self.interest.remove(core);
        }
    }

    /// Whether the entry at this position, just added, is all that there is on this core.
    pub(super) fn is_first(&self, position: u32) -> bool {
        position == 0 && self.held == 0
    }

    /// Whether this core has nobody in, and holds no place.
    pub(super) fn is_empty_here(&self) -> bool {
        self.entries.is_empty() && self.held == 0
    }

    /// Whether nobody is in, on this core or another.
    pub(super) fn is_vacant(&self) -> bool {
        self.is_empty_here() && self.interest.is_empty()
    }
}
