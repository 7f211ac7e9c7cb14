//! What all cores and all handles of one server share: read-only once it runs.

use std::sync::{Arc, OnceLock};

use super::namespace::Namespaces;
use super::route::Routes;
use super::start::Cores;
use super::state::StateMap;
use crate::shard::hall::Hall;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Address;
use crate::shard::settings::Settings;

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) rooms_max: usize,
    pub(crate) states: StateMap,
    pub(crate) namespaces: Namespaces,
    pub(crate) routes: Routes,
    /// The name of the main namespace, for broadcasts that are given no other.
    pub(crate) root: Arc<str>,
    addresses: OnceLock<Arc<[Address<Mail>]>>,
    cores: OnceLock<Cores>,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        rooms_max: usize,
        states: StateMap,
        namespaces: Namespaces,
        routes: Routes,
    ) -> Self {
        let root = namespaces.name_of("/");
        let (addresses, cores) = (OnceLock::new(), OnceLock::new());
        Shared {
            settings,
            rooms_max,
            states,
            namespaces,
            routes,
            root,
            addresses,
            cores,
        }
    }

    /// Once, when the cores are known.
    pub(crate) fn set_addresses(&self, addresses: Arc<[Address<Mail>]>) {
        let first = self.addresses.set(addresses).is_ok();
        debug_assert!(first, "a server starts once");
    }

    /// Empty before the server runs.
    pub(crate) fn addresses(&self) -> &[Address<Mail>] {
        self.addresses.get().map_or(&[], |addresses| addresses)
    }

    /// Once, when the cores have been started.
    pub(crate) fn set_cores(&self, cores: Cores) {
        let first = self.cores.set(cores).is_ok();
        debug_assert!(first, "a server starts once");
    }

    /// `None` before the server runs.
    pub(crate) fn cores(&self) -> Option<&Cores> {
        self.cores.get()
    }

    /// Is this the hall of one of this server's cores? (A program may run several servers.)
    pub(crate) fn is_home_of(&self, hall: &Hall) -> bool {
        self.addresses
            .get()
            .is_some_and(|addresses| hall.posts_to(addresses))
    }
}
