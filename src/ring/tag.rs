//! What an operation is called while the kernel has it: 64 bits that come back with its completion.

#![forbid(unsafe_code)]

/// The kind of an operation, the top byte of its tag. Zero is none of them, so that a tag nobody made is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// Multishot accept; the slot is the listener.
    Accept = 1,
    /// A direct descriptor made an ordinary one for a moment; the slot is the direct descriptor, the generation the listener it came from.
    Install = 2,
    /// Multishot receive; slot and generation are the connection's.
    Receive = 3,
    /// A send; slot and generation are those of its place in the flight.
    Send = 4,
    /// A shutdown; slot and generation are the connection's.
    Shutdown = 5,
    /// A close; slot and generation are the connection's.
    Close = 6,
    /// The cancelling of another operation; it says nothing worth knowing when it ends.
    Cancel = 7,
    /// Multishot poll of the eventfd through which others wake this core.
    Wake = 8,
    /// Poll for the peer's hanging up; slot and generation are the connection's.
    Hangup = 9,
    /// Close of a direct descriptor that never became a connection; slot is the descriptor.
    Refuse = 10,
    /// A connection's direct descriptor made an ordinary one, to leave with; slot and generation are the connection's.
    Detach = 11,
    /// A socket being given a direct descriptor; slot and generation are those of its place among the adoptions.
    Adopt = 12,
}

const OPS: [Op; 12] = [
    Op::Accept,
    Op::Install,
    Op::Receive,
    Op::Send,
    Op::Shutdown,
    Op::Close,
    Op::Cancel,
    Op::Wake,
    Op::Hangup,
    Op::Refuse,
    Op::Detach,
    Op::Adopt,
];

impl Op {
    fn from_byte(byte: u8) -> Option<Op> {
        OPS.into_iter().find(|op| *op as u8 == byte)
    }
}

/// op (8 bits) | generation (24 bits) | slot (32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The kind of operation.
    pub(crate) op: Op,
    /// Which use of the slot; 24 bits.
    pub(crate) generation: u32,
    /// Whose operation it is.
    pub(crate) slot: u32,
}

/// How many generations a tag can tell apart.
pub(crate) const GENERATIONS: u32 = 1 << 24;

impl Tag {
    /// A tag for the `generation`th use of `slot`.
    pub(crate) fn new(op: Op, slot: u32, generation: u32) -> Tag {
        debug_assert!(generation < GENERATIONS, "a generation has 24 bits");
        Tag {
            op,
            generation: generation % GENERATIONS,
            slot,
        }
    }

    pub(super) fn to_bits(self) -> u64 {
        (self.op as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    pub(super) fn from_bits(bits: u64) -> Option<Tag> {
        let [op, ..] = bits.to_be_bytes();
        Some(Tag {
            op: Op::from_byte(op)?,
            generation: (bits >> 32) as u32 % GENERATIONS,
            slot: bits as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_kernel() {
        for op in OPS {
            for (slot, generation) in [(0, 0), (u32::MAX, GENERATIONS - 1), (7, 0xabcdef)] {
                let tag = Tag::new(op, slot, generation);
                assert_eq!(Tag::from_bits(tag.to_bits()), Some(tag));
            }
        }
    }

    #[test]
    fn a_tag_that_nobody_made_is_none() {
        assert_eq!(Tag::from_bits(0), None);
        assert_eq!(Tag::from_bits(13 << 56), None);
        assert_eq!(Tag::from_bits(u64::MAX), None);
    }
}
