//! Lent bytes, and the frame that is being read from them.

use std::mem;

use crate::wire::frame::Opcode;
use crate::wire::mask;

/// Bytes lent to the machine; it takes them from the front.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(super) rest: &'a mut [u8],
}

impl<'a> Input<'a> {
    /// Lends these bytes. They are changed: payloads are unmasked where they lie.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What the machine has not taken.
    pub(crate) fn into_rest(self) -> &'a mut [u8] {
        self.rest
    }

    /// Takes up to `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> &'a mut [u8] {
        let rest = mem::take(&mut self.rest);
        let (taken, rest) = rest.split_at_mut(len.min(rest.len()));
        self.rest = rest;
        taken
    }
}

/// The frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Payload bytes still to come.
    pub(super) remaining: u64,
    /// The mask as it applies to the next of them.
    pub(super) mask: Option<[u8; 4]>,
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
}

impl Frame {
    #[inline]
    pub(super) fn is_whole_in(&self, input: &Input<'_>) -> bool {
        input.rest.len() as u64 >= self.remaining
    }

    /// Takes what the input has of the payload, and unmasks it.
    #[inline]
    pub(super) fn take<'a>(&mut self, input: &mut Input<'a>) -> &'a mut [u8] {
        let piece = input.take(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        self.remaining -= piece.len() as u64;
        if let Some(mask) = self.mask {
            mask::apply(mask, 0, piece);
            self.mask = Some(mask::rotate(mask, piece.len()));
        }
        piece
    }
}
