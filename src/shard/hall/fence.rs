//! How a session that is away moves to the core on which its client came back, and nothing of what is said meanwhile is lost or doubled.
//!
//! The new core holds the session's places, too, so that it is told what is said from now on; behind that notice it posts a *fence* to each
//! core. A core that meets it knows of the new core's interest, so what it says later comes there; what it said before it has posted to
//! the old core, and behind that it posts there that it has met the fence. When the old core has this of all, nothing for the session
//! can be on its way that the new core does not get: it hands over what the client missed, and gives up the places.
//!
//! The new core dedups: what is in both logs is in the old one's part. Each sender's messages keep their order, since the old
//! core's part of them is their beginning: it gets all of them, in order, until it hands over.
//!
//! A core that has ended answers nothing: after [`MOVE_MS`] the session counts as lost.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use super::SocketKey;
use super::memory::holding::Floor;
use super::memory::{Memory, Past, Replay};
use crate::shard::mail::{Broadcast, Mail};
use crate::shard::recovery::log::Ears;
use crate::shard::recovery::offset::Offset;
use crate::shard::recovery::store::Parked;
use crate::shard::recovery::{Pid, Refusal};

/// How long a move may take. It takes a turn or two of each core.
const MOVE_MS: u64 = 10_000;

/// One move: its number on the core that a session moves to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    core: usize,
    number: u64,
}

/// What cores tell each other of moves.
pub(crate) enum Note {
    /// Tell the holder when you have met this. The holder itself is told what is asked for.
    Fence {
        ticket: Ticket,
        holder: usize,
        asked: Option<(Pid, Offset)>,
    },
    /// The sender has met the fence.
    Fenced { ticket: Ticket },
    /// What the session missed.
    Missed {
        number: u64,
        missed: Result<Vec<Arc<Broadcast>>, Refusal>,
    },
}

/// A session that was asked for has arrived here, or will not.
pub(super) struct Moved {
    pub(super) seat: SocketKey,
    pub(super) outcome: Result<(), Refusal>,
}

#[derive(Default)]
pub(super) struct Moves {
    numbers: u64,
    /// In the order of their deadlines, since numbers and time go up together.
    arriving: BTreeMap<u64, Arriving>,
    fences: BTreeMap<Ticket, Fence>,
    /// Deadlines of fences; some may be over already.
    late: VecDeque<(u64, Ticket)>,
}

struct Arriving {
    pid: Pid,
    asked: Offset,
    deadline_ms: u64,
}

/// A move away from this core.
struct Fence {
    asked: Option<(Pid, Offset)>,
    /// Cores that have met it.
    met: usize,
}

impl Moves {
    pub(super) fn next_deadline_ms(&self) -> Option<u64> {
        let arriving = self.arriving.first_key_value();
        let arriving = arriving.map(|(_, one)| one.deadline_ms);
        let fence = self.late.front().map(|(at, _)| *at);
        arriving.into_iter().chain(fence).min()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.arriving.is_empty() && self.fences.is_empty()
    }
}

impl Memory {
    /// A session whose messages are with another core was taken out of the store.
    pub(super) fn begin_move(
        &mut self,
        floor: &mut Floor<'_>,
        pid: Pid,
        mut session: Parked,
        asked: Offset,
    ) {
        let holder = std::mem::replace(&mut session.core, self.core);
        let past = Past {
            from: self.log.head(),
            is_whole: false,
        };
        self.hold(floor, pid, session, past);
        self.moves.numbers += 1;
        let ticket = Ticket {
            core: self.core,
            number: self.moves.numbers,
        };
        let arriving = Arriving {
            pid,
            asked,
            deadline_ms: self.now_ms.saturating_add(MOVE_MS),
        };
        self.moves.arriving.insert(ticket.number, arriving);
        for core in (0..floor.outbox.cores()).filter(|core| *core != self.core) {
            let asked = (core == holder).then_some((pid, asked));
            let fence = Note::Fence {
                ticket,
                holder,
                asked,
            };
            floor.outbox.post(core, Mail::Recovery(Box::new(fence)));
        }
    }

    pub(super) fn handle_note(&mut self, floor: &mut Floor<'_>, note: Note) -> Option<Moved> {
        match note {
            Note::Fence {
                ticket,
                asked: Some(asked),
                ..
            } => {
                // It does not end while it is being handed over.
                if let Some(away) = self.away.get(&asked.0) {
                    self.expiring.remove(&away.expiry);
                }
                self.fence(ticket).asked = Some(asked);
                self.advance(floor, ticket);
            }
            Note::Fence { ticket, holder, .. } => {
                let met = Note::Fenced { ticket };
                floor.outbox.post(holder, Mail::Recovery(Box::new(met)));
            }
            Note::Fenced { ticket } => {
                self.fence(ticket).met += 1;
                self.advance(floor, ticket);
            }
            Note::Missed { number, missed } => return self.arrive(floor, number, missed),
        }
        None
    }

    fn fence(&mut self, ticket: Ticket) -> &mut Fence {
        let deadline_ms = self.now_ms.saturating_add(MOVE_MS);
        let late = &mut self.moves.late;
        self.moves.fences.entry(ticket).or_insert_with(|| {
            late.push_back((deadline_ms, ticket));
            Fence {
                asked: None,
                met: 0,
            }
        })
    }

    /// Hands over, if all cores have met the fence: this one has when it was asked, and the other end when it asked.
    fn advance(&mut self, floor: &mut Floor<'_>, ticket: Ticket) {
        let others = floor.outbox.cores().saturating_sub(2);
        let is_met = |fence: &Fence| fence.asked.is_some() && fence.met >= others;
        if self.moves.fences.get(&ticket).is_some_and(is_met) {
            self.hand_over(floor, ticket);
        }
    }

    fn hand_over(&mut self, floor: &mut Floor<'_>, ticket: Ticket) {
        let fence = self.moves.fences.remove(&ticket);
        let Some((pid, asked)) = fence.and_then(|fence| fence.asked) else {
            return;
        };
        let missed = match self.away.get(&pid) {
            Some(away) => self.missed(&away.session, away.past, asked),
            None if self.is_closed() => Err(Refusal::Unavailable),
            None => Err(Refusal::Expired),
        };
        self.drop_away(floor, &pid);
        let note = Note::Missed {
            number: ticket.number,
            missed,
        };
        floor
            .outbox
            .post(ticket.core, Mail::Recovery(Box::new(note)));
    }

    /// What came in here since the places are held is behind what was handed over, as far as it is not the same.
    fn arrive(
        &mut self,
        floor: &mut Floor<'_>,
        number: u64,
        missed: Result<Vec<Arc<Broadcast>>, Refusal>,
    ) -> Option<Moved> {
        let Arriving { pid, asked, .. } = self.moves.arriving.remove(&number)?;
        let list = missed.and_then(|missed| self.with_own(pid, missed));
        let head = self.log.head();
        match list {
            Ok(list) => {
                let away = self.away.get_mut(&pid)?;
                away.past.from = head;
                let (sid, seat) = (away.session.sid, away.seat);
                if seat.is_some() {
                    away.replay = Replay::From(list.clone(), head);
                }
                self.splices.insert(self.now_ms, sid, asked, list);
                match seat {
                    Some(seat) => Some(Moved {
                        seat,
                        outcome: Ok(()),
                    }),
                    // Its client is gone again.
                    None if self.is_closed() => {
                        self.drop_away(floor, &pid);
                        None
                    }
                    None => {
                        self.park(pid);
                        None
                    }
                }
            }
            Err(why) => self.fail(floor, &pid, why),
        }
    }

    fn with_own(
        &self,
        pid: Pid,
        mut list: Vec<Arc<Broadcast>>,
    ) -> Result<Vec<Arc<Broadcast>>, Refusal> {
        let away = self.away.get(&pid).ok_or(Refusal::Unavailable)?;
        let (session, from) = (&away.session, away.past.from);
        let handed_over: HashSet<Offset> = list.iter().filter_map(|said| said.offset).collect();
        let ears = Ears::new(&session.namespace, &session.sid, &session.rooms);
        let is_new = |said: &&Arc<Broadcast>| {
            let known = said
                .offset
                .is_some_and(|offset| handed_over.contains(&offset));
            !known && ears.hear(said)
        };
        list.extend(self.log.since(from)?.filter(is_new).cloned());
        Ok(list)
    }

    /// A session does not arrive.
    fn fail(&mut self, floor: &mut Floor<'_>, pid: &Pid, why: Refusal) -> Option<Moved> {
        let seat = self.away.get(pid)?.seat;
        self.drop_away(floor, pid);
        let seat = seat?;
        self.returning.remove(&seat);
        Some(Moved {
            seat,
            outcome: Err(why),
        })
    }

    /// Gives up moves that have taken too long.
    pub(super) fn expire_moves(&mut self, floor: &mut Floor<'_>) -> Vec<Moved> {
        while let Some((_, ticket)) = self.moves.late.pop_front_if(|(at, _)| *at <= self.now_ms) {
            self.give_up(floor, ticket);
        }
        let mut moved = Vec::new();
        while let Some((number, one)) = self.moves.arriving.first_key_value()
            && one.deadline_ms <= self.now_ms
        {
            let number = *number;
            moved.extend(self.arrive(floor, number, Err(Refusal::Unavailable)));
        }
        moved
    }

    /// The core shuts down.
    pub(super) fn give_up_fences(&mut self, floor: &mut Floor<'_>) {
        let all: Vec<Ticket> = self.moves.fences.keys().copied().collect();
        for ticket in all {
            self.give_up(floor, ticket);
        }
    }

    fn give_up(&mut self, floor: &mut Floor<'_>, ticket: Ticket) {
        let fence = self.moves.fences.remove(&ticket);
        let Some((pid, _)) = fence.and_then(|fence| fence.asked) else {
            return;
        };
        self.drop_away(floor, &pid);
        let note = Note::Missed {
            number: ticket.number,
            missed: Err(Refusal::Unavailable),
        };
        floor
            .outbox
            .post(ticket.core, Mail::Recovery(Box::new(note)));
    }
}
