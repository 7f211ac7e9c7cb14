//! What a program is told of rooms: that one has come to be, who joined and left it, that it is no more.
//!
//! A room comes to be once for all cores: so the cores that have members are counted, in a table that they share. It is asked when a core gets
//! its first member or loses its last one, and only in namespaces whose program wants to know.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::local::Local;
use super::namespace::Namespace;
use super::socket::Socket;
use super::{SocketId, task};
use crate::room::JoinError;

type OnRoom = Arc<dyn Fn(&str) + Send + Sync>;
type OnMember = Arc<dyn Fn(&str, &SocketId) + Send + Sync>;
/// For whoever watches the namespaces of a whole family, and wants to know which it is.
type OnSocket = Arc<dyn Fn(&Socket, &str) + Send + Sync>;

/// The handlers of one namespace.
#[derive(Clone, Default)]
pub(crate) struct RoomHandlers {
    create: Vec<OnRoom>,
    join: Vec<OnMember>,
    leave: Vec<OnMember>,
    delete: Vec<OnRoom>,
    socket_joined: Vec<OnSocket>,
    socket_left: Vec<OnSocket>,
    /// The adapter wants to know, too.
    is_told_to_cluster: bool,
}

impl RoomHandlers {
    /// Those of another table come behind these.
    pub(crate) fn followed_by(&self, other: &RoomHandlers) -> RoomHandlers {
        let mut all = self.clone();
        all.create.extend_from_slice(&other.create);
        all.join.extend_from_slice(&other.join);
        all.leave.extend_from_slice(&other.leave);
        all.delete.extend_from_slice(&other.delete);
        all.socket_joined.extend_from_slice(&other.socket_joined);
        all.socket_left.extend_from_slice(&other.socket_left);
        all.is_told_to_cluster |= other.is_told_to_cluster;
        all
    }

    /// Does anybody want to know which rooms there are?
    fn counts(&self) -> bool {
        self.is_told_to_cluster || !self.create.is_empty() || !self.delete.is_empty()
    }
}

impl Namespace {
    /// Runs when a room has come to be: when its first member joins. Of the members on several cores it is the first of all.
    ///
    /// The room that each socket has of its own is a room, too. Handlers of rooms run on the core where it happens, in the middle of what led to
    /// it: `on_create_room` before `on_join_room`, and `on_leave_room` before `on_delete_room`. Of a room that is left and joined on two
    /// cores at the same moment, the two may see it end and come to be in either order.
    ///
    /// ```
    /// # use ringhall::Namespace;
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_create_room(|room| println!("{room} has been opened"))
    /// # }
    /// ```
    pub fn on_create_room(mut self, handler: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.room_handlers().create.push(Arc::new(handler));
        self
    }

    /// Runs when a socket has joined a room, whoever made it do so.
    ///
    /// ```
    /// # use ringhall::Namespace;
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_join_room(|room, id| println!("{id} is in {room}"))
    /// # }
    /// ```
    pub fn on_join_room(
        mut self,
        handler: impl Fn(&str, &SocketId) + Send + Sync + 'static,
    ) -> Self {
        self.room_handlers().join.push(Arc::new(handler));
        self
    }

    /// Runs when a socket has left a room, also by disconnecting: then between `on_disconnecting` and `on_disconnect`.
    ///
    /// ```
    /// # use ringhall::Namespace;
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_leave_room(|room, id| println!("{id} has left {room}"))
    /// # }
    /// ```
    pub fn on_leave_room(
        mut self,
        handler: impl Fn(&str, &SocketId) + Send + Sync + 'static,
    ) -> Self {
        self.room_handlers().leave.push(Arc::new(handler));
        self
    }

    /// Runs when a room is no more: when its last member has left.
    ///
    /// ```
    /// # use ringhall::Namespace;
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_delete_room(|room| println!("{room} is closed"))
    /// # }
    /// ```
    pub fn on_delete_room(mut self, handler: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.room_handlers().delete.push(Arc::new(handler));
        self
    }

    /// As `on_join_room` and `on_leave_room`.
    #[cfg(feature = "admin")]
    pub(super) fn on_memberships(
        mut self,
        joined: impl Fn(&Socket, &str) + Send + Sync + 'static,
        left: impl Fn(&Socket, &str) + Send + Sync + 'static,
    ) -> Self {
        let handlers = self.room_handlers();
        handlers.socket_joined.push(Arc::new(joined));
        handlers.socket_left.push(Arc::new(left));
        self
    }

    /// The adapter wants to know of its rooms.
    pub(crate) fn tell_rooms_to_cluster(&mut self) {
        self.room_handlers().is_told_to_cluster = true;
    }

    fn room_handlers(&mut self) -> &mut RoomHandlers {
        Arc::make_mut(self.table.rooms.get_or_insert_default())
    }
}

/// How many cores have members of a room, for each room of the scopes in which that is of interest. A room costs its name and some 60 bytes.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Scopes>);

type Scopes = HashMap<Arc<str>, HashMap<Box<str>, usize>>;

impl Ledger {
    /// One core more has members. `true`: it is the first. `tell` is called then, in the order in which rooms come and go; it must not wait.
    fn enter(&self, scope: &Arc<str>, room: &str, tell: impl FnOnce()) -> bool {
        let mut scopes = self.lock();
        let rooms = scopes.entry(scope.clone()).or_default();
        if let Some(cores) = rooms.get_mut(room) {
            *cores += 1;
            return false;
        }
        rooms.insert(room.into(), 1);
        tell();
        true
    }

    /// One core has no members any more. `true`: it was the last; as for [`Ledger::enter`].
    fn leave(&self, scope: &str, room: &str, tell: impl FnOnce()) -> bool {
        let mut scopes = self.lock();
        let Some(rooms) = scopes.get_mut(scope) else {
            return false;
        };
        let Some(cores) = rooms.get_mut(room) else {
            return false;
        };
        *cores -= 1;
        if *cores > 0 {
            return false;
        }
        rooms.remove(room);
        if rooms.is_empty() {
            scopes.remove(scope);
        }
        tell();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Scopes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    /// A socket joins a room.
    pub(crate) fn join(&self, socket: &Socket, room: &str) -> Result<(), JoinError> {
        let (hall, key) = (self.hall(), socket.key());
        if socket.table().rooms.is_none() {
            return hall.join(key, room).map(|_| ());
        }
        if awaits_own_room(socket, room) {
            return Ok(());
        }
        let was_in = hall.is_in(key, room);
        let is_first = hall.join(key, room)?;
        if !was_in && hall.is_in(key, room) {
            self.tell_joined(socket, room, is_first);
        }
        Ok(())
    }

    /// A socket leaves a room.
    pub(crate) fn leave(&self, socket: &Socket, room: &str) {
        let (hall, key) = (self.hall(), socket.key());
        let is_told = socket.table().rooms.is_some() && hall.is_in(key, room);
        let was_last = hall.leave(key, room);
        if is_told {
            self.tell_left(socket, room, was_last);
        }
    }

    /// A socket that has come in is in the room of its own name.
    pub(crate) fn tell_entered(&self, socket: &Socket) {
        if socket.table().rooms.is_some() {
            self.tell_joined(socket, socket.id(), true);
        }
    }

    /// Takes a socket out of its seat, and so out of all its rooms.
    pub(crate) fn vacate(&self, socket: &Socket) {
        self.vacate_by(socket, || self.hall().vacate(socket.key()));
    }

    /// The same, where the hall does it in a way of its own.
    pub(crate) fn vacate_by(&self, socket: &Socket, act: impl FnOnce() -> Vec<Arc<str>>) {
        let (hall, key) = (self.hall(), socket.key());
        let rooms = match socket.table().rooms {
            None => Vec::new(),
            Some(_) => hall.rooms_of(key),
        };
        let emptied = act();
        for room in &rooms {
            let is_own = room == socket.id().as_str();
            let was_last = is_own || emptied.iter().any(|name| **name == **room);
            self.tell_left(socket, room, was_last);
        }
    }

    pub(crate) fn tell_joined(&self, socket: &Socket, room: &str, is_first_here: bool) {
        let Some(handlers) = &socket.table().rooms else {
            return;
        };
        let (id, scope) = socket.id_and_namespace();
        let tell = || {
            if handlers.is_told_to_cluster {
                self.shared().cluster.tell_of_room(scope, room, true);
            }
        };
        let ledger = &self.shared().ledger;
        if is_first_here && handlers.counts() && ledger.enter(scope, room, tell) {
            run(&handlers.create, |handler| handler(room));
        }
        run(&handlers.join, |handler| handler(room, &id));
        run(&handlers.socket_joined, |handler| handler(socket, room));
    }

    fn tell_left(&self, socket: &Socket, room: &str, was_last_here: bool) {
        let Some(handlers) = &socket.table().rooms else {
            return;
        };
        let (id, scope) = socket.id_and_namespace();
        run(&handlers.leave, |handler| handler(room, &id));
        run(&handlers.socket_left, |handler| handler(socket, room));
        let tell = || {
            if handlers.is_told_to_cluster {
                self.shared().cluster.tell_of_room(scope, room, false);
            }
        };
        let ledger = &self.shared().ledger;
        if was_last_here && handlers.counts() && ledger.leave(scope, room, tell) {
            run(&handlers.delete, |handler| handler(room));
        }
    }
}

/// Whether this is the room of a pending socket's own name: it gets into that one when it is let in, and is told of it then.
fn awaits_own_room(socket: &Socket, room: &str) -> bool {
    room == socket.id().as_str() && !socket.is_connected()
}

fn run<H>(handlers: &[H], call: impl Fn(&H)) {
    for handler in handlers {
        task::guard(|| call(handler));
    }
}

#[cfg(test)]
mod tests;
