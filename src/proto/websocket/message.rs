//! A message that came in pieces.

use super::{EMPTY_FRAGMENTS_MAX, Kind, Limits, Output, Violation};
use crate::wire::utf8::Validator;

/// The parts of one message, copied together: unmasked, and checked as they came.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Has seen `bytes`, when they are text.
    utf8: Validator,
    empty_fragments: u16,
    kind: Kind,
    handed_out: bool,
}

impl Message {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            bytes: Vec::new(),
            utf8: Validator::default(),
            empty_fragments: 0,
            kind,
            handed_out: false,
        }
    }

    /// Payload bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[cfg(test)]
    pub(super) fn pinned_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    pub(super) fn count_empty_fragment(&mut self) -> Result<(), Violation> {
        self.empty_fragments += 1;
        if self.empty_fragments > EMPTY_FRAGMENTS_MAX {
            Err(Violation::EmptyFragments)
        } else {
            Ok(())
        }
    }

    /// The next piece, already unmasked. `to_come` is how many bytes follow to the end of the message, where that is known.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        to_come: Option<u64>,
        limits: &Limits,
    ) -> Result<(), Violation> {
        // RFC 6455 §8.1, as early as it can be known: also inside a frame.
        if self.kind == Kind::Text {
            self.utf8.push(piece).map_err(|_| Violation::TextNotUtf8)?;
        }
        self.make_room(piece.len(), to_come, limits.max_message);
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Grows with what was really received, never with what was declared: to twice of it, but not past the message's end
    /// or the longest message.
    fn make_room(&mut self, piece_len: usize, to_come: Option<u64>, max_message: usize) {
        let needed = self.bytes.len() + piece_len;
        if needed <= self.bytes.capacity() {
            return;
        }
        let end = to_come.and_then(|to_come| usize::try_from(to_come).ok()?.checked_add(needed));
        let target = (needed * 2).min(end.unwrap_or(max_message)).max(needed);
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    /// The last piece is here.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        self.utf8.finish().map_err(|_| Violation::TextNotUtf8)
    }

    /// Lends the whole message; after that it only waits to be dropped.
    pub(super) fn hand_out(&mut self) -> Output<'_> {
        self.handed_out = true;
        Output::Message {
            kind: self.kind,
            payload: &mut self.bytes,
        }
    }

    pub(super) fn is_handed_out(&self) -> bool {
        self.handed_out
    }
}
