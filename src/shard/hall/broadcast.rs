//! From one message to all who are meant: on this core, and by mail on others.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::asking::Asking;
use super::{Hall, Outgoing, Seat, SocketKey, Standing, State, Target};
use crate::proto::websocket::Kind;
use crate::room::ScopeId;
use crate::room::cores::CoreSet;
use crate::room::select::Selection;
use crate::room::turn::{MessageId, SHARED_MIN, Turn};
use crate::shard::home::SocketId;
use crate::shard::mail::{Broadcast, Mail, Tally};
use crate::shard::slots::Slots;
use crate::wire::frame::{self, Opcode};

/// The sockets of this core that are meant by a name which is an id, and still in the room of that name.
fn members_named(state: &State, core: usize, scope: ScopeId, names: &[&str]) -> SmallVec<[u32; 4]> {
    let named = names.iter().filter_map(|name| {
        let (home, place) = SocketId::locate(name)?;
        let (key, seat) = state.seats.at(place)?;
        (home == core && seat.scope == scope && seat.in_own_room && seat.id.as_str() == *name)
            .then_some(key.slot)
    });
    named.collect()
}

/// Visits everybody here who is in the target, once each: by the number of its seat, and the slot of its connection.
pub(super) fn spread(
    state: &mut State,
    core: usize,
    target: &Target<'_>,
    mut visit: impl FnMut(&mut Turn, &Slots<Seat>, u32, u32),
) {
    let Some(scope) = state.rooms.find_scope(target.scope) else {
        return;
    };
    let to_members = members_named(state, core, scope, target.to);
    let except_members = members_named(state, core, scope, target.except);
    let selection = Selection {
        scope,
        to: target.to,
        to_members: &to_members,
        except: target.except,
        except_members: &except_members,
        not: target
            .not
            .filter(|key| state.seats.get(*key).is_some())
            .map(|key| key.slot),
    };
    let (turn, seats, busy) = (&mut state.turn, &state.seats, &state.busy);
    state.rooms.for_each(&selection, |member, connection| {
        if !target.volatile || !busy.is_set(connection) {
            visit(turn, seats, member, connection);
        }
    });
}

/// Marks a message for everybody here who is in the target, and gives their number.
fn broadcast_here(
    state: &mut State,
    core: usize,
    target: &Target<'_>,
    message: Outgoing<'_>,
) -> usize {
    let mut said: Option<MessageId> = None;
    let mut receivers = 0;
    spread(state, core, target, |turn, _, _, connection| {
        // Encoded for the first receiver: a broadcast that nobody gets costs no copy.
        let id = *said.get_or_insert_with(|| say(turn, message));
        turn.mark(connection, id);
        receivers += 1;
    });
    receivers
}

/// The same, where something is to be known of the receivers beside their number. Gives those that are watched, too.
fn broadcast_noted(
    state: &mut State,
    core: usize,
    target: &Target<'_>,
    message: Outgoing<'_>,
    asking: Option<&Asking>,
) -> (usize, Vec<SocketKey>) {
    let mut said: Option<MessageId> = None;
    let (mut receivers, mut watched) = (Vec::new(), Vec::new());
    spread(state, core, target, |turn, seats, member, connection| {
        let id = *said.get_or_insert_with(|| say(turn, message));
        turn.mark(connection, id);
        if let Some((key, seat)) = seats.at(member) {
            receivers.push(key);
            if seat.watched {
                watched.push(key);
            }
        }
    });
    if let Some(asking) = asking {
        state.asked.note(asking, &receivers);
    }
    (receivers.len(), watched)
}

/// The other cores that a message for this target has to be told to.
pub(super) fn cores_of(state: &State, core: usize, target: &Target<'_>) -> CoreSet {
    let mut cores = CoreSet::EMPTY;
    if state.outbox.cores() < 2 {
        return cores;
    }
    if let Some(scope) = state.rooms.find_scope(target.scope) {
        cores = state.rooms.interest_of(&Selection {
            scope,
            to: target.to,
            to_members: &[],
            except: &[],
            except_members: &[],
            not: None,
        });
    }
    state.assumed.add_to(&mut cores, target.scope, target.to);
    // An id says itself where its socket lives, whether or not that core's notice of interest has been read here.
    for (home, _) in target.to.iter().filter_map(|name| SocketId::locate(name)) {
        if home < state.outbox.cores() {
            cores.insert(home);
        }
    }
    cores.remove(core);
    cores
}

/// What is wanted back from a broadcast.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// How many sockets got it.
    pub(crate) count: bool,
    /// Their answers.
    pub(crate) answers: Option<&'a Asking>,
}

/// What became of a broadcast.
#[derive(Default)]
pub(crate) struct Spread {
    /// How many sockets on this core got it.
    pub(crate) here: usize,
    /// How many other cores it was posted to.
    pub(crate) cores: usize,
    /// Where the number of sockets there will arrive, if it is wanted.
    pub(crate) there: Option<oneshot::Receiver<usize>>,
}

impl Hall {
    /// Gives a message to everybody in the target, on this core at once and on others by mail.
    pub(crate) fn broadcast(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        wanted: Wanted<'_>,
    ) -> Spread {
        let (cores, there) = {
            let state = &mut *self.state.borrow_mut();
            broadcast_elsewhere(state, self.core, target, message, wanted)
        };
        self.record(target, message, None);
        let here = self.broadcast_here(target, message, wanted.answers);
        self.wake_shard();
        Spread { here, cores, there }
    }

    pub(super) fn handle_broadcast(&self, broadcast: &Arc<Broadcast>) {
        let to: SmallVec<[&str; 4]> = broadcast.to.iter().map(AsRef::as_ref).collect();
        let except: SmallVec<[&str; 4]> = broadcast.except.iter().map(AsRef::as_ref).collect();
        let target = Target {
            scope: &broadcast.scope,
            to: &to,
            except: &except,
            not: None,
            volatile: broadcast.volatile,
        };
        let message = Outgoing::of(broadcast);
        self.record(&target, message, Some(broadcast));
        let receivers = self.broadcast_here(&target, message, broadcast.asking.as_ref());
        if let Some(tally) = &broadcast.tally {
            tally.report(receivers);
        }
    }

    fn broadcast_here(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        asking: Option<&Asking>,
    ) -> usize {
        let (receivers, watched) = {
            let state = &mut *self.state.borrow_mut();
            if asking.is_none() && state.watched == 0 {
                return broadcast_here(state, self.core, target, message);
            }
            broadcast_noted(state, self.core, target, message, asking)
        };
        if !watched.is_empty()
            && let Some(usher) = self.usher()
        {
            usher.reached(message, &watched);
        }
        receivers
    }
}

fn broadcast_elsewhere(
    state: &mut State,
    core: usize,
    target: &Target<'_>,
    message: Outgoing<'_>,
    wanted: Wanted<'_>,
) -> (usize, Option<oneshot::Receiver<usize>>) {
    let cores = cores_of(state, core, target);
    if cores.is_empty() {
        return (0, None);
    }
    let others = cores.iter().count();
    let (tally, receiver) = wanted.count.then(|| Tally::new(others)).unzip();
    // Copied once: the arena of this turn cannot be lent to another core.
    let mut broadcast = state.parcel(target, message, tally);
    broadcast.asking = wanted.answers.cloned();
    let broadcast = Arc::new(broadcast);
    for other in cores.iter() {
        state.outbox.post(other, Mail::Broadcast(broadcast.clone()));
    }
    (others, receiver)
}

impl<'a> Outgoing<'a> {
    /// What a broadcast says.
    pub(crate) fn of(broadcast: &'a Broadcast) -> Self {
        Outgoing {
            kind: broadcast.kind,
            body: &broadcast.body,
            attachments: &broadcast.attachments,
            offset: broadcast.offset,
        }
    }
}

impl Broadcast {
    /// The form that crosses cores.
    pub(crate) fn new(
        target: &Target<'_>,
        message: Outgoing<'_>,
        tally: Option<Arc<Tally>>,
    ) -> Self {
        Broadcast {
            scope: target.scope.clone(),
            to: target.to.iter().map(|name| (*name).into()).collect(),
            except: target.except.iter().map(|name| (*name).into()).collect(),
            volatile: target.volatile,
            kind: message.kind,
            body: Bytes::copy_from_slice(message.body),
            attachments: message.attachments.to_vec(),
            tally,
            asking: None,
            offset: message.offset,
        }
    }

    /// The form in which what is said to one socket is kept.
    pub(crate) fn to_one(scope: Arc<str>, id: &SocketId, message: Outgoing<'_>) -> Arc<Self> {
        let target = Target {
            scope: &scope,
            to: &[id.as_str()],
            except: &[],
            not: None,
            volatile: false,
        };
        Arc::new(Broadcast::new(&target, message, None))
    }
}

/// The connection of a socket that may be told something.
#[inline]
pub(super) fn listening(state: &State, key: SocketKey) -> Option<u32> {
    let seat = state.seats.get(key)?;
    (seat.standing != Standing::Silent).then_some(seat.connection.slot)
}

impl Hall {
    /// Marks a text message for one socket, which `write` appends where it is sent from: `length` bytes, fewer than [`SHARED_MIN`].
    #[inline]
    pub(crate) fn deliver_written(
        &self,
        key: SocketKey,
        length: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let state = &mut *self.state.borrow_mut();
        if let Some(slot) = listening(state, key) {
            tell_written(&mut state.turn, slot, Opcode::Text, length, write);
            self.wake_shard();
        }
    }
}

/// Tells one connection a message.
pub(super) fn tell(turn: &mut Turn, connection: u32, message: Outgoing<'_>) {
    if message.attachments.is_empty() && message.body.len() < SHARED_MIN {
        let (opcode, length) = (opcode_of(message.kind), message.body.len());
        return tell_written(turn, connection, opcode, length, |arena| {
            arena.extend_from_slice(message.body);
        });
    }
    let id = say(turn, message);
    turn.mark(connection, id);
}

/// The same of a short message of this length, which `write` appends.
#[inline]
pub(super) fn tell_written(
    turn: &mut Turn,
    connection: u32,
    opcode: Opcode,
    length: usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    turn.tell_written(connection, |arena| {
        arena.reserve(frame::HEAD_MAX + length);
        frame::append_head(arena, opcode, length);
        let start = arena.len();
        write(arena);
        debug_assert_eq!(arena.len() - start, length, "the head is in front of it");
    });
}

fn opcode_of(kind: Kind) -> Opcode {
    match kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    }
}

/// Puts the frames of a message into the turn's palette: the text (or binary) message, then each attachment as one binary message.
fn say(turn: &mut Turn, message: Outgoing<'_>) -> MessageId {
    let head = frame::encode_head(opcode_of(message.kind), true, message.body.len());
    if message.attachments.is_empty() && message.body.len() < SHARED_MIN {
        return turn.say_parts(&[&head, message.body]);
    }
    let total: usize = message
        .attachments
        .iter()
        .map(|bytes| bytes.len() + 10)
        .sum();
    let mut frames = BytesMut::with_capacity(head.len() + message.body.len() + total);
    frames.extend_from_slice(&head);
    frames.extend_from_slice(message.body);
    for attachment in message.attachments {
        frames.extend_from_slice(&frame::encode_head(Opcode::Binary, true, attachment.len()));
        frames.extend_from_slice(attachment);
    }
    if frames.len() < SHARED_MIN {
        turn.say(&frames)
    } else {
        turn.say_shared(frames.freeze())
    }
}
