//! What is done with all the sockets in a target, wherever they live: to have them join and leave, to disconnect them, to tell of them.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedSender;

use super::broadcast::{cores_of, spread};
use super::{Hall, SocketKey, State, Target};
use crate::room::cores::CoreSet;
use crate::shard::handshake::Handshake;
use crate::shard::mail::Mail;

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// They join rooms.
    Join(Arc<[Box<str>]>),
    /// They leave rooms.
    Leave(Arc<[Box<str>]>),
    /// They are disconnected from the namespace, or from everything.
    Disconnect { close: bool },
    /// They are told of: each core that is asked sends what it has, once. The channel ends with the last of them.
    Fetch {
        /// With all that is known of them, and not only with their rooms.
        whole: bool,
        reply: UnboundedSender<Vec<View>>,
    },
}

/// A socket, as it is told of on other cores and threads.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) id: String,
    pub(crate) rooms: Vec<String>,
    /// If all is told that is known.
    pub(crate) whole: Option<Box<Whole>>,
}

/// The rest of it.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) handshake: Handshaken,
    /// JSON.
    pub(crate) data: Option<Arc<str>>,
}

/// What is known of a handshake.
#[derive(Clone, Debug)]
pub(crate) enum Handshaken {
    /// It was made with this server.
    Here {
        handshake: Handshake,
        /// JSON, or nothing.
        auth: Box<[u8]>,
    },
    /// Another server told of it: as an object with the names that Node has.
    Elsewhere { json: Box<str> },
}

/// A deed on its way to other cores.
pub(crate) struct Operation {
    pub(crate) scope: Arc<str>,
    pub(crate) to: Vec<Box<str>>,
    pub(crate) except: Vec<Box<str>>,
    pub(crate) deed: Deed,
    /// The core that asks for it, if one does.
    pub(crate) from: Option<usize>,
}

impl Operation {
    /// The form that crosses cores.
    pub(crate) fn new(target: &Target<'_>, deed: Deed, from: Option<usize>) -> Self {
        Operation {
            scope: target.scope.clone(),
            to: target.to.iter().map(|name| (*name).into()).collect(),
            except: target.except.iter().map(|name| (*name).into()).collect(),
            deed,
            from,
        }
    }
}

/// Rooms in which other cores will have members as soon as they have read what this one has posted to them. Until they say that they have,
/// this core takes them to be interested: a broadcast that it posts meanwhile arrives behind the joining, and finds the members.
#[derive(Default)]
pub(super) struct Assumed {
    scopes: HashMap<Arc<str>, HashMap<Box<str>, Pending>>,
}

/// How many notes are on their way, by core.
type Pending = SmallVec<[(usize, usize); 2]>;

impl Assumed {
    fn note(&mut self, scope: &Arc<str>, rooms: &[Box<str>], cores: CoreSet) {
        let scope = self.scopes.entry(scope.clone()).or_default();
        for room in rooms {
            let pending = scope.entry(room.clone()).or_default();
            for core in cores.iter() {
                match pending.iter_mut().find(|(known, _)| *known == core) {
                    Some((_, notes)) => *notes += 1,
                    None => pending.push((core, 1)),
                }
            }
        }
    }

    /// A core has done what it was asked for; what it told of its interest is true from now on.
    pub(super) fn settle(&mut self, operation: &Operation, core: usize) {
        let Deed::Join(rooms) = &operation.deed else {
            return;
        };
        let Some(scope) = self.scopes.get_mut(&operation.scope) else {
            return;
        };
        for room in &**rooms {
            let Some(pending) = scope.get_mut(room) else {
                continue;
            };
            if let Some((_, notes)) = pending.iter_mut().find(|(known, _)| *known == core) {
                *notes -= 1;
            }
            pending.retain(|(_, notes)| *notes > 0);
            if pending.is_empty() {
                scope.remove(room);
            }
        }
        if scope.is_empty() {
            self.scopes.remove(&operation.scope);
        }
    }

    /// Adds the cores that will have members of one of these rooms; of no room: of the scope.
    pub(super) fn add_to(&self, cores: &mut CoreSet, scope: &str, rooms: &[&str]) {
        if self.scopes.is_empty() {
            return;
        }
        let Some(scope) = self.scopes.get(scope) else {
            return;
        };
        for pending in rooms.iter().filter_map(|room| scope.get(*room)) {
            pending.iter().for_each(|(core, _)| cores.insert(*core));
        }
    }
}

impl Hall {
    /// Does something with everybody in the target: with those on this core at once, with others by mail.
    pub(crate) fn operate(&self, target: &Target<'_>, deed: Deed) {
        let sockets = {
            let state = &mut *self.state.borrow_mut();
            let cores = cores_of(state, self.core, target);
            if !cores.is_empty() {
                let operation = Operation::new(target, deed.clone(), Some(self.core));
                let operation = Arc::new(operation);
                for other in cores.iter() {
                    let mail = Mail::Operation(operation.clone());
                    state.outbox.post(other, mail);
                }
                if let Deed::Join(rooms) = &deed {
                    state.assumed.note(target.scope, rooms, cores);
                }
            }
            self.selected(state, target)
        };
        self.wake_shard();
        self.do_here(&deed, &sockets);
    }

    /// Is a joining on its way that this core has asked for?
    #[cfg(test)]
    pub(crate) fn assumes_interest(&self) -> bool {
        !self.state.borrow().assumed.scopes.is_empty()
    }

    pub(super) fn handle_operation(&self, operation: &Arc<Operation>) {
        let to: SmallVec<[&str; 4]> = operation.to.iter().map(AsRef::as_ref).collect();
        let except: SmallVec<[&str; 4]> = operation.except.iter().map(AsRef::as_ref).collect();
        let target = Target {
            scope: &operation.scope,
            to: &to,
            except: &except,
            not: None,
            volatile: false,
        };
        let sockets = self.selected(&mut self.state.borrow_mut(), &target);
        self.do_here(&operation.deed, &sockets);
        if let (Deed::Join(_), Some(from)) = (&operation.deed, operation.from) {
            let (operation, core) = (operation.clone(), self.core);
            let mail = Mail::Joined { operation, core };
            self.state.borrow_mut().outbox.post(from, mail);
        }
        self.wake_shard();
    }

    fn selected(&self, state: &mut State, target: &Target<'_>) -> Vec<SocketKey> {
        let mut sockets = Vec::new();
        spread(state, self.core, target, |_, seats, member, _| {
            sockets.extend(seats.at(member).map(|(key, _)| key));
        });
        sockets
    }

    fn do_here(&self, deed: &Deed, sockets: &[SocketKey]) {
        if let Some(usher) = self.usher() {
            usher.operate(deed, sockets);
        }
    }
}
