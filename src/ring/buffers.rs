//! Provided buffers: one pool per core from which the kernel picks a buffer when bytes arrive, so that an idle connection
//! holds none.
//!
//! A buffer is in one of three places. *Idle*: in the pool, nobody touches it. *Posted*: in the ring that the kernel
//! picks from; the kernel may write to it at any time. *Lent*: held by a [`Buffer`], which alone reads and writes it, and becomes
//! idle again when that drops. Idle buffers are posted last-in-first-out, and few at a time, because a buffer that was just read is still in
//! the cache, while a long queue of buffers would be walked through from end to end.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::region::Region;

/// Default size of one buffer in bytes: one that holds a WebSocket message of 16 KiB with its head, because a message that
/// needs two receives costs nearly twice.
pub(crate) const BUFFER_BYTES: usize = 20 * 1024;

/// What a returned buffer is filled with in debug builds: bytes read after their return are recognised, and so are bytes written.
const POISON: u8 = 0xDB;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Idle,
    Posted,
    Lent,
}

/// All buffers of one core, and the ring through which they are posted.
pub(super) struct Pool {
    memory: Region,
    /// The ring shared with the kernel: `slots` entries of 16 bytes, the ring's tail inside the first.
    entries: Region,
    slots: u16,
    buffer_bytes: usize,
    posted_max: u16,
    places: Box<[Cell<Place>]>,
    idle: RefCell<Vec<u16>>,
    posted: Cell<u16>,
    tail: Cell<u16>,
}

impl Pool {
    /// A pool of `count` buffers of `buffer_bytes` bytes, of which at most `posted_max` are posted at a time. None if the figures make no pool.
    pub(super) fn new(count: u16, posted_max: u16, buffer_bytes: usize) -> Option<Pool> {
        let posted_max = posted_max.min(count);
        let slots = posted_max.checked_next_power_of_two()?;
        if posted_max == 0 || buffer_bytes == 0 || u32::try_from(buffer_bytes).is_err() {
            return None;
        }
        let pool = Pool {
            memory: Region::new(buffer_bytes.checked_mul(count.into())?)?,
            entries: Region::new(usize::from(slots) * size_of::<BufRingEntry>())?,
            slots,
            buffer_bytes,
            posted_max,
            places: vec![Cell::new(Place::Idle); count.into()].into_boxed_slice(),
            idle: RefCell::new((0..count).rev().collect()),
            posted: Cell::new(0),
            tail: Cell::new(0),
        };
        (0..count).for_each(|id| pool.poison(id));
        Some(pool)
    }

    /// Where the kernel finds the ring, and how many entries it has.
    pub(super) fn ring(&self) -> (u64, u16) {
        (self.entries.start() as u64, self.slots)
    }

    /// Buffers that the kernel may pick.
    pub(super) fn posted(&self) -> usize {
        self.posted.get().into()
    }

    /// Buffers that somebody holds.
    #[cfg(test)]
    pub(super) fn lent(&self) -> usize {
        self.places.len() - self.posted() - self.idle.borrow().len()
    }

    /// Posts idle buffers up to the limit.
    pub(super) fn post(&self) {
        let mut idle = self.idle.borrow_mut();
        let mut tail = self.tail.get();
        while self.posted.get() < self.posted_max {
            let Some(id) = idle.pop() else { break };
            self.write_entry(tail, id);
            self.places[usize::from(id)].set(Place::Posted);
            self.posted.set(self.posted.get() + 1);
            tail = tail.wrapping_add(1);
        }
        if tail != self.tail.get() {
            self.tail.set(tail);
            self.publish(tail);
        }
    }

    /// Lends the buffer that the kernel has picked and filled with `len` bytes. None for a buffer that was not posted, which would be the
    /// kernel's mistake.
    pub(super) fn lend(self: &Rc<Self>, id: u16, len: usize) -> Option<Buffer> {
        let place = self.places.get(usize::from(id))?;
        if place.get() != Place::Posted || len > self.buffer_bytes {
            return None;
        }
        place.set(Place::Lent);
        self.posted.set(self.posted.get() - 1);
        let buffer = Buffer {
            pool: Rc::clone(self),
            id,
            len: len as u32,
        };
        self.check_poison(id, len);
        Some(buffer)
    }

    fn take_back(&self, id: u16) {
        debug_assert_eq!(self.places[usize::from(id)].get(), Place::Lent);
        self.places[usize::from(id)].set(Place::Idle);
        self.poison(id);
        self.idle.borrow_mut().push(id);
    }

    fn start_of(&self, id: u16) -> *mut u8 {
        self.memory.at(usize::from(id) * self.buffer_bytes)
    }

    fn write_entry(&self, tail: u16, id: u16) {
        let index = usize::from(tail & (self.slots - 1));
        let at = self
            .entries
            .at(index * size_of::<BufRingEntry>())
            .cast::<BufRingEntry>();
        // SAFETY: inside `entries`, which lives as long as the pool; the kernel reads this entry only after `publish`, because fewer
        // than `slots` buffers are posted. Only this thread makes such references, one at a time.
        let entry = unsafe { &mut *at };
        entry.set_addr(self.start_of(id) as u64);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(id);
    }

    fn publish(&self, tail: u16) {
        let first = self.entries.start().cast::<BufRingEntry>().cast_const();
        // SAFETY: `first` is the first entry of a ring that lives as long as the pool; the region was zeroed when it was made.
        let address = unsafe { BufRingEntry::tail(first) }.cast_mut();
        // SAFETY: two aligned bytes inside `entries`; no reference to the first entry is alive here, and the kernel only reads them.
        let shared = unsafe { AtomicU16::from_ptr(address) };
        shared.store(tail, Ordering::Release);
    }

    /// Fills an idle buffer with [`POISON`], in debug builds.
    fn poison(&self, id: u16) {
        if cfg!(debug_assertions) {
            debug_assert_eq!(self.places[usize::from(id)].get(), Place::Idle);
            // SAFETY: `buffer_bytes` bytes at `start_of(id)` are inside `memory`; the buffer is idle, so nobody else touches it.
            unsafe { self.start_of(id).write_bytes(POISON, self.buffer_bytes) };
        }
    }

    /// What lies behind the received bytes must be untouched since the buffer was returned, in debug builds.
    fn check_poison(&self, id: u16, len: usize) {
        if cfg!(debug_assertions) {
            // SAFETY: the buffer was just lent, the kernel is done with it, and nobody has a slice of it yet.
            let all = unsafe { slice::from_raw_parts(self.start_of(id), self.buffer_bytes) };
            let rest = all.get(len..).unwrap_or_default();
            let mut pieces = rest.chunks_exact(64);
            let whole = pieces.by_ref().all(|piece| piece == [POISON; 64]);
            let clean = whole && pieces.remainder().iter().all(|&byte| byte == POISON);
            debug_assert!(clean, "buffer {id} was written to after its return");
        }
    }
}

/// Received bytes, the holder's alone. The buffer goes back to its pool on drop.
pub(crate) struct Buffer {
    pool: Rc<Pool>,
    id: u16,
    len: u32,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let start = self.pool.start_of(self.id);
        // SAFETY: `len` bytes inside the pool's memory, which `self.pool` keeps alive. The buffer is lent, there is one `Buffer` per lent
        // buffer, and the kernel does not write to it until it is posted again after this `Buffer` dropped.
        unsafe { slice::from_raw_parts(start, self.len as usize) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.pool.start_of(self.id);
        // SAFETY: as in `deref`, and `&mut self` excludes every other slice of it.
        unsafe { slice::from_raw_parts_mut(start, self.len as usize) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.take_back(self.id);
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("id", &self.id)
            .field("len", &self.len)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted_ids(pool: &Pool) -> Vec<u16> {
        (0..pool.places.len() as u16)
            .filter(|id| pool.places[usize::from(*id)].get() == Place::Posted)
            .collect()
    }

    #[test]
    fn few_are_posted_and_the_last_returned_is_the_next() {
        let pool = Rc::new(Pool::new(8, 2, 512).unwrap());
        pool.post();
        assert_eq!(posted_ids(&pool), [0, 1]);
        let mut first = pool.lend(0, 10).unwrap();
        let second = pool.lend(1, 20).unwrap();
        first.fill(1);
        assert_eq!((first.len(), second.len()), (10, 20));
        assert_eq!((pool.lent(), pool.posted()), (2, 0));
        drop(second);
        drop(first);
        pool.post();
        assert_eq!(
            posted_ids(&pool),
            [0, 1],
            "the cold buffers stay where they are"
        );
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn only_a_posted_buffer_is_lent_and_only_once() {
        let pool = Rc::new(Pool::new(4, 4, 64).unwrap());
        assert!(pool.lend(0, 1).is_none(), "idle");
        pool.post();
        assert!(pool.lend(0, 65).is_none(), "longer than it is");
        assert!(pool.lend(4, 1).is_none(), "unknown");
        let held = pool.lend(0, 64).unwrap();
        assert!(pool.lend(0, 1).is_none(), "lent");
        drop(held);
    }

    #[test]
    fn the_tail_counts_on_beyond_sixteen_bits() {
        let pool = Rc::new(Pool::new(3, 3, 64).unwrap());
        for turn in 0..70_000u32 {
            pool.post();
            drop(pool.lend((turn % 3) as u16, 1).unwrap());
        }
        pool.post();
        assert_eq!(pool.posted(), 3);
        assert_eq!(pool.tail.get(), (70_000u32 + 3) as u16);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "written to after its return")]
    fn a_write_after_the_return_is_found() {
        let pool = Rc::new(Pool::new(1, 1, 64).unwrap());
        pool.post();
        // SAFETY: byte 40 of a buffer that only this test touches.
        unsafe { pool.memory.at(40).write(1) };
        let _ = pool.lend(0, 10);
    }

    #[test]
    fn impossible_figures_make_no_pool() {
        assert!(Pool::new(0, 1, 64).is_none());
        assert!(Pool::new(4, 0, 64).is_none());
        assert!(Pool::new(4, 4, 0).is_none());
        assert!(
            Pool::new(u16::MAX, u16::MAX, 64).is_none(),
            "the kernel's rings end at 32,768"
        );
    }
}
