//! How a session that is away moves to the core on which its client came back, and nothing of what is said meanwhile is lost or doubled.
//!
//! The new core holds the session's places, too, so that it is told what is said from now on; behind that notice it posts a *fence* to each
//! core. A core that meets it knows of the new core's interest, so what it says from then on comes there. What it said before, it has
//! posted to the old core, which holds the places all the time. It posts to both, behind all that, that it has met the fence. So for each
//! core there is a point in the old one's log, and one in the new one's: what it said before the fence lies before the one, what it said
//! since lies behind the other, and together they are all. (Either may also come to the other log, if others are meant who live there.) When
//! the old core has this of all, it hands over what the client missed, up to these points, and gives up the places. When the new core
//! has it of all, and that, it goes on with its own log from its own points.
//!
//! Each sender's messages keep their order: the old core's part is their beginning.
//!
//! A core that has ended answers nothing: after [`MOVE_MS`] the session counts as lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::SocketKey;
use super::memory::holding::Floor;
use super::memory::{Memory, Past, Replay};
use crate::shard::mail::{Broadcast, Mail};
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
    /// Tell the holder and the sender when you have met this. The holder itself is told what is asked for.
    Fence {
        ticket: Ticket,
        holder: usize,
        asked: Option<(Pid, Offset)>,
    },
    /// A core has met the fence.
    Fenced { ticket: Ticket, core: usize },
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

/// Where the log stood when a core had met the fence, for each that has.
type Met = BTreeMap<usize, u64>;

struct Arriving {
    pid: Pid,
    asked: Offset,
    deadline_ms: u64,
    met: Met,
    missed: Option<Vec<Arc<Broadcast>>>,
}

/// A move away from this core.
struct Fence {
    asked: Option<(Pid, Offset)>,
    met: Met,
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
            met: Met::from([(self.core, past.from)]),
            missed: None,
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
                let (here, head) = (self.core, self.log.head());
                let fence = self.fence(ticket);
                fence.asked = Some(asked);
                fence.met.extend([(here, head), (ticket.core, head)]);
                self.say_met(floor, ticket, ticket.core);
                self.advance(floor, ticket);
            }
            Note::Fence { ticket, holder, .. } => {
                self.say_met(floor, ticket, holder);
                self.say_met(floor, ticket, ticket.core);
            }
            Note::Fenced { ticket, core } if ticket.core == self.core => {
                let head = self.log.head();
                let arriving = self.moves.arriving.get_mut(&ticket.number)?;
                arriving.met.insert(core, head);
                return self.arrive(floor, ticket.number);
            }
            Note::Fenced { ticket, core } => {
                let head = self.log.head();
                self.fence(ticket).met.insert(core, head);
                self.advance(floor, ticket);
            }
            Note::Missed { number, missed } => {
                let arriving = self.moves.arriving.get_mut(&number)?;
                match missed {
                    Ok(missed) => arriving.missed = Some(missed),
                    Err(why) => return self.fail(floor, number, why),
                }
                return self.arrive(floor, number);
            }
        }
        None
    }

    fn say_met(&self, floor: &mut Floor<'_>, ticket: Ticket, to: usize) {
        let core = self.core;
        let met = Note::Fenced { ticket, core };
        floor.outbox.post(to, Mail::Recovery(Box::new(met)));
    }

    fn fence(&mut self, ticket: Ticket) -> &mut Fence {
        let deadline_ms = self.now_ms.saturating_add(MOVE_MS);
        let late = &mut self.moves.late;
        self.moves.fences.entry(ticket).or_insert_with(|| {
            late.push_back((deadline_ms, ticket));
            Fence {
                asked: None,
                met: Met::new(),
            }
        })
    }

    /// Hands over, if all cores have met the fence.
    fn advance(&mut self, floor: &mut Floor<'_>, ticket: Ticket) {
        let cores = floor.outbox.cores();
        let is_met = |fence: &Fence| fence.asked.is_some() && fence.met.len() >= cores;
        if self.moves.fences.get(&ticket).is_some_and(is_met) {
            self.hand_over(floor, ticket);
        }
    }

    fn hand_over(&mut self, floor: &mut Floor<'_>, ticket: Ticket) {
        let Some(fence) = self.moves.fences.remove(&ticket) else {
            return;
        };
        let Some((pid, asked)) = fence.asked else {
            return;
        };
        let is_before =
            |position: u64, core: usize| fence.met.get(&core).is_some_and(|met| position < *met);
        let missed = match self.away.get(&pid) {
            Some(away) => self.missed(&away.session, away.past, asked, is_before),
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

    /// The session is here, if all cores have met the fence and the old one has handed over.
    fn arrive(&mut self, floor: &mut Floor<'_>, number: u64) -> Option<Moved> {
        let arriving = self.moves.arriving.get_mut(&number)?;
        if arriving.met.len() < floor.outbox.cores() {
            return None;
        }
        let missed = arriving.missed.take()?;
        let arriving = self.moves.arriving.remove(&number)?;
        let list = match self.with_own(&arriving, missed) {
            Ok(list) => list,
            Err(why) => return self.lose(floor, &arriving.pid, why),
        };
        let head = self.log.head();
        let pid = arriving.pid;
        let away = self.away.get_mut(&pid)?;
        away.past.from = head;
        let (sid, seat) = (away.session.sid, away.seat);
        if seat.is_some() {
            away.replay = Replay::From(list.clone(), head);
        }
        self.splices.insert(self.now_ms, sid, arriving.asked, list);
        if let Some(seat) = seat {
            let outcome = Ok(());
            return Some(Moved { seat, outcome });
        }
        // Its client is gone again.
        if self.is_closed() {
            self.drop_away(floor, &pid);
        } else {
            self.park(pid);
        }
        None
    }

    fn with_own(
        &self,
        arriving: &Arriving,
        mut list: Vec<Arc<Broadcast>>,
    ) -> Result<Vec<Arc<Broadcast>>, Refusal> {
        let away = self.away.get(&arriving.pid).ok_or(Refusal::Unavailable)?;
        let (session, from) = (&away.session, away.past.from);
        let is_behind = |position: u64, core: usize| {
            arriving.met.get(&core).is_some_and(|met| position >= *met)
        };
        list.extend(self.heard_since(session, from, is_behind)?);
        Ok(list)
    }

    /// A session does not arrive.
    fn fail(&mut self, floor: &mut Floor<'_>, number: u64, why: Refusal) -> Option<Moved> {
        let arriving = self.moves.arriving.remove(&number)?;
        self.lose(floor, &arriving.pid, why)
    }

    fn lose(&mut self, floor: &mut Floor<'_>, pid: &Pid, why: Refusal) -> Option<Moved> {
        let seat = self.away.get(pid)?.seat;
        self.drop_away(floor, pid);
        self.recovery.count_refused(why);
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
            moved.extend(self.fail(floor, number, Refusal::Unavailable));
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
