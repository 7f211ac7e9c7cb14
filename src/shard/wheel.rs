//! A coarse timer wheel: one deadline for each connection of a core, sixteen bytes each, no allocation and no system timer.
//!
//! Deadlines are rounded up to ticks of [`TICK_MS`], and the tick's number modulo the number of buckets says in which bucket the id
//! waits. A deadline further away than one revolution waits in its bucket too, and is passed over until its round has come.

#![forbid(unsafe_code)]

use crate::pages::Pages;

/// The granularity. A deadline is never reported early, and at most this much late.
pub(crate) const TICK_MS: u64 = 8;

/// One revolution is `BUCKETS * TICK_MS`, 32.8 s: longer than Socket.IO's ping interval, so most deadlines come in their first round.
const BUCKETS: usize = 4096;
/// The list of those whose tick had already passed when they were scheduled.
const OVERDUE: usize = BUCKETS;
const WORD_BITS: usize = u64::BITS as usize;

/// Ends a list in either direction.
const NONE: u32 = u32::MAX;
/// In `previous`: in no list at all.
const UNSCHEDULED: u32 = u32::MAX - 1;

/// An id's place in the list of its bucket.
#[derive(Clone, Copy)]
struct Node {
    previous: u32,
    next: u32,
    tick: u64,
}

const IDLE: Node = Node {
    previous: UNSCHEDULED,
    next: NONE,
    tick: 0,
};

/// Deadlines by id. Ids are small dense numbers (connection slots): memory is 16 bytes × the highest id ever scheduled,
/// and 17 KiB for the buckets.
pub(crate) struct Wheel {
    nodes: Pages<Node>,
    /// The first id of each bucket, and last the one of [`OVERDUE`].
    heads: Box<[u32]>,
    /// A bit for each bucket (but not `OVERDUE`) that is not empty.
    filled: [u64; BUCKETS / WORD_BITS],
    /// The first tick that `expire` has not passed. An id is in `OVERDUE` exactly if its tick is smaller.
    next_tick: u64,
    len: usize,
}

impl Wheel {
    /// An empty wheel that stands at `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Self {
        Wheel {
            nodes: Pages::default(),
            heads: vec![NONE; BUCKETS + 1].into_boxed_slice(),
            filled: [0; BUCKETS / WORD_BITS],
            next_tick: now_ms / TICK_MS + 1,
            len: 0,
        }
    }

    /// Whether nothing is scheduled.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the deadline of `id`, instead of the one that it had. A deadline that has passed is reported by the next `expire`.
    pub(crate) fn schedule(&mut self, id: u32, deadline_ms: u64) {
        debug_assert!(id < UNSCHEDULED, "ids are slots, and slots are fewer");
        self.cancel(id);
        let index = id as usize;
        self.nodes.grow_with(index + 1, || IDLE);
        let tick = deadline_ms.div_ceil(TICK_MS);
        let bucket = self.bucket_of(tick);
        let next = std::mem::replace(&mut self.heads[bucket], id);
        self.nodes[index] = Node {
            previous: NONE,
            next,
            tick,
        };
        if next != NONE {
            self.nodes[next as usize].previous = id;
        }
        if bucket != OVERDUE {
            self.filled[bucket / WORD_BITS] |= 1 << (bucket % WORD_BITS);
        }
        self.len += 1;
    }

    /// Forgets the deadline of `id`, if it has one.
    pub(crate) fn cancel(&mut self, id: u32) {
        match self.nodes.get(id as usize) {
            Some(node) if node.previous != UNSCHEDULED => {
                self.unlink(id, self.bucket_of(node.tick))
            }
            _ => {}
        }
    }

    /// Appends to `expired` every id whose deadline has passed, in no particular order, and forgets their deadlines.
    ///
    /// Costs one step for each bucket word passed since the last call, and one for each id in the buckets passed: those that expire, and
    /// those that wait for a later round (met once in each revolution).
    pub(crate) fn expire(&mut self, now_ms: u64, expired: &mut Vec<u32>) {
        let now_tick = now_ms / TICK_MS;
        self.drain(OVERDUE, u64::MAX, expired);
        if now_tick < self.next_tick {
            return;
        }
        // After a jump of more than a revolution each bucket is looked at once.
        let passed = (now_tick - self.next_tick)
            .saturating_add(1)
            .min(BUCKETS as u64) as usize;
        let first = (self.next_tick % BUCKETS as u64) as usize;
        let mut done = 0;
        while let Some(distance) = self.next_filled(first + done, passed - done) {
            self.drain((first + done + distance) % BUCKETS, now_tick, expired);
            done += distance + 1;
        }
        self.next_tick = now_tick + 1;
    }

    /// When to call `expire` next: never later than the earliest deadline's tick, thus at most [`TICK_MS`] after the deadline itself, and
    /// after the time given to the last `expire` (or 0, at once, if something overdue was scheduled since). It is early, by
    /// whole revolutions, when the first bucket that is not empty holds only deadlines of later rounds: then `expire` finds nothing.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        if self.heads[OVERDUE] != NONE {
            return Some(0);
        }
        let first = (self.next_tick % BUCKETS as u64) as usize;
        let distance = self.next_filled(first, BUCKETS)?;
        Some((self.next_tick + distance as u64).saturating_mul(TICK_MS))
    }

    fn bucket_of(&self, tick: u64) -> usize {
        if tick < self.next_tick {
            OVERDUE
        } else {
            (tick % BUCKETS as u64) as usize
        }
    }

    /// How far it is from bucket `from` to the first that is not empty, if it is one of the next `within`.
    fn next_filled(&self, from: usize, within: usize) -> Option<usize> {
        let mut distance = 0;
        while distance < within {
            let bucket = (from + distance) % BUCKETS;
            let rest_of_word = self.filled[bucket / WORD_BITS] >> (bucket % WORD_BITS);
            if rest_of_word != 0 {
                let found = distance + rest_of_word.trailing_zeros() as usize;
                return (found < within).then_some(found);
            }
            distance += WORD_BITS - bucket % WORD_BITS;
        }
        None
    }

    /// Takes out of `bucket` what is due at `tick`.
    fn drain(&mut self, bucket: usize, tick: u64, expired: &mut Vec<u32>) {
        let mut id = self.heads[bucket];
        while id != NONE {
            let node = self.nodes[id as usize];
            if node.tick <= tick {
                self.unlink(id, bucket);
                expired.push(id);
            }
            id = node.next;
        }
    }

    fn unlink(&mut self, id: u32, bucket: usize) {
        let node = std::mem::replace(&mut self.nodes[id as usize], IDLE);
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if node.previous != NONE {
            self.nodes[node.previous as usize].next = node.next;
        } else {
            debug_assert_eq!(self.heads[bucket], id);
            self.heads[bucket] = node.next;
            if node.next == NONE && bucket != OVERDUE {
                self.filled[bucket / WORD_BITS] &= !(1 << (bucket % WORD_BITS));
            }
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests;
