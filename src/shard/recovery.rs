//! Connection state recovery in memory (Socket.IO protocol, "Connection state recovery"): what a client missed while it was away is kept
//! until it comes back, on whatever core.
//!
//! - A message that can be recovered has a name, its [`Offset`], which goes with it as its last argument.
//! - Each core has a [`Log`] of what it handled.
//! - The session of a client that was lost lies in the [`Store`], and its places are held on the core in whose log its messages are
//!   ([`Rooms::hold`](crate::room::Rooms::hold)).
//! - If the client comes back to another core, its session moves there first (`hall/fence.rs`).

pub(crate) mod log;
pub(crate) mod offset;
pub(crate) mod store;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::home::SocketId;
use offset::{Offset, Tag};
use store::Store;

/// The secret by which a client gets its session back.
pub(crate) type Pid = SocketId;

/// What may be kept. Everything is for each core.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How long a client may be away.
    pub(crate) away_ms: u64,
    /// What the log may take, and once more as much for what was sent again and may be lost again.
    pub(crate) log_bytes: usize,
    /// How long a message stays in the log.
    pub(crate) log_ms: u64,
    /// How many clients may be away at a time; the longest gone makes way.
    pub(crate) sessions: usize,
    /// What their sessions may take together.
    pub(crate) session_bytes: usize,
    /// What one client may be sent again.
    pub(crate) replay_bytes: usize,
}

/// Why a client did not get its session back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It said something that is no pid or no offset of this server.
    Malformed,
    /// There is no such session in this namespace, as far as is remembered.
    UnknownPid,
    /// Somebody was given it already.
    Used,
    /// The client was away for too long.
    Expired,
    /// Its session made way for others.
    Evicted,
    /// It names a message that its session was never sent.
    UnknownOffset,
    /// What it names, or what came after it, is too old.
    OffsetTooOld,
    /// What it missed, or what it names, did not fit into the log any more.
    LogFull,
    /// It missed more than may be sent again.
    TooMuch,
    /// The core that had its messages does not answer, or is shutting down.
    Unavailable,
}

impl Refusal {
    pub(crate) const COUNT: usize = Refusal::Unavailable as usize + 1;
}

/// What the cores of one server share.
pub(crate) struct Recovery {
    pub(crate) limits: Limits,
    pub(crate) store: Store,
    tag: Tag,
    sources: u64,
    /// Names given by threads that are no core.
    outside: AtomicU64,
    recovered: AtomicU64,
    refused: [AtomicU64; Refusal::COUNT],
}

impl Recovery {
    /// For so many cores.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(crate) fn new(limits: Limits, cores: usize) -> io::Result<Self> {
        let mut random = [0; 3];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(Recovery {
            limits,
            store: Store::default(),
            tag: Tag::new(random),
            sources: cores as u64 + 1,
            outside: AtomicU64::new(0),
            recovered: AtomicU64::new(0),
            refused: Default::default(),
        })
    }

    /// The `count`-th name given by a core.
    pub(crate) fn offset(&self, count: u64, core: usize) -> Offset {
        Offset::new(self.tag, count, core as u64, self.sources)
    }

    /// The core that has said what has this name. What threads say is said by the first core.
    pub(crate) fn source(&self, offset: Offset) -> usize {
        let source = offset.source(self.sources);
        usize::try_from(source).map_or(0, |core| if source == self.sources - 1 { 0 } else { core })
    }

    /// A name for what a thread says that is no core.
    pub(crate) fn offset_outside(&self) -> Offset {
        let count = self.outside.fetch_add(1, Ordering::Relaxed);
        Offset::new(self.tag, count, self.sources - 1, self.sources)
    }

    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    pub(crate) fn count_recovered(&self) {
        self.recovered.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, why: Refusal) {
        if let Some(count) = self.refused.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self, why: Refusal) -> u64 {
        let count = self.refused.get(why as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
