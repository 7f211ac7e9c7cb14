//! What sessions missed on the core that they came from.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::shard::home::SocketId;
use crate::shard::mail::Broadcast;
use crate::shard::recovery::log::cost_of;
use crate::shard::recovery::offset::Offset;

struct Splice {
    number: u64,
    /// The message that the client said it had.
    head: Offset,
    list: Vec<Arc<Broadcast>>,
    bytes: usize,
}

/// See the module's text. Memory: `bytes_max`, and about 100 bytes a session.
pub(in crate::shard::hall) struct Splices {
    of: HashMap<SocketId, Splice>,
    /// The oldest first; one that was replaced or removed is here still, under its number.
    order: VecDeque<(u64, u64, SocketId)>,
    numbers: u64,
    bytes: usize,
    bytes_max: usize,
    age_max_ms: u64,
}

impl Splices {
    pub(super) fn new(bytes_max: usize, age_max_ms: u64) -> Self {
        Splices {
            of: HashMap::new(),
            order: VecDeque::new(),
            numbers: 0,
            bytes: 0,
            bytes_max,
            age_max_ms,
        }
    }

    pub(in crate::shard::hall) fn insert(
        &mut self,
        now_ms: u64,
        sid: SocketId,
        head: Offset,
        list: Vec<Arc<Broadcast>>,
    ) {
        self.remove(&sid);
        self.numbers += 1;
        let bytes = list.iter().map(|said| cost_of(said)).sum();
        let splice = Splice {
            number: self.numbers,
            head,
            list,
            bytes,
        };
        self.bytes += bytes;
        self.of.insert(sid, splice);
        self.order
            .push_back((now_ms.saturating_add(self.age_max_ms), self.numbers, sid));
        while self.bytes > self.bytes_max && self.drop_first() {}
    }

    pub(in crate::shard::hall) fn remove(&mut self, sid: &SocketId) {
        if let Some(gone) = self.of.remove(sid) {
            self.bytes -= gone.bytes;
        }
        // Those that were replaced or removed do not pile up.
        if self.order.len() > 64 && self.order.len() > 2 * self.of.len() {
            let of = &self.of;
            let is_current = |(_, number, sid): &(u64, u64, SocketId)| {
                of.get(sid).is_some_and(|splice| splice.number == *number)
            };
            self.order.retain(is_current);
        }
    }

    /// What is in a session's splice behind that message; `None`: it is not in it.
    pub(super) fn behind(&self, sid: &SocketId, asked: Offset) -> Option<&[Arc<Broadcast>]> {
        let splice = self.of.get(sid)?;
        if let Some(at) = splice
            .list
            .iter()
            .position(|said| said.offset == Some(asked))
        {
            return splice.list.get(at + 1..);
        }
        (splice.head == asked).then_some(&splice.list)
    }

    pub(super) fn forget_old(&mut self, now_ms: u64) {
        while self.next_deadline_ms().is_some_and(|at| at <= now_ms) {
            self.drop_first();
        }
    }

    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        self.order.front().map(|(at, ..)| *at)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.bytes == 0
    }

    fn drop_first(&mut self) -> bool {
        let Some((_, number, sid)) = self.order.pop_front() else {
            return false;
        };
        if self
            .of
            .get(&sid)
            .is_some_and(|splice| splice.number == number)
        {
            self.remove(&sid);
        }
        true
    }
}
