//! A slab whose key carries a generation, so that what outlives an entry (a completion, a mark, a letter from another core)
//! finds nothing rather than the entry's successor.

#![forbid(unsafe_code)]

use crate::pages::Pages;
use crate::reactor::ConnKey;

/// Ends the list of free slots; never a slot itself.
const NONE: u32 = u32::MAX;

/// The generation lies inside both variants: so the tag and it share eight bytes, whatever `T`'s alignment.
enum Slot<T> {
    Taken { generation: u32, value: T },
    Free { generation: u32, next: u32 },
}

/// Values by [`ConnKey`], at most as many as the limit allows.
///
/// A freed slot is the first to be used again (its memory is still in the cache), under the next generation. An old key never
/// resolves, except after its slot has been used [`ConnKey::GENERATIONS`] times more: then the generations have wrapped.
///
/// Memory: the largest number ever held at once × (`size_of::<T>()` + 8, rounded to `T`'s alignment), until dropped.
pub(crate) struct Slots<T> {
    slots: Pages<Slot<T>>,
    first_free: u32,
    len: u32,
    limit: u32,
}

impl<T> Slots<T> {
    /// Nothing yet, and never more than `limit` values. Memory is taken as it is needed.
    pub(crate) fn with_limit(limit: u32) -> Self {
        Slots {
            slots: Pages::default(),
            first_free: NONE,
            len: 0,
            limit,
        }
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that the next [`Slots::insert`] will give, for a value that must know its own; `None` when full.
    pub(crate) fn next_key(&self) -> Option<ConnKey> {
        if self.len >= self.limit {
            return None;
        }
        match self.slots.get(self.first_free as usize) {
            Some(Slot::Free { generation, .. }) => Some(ConnKey {
                slot: self.first_free,
                generation: *generation,
            }),
            // No free slot among those there are (then `first_free` is NONE): the table grows by one.
            _ => Some(ConnKey {
                slot: self.slots.len() as u32,
                generation: 0,
            }),
        }
    }

    /// Takes a value in; gives it back when the limit is reached.
    pub(crate) fn insert(&mut self, value: T) -> Result<ConnKey, T> {
        let Some(key) = self.next_key() else {
            return Err(value);
        };
        let taken = Slot::Taken {
            generation: key.generation,
            value,
        };
        match self.slots.get_mut(key.slot as usize) {
            Some(slot) => {
                if let Slot::Free { next, .. } = *slot {
                    self.first_free = next;
                }
                *slot = taken;
            }
            None => self.slots.push(taken),
        }
        self.len += 1;
        Ok(key)
    }

    /// The value under `key`, unless it was removed.
    pub(crate) fn get(&self, key: ConnKey) -> Option<&T> {
        match self.slots.get(key.slot as usize)? {
            Slot::Taken { generation, value } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value under `key`, to change it, unless it was removed.
    pub(crate) fn get_mut(&mut self, key: ConnKey) -> Option<&mut T> {
        match self.slots.get_mut(key.slot as usize)? {
            Slot::Taken { generation, value } if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Whoever is in `slot` now, with the whole key: for callers that know the slot to be current, as marks and timers do.
    pub(crate) fn at(&self, slot: u32) -> Option<(ConnKey, &T)> {
        match self.slots.get(slot as usize)? {
            Slot::Taken { generation, value } => Some((
                ConnKey {
                    slot,
                    generation: *generation,
                },
                value,
            )),
            Slot::Free { .. } => None,
        }
    }

    /// As [`Slots::at`], to change it.
    pub(crate) fn at_mut(&mut self, slot: u32) -> Option<(ConnKey, &mut T)> {
        match self.slots.get_mut(slot as usize)? {
            Slot::Taken { generation, value } => Some((
                ConnKey {
                    slot,
                    generation: *generation,
                },
                value,
            )),
            Slot::Free { .. } => None,
        }
    }

    /// Takes the value out and frees its slot; `None` if it is not there any more.
    pub(crate) fn remove(&mut self, key: ConnKey) -> Option<T> {
        self.get(key)?;
        let slot = self.slots.get_mut(key.slot as usize)?;
        let generation = (key.generation + 1) % ConnKey::GENERATIONS;
        match std::mem::replace(
            slot,
            Slot::Free {
                generation,
                next: self.first_free,
            },
        ) {
            Slot::Taken { value, .. } => {
                self.first_free = key.slot;
                self.len -= 1;
                Some(value)
            }
            // Cannot be: `get` found it. Put it back as it was rather than break the list.
            free => {
                *slot = free;
                None
            }
        }
    }

    /// All values with their keys, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnKey, &T)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|(slot, number)| match slot {
                Slot::Taken { generation, value } => Some((
                    ConnKey {
                        slot: number,
                        generation: *generation,
                    },
                    value,
                )),
                Slot::Free { .. } => None,
            })
    }
}

#[cfg(test)]
mod tests;
