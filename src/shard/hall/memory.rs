//! What a core remembers for clients that are away: what was said, whose places are held, and where each one's messages begin.
//!
//! A session that can be recovered is in one of three states. *Here*: its socket is seated ([`Live`]). *Away*: its places are held, so that what
//! is said to it still comes into this core's log; the store offers it to whoever has its pid. *Returning*: it was taken out of the
//! store, and a pending seat waits for its messages; the places stay held until it is let in, so that nothing is missed in between.
//!
//! A session's messages are those in its *splice*, if it has one, and then those in the log from a position on. It begins without a splice.
//! When it moves here from another core, what it missed there becomes its splice, since this core's log may have the same in another
//! order, or not at all. So a client that is lost again before it has read all of that can still say how far it came.

pub(super) mod holding;
pub(super) mod splices;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::SocketKey;
use super::fence::Moves;
use crate::room::ScopeId;
use crate::shard::home::SocketId;
use crate::shard::mail::Broadcast;
use crate::shard::recovery::log::{Ears, Log, cost_of};
use crate::shard::recovery::offset::Offset;
use crate::shard::recovery::store::Parked;
use crate::shard::recovery::{Pid, Recovery, Refusal};
use splices::Splices;

/// Deadlines are rounded up to this: a core at rest is not woken for each message that grows old.
const GRAIN_MS: u64 = 500;

/// See the module's text.
pub(super) struct Memory {
    pub(super) core: usize,
    pub(super) recovery: Arc<Recovery>,
    /// When this turn began.
    pub(super) now_ms: u64,
    /// Offsets given so far.
    named: u64,
    pub(super) log: Log,
    live: HashMap<SocketKey, Live>,
    pub(super) returning: HashMap<SocketKey, Pid>,
    pub(super) away: HashMap<Pid, Away>,
    /// The ids of those who are away or returning.
    names: HashSet<SocketId>,
    away_bytes: usize,
    /// Those who are away and in the store, the longest gone first.
    pub(super) expiring: BTreeMap<(u64, u64), Pid>,
    expiries: u64,
    pub(super) splices: Splices,
    pub(super) moves: Moves,
    /// The core is shutting down.
    closed: bool,
}

struct Live {
    pid: Pid,
    past: Past,
}

/// Where a session's messages in this core's log begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    pub(super) from: u64,
    /// It has been here from its beginning: there is nothing that it was sent before.
    pub(super) is_whole: bool,
}

/// A session that is away or returning.
pub(super) struct Away {
    pub(super) session: Parked,
    pub(super) scope: ScopeId,
    pub(super) past: Past,
    bytes: usize,
    pub(super) expiry: (u64, u64),
    /// Who returns to it, if it is not in the store.
    pub(super) seat: Option<SocketKey>,
    pub(super) replay: Replay,
}

/// What a session that returns will be sent.
pub(super) enum Replay {
    /// It does not return yet, or that is not known yet.
    None,
    /// These, and what the log has from the position on.
    From(Vec<Arc<Broadcast>>, u64),
}

/// What a client gets back, as soon as it is let in.
pub(crate) struct Claim {
    pub(crate) pid: Pid,
    pub(crate) sid: SocketId,
    pub(crate) rooms: Arc<[Arc<str>]>,
    /// JSON.
    pub(crate) data: Option<Arc<str>>,
    /// Its messages are with another core: `Usher::moved` will tell.
    pub(crate) moves: bool,
}

impl Memory {
    pub(super) fn new(core: usize, recovery: Arc<Recovery>) -> Self {
        let limits = &recovery.limits;
        Memory {
            core,
            now_ms: 0,
            named: 0,
            log: Log::new(limits.log_bytes, limits.log_ms),
            live: HashMap::new(),
            returning: HashMap::new(),
            away: HashMap::new(),
            names: HashSet::new(),
            away_bytes: 0,
            expiring: BTreeMap::new(),
            expiries: 0,
            splices: Splices::new(limits.log_bytes, limits.log_ms),
            moves: Moves::default(),
            closed: false,
            recovery,
        }
    }

    pub(super) fn next_offset(&mut self) -> Offset {
        self.named += 1;
        self.recovery.offset(self.named, self.core)
    }

    /// A socket has been seated, and nothing was said to it: it can be recovered under this name.
    pub(super) fn begin(&mut self, key: SocketKey, pid: Pid) {
        let past = Past {
            from: self.log.head(),
            is_whole: true,
        };
        self.live.insert(key, Live { pid, past });
    }

    pub(super) fn pid_of(&self, key: SocketKey) -> Option<Pid> {
        let here = self.live.get(&key).map(|live| live.pid);
        here.or_else(|| self.returning.get(&key).copied())
    }

    /// Whether this is the id of somebody who is away, or returns.
    pub(super) fn is_awaited(&self, name: &str) -> bool {
        !self.names.is_empty() && SocketId::parse(name).is_some_and(|id| self.names.contains(&id))
    }

    /// What a session missed after the message it names. What is in the log is asked for by its position, and the core that said it.
    ///
    /// # Errors
    /// That is not known any more, or never was.
    pub(super) fn missed(
        &self,
        session: &Parked,
        past: Past,
        asked: Offset,
        is_meant: impl Fn(u64, usize) -> bool,
    ) -> Result<Vec<Arc<Broadcast>>, Refusal> {
        let (first, from) = match self.splices.behind(&session.sid, asked) {
            Some(tail) => (tail, past.from),
            None => (&[][..], self.place_behind(past, asked)?),
        };
        let mut list = first.to_vec();
        list.extend(self.heard_since(session, from, is_meant)?);
        let bytes: usize = list.iter().map(|said| cost_of(said)).sum();
        if bytes > self.recovery.limits.replay_bytes {
            return Err(Refusal::TooMuch);
        }
        Ok(list)
    }

    /// What there is for a session in the log.
    pub(super) fn heard_since(
        &self,
        session: &Parked,
        from: u64,
        is_meant: impl Fn(u64, usize) -> bool,
    ) -> Result<Vec<Arc<Broadcast>>, Refusal> {
        let ears = Ears::new(&session.namespace, &session.sid, &session.rooms);
        let entries = (from..).zip(self.log.since(from)?);
        let heard = entries.filter(|(position, said)| {
            let core = said.offset.map(|offset| self.recovery.source(offset));
            ears.hear(said) && core.is_some_and(|core| is_meant(*position, core))
        });
        Ok(heard.map(|(_, said)| said.clone()).collect())
    }

    /// Where the log goes on behind that message.
    fn place_behind(&self, past: Past, asked: Offset) -> Result<u64, Refusal> {
        let known = self.log.position(asked);
        if let Some(position) = known.filter(|position| *position >= past.from) {
            return Ok(position + 1);
        }
        // All that the session was ever sent is there, and this is not among it: the client has the name from an earlier session of its
        // own, and was sent nothing in this one.
        drop(self.log.since(past.from)?);
        if past.is_whole {
            Ok(past.from)
        } else {
            Err(Refusal::UnknownOffset)
        }
    }

    /// When there is something to be forgotten.
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let away = self.expiring.first_key_value().map(|((at, _), _)| *at);
        let all = [
            self.log.next_deadline_ms(),
            self.splices.next_deadline_ms(),
            self.moves.next_deadline_ms(),
            away,
        ];
        let first = all.into_iter().flatten().min()?;
        Some(first.div_ceil(GRAIN_MS).saturating_mul(GRAIN_MS))
    }

    /// Whether nothing is remembered for anybody. (The log may still hold what was said.)
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let sessions = self.live.is_empty() && self.returning.is_empty() && self.away.is_empty();
        let index = self.names.is_empty() && self.expiring.is_empty() && self.away_bytes == 0;
        sessions && index && self.splices.is_empty() && self.moves.is_empty()
    }
}

#[cfg(test)]
mod tests;
