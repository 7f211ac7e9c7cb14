//! Servers on one bus.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringhall::adapter::{
    AdapterError, AdapterFuture, Bus, BusTransport, ClusterAdapter, ClusterSettings,
    ClusterTransport, Incoming, Message, ServerId,
};
use ringhall::{Builder, Server};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let within = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.unwrap().block_on(within).expect("it ends")
}

/// A way onto the bus that can be cut, as when a machine loses its power. What goes over it is written as JSON and read again.
pub(crate) struct Cable {
    bus: BusTransport,
    is_cut: Arc<AtomicBool>,
}

impl Cable {
    fn cut(&self) -> Option<AdapterError> {
        let is_cut = self.is_cut.load(Ordering::Relaxed);
        is_cut.then(|| AdapterError::new("the cable is cut"))
    }
}

impl ClusterTransport for Cable {
    fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.start(id, incoming)
    }

    fn publish(
        &self,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<Option<String>, AdapterError>> {
        match self.cut() {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.bus.publish(over_the_wire(&message)),
        }
    }

    fn publish_response(
        &self,
        to: &ServerId,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<(), AdapterError>> {
        match self.cut() {
            Some(error) => Box::pin(async { Err(error) }),
            None => self.bus.publish_response(to, over_the_wire(&message)),
        }
    }

    fn close(&self) -> AdapterFuture<()> {
        self.bus.close()
    }
}

fn over_the_wire(message: &Message) -> Arc<Message> {
    Arc::new(Message::from_json(&message.to_json()).expect("it is read as it was written"))
}

/// Servers that know each other, and end with it.
pub(crate) struct Cluster {
    servers: Vec<Server>,
    cables: Vec<Arc<AtomicBool>>,
}

impl Cluster {
    /// So many servers, of two cores each.
    pub(crate) fn start(servers: usize, describe: impl Fn(usize) -> Builder) -> Self {
        Self::with(&ClusterSettings::default(), servers, describe)
    }

    pub(crate) fn with(
        settings: &ClusterSettings,
        servers: usize,
        describe: impl Fn(usize) -> Builder,
    ) -> Self {
        let bus = Bus::new();
        let mut cluster = Cluster {
            servers: Vec::new(),
            cables: Vec::new(),
        };
        for number in 0..servers {
            let is_cut = Arc::new(AtomicBool::new(false));
            let cable = Cable {
                bus: bus.transport(),
                is_cut: is_cut.clone(),
            };
            let adapter = ClusterAdapter::new(cable).with(settings.clone());
            let builder = describe(number).listen("127.0.0.1:0").cores(2);
            let server = builder.adapter(adapter).start().expect("it starts");
            cluster.servers.push(server);
            cluster.cables.push(is_cut);
        }
        for server in &cluster.servers {
            gather(server, servers);
        }
        cluster
    }

    /// Nothing that this server says reaches the others any more.
    pub(crate) fn cut(&self, server: usize) {
        self.cables[server].store(true, Ordering::Relaxed);
    }
}

/// Waits until this server knows of so many.
pub(crate) fn gather(server: &Server, servers: usize) {
    wait_for(async {
        while server.server_count().await != servers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

pub(crate) fn end(server: &Server) {
    server.shutdown();
    server.wait().unwrap();
}

impl Deref for Cluster {
    type Target = [Server];

    fn deref(&self) -> &[Server] {
        &self.servers
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &self.servers {
            server.shutdown();
        }
        for server in &self.servers {
            let _ = server.wait();
        }
    }
}
