//! One core's share of the namespaces that clients bring into being: how many of its sockets are in each.

use std::collections::HashMap;
use std::sync::Arc;

use super::Local;
use crate::server::NamespaceHandle;
use crate::server::namespace::children::Entrance;
use crate::server::task;

/// By name. As long as there is an entry, the table that all cores share need not be asked.
#[derive(Default)]
pub(super) struct Inhabited(HashMap<Arc<str>, Child>);

struct Child {
    family: usize,
    sockets: usize,
}

/// Whether a socket may be seated in a child.
pub(super) enum Place {
    /// It counts as one that is in: [`Local::child_left`] takes it out again.
    At(Arc<str>, usize),
    Unknown,
    Full,
}

impl Local {
    /// One more socket in this child: of whatever family if it exists, else as a new one of `family`.
    pub(super) fn enter_child(&self, name: &str, family: Option<usize>) -> Place {
        if let Some((name, family)) = self.enter_inhabited(name) {
            return self.place(name, family);
        }
        match self.shared.namespaces.children.enter(name, family) {
            Entrance::Unknown => Place::Unknown,
            Entrance::Full => Place::Full,
            Entrance::In {
                name,
                family,
                is_new,
            } => {
                let child = Child { family, sockets: 1 };
                let children = &self.admissions.children;
                children.borrow_mut().0.insert(name.clone(), child);
                if is_new {
                    self.tell_newcomer(&name);
                }
                self.place(name, family)
            }
        }
    }

    fn enter_inhabited(&self, name: &str) -> Option<(Arc<str>, usize)> {
        let mut children = self.admissions.children.borrow_mut();
        let child = children.0.get_mut(name)?;
        child.sockets += 1;
        let family = child.family;
        let (name, _) = children.0.get_key_value(name)?;
        Some((name.clone(), family))
    }

    fn place(&self, name: Arc<str>, family: usize) -> Place {
        match self.shared.namespaces.table_of(family) {
            Some(table) => Place::At(name, table),
            None => Place::Unknown,
        }
    }

    fn tell_newcomer(&self, name: &Arc<str>) {
        let newcomers = &self.shared.namespaces.newcomers;
        if newcomers.is_empty() {
            return;
        }
        let namespace = NamespaceHandle {
            shared: self.shared.clone(),
            name: name.clone(),
        };
        for newcomer in newcomers {
            task::guard(|| newcomer(&namespace));
        }
    }

    /// A socket has left its child, or was not let in.
    pub(super) fn child_left(&self, name: &Arc<str>) {
        let mut children = self.admissions.children.borrow_mut();
        let Some(child) = children.0.get_mut(name) else {
            return;
        };
        child.sockets -= 1;
        if child.sockets == 0 {
            children.0.remove(name);
            self.shared.namespaces.children.leave(name);
        }
    }

    /// How many children this core has sockets in.
    #[cfg(test)]
    pub(crate) fn inhabited(&self) -> usize {
        self.admissions.children.borrow().0.len()
    }
}
