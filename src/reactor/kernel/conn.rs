//! What the kernel has of one connection.

#![forbid(unsafe_code)]

use crate::pages::Pages;
use crate::reactor::ConnKey;

/// Where the receiving of one connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Nothing is asked for.
    Idle,
    /// The kernel has it.
    Armed,
    /// Asked for, but the kernel gave it back for want of a buffer; it is in `starved`.
    Starved,
    /// The kernel has it and was told to stop.
    Stopping,
    /// The kernel has it and was told to stop, to be armed again.
    Reviving,
}

/// Whether a connection is to leave its slot, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Stays,
    Closing,
    Detaching,
}

/// What the kernel has of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conn {
    pub(super) generation: u32,
    pub(super) descriptor: u32,
    pub(super) receiving: Receiving,
    pub(super) sending: bool,
    pub(super) leaving: Leaving,
    /// False when the slot is vacant.
    pub(super) open: bool,
    pub(super) shutdowns: u8,
    pub(super) hangup: Hangup,
}

/// Where the watch for a peer's hanging up is.
///
/// It is there because a multishot receive can sleep through a reset: on Linux 6.18, of connections whose bytes and RST arrive while it is being
/// armed, one in some thousands kept a receive that nothing ever woke (`twenty_thousand_connections...` in the tests hangs without the watch). Polling for the
/// hang-up looks at the connection's state, not at how often it was woken. It costs one operation per connection, none per message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    Unwatched,
    Watched,
    /// The kernel has it under the connection's old key and was told to stop, to be armed again.
    Moving,
    Seen,
}

impl Conn {
    pub(super) const VACANT: Conn = Conn {
        generation: 0,
        descriptor: 0,
        receiving: Receiving::Idle,
        sending: false,
        leaving: Leaving::Stays,
        open: false,
        shutdowns: 0,
        hangup: Hangup::Unwatched,
    };

    /// Whether a receive of this connection is with the kernel.
    pub(super) fn is_receiving(&self) -> bool {
        matches!(
            self.receiving,
            Receiving::Armed | Receiving::Stopping | Receiving::Reviving
        )
    }

    /// Whether a watch for this connection's hanging up is with the kernel.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self.hangup, Hangup::Watched | Hangup::Moving)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving != Leaving::Stays
    }

    /// Whether the kernel is done with the descriptor, so that a close closes it and nothing finds the next connection there.
    pub(super) fn is_let_go(&self) -> bool {
        self.shutdowns == 0 && !self.is_watched()
    }
}

/// The connection of this key, if it is still the one in its slot.
pub(super) fn live(conns: &mut Pages<Conn>, key: ConnKey) -> Option<&mut Conn> {
    conns
        .get_mut(key.slot as usize)
        .filter(|conn| conn.open && conn.generation == key.generation)
}
