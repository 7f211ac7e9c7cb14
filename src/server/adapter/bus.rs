//! A cluster inside one process.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};

use super::cluster::{ClusterTransport, Incoming};
use super::message::{Message, ServerId};
use super::{AdapterError, AdapterFuture};

/// Joins servers of one process to a cluster: for tests of programs that will run on several machines. A clone is the same bus.
///
/// Messages go from one server's memory to the other's, in order; none is lost, unless a server cannot keep up.
///
/// ```
/// # fn main() -> ringhall::Result<()> {
/// use ringhall::Server;
/// use ringhall::adapter::{Bus, ClusterAdapter};
///
/// let bus = Bus::new();
/// let mut servers = Vec::new();
/// for _ in 0..3 {
///     let adapter = ClusterAdapter::new(bus.transport());
///     servers.push(Server::builder().listen("127.0.0.1:0").cores(1).adapter(adapter).start()?);
/// }
/// servers[0].emit("news", "to the sockets of all three");
/// # for server in servers {
/// #     server.shutdown();
/// #     server.wait()?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Bus {
    stops: Arc<Mutex<HashMap<ServerId, Incoming>>>,
}

impl Bus {
    /// A bus that nobody is on yet.
    ///
    /// ```
    /// let bus = ringhall::adapter::Bus::new();
    /// assert_eq!(format!("{bus:?}"), "Bus { servers: 0 }");
    /// ```
    pub fn new() -> Self {
        Bus::default()
    }

    /// The way of one server onto the bus, for its [`ClusterAdapter`](super::ClusterAdapter).
    ///
    /// ```
    /// use ringhall::adapter::{Bus, ClusterAdapter};
    /// let adapter = ClusterAdapter::new(Bus::new().transport());
    /// # let _ = adapter;
    /// ```
    pub fn transport(&self) -> BusTransport {
        BusTransport {
            bus: self.clone(),
            id: Mutex::new(None),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<ServerId, Incoming>) -> T) -> T {
        act(&mut self.stops.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("servers", &self.with(|stops| stops.len()))
            .finish()
    }
}

/// One server's way onto a [`Bus`].
///
/// ```
/// let transport: ringhall::adapter::BusTransport = ringhall::adapter::Bus::new().transport();
/// # let _ = transport;
/// ```
#[derive(Debug)]
pub struct BusTransport {
    bus: Bus,
    /// Known once it has started.
    id: Mutex<Option<ServerId>>,
}

impl BusTransport {
    fn with_id<T>(&self, act: impl FnOnce(&mut Option<ServerId>) -> T) -> T {
        act(&mut self.id.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get_off(&self) {
        if let Some(id) = self.with_id(Option::take) {
            self.bus.with(|stops| stops.remove(&id));
        }
    }
}

impl ClusterTransport for BusTransport {
    fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>> {
        self.with_id(|own| *own = Some(id.clone()));
        self.bus.with(|stops| stops.insert(id.clone(), incoming));
        Box::pin(ready(Ok(())))
    }

    fn publish(
        &self,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<Option<String>, AdapterError>> {
        // Under the lock, so that all get what all say in one order.
        self.bus.with(|stops| {
            for (id, incoming) in stops.iter() {
                if *id != message.sender {
                    incoming.push(message.clone());
                }
            }
        });
        Box::pin(ready(Ok(None)))
    }

    fn publish_response(
        &self,
        to: &ServerId,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.with(|stops| {
            if let Some(incoming) = stops.get(to) {
                incoming.push(message);
            }
        });
        Box::pin(ready(Ok(())))
    }

    fn close(&self) -> AdapterFuture<()> {
        self.get_off();
        Box::pin(ready(()))
    }
}

impl Drop for BusTransport {
    fn drop(&mut self) {
        self.get_off();
    }
}
