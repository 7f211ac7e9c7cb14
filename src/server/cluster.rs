//! This server among others: what its adapter is told, and what is done for the others.

#![forbid(unsafe_code)]

mod here;
mod others;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Builder;
use super::adapter::{Adapter, Host, InMemory};
use super::server_events::ServerHandlers;
use super::shared::Shared;
use crate::{Error, Result};
use here::ThisServer;
use others::Others;

/// The data of a socket for which none was set, as servers tell each other.
const NO_DATA: &str = "{}";

/// What a server knows of its cluster.
pub(crate) struct Cluster {
    adapter: Arc<dyn Adapter>,
    is_cluster: bool,
    /// By the name of the namespace.
    events: HashMap<Arc<str>, ServerHandlers>,
    /// Cores that have ended.
    ended: AtomicUsize,
}

impl Default for Cluster {
    fn default() -> Self {
        Cluster::new(Arc::new(InMemory), HashMap::new())
    }
}

impl Cluster {
    pub(crate) fn new(
        adapter: Arc<dyn Adapter>,
        events: HashMap<Arc<str>, ServerHandlers>,
    ) -> Self {
        Cluster {
            is_cluster: adapter.is_cluster(),
            adapter,
            events,
            ended: AtomicUsize::new(0),
        }
    }

    /// The way to the other servers; `None`: there are none. It is this one branch that a broadcast costs without a cluster.
    pub(crate) fn others(&self) -> Option<&Arc<dyn Adapter>> {
        self.is_cluster.then_some(&self.adapter)
    }

    /// This server has its first member of a room, or no member any more.
    pub(crate) fn tell_of_room(&self, namespace: &str, room: &str, has_members: bool) {
        if has_members {
            self.adapter.room_created(namespace, room);
        } else {
            self.adapter.room_deleted(namespace, room);
        }
    }

    /// Joins the cluster. The cores must be able to take mail.
    pub(crate) fn start(shared: &Arc<Shared>) -> Result<()> {
        if let Some(others) = shared.cluster.others() {
            shared.set_elsewhere(Arc::new(Others::new(others.clone())));
        }
        let here = ThisServer::new(shared);
        let started = shared.cluster.adapter.start(Host::new(Arc::new(here)));
        let failed = |error| Error::system("join the cluster")(std::io::Error::other(error));
        started.map_err(failed)
    }

    /// Waits until leave is taken.
    pub(crate) fn wait(&self) {
        self.adapter.wait();
    }
}

/// Takes leave of the other servers when the last core has ended, however that comes: up to then, what happens here is told, and who asks is
/// answered.
pub(crate) struct Leaving(pub(crate) Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let (cluster, cores) = (&self.0.cluster, self.0.addresses().len());
        if cluster.ended.fetch_add(1, Ordering::AcqRel) + 1 == cores {
            cluster.adapter.close();
        }
    }
}

impl Builder {
    /// Joins the server with others; see [`adapter`](crate::adapter). Default: it is alone ([`InMemory`](crate::adapter::InMemory)).
    ///
    /// ```
    /// use ringhall::Server;
    /// use ringhall::adapter::{Bus, ClusterAdapter};
    ///
    /// let bus = Bus::new();
    /// let builder = Server::builder().adapter(ClusterAdapter::new(bus.transport()));
    /// # let _ = builder;
    /// ```
    pub fn adapter(self, adapter: impl Adapter) -> Self {
        self.with_adapter(Arc::new(adapter))
    }
}
