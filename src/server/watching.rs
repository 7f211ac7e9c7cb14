//! Who is told that a socket has changed.

use std::sync::Arc;

use super::task;
use super::{Namespace, Socket};

/// A function that is told of a socket. It is called in the middle of what it is told of, and cannot wait.
type Watcher = Arc<dyn Fn(&Socket) + Send + Sync>;

/// The watchers of a namespace.
#[derive(Clone, Default)]
pub(crate) struct Watching {
    upgrade: Vec<Watcher>,
    data: Vec<Watcher>,
}

impl Watching {
    pub(crate) fn extend(&mut self, other: Watching) {
        self.upgrade.extend(other.upgrade);
        self.data.extend(other.data);
    }

    pub(crate) fn tell_upgrade(&self, socket: &Socket) {
        tell(&self.upgrade, socket);
    }

    pub(crate) fn tell_data(&self, socket: &Socket) {
        tell(&self.data, socket);
    }
}

fn tell(watchers: &[Watcher], socket: &Socket) {
    for watcher in watchers {
        task::guard(|| watcher(socket));
    }
}

impl Namespace {
    /// Is told that a socket's client, which had begun on polling, is on a WebSocket now. (Node: `socket.conn.on("upgrade")`.) A client that
    /// is in several namespaces upgrades once for each.
    ///
    /// ```
    /// # use ringhall::{Namespace, Socket};
    /// # fn f(namespace: Namespace) -> Namespace {
    /// namespace.on_upgrade(|socket: &Socket| println!("{} is on a WebSocket", socket.id()))
    /// # }
    /// ```
    pub fn on_upgrade(mut self, watcher: impl Fn(&Socket) + Send + Sync + 'static) -> Self {
        self.table.watching.upgrade.push(Arc::new(watcher));
        self
    }

    /// Is told that a socket's data was set, once it is in the namespace.
    #[cfg(feature = "admin")]
    pub(super) fn on_data(mut self, watcher: impl Fn(&Socket) + Send + Sync + 'static) -> Self {
        self.table.watching.data.push(Arc::new(watcher));
        self
    }
}
