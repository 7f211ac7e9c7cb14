//! What a connection has still to send: at most one send in flight, the rest in order behind it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::reactor::SendBuffer;
use crate::room::turn::Piece;

/// Vectors that sends were copied into, used again last in first out: the newest is still in the cache.
#[derive(Default)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
    /// The capacities in `free`, added up.
    held_bytes: usize,
}

/// What a pool holds at most: enough for a burst to a room of thousands, which has one small vector in flight for each member.
const POOL_BYTES: usize = 1024 * 1024;
/// A longer vector is not kept: it would take the place of many.
const POOLED_MAX: usize = 64 * 1024;
/// A shorter one costs more to keep than to make, and there would be no end of them.
const POOLED_MIN: usize = 16;

impl Pool {
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let bytes = self.free.pop().unwrap_or_default();
        self.held_bytes -= bytes.capacity();
        bytes
    }

    /// Gives a buffer back after its send.
    pub(crate) fn recycle(&mut self, buffer: SendBuffer) {
        if let SendBuffer::Copied(mut bytes) = buffer
            && (POOLED_MIN..=POOLED_MAX).contains(&bytes.capacity())
            && self.held_bytes + bytes.capacity() <= POOL_BYTES
        {
            bytes.clear();
            self.held_bytes += bytes.capacity();
            self.free.push(bytes);
        }
    }
}

/// See the module's text. An idle connection holds none of this.
#[derive(Default)]
pub(crate) struct Outbound {
    queue: VecDeque<SendBuffer>,
    /// Bytes in `queue`.
    bytes: usize,
}

impl Outbound {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Unsent bytes, those in flight not counted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds this turn's messages: small ones are copied together, a large one stays where it lies.
    pub(crate) fn extend<'a>(&mut self, pieces: impl Iterator<Item = Piece<'a>>, pool: &mut Pool) {
        for piece in pieces {
            match piece {
                Piece::Small(bytes) => self.copy(bytes, pool),
                Piece::Shared(bytes) => self.push(SendBuffer::Shared(Bytes::clone(bytes))),
            }
        }
    }

    fn copy(&mut self, bytes: &[u8], pool: &mut Pool) {
        self.bytes += bytes.len();
        if let Some(SendBuffer::Copied(last)) = self.queue.back_mut() {
            last.extend_from_slice(bytes);
            return;
        }
        let mut copied = pool.take();
        copied.extend_from_slice(bytes);
        self.queue.push_back(SendBuffer::Copied(copied));
    }

    fn push(&mut self, buffer: SendBuffer) {
        self.bytes += buffer.bytes().len();
        self.queue.push_back(buffer);
    }

    /// Adds all that another one holds behind this.
    pub(crate) fn append(&mut self, other: &mut Outbound) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.queue.append(&mut other.queue);
    }

    /// The next buffer to send.
    pub(crate) fn pop(&mut self) -> Option<SendBuffer> {
        let buffer = self.queue.pop_front()?;
        self.bytes -= buffer.bytes().len();
        Some(buffer)
    }

    /// The next so many bytes to send, or fewer: a longer buffer is cut.
    pub(crate) fn pop_at_most(&mut self, most: usize) -> Option<SendBuffer> {
        let buffer = self.pop()?;
        if buffer.bytes().len() <= most {
            return Some(buffer);
        }
        let mut whole = match buffer {
            SendBuffer::Copied(bytes) => Bytes::from(bytes),
            SendBuffer::Shared(bytes) => bytes,
        };
        let first = whole.split_to(most);
        self.bytes += whole.len();
        self.queue.push_front(SendBuffer::Shared(whole));
        Some(SendBuffer::Shared(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbound: &mut Outbound) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| outbound.pop())
            .map(|buffer| buffer.bytes().to_vec())
            .collect()
    }

    #[test]
    fn small_pieces_leave_together_and_in_order() {
        let (mut outbound, mut pool) = (Outbound::default(), Pool::default());
        let large = Bytes::from_static(b"large");
        let pieces = [
            Piece::Small(b"a"),
            Piece::Small(b"b"),
            Piece::Shared(&large),
            Piece::Small(b"c"),
        ];
        outbound.extend(pieces.into_iter(), &mut pool);
        assert_eq!(outbound.bytes(), 8);
        outbound.extend([Piece::Small(b"d")].into_iter(), &mut pool);
        assert_eq!(
            drain(&mut outbound),
            [b"ab".to_vec(), b"large".to_vec(), b"cd".to_vec()]
        );
        assert_eq!((outbound.bytes(), outbound.is_empty()), (0, true));
    }

    #[test]
    fn long_buffers_leave_in_pieces() {
        let (mut outbound, mut pool) = (Outbound::default(), Pool::default());
        let shared = Bytes::from_static(b"shared");
        let pieces = [Piece::Small(b"copied"), Piece::Shared(&shared)];
        outbound.extend(pieces.into_iter(), &mut pool);
        let mut lengths = Vec::new();
        let mut all = Vec::new();
        while let Some(buffer) = outbound.pop_at_most(4) {
            all.extend_from_slice(buffer.bytes());
            lengths.push((buffer.bytes().len(), outbound.bytes()));
            // A short message beside what is left of a cut one is not added to it.
            if lengths.len() == 1 {
                outbound.extend([Piece::Small(b"!")].into_iter(), &mut pool);
            }
        }
        assert_eq!(all, b"copiedshared!");
        assert_eq!(lengths, [(4, 8), (2, 7), (4, 3), (2, 1), (1, 0)]);
    }

    #[test]
    fn the_pool_keeps_no_large_vectors() {
        let mut pool = Pool::default();
        pool.recycle(SendBuffer::Copied(Vec::with_capacity(POOLED_MAX + 1)));
        pool.recycle(SendBuffer::Shared(Bytes::from_static(b"x")));
        assert!(pool.free.is_empty());
        for _ in 0..100 {
            pool.recycle(SendBuffer::Copied(Vec::with_capacity(POOLED_MAX)));
        }
        assert_eq!(pool.free.len(), POOL_BYTES / POOLED_MAX);
        assert!(pool.take().is_empty());
        assert_eq!(pool.held_bytes, POOL_BYTES - POOLED_MAX);
    }

    #[test]
    fn the_pool_keeps_a_burst_of_small_vectors() {
        let mut pool = Pool::default();
        for _ in 0..2000 {
            pool.recycle(SendBuffer::Copied(Vec::with_capacity(100)));
        }
        assert_eq!(pool.free.len(), 2000);
    }
}
