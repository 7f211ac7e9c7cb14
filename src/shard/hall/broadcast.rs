//! From one message to all who are meant: on this core, and by mail on others.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{Outgoing, State, Target};
use crate::proto::websocket::Kind;
use crate::room::ScopeId;
use crate::room::cores::CoreSet;
use crate::room::select::Selection;
use crate::room::turn::{MessageId, SHARED_MIN, Turn};
use crate::shard::home::SocketId;
use crate::shard::mail::{Broadcast, Mail, Tally};
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

pub(super) fn broadcast_here(
    state: &mut State,
    core: usize,
    target: &Target<'_>,
    message: Outgoing<'_>,
) -> usize {
    let Some(scope) = state.rooms.find_scope(target.scope) else {
        return 0;
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
    let (turn, busy) = (&mut state.turn, &state.busy);
    let mut said: Option<MessageId> = None;
    let mut receivers = 0;
    state.rooms.for_each(&selection, |_, connection| {
        if target.volatile && busy.is_set(connection) {
            return;
        }
        // Encoded for the first receiver: a broadcast that nobody gets costs no copy.
        let id = *said.get_or_insert_with(|| say(turn, message));
        turn.mark(connection, id);
        receivers += 1;
    });
    receivers
}

pub(super) fn broadcast_elsewhere(
    state: &mut State,
    core: usize,
    target: &Target<'_>,
    message: Outgoing<'_>,
    counted: bool,
) -> Option<oneshot::Receiver<usize>> {
    if state.outbox.cores() < 2 {
        return None;
    }
    let interest = |scope| {
        state.rooms.interest_of(&Selection {
            scope,
            to: target.to,
            to_members: &[],
            except: &[],
            except_members: &[],
            not: None,
        })
    };
    let mut cores = state
        .rooms
        .find_scope(target.scope)
        .map_or(CoreSet::EMPTY, interest);
    // An id says itself where its socket lives, whether or not that core's notice of interest has been read here.
    for (home, _) in target.to.iter().filter_map(|name| SocketId::locate(name)) {
        if home < state.outbox.cores() {
            cores.insert(home);
        }
    }
    cores.remove(core);
    if cores.is_empty() {
        return None;
    }
    let others = cores.iter().count();
    let (tally, receiver) = if counted {
        Some(Tally::new(others)).unzip()
    } else {
        (None, None)
    };
    // Copied once: the arena of this turn cannot be lent to another core.
    let broadcast = Arc::new(state.parcel(target, message, tally));
    for other in cores.iter() {
        state.outbox.post(other, Mail::Broadcast(broadcast.clone()));
    }
    receiver
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

/// Puts the frames of a message into the turn's palette: the text (or binary) message, then each attachment as one binary message.
pub(super) fn say(turn: &mut Turn, message: Outgoing<'_>) -> MessageId {
    let opcode = match message.kind {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
    };
    let head = frame::encode_head(opcode, true, message.body.len());
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
