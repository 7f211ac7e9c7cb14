//! The namespaces that clients have brought into being: a table that all cores share, touched when a core gets its first socket in one of
//! them, or has lost its last, and never for an event.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module's text.
pub(crate) struct Children {
    limits: Limits,
    known: Mutex<Known>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Names are the clients' choice: at most so many are remembered.
    pub(crate) children_max: usize,
    /// Whether one is forgotten as soon as nobody is in it.
    pub(crate) cleanup: bool,
}

#[derive(Default)]
struct Known {
    by_name: HashMap<Arc<str>, Child>,
    /// Those that nobody is in, by when that came to be: the first make way for others.
    vacant: BTreeMap<u64, Arc<str>>,
    vacated: u64,
}

struct Child {
    family: usize,
    /// Cores with sockets in it.
    cores: usize,
    /// Its place among the vacant.
    vacant: u64,
}

/// What came of a core's wish to have a socket there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// There is such a namespace: its name, its family, and whether it came into being just now.
    In {
        name: Arc<str>,
        family: usize,
        is_new: bool,
    },
    Unknown,
    /// There is no room for another one.
    Full,
}

impl Children {
    pub(crate) fn new(limits: Limits) -> Self {
        Children {
            limits,
            known: Mutex::default(),
        }
    }

    /// A core gets its first socket there. With a family, the namespace is brought into being if need be.
    pub(crate) fn enter(&self, name: &str, family: Option<usize>) -> Entrance {
        let known = &mut *self.lock();
        if let Some((name, child)) = known.by_name.get_key_value(name) {
            let (name, family) = (name.clone(), child.family);
            if let Some(child) = known.by_name.get_mut(&name) {
                if child.cores == 0 {
                    known.vacant.remove(&child.vacant);
                }
                child.cores += 1;
            }
            return Entrance::In {
                name,
                family,
                is_new: false,
            };
        }
        let Some(family) = family else {
            return Entrance::Unknown;
        };
        if known.by_name.len() >= self.limits.children_max {
            let Some((_, oldest)) = known.vacant.pop_first() else {
                return Entrance::Full;
            };
            known.by_name.remove(&oldest);
        }
        let name: Arc<str> = name.into();
        let child = Child {
            family,
            cores: 1,
            vacant: 0,
        };
        known.by_name.insert(name.clone(), child);
        Entrance::In {
            name,
            family,
            is_new: true,
        }
    }

    /// A core has lost its last socket there.
    pub(crate) fn leave(&self, name: &Arc<str>) {
        let known = &mut *self.lock();
        let Some(child) = known.by_name.get_mut(name) else {
            return;
        };
        child.cores = child.cores.saturating_sub(1);
        if child.cores > 0 {
            return;
        }
        if self.limits.cleanup {
            known.by_name.remove(name);
            return;
        }
        known.vacated += 1;
        child.vacant = known.vacated;
        known.vacant.insert(known.vacated, name.clone());
    }

    /// The names of all, or of one family's, in no particular order.
    pub(crate) fn names(&self, family: Option<usize>) -> Vec<Arc<str>> {
        let known = self.lock();
        let meant = known
            .by_name
            .iter()
            .filter(|(_, child)| family.is_none_or(|family| family == child.family));
        meant.map(|(name, _)| name.clone()).collect()
    }

    /// Those of a family that somebody is in.
    pub(crate) fn inhabited(&self, family: usize) -> Vec<Arc<str>> {
        let known = self.lock();
        let meant = known
            .by_name
            .iter()
            .filter(|(_, child)| child.family == family && child.cores > 0);
        meant.map(|(name, _)| name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // No code of the user runs under it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(children_max: usize, cleanup: bool) -> Children {
        Children::new(Limits {
            children_max,
            cleanup,
        })
    }

    /// The family and whether it is new.
    fn enter(children: &Children, name: &str, family: Option<usize>) -> Option<(usize, bool)> {
        match children.enter(name, family) {
            Entrance::In { family, is_new, .. } => Some((family, is_new)),
            Entrance::Unknown | Entrance::Full => None,
        }
    }

    fn names(children: &Children) -> Vec<Arc<str>> {
        let mut names = children.names(None);
        names.sort();
        names
    }

    #[test]
    fn a_child_exists_from_its_first_socket_on() {
        let children = children(10, false);
        assert_eq!(enter(&children, "/a", None), None);
        assert_eq!(enter(&children, "/a", Some(3)), Some((3, true)));
        assert_eq!(enter(&children, "/a", None), Some((3, false)));
        assert_eq!(
            enter(&children, "/a", Some(4)),
            Some((3, false)),
            "who came first has given it its family"
        );
        for _ in 0..3 {
            children.leave(&"/a".into());
        }
        assert!(children.inhabited(3).is_empty());
        assert_eq!(children.names(Some(3)), ["/a".into()]);
        assert!(children.names(Some(4)).is_empty());
        assert_eq!(enter(&children, "/a", None), Some((3, false)));
        assert_eq!(children.inhabited(3), ["/a".into()]);
    }

    #[test]
    fn with_cleanup_it_is_forgotten_when_the_last_core_has_nobody_there() {
        let children = children(10, true);
        assert_eq!(enter(&children, "/a", Some(0)), Some((0, true)));
        assert_eq!(enter(&children, "/a", Some(0)), Some((0, false)));
        children.leave(&"/a".into());
        assert_eq!(names(&children), ["/a".into()]);
        children.leave(&"/a".into());
        assert_eq!(names(&children), []);
        assert_eq!(enter(&children, "/a", None), None);
    }

    #[test]
    fn the_longest_vacant_makes_way_and_nobody_who_is_in_one() {
        let children = children(3, false);
        for name in ["/a", "/b", "/c"] {
            assert_eq!(enter(&children, name, Some(0)), Some((0, true)));
        }
        assert_eq!(children.enter("/d", Some(0)), Entrance::Full);
        children.leave(&"/b".into());
        children.leave(&"/a".into());
        // Somebody comes back to the one that was vacant for longest.
        assert_eq!(enter(&children, "/b", None), Some((0, false)));
        assert_eq!(enter(&children, "/d", Some(0)), Some((0, true)));
        assert_eq!(names(&children), ["/b".into(), "/c".into(), "/d".into()]);
        assert_eq!(children.enter("/e", Some(0)), Entrance::Full);
    }
}
