//! Sessions that go away, and come back or do not.

use std::mem;
use std::sync::Arc;

use super::{Away, Claim, Live, Memory, Past, Replay};
use crate::room::{Change, Rooms, ScopeId};
use crate::shard::hall::{Seat, SocketKey, tell_interest};
use crate::shard::home::SocketId;
use crate::shard::mail::{Broadcast, Mail};
use crate::shard::mailbox::Outbox;
use crate::shard::recovery::offset::Offset;
use crate::shard::recovery::store::Parked;
use crate::shard::recovery::{Pid, Refusal};

/// What a session that is away costs beside its data and the names of its rooms.
const AWAY_OVERHEAD: usize = 600;
const ROOM_OVERHEAD: usize = 80;

/// What holding places needs of the hall.
pub(in crate::shard::hall) struct Floor<'a> {
    pub(in crate::shard::hall) rooms: &'a mut Rooms,
    pub(in crate::shard::hall) outbox: &'a mut Outbox<Mail>,
}

impl Memory {
    /// The socket in this seat is about to be taken out of its rooms: its session stays. `false`: it cannot be recovered.
    pub(in crate::shard::hall) fn depart(
        &mut self,
        floor: &mut Floor<'_>,
        (key, seat): (SocketKey, &Seat),
        data: Option<Arc<str>>,
    ) -> bool {
        let Some(live) = self.live.remove(&key).filter(|_| !self.closed) else {
            return false;
        };
        let Some(namespace) = floor.rooms.scope_name_shared(seat.scope) else {
            return false;
        };
        let own = seat.id.as_str();
        let rooms = floor.rooms.rooms_of(key.slot).filter(|room| *room != own);
        let session = Parked {
            sid: seat.id,
            namespace,
            rooms: rooms.map(Arc::from).collect(),
            data,
            core: self.core,
            deadline_ms: self.now_ms.saturating_add(self.recovery.limits.away_ms),
        };
        self.hold(floor, live.pid, session, live.past);
        self.park(live.pid);
        self.evict(floor);
        true
    }

    /// The socket is gone for good, or was never let in. What it was to return to is put back.
    pub(in crate::shard::hall) fn vacated(
        &mut self,
        floor: &mut Floor<'_>,
        key: SocketKey,
        sid: &SocketId,
    ) {
        if let Some(pid) = self.returning.remove(&key) {
            return self.put_back(floor, pid);
        }
        if self.live.remove(&key).is_some() {
            self.splices.remove(sid);
        }
    }

    /// Whoever was to return to it does not.
    pub(in crate::shard::hall) fn put_back(&mut self, floor: &mut Floor<'_>, pid: Pid) {
        let Some(away) = self.away.get_mut(&pid) else {
            return;
        };
        away.seat = None;
        match mem::replace(&mut away.replay, Replay::None) {
            // It is still on its way here, and goes into the store when it has arrived.
            Replay::None => {}
            Replay::From(..) if self.closed => self.drop_away(floor, &pid),
            Replay::From(..) => self.park(pid),
        }
    }

    /// Holds the places of a session, and tells the other cores of those that are new here.
    pub(in crate::shard::hall) fn hold(
        &mut self,
        floor: &mut Floor<'_>,
        pid: Pid,
        session: Parked,
        past: Past,
    ) {
        let scope = floor.rooms.scope(&session.namespace);
        self.each_place(floor, scope, &session, true);
        let rooms: usize = session
            .rooms
            .iter()
            .map(|room| room.len() + ROOM_OVERHEAD)
            .sum();
        let data = session.data.as_ref().map_or(0, |data| data.len());
        let bytes = AWAY_OVERHEAD + rooms + data;
        self.away_bytes += bytes;
        self.names.insert(session.sid);
        let away = Away {
            session,
            scope,
            past,
            bytes,
            expiry: (0, 0),
            seat: None,
            replay: Replay::None,
        };
        let before = self.away.insert(pid, away);
        debug_assert!(before.is_none(), "a session is in one place");
    }

    /// Gives up the places that were held for a session.
    pub(in crate::shard::hall) fn release(
        &mut self,
        floor: &mut Floor<'_>,
        pid: &Pid,
    ) -> Option<Away> {
        let gone = self.away.remove(pid)?;
        self.away_bytes -= gone.bytes;
        self.expiring.remove(&gone.expiry);
        self.names.remove(&gone.session.sid);
        self.each_place(floor, gone.scope, &gone.session, false);
        Some(gone)
    }

    /// The scope first when it is held, and last when it is released: it stays the same one in between.
    fn each_place(&self, floor: &mut Floor<'_>, scope: ScopeId, session: &Parked, on: bool) {
        // The room of its own name, if messages for that do not come here anyway.
        let is_native = SocketId::locate(&session.sid).is_some_and(|(core, _)| core == self.core);
        let own = (!is_native).then(|| session.sid.as_str());
        let rooms = session.rooms.iter().map(|room| Some(&**room));
        let rooms = rooms.chain(own.map(Some));
        let mut change = |room: Option<&str>| {
            let change = match on {
                true => floor.rooms.hold(scope, room),
                false => floor.rooms.release(scope, room),
            };
            if change != Change::None {
                tell_interest(floor.outbox, self.core, &session.namespace, room, on);
            }
        };
        if on {
            change(None);
        }
        rooms.for_each(&mut change);
        if !on {
            change(None);
        }
    }

    /// Offers a session that is away to whoever has its pid.
    pub(in crate::shard::hall) fn park(&mut self, pid: Pid) {
        let Some(away) = self.away.get_mut(&pid) else {
            return;
        };
        self.expiries += 1;
        away.expiry = (away.session.deadline_ms, self.expiries);
        self.expiring.insert(away.expiry, pid);
        self.recovery.store.park(pid, away.session.clone());
    }

    fn evict(&mut self, floor: &mut Floor<'_>) {
        let limits = &self.recovery.limits;
        let (sessions, bytes) = (limits.sessions, limits.session_bytes);
        while self.expiring.len() > sessions || self.away_bytes > bytes {
            let Some((_, oldest)) = self.expiring.first_key_value() else {
                return;
            };
            let oldest = *oldest;
            self.forget(floor, &oldest, Refusal::Evicted);
        }
    }

    /// Nobody gets this session back.
    fn forget(&mut self, floor: &mut Floor<'_>, pid: &Pid, why: Refusal) {
        self.recovery.store.forget(pid, self.core, why);
        self.drop_away(floor, pid);
    }

    pub(in crate::shard::hall) fn drop_away(&mut self, floor: &mut Floor<'_>, pid: &Pid) {
        if let Some(gone) = self.release(floor, pid) {
            self.splices.remove(&gone.session.sid);
        }
    }

    /// Forgets what is too old.
    pub(in crate::shard::hall) fn expire(&mut self, floor: &mut Floor<'_>) {
        self.log.forget_old(self.now_ms);
        self.splices.forget_old(self.now_ms);
        while let Some(((at, _), pid)) = self.expiring.first_key_value()
            && *at <= self.now_ms
        {
            let pid = *pid;
            self.forget(floor, &pid, Refusal::Expired);
        }
    }

    /// The core shuts down: nobody comes back here.
    pub(in crate::shard::hall) fn close(&mut self, floor: &mut Floor<'_>) {
        self.closed = true;
        while let Some((_, pid)) = self.expiring.first_key_value() {
            let pid = *pid;
            self.forget(floor, &pid, Refusal::Unavailable);
        }
        self.give_up_fences(floor);
    }

    pub(in crate::shard::hall) fn is_closed(&self) -> bool {
        self.closed
    }

    // ---- coming back ----

    /// A client asks for its session. Once it is claimed nobody else gets it.
    pub(in crate::shard::hall) fn claim(
        &mut self,
        floor: &mut Floor<'_>,
        namespace: &str,
        (pid, asked): (&str, &str),
    ) -> Result<Claim, Refusal> {
        if self.closed {
            return Err(Refusal::Unavailable);
        }
        let pid = SocketId::parse(pid).ok_or(Refusal::Malformed)?;
        let asked = Offset::parse(self.recovery.tag(), asked).ok_or(Refusal::Malformed)?;
        let session = self.recovery.store.take(&pid, namespace, self.now_ms)?;
        let claim = Claim {
            pid,
            sid: session.sid,
            rooms: session.rooms.clone(),
            data: session.data.clone(),
            moves: session.core != self.core,
        };
        if claim.moves {
            self.begin_move(floor, pid, session, asked);
        } else if let Err(why) = self.prepare(pid, asked) {
            self.drop_away(floor, &pid);
            return Err(why);
        }
        Ok(claim)
    }

    /// A session that is away here was taken out of the store: finds what its client missed.
    fn prepare(&mut self, pid: Pid, asked: Offset) -> Result<(), Refusal> {
        let away = self.away.get(&pid).ok_or(Refusal::Unavailable)?;
        let missed = self.missed(&away.session, away.past, asked, |_, _| true)?;
        let head = self.log.head();
        if let Some(away) = self.away.get_mut(&pid) {
            self.expiring.remove(&away.expiry);
            away.replay = Replay::From(missed, head);
        }
        Ok(())
    }

    /// The socket in this pending seat returns to the session that was claimed for it.
    pub(in crate::shard::hall) fn take_back(&mut self, key: SocketKey, pid: Pid) {
        if let Some(away) = self.away.get_mut(&pid) {
            away.seat = Some(key);
            self.returning.insert(key, pid);
        }
    }

    /// The socket in this pending seat is let in to the session that it claimed: what it is to be sent first.
    ///
    /// # Errors
    /// What was said since the claim did not fit into the log.
    pub(in crate::shard::hall) fn admit(
        &mut self,
        floor: &mut Floor<'_>,
        key: SocketKey,
    ) -> Result<Vec<Arc<Broadcast>>, Refusal> {
        let pid = self.returning.remove(&key).ok_or(Refusal::Unavailable)?;
        let away = self.release(floor, &pid).ok_or(Refusal::Unavailable)?;
        let Replay::From(mut list, position) = away.replay else {
            return Err(Refusal::Unavailable);
        };
        list.extend(self.heard_since(&away.session, position, |_, _| true)?);
        self.live.insert(
            key,
            Live {
                pid,
                past: away.past,
            },
        );
        Ok(list)
    }
}
