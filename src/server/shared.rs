//! What all cores and all handles of one server share: read-only once it runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[cfg(feature = "admin")]
use super::admin::Admin;
use super::cluster::Cluster;
use super::counters::AllCounters;
use super::http::fallback::Fallback;
use super::http::options::Options;
use super::http::script::Scripts;
use super::namespace::known::Namespaces;
use super::operators::{Elsewhere, PacketIds};
use super::recovery::Recovering;
use super::rooms::Ledger;
use super::route::Routes;
use super::start::Cores;
use super::state::StateMap;
use crate::reactor::clock::Clock;
use crate::room::cores::MAX_CORES;
use crate::shard::call::Above;
use crate::shard::hall::Hall;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Address;
use crate::shard::settings::Settings;
#[cfg(feature = "admin")]
use crate::shard::traffic::Flow;
use crate::shard::traffic::Traffic;

/// What is served over HTTP beside the routes.
pub(crate) struct Served {
    /// For requests that are nobody else's.
    pub(crate) fallback: Option<Fallback>,
    /// The client script, below Socket.IO's path.
    pub(crate) scripts: Option<Scripts>,
    /// That path, with a slash at its end.
    pub(crate) script_prefix: String,
}

impl Served {
    /// The client script, where Socket.IO is spoken.
    pub(crate) fn scripts_for(&self, above: &Above) -> Option<&Scripts> {
        match above {
            Above::SocketIo => self.scripts.as_ref(),
            Above::Raw { .. } => None,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) rooms_max: usize,
    pub(crate) states: StateMap,
    pub(crate) namespaces: Namespaces,
    pub(crate) routes: Routes,
    /// Engine.IO over HTTP.
    pub(crate) engine: Options,
    pub(crate) served: Served,
    /// The name of the main namespace, for broadcasts that are given no other.
    pub(crate) root: Arc<str>,
    pub(crate) counters: AllCounters,
    /// Present where sessions can be recovered.
    pub(crate) recovery: Option<Recovering>,
    /// Of each core.
    traffic: Mutex<Vec<Arc<Traffic>>>,
    is_ending: AtomicBool,
    /// What is behind the Admin UI, if there is one.
    #[cfg(feature = "admin")]
    pub(crate) admin: Option<Arc<Admin>>,
    pub(crate) cluster: Cluster,
    addresses: OnceLock<Arc<[Address<Mail>]>>,
    cores: OnceLock<Cores>,
    clock: OnceLock<Clock>,
    pub(crate) packet_ids: Box<[PacketIds]>,
    pub(crate) ledger: Ledger,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

impl Shared {
    pub(crate) fn new(
        settings: Settings,
        rooms_max: usize,
        states: StateMap,
        namespaces: Namespaces,
        (routes, engine, served): (Routes, Options, Served),
    ) -> Self {
        let root = namespaces.name_of("/");
        let (addresses, cores) = (OnceLock::new(), OnceLock::new());
        let packet_ids = (0..MAX_CORES).map(|_| PacketIds::default()).collect();
        Shared {
            settings,
            rooms_max,
            states,
            namespaces,
            routes,
            engine,
            served,
            root,
            counters: AllCounters::default(),
            recovery: None,
            traffic: Mutex::default(),
            is_ending: AtomicBool::new(false),
            #[cfg(feature = "admin")]
            admin: None,
            cluster: Cluster::default(),
            addresses,
            cores,
            clock: OnceLock::new(),
            packet_ids,
            ledger: Ledger::default(),
            elsewhere: OnceLock::new(),
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

    /// The same, to be kept.
    #[cfg(feature = "tower")]
    pub(crate) fn addresses_to_keep(&self) -> Arc<[Address<Mail>]> {
        self.addresses.get().cloned().unwrap_or_default()
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

    /// Once, when the server starts.
    pub(crate) fn set_clock(&self, clock: Clock) {
        let first = self.clock.set(clock).is_ok();
        debug_assert!(first, "a server starts once");
    }

    /// Once, before the server runs, if it is part of a cluster.
    pub(crate) fn set_elsewhere(&self, elsewhere: Arc<dyn Elsewhere>) {
        let first = self.elsewhere.set(elsewhere).is_ok();
        debug_assert!(first, "a server is part of one cluster");
    }

    /// The other servers of the cluster.
    pub(crate) fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        self.elsewhere.get().map(|elsewhere| &**elsewhere)
    }

    /// The traffic of one more core.
    pub(crate) fn add_traffic(&self, traffic: Arc<Traffic>) {
        let mut all = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(traffic);
    }

    /// What has gone through all cores.
    #[cfg(feature = "admin")]
    pub(crate) fn traffic(&self) -> Flow {
        let all = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let flows = all.iter().map(|traffic| traffic.flow());
        flows.fold(Flow::default(), |sum, flow| sum.plus(&flow))
    }

    /// A shutdown was asked for.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "admin")]
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.get().map_or(0, Clock::now_ms)
    }

    /// A moment since the start, in milliseconds since 1970.
    pub(crate) fn unix_ms(&self, at_ms: u64) -> u64 {
        self.clock.get().map_or(at_ms, |clock| clock.unix_ms(at_ms))
    }

    /// Is this the hall of one of this server's cores? (A program may run several servers.)
    pub(crate) fn is_home_of(&self, hall: &Hall) -> bool {
        self.addresses
            .get()
            .is_some_and(|addresses| hall.posts_to(addresses))
    }
}
