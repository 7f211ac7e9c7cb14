//! What was said this turn: a palette of messages, each held once, and marks that say which connection gets which, in which order.
//!
//! A message is encoded bytes and nothing more is known of it here. A thousand members of a room cost one message and a thousand
//! marks of eight bytes; what a connection was told in one turn goes out in one write.
//!
//! ```text
//! say … mark … say … mark …      while the turn goes on (tell: both at once, for one connection alone)
//! take_marked → pieces           at its end, until nobody is marked
//! clear                          and the next turn begins
//! ```

use crate::pages::Pages;
use bytes::Bytes;

/// From this size on a message is better shared than copied: pass it to [`Turn::say_shared`], so that it is sent from where it lies.
/// Below, copying it beside its neighbours is cheaper than a span of its own in each receiver's write.
pub(crate) const SHARED_MIN: usize = 16 * 1024;

/// Memory that a turn keeps for the next one, however little it was used.
const KEPT_BYTES: usize = 1024 * 1024;
/// So many turns in a row must have used less than a quarter of what is held before it is given back: bursts come in groups.
const QUIET_TURNS_MAX: u32 = 64;

/// Ends a list of marks.
const NONE: u32 = u32::MAX;

/// A message of this turn. Good until [`Turn::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageId(u32);

/// A message as its receiver gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// To be copied beside others.
    Small(&'a [u8]),
    /// To be sent from where it lies; a clone keeps it alive.
    Shared(&'a Bytes),
}

impl<'a> Piece<'a> {
    /// The encoded bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Piece::Small(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

/// A connection with what it was told, taken off the list by [`Turn::take_marked`]. Good until [`Turn::clear`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marked {
    /// The connection's slot.
    pub(crate) connection: u32,
    first: u32,
}

enum Message {
    /// A span of the arena, and how often something was told in it.
    Small {
        start: usize,
        len: usize,
        count: u64,
    },
    Shared(Bytes),
}

/// One receiver of one message, in the list of its connection.
struct Mark {
    message: MessageId,
    next: u32,
}

/// A connection's list of marks.
#[derive(Clone, Copy)]
struct Line {
    first: u32,
    last: u32,
}

/// Of a connection that is not in `marked` (or was taken from it).
const NO_LINE: Line = Line {
    first: NONE,
    last: NONE,
};
/// Of a connection that was unmarked, and is in `marked` nevertheless.
const EMPTY_LINE: Line = Line {
    first: NONE,
    last: 0,
};

/// The turn. Nothing in it is limited: who says and marks (a handler's emits, the mail of other cores) is, and the shard ends
/// the turn soon. Memory: the messages once, 8 bytes a mark, 8 bytes × the highest connection ever marked; of the first two
/// a burst's is given back after a while, down to 1 MiB.
pub(crate) struct Turn {
    /// The bytes of the small messages, one after another.
    arena: Vec<u8>,
    messages: Vec<Message>,
    marks: Vec<Mark>,
    /// By connection.
    lines: Pages<Line>,
    /// Connections in the order of their first mark; beyond `taken` each at most once. One that was unmarked stays here, with an
    /// empty line, and is passed over: taking it out would cost a search.
    marked: Vec<u32>,
    /// How many of `marked` were taken.
    taken: usize,
    /// The connection whose last mark is the only one of the last message, and can have no other; or `NONE`.
    told: u32,
    quiet_turns: u32,
}

impl Default for Turn {
    fn default() -> Self {
        Turn {
            arena: Vec::new(),
            messages: Vec::new(),
            marks: Vec::new(),
            lines: Pages::default(),
            marked: Vec::new(),
            taken: 0,
            told: NONE,
            quiet_turns: 0,
        }
    }
}

impl Turn {
    /// Adds a message to the palette by copying it. For small ones: see [`SHARED_MIN`].
    pub(crate) fn say(&mut self, bytes: &[u8]) -> MessageId {
        self.say_parts(&[bytes])
    }

    /// Adds the message that `parts` make up together (a frame's head and its payload, say).
    pub(crate) fn say_parts(&mut self, parts: &[&[u8]]) -> MessageId {
        let start = self.arena.len();
        for part in parts {
            self.arena.extend_from_slice(part);
        }
        self.add(Message::Small {
            start,
            len: self.arena.len() - start,
            count: 1,
        })
    }

    /// Adds a message without copying it. For large ones: see [`SHARED_MIN`].
    pub(crate) fn say_shared(&mut self, bytes: Bytes) -> MessageId {
        self.add(Message::Shared(bytes))
    }

    /// Tells `connection` alone the message that `parts` make up together. The same as saying and marking it, but what a connection is
    /// told in a row becomes one message with one mark: it is sent together anyway.
    #[inline]
    pub(crate) fn tell(&mut self, connection: u32, parts: &[&[u8]]) {
        self.tell_written(connection, |arena| {
            for part in parts {
                arena.extend_from_slice(part);
            }
        });
    }

    /// The same of a message that `write` appends.
    #[inline]
    pub(crate) fn tell_written(&mut self, connection: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        let added = self.arena.len() - start;
        if self.told == connection
            && let Some(Message::Small { len, count, .. }) = self.messages.last_mut()
        {
            *len += added;
            *count += 1;
            return;
        }
        let message = self.add(Message::Small {
            start,
            len: added,
            count: 1,
        });
        self.mark(connection, message);
        self.told = connection;
    }

    fn add(&mut self, message: Message) -> MessageId {
        debug_assert!(self.messages.len() < NONE as usize, "a palette of 128 GiB");
        self.told = NONE;
        self.messages.push(message);
        MessageId((self.messages.len() - 1) as u32)
    }

    /// Tells `connection` the message, after all that it was told before in this turn.
    ///
    /// It may be called while marked connections are being taken: who was taken already comes once more, at the end.
    pub(crate) fn mark(&mut self, connection: u32, message: MessageId) {
        debug_assert!(
            (message.0 as usize) < self.messages.len(),
            "{message:?} is of another turn"
        );
        debug_assert!(self.marks.len() < NONE as usize, "marks of 32 GiB");
        self.told = NONE;
        let index = connection as usize;
        self.lines.grow_with(index + 1, || NO_LINE);
        let mark = self.marks.len() as u32;
        self.marks.push(Mark {
            message,
            next: NONE,
        });
        let line = &mut self.lines[index];
        if line.first != NONE {
            self.marks[line.last as usize].next = mark;
        } else {
            line.first = mark;
            if line.last == NO_LINE.last {
                self.marked.push(connection);
            }
        }
        line.last = mark;
    }

    /// Takes back all that `connection` was told and that was not taken yet: it is gone, and its slot may be another's
    /// (who then comes where the old one would have come).
    pub(crate) fn unmark(&mut self, connection: u32) {
        self.told = NONE;
        match self.lines.get_mut(connection as usize) {
            Some(line) if line.first != NONE => *line = EMPTY_LINE,
            _ => {}
        }
    }

    /// How many bytes `connection` was told and that were not taken yet. Costs a step for each of its marks.
    pub(crate) fn pending_bytes(&self, connection: u32) -> usize {
        let first = self
            .lines
            .get(connection as usize)
            .map_or(NONE, |line| line.first);
        self.pieces_from(first)
            .map(|piece| piece.bytes().len())
            .sum()
    }

    /// Whether nobody is left to be taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.marked[self.taken..]
            .iter()
            .all(|connection| self.lines[*connection as usize].first == NONE)
    }

    /// The next connection that was told something, in the order of first marks; `None` when all were taken.
    ///
    /// The turn is not borrowed by what is returned: the caller is free to end the connection, to say and to mark.
    pub(crate) fn take_marked(&mut self) -> Option<Marked> {
        self.told = NONE;
        while let Some(&connection) = self.marked.get(self.taken) {
            self.taken += 1;
            let line = std::mem::replace(&mut self.lines[connection as usize], NO_LINE);
            if line.first != NONE {
                return Some(Marked {
                    connection,
                    first: line.first,
                });
            }
        }
        None
    }

    /// What `connection` was told and that was not taken yet, out of its order among the others.
    pub(crate) fn take_of(&mut self, connection: u32) -> Option<Marked> {
        self.told = NONE;
        let line = self.lines.get_mut(connection as usize)?;
        let first = line.first;
        if first == NONE {
            return None;
        }
        *line = EMPTY_LINE;
        Some(Marked { connection, first })
    }

    /// What a connection just taken was told, in order.
    pub(crate) fn pieces(&self, marked: Marked) -> impl Iterator<Item = Piece<'_>> {
        self.pieces_from(marked.first)
    }

    /// Of each piece for a connection just taken: in how many messages it was told, and its length.
    pub(crate) fn counted(&self, marked: Marked) -> impl Iterator<Item = (u64, usize)> {
        self.messages_from(marked.first).filter_map(|id| {
            Some(match self.messages.get(id.0 as usize)? {
                Message::Small { len, count, .. } => (*count, *len),
                Message::Shared(bytes) => (1, bytes.len()),
            })
        })
    }

    fn pieces_from(&self, first: u32) -> impl Iterator<Item = Piece<'_>> {
        self.messages_from(first).filter_map(|id| self.piece(id))
    }

    fn messages_from(&self, first: u32) -> impl Iterator<Item = MessageId> {
        let mut next = first;
        std::iter::from_fn(move || {
            let mark = self.marks.get(next as usize)?;
            next = mark.next;
            Some(mark.message)
        })
    }

    fn piece(&self, message: MessageId) -> Option<Piece<'_>> {
        match self.messages.get(message.0 as usize)? {
            Message::Small { start, len, .. } => {
                self.arena.get(*start..start + len).map(Piece::Small)
            }
            Message::Shared(bytes) => Some(Piece::Shared(bytes)),
        }
    }

    /// Forgets all messages and marks, those not taken too. Most of the memory stays for the next turn.
    pub(crate) fn clear(&mut self) {
        while self.take_marked().is_some() {}
        let quiet = self.held_bytes() > KEPT_BYTES && self.used_bytes() < self.held_bytes() / 4;
        self.quiet_turns = if quiet { self.quiet_turns + 1 } else { 0 };
        self.arena.clear();
        self.messages.clear();
        self.marks.clear();
        self.marked.clear();
        self.taken = 0;
        if self.quiet_turns == QUIET_TURNS_MAX {
            self.quiet_turns = 0;
            shrink(&mut self.arena);
            shrink(&mut self.messages);
            shrink(&mut self.marks);
            shrink(&mut self.marked);
        }
    }

    fn held_bytes(&self) -> usize {
        self.arena.capacity()
            + self.messages.capacity() * size_of::<Message>()
            + self.marks.capacity() * size_of::<Mark>()
            + self.marked.capacity() * size_of::<u32>()
    }

    fn used_bytes(&self) -> usize {
        self.arena.len()
            + size_of_val(&*self.messages)
            + size_of_val(&*self.marks)
            + size_of_val(&*self.marked)
    }
}

/// Brings an empty `Vec` down to its quarter (there are four) of what a turn keeps.
fn shrink<T>(items: &mut Vec<T>) {
    items.shrink_to(KEPT_BYTES / 4 / size_of::<T>());
}

#[cfg(test)]
mod tests;
