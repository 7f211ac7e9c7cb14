//! How sockets come in: at once, or first as somebody of whom that is still to be decided.

use std::sync::Arc;

use super::{Hall, Seat, SocketKey, tell_interest};
use crate::reactor::ConnKey;
use crate::room::{Change, HIDDEN};
use crate::shard::home::SocketId;

/// How far a socket has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is still being decided whether it may come in: it can be told things, and is in the rooms it has joined, also in the eyes of other
    /// cores; but no broadcast reaches it, and it is not in the room of its own name.
    Pending,
    Here,
    /// Nothing more may be said to it.
    Silent,
}

impl Seat {
    /// Whether its id names its place. One that had its id elsewhere is in the room of its own name as in any other.
    pub(super) fn is_native(&self, core: usize, key: SocketKey) -> bool {
        SocketId::locate(&self.id) == Some((core, key.slot))
    }
}

impl Hall {
    /// Gives a socket a place in `scope`. `None`: this core holds as many sockets as it may, or has no random bytes.
    pub(crate) fn seat(
        &self,
        connection: ConnKey,
        scope: &Arc<str>,
    ) -> Option<(SocketKey, SocketId)> {
        self.seat_as(Standing::Here, None, connection, scope)
    }

    /// The same for a socket that is not let in yet: see [`Standing::Pending`] and [`Hall::admit`].
    pub(crate) fn seat_pending(
        &self,
        connection: ConnKey,
        scope: &Arc<str>,
    ) -> Option<(SocketKey, SocketId)> {
        self.seat_as(Standing::Pending, None, connection, scope)
    }

    /// `id`: one that the socket had in another seat, perhaps on another core.
    pub(super) fn seat_as(
        &self,
        standing: Standing,
        id: Option<SocketId>,
        connection: ConnKey,
        scope: &Arc<str>,
    ) -> Option<(SocketKey, SocketId)> {
        let state = &mut *self.state.borrow_mut();
        let slot = state.seats.next_key()?.slot;
        let id = id.or_else(|| state.ids.next(slot).ok())?;
        let scope_id = state.rooms.scope(scope);
        let seat = Seat {
            id,
            connection,
            scope: scope_id,
            in_own_room: standing == Standing::Here,
            standing,
            watched: false,
        };
        let key = state.seats.insert(seat).ok()?;
        let marked_for = match standing {
            Standing::Pending => HIDDEN,
            Standing::Here | Standing::Silent => connection.slot,
        };
        if state.rooms.enter(scope_id, key.slot, marked_for) == Change::First {
            tell_interest(&mut state.outbox, self.core, scope, None, true);
            self.wake_shard();
        }
        Some((key, id))
    }

    /// A pending socket is in: from now on broadcasts reach it. For one that is in already this is nothing.
    pub(crate) fn admit(&self, key: SocketKey) {
        let state = &mut *self.state.borrow_mut();
        if let Some(seat) = state.seats.get_mut(key)
            && seat.standing == Standing::Pending
        {
            seat.standing = Standing::Here;
            seat.in_own_room = seat.is_native(self.core, key);
            state.rooms.show(key.slot, seat.connection.slot);
            state.replay(key);
        }
    }

    /// How far this socket has come; `None`: it has left.
    pub(crate) fn standing_of(&self, key: SocketKey) -> Option<Standing> {
        self.state.borrow().seats.get(key).map(|seat| seat.standing)
    }
}
