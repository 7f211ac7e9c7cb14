//! What was said, in the order in which this core handled it.
//!
//! Other cores may have handled the same messages in another order, and what a client got is this core's: so each core keeps a log of its
//! own, and a client's place in it is good here alone. The messages themselves are shared.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::Refusal;
use super::offset::Offset;
use crate::shard::mail::Broadcast;

/// What an entry costs beside what it holds: its place in the list and the index, and the allocations behind it.
const ENTRY_OVERHEAD: usize = 200;

struct Entry {
    at_ms: u64,
    cost: usize,
    offset: Offset,
    message: Arc<Broadcast>,
}

/// See the module's text. Positions count from 0 and are never used twice.
///
/// Memory: `bytes_max`, of which the messages may be shared with the logs of other cores.
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    /// The position of the first entry.
    first: u64,
    positions: HashMap<Offset, u64>,
    bytes: usize,
    bytes_max: usize,
    age_max_ms: u64,
    /// What lies before this position was dropped, the last of it for want of room.
    cut: u64,
}

/// What a message costs that is kept.
pub(crate) fn cost_of(message: &Broadcast) -> usize {
    let names = message.to.iter().chain(&message.except);
    let names: usize = names.map(|name| name.len() + size_of::<Box<str>>()).sum();
    let attachments = message.attachments.iter();
    let attachments: usize = attachments.map(|bytes| bytes.len() + 64).sum();
    ENTRY_OVERHEAD + names + message.body.len() + attachments
}

impl Log {
    pub(crate) fn new(bytes_max: usize, age_max_ms: u64) -> Self {
        Log {
            entries: VecDeque::new(),
            first: 0,
            positions: HashMap::new(),
            bytes: 0,
            bytes_max,
            age_max_ms,
            cut: 0,
        }
    }

    /// Adds a message that has a name; one without is nobody's to ask for.
    pub(crate) fn push(&mut self, now_ms: u64, message: Arc<Broadcast>) {
        self.forget_old(now_ms);
        let Some(offset) = message.offset else {
            debug_assert!(false, "a message without a name is not recovered");
            return;
        };
        let cost = cost_of(&message);
        let position = self.head();
        self.positions.insert(offset, position);
        self.bytes += cost;
        self.entries.push_back(Entry {
            at_ms: now_ms,
            cost,
            offset,
            message,
        });
        while self.bytes > self.bytes_max && self.drop_first() {
            self.cut = self.first;
        }
    }

    /// The position of the next entry.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Where a message lies, if it is still there.
    pub(crate) fn position(&self, offset: Offset) -> Option<u64> {
        self.positions.get(&offset).copied()
    }

    /// All entries from a position on.
    ///
    /// # Errors
    /// Some of them are not there any more.
    pub(crate) fn since(
        &self,
        position: u64,
    ) -> Result<impl Iterator<Item = &Arc<Broadcast>>, Refusal> {
        if position < self.first {
            return Err(if position < self.cut {
                Refusal::LogFull
            } else {
                Refusal::OffsetTooOld
            });
        }
        let skip = usize::try_from(position - self.first).unwrap_or(usize::MAX);
        let entries = self.entries.range(skip.min(self.entries.len())..);
        Ok(entries.map(|entry| &entry.message))
    }

    /// Drops what is too old.
    pub(crate) fn forget_old(&mut self, now_ms: u64) {
        while self.next_deadline_ms().is_some_and(|at| at <= now_ms) {
            self.drop_first();
        }
    }

    /// When the first entry is too old.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let first = self.entries.front()?;
        Some(first.at_ms.saturating_add(self.age_max_ms))
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn drop_first(&mut self) -> bool {
        let Some(gone) = self.entries.pop_front() else {
            return false;
        };
        self.bytes -= gone.cost;
        self.positions.remove(&gone.offset);
        self.first += 1;
        // What a burst took is not kept for ever.
        if self.entries.capacity() > 1024 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
            self.positions.shrink_to(self.entries.len() * 2);
        }
        true
    }
}

/// What one session hears: what is said to all of its namespace, to its rooms or to itself, and not except them.
pub(crate) struct Ears<'a> {
    namespace: &'a str,
    names: HashSet<&'a str>,
}

impl<'a> Ears<'a> {
    pub(crate) fn new(namespace: &'a str, sid: &'a str, rooms: &'a [Arc<str>]) -> Self {
        let names = rooms.iter().map(|room| &**room).chain([sid]);
        Ears {
            namespace,
            names: names.collect(),
        }
    }

    pub(crate) fn hear(&self, message: &Broadcast) -> bool {
        let is_named = |names: &[Box<str>]| names.iter().any(|name| self.names.contains(&**name));
        *message.scope == *self.namespace
            && (message.to.is_empty() || is_named(&message.to))
            && !is_named(&message.except)
    }
}

#[cfg(test)]
mod tests;
