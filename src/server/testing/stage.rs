//! One core on the thread of a test.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::Testing;
use crate::reactor::Wait;
use crate::reactor::clock::Clock;
use crate::reactor::still::Still;
use crate::room::{Limits, Rooms};
use crate::server::local::Local;
use crate::server::{Builder, Server};
use crate::shard::hall::Hall;
use crate::shard::mailbox::{Outbox, mailbox};
use crate::shard::{Shard, thread};

/// See [`super::run`].
pub(super) fn run<T>(builder: Builder, test: impl AsyncFnOnce(Testing) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime for the test: {error}"));
    // Tasks are dropped with it, while the runtime is still there.
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let core = Core::new(builder);
        let _on_core = thread::enter(core.hall.clone());
        let testing = Testing {
            hall: core.hall.clone(),
            server: core.server.clone(),
            panics_allowed: Rc::default(),
        };
        let panics_allowed = testing.panics_allowed.clone();
        let server = core.server.clone();
        tokio::task::spawn_local(core.go());
        let result = test(testing).await;
        let panics = server.counters().panics;
        assert!(
            panics == 0 || panics_allowed.get(),
            "the program panicked {panics} times: the server survives it, and each is above"
        );
        result
    })
}

struct Core {
    shard: Shard<Still, Rc<Local>>,
    hall: Rc<Hall>,
    server: Server,
    /// Mail has come from another thread.
    bell: Arc<Notify>,
}

impl Core {
    fn new(builder: Builder) -> Self {
        let shared = builder
            .into_shared()
            .unwrap_or_else(|error| panic!("the server is described wrongly: {error}"));
        let bell = Arc::new(Notify::new());
        let ring = bell.clone();
        let (address, mailbox) = mailbox(Arc::new(move || ring.notify_one()));
        let addresses: Arc<[_]> = Arc::from([address]);
        let shared = Arc::new(shared);
        shared.set_addresses(addresses.clone());
        shared.set_clock(Clock::start());
        let settings = Arc::new(shared.settings.clone());
        let limits = Limits {
            rooms_per_member: shared.rooms_max,
            ..Limits::default()
        };
        let outbox = Outbox::new(0, addresses);
        let hall = Hall::new(0, outbox, settings.sockets_max(), Rooms::new(limits));
        let hall = Rc::new(hall);
        let server = Server::of_shared(&shared);
        let local = Local::new(hall.clone(), shared);
        let shard = Shard::new(Still::new(), local, hall.clone(), settings, mailbox);
        Core {
            shard,
            hall,
            server,
            bell,
        }
    }

    /// As a core's thread does it (`shard::thread`), but waiting for nothing outside of this thread, except mail.
    async fn go(mut self) {
        while !self.shard.is_over() {
            let Ok(pace) = self.shard.turn(Wait::No) else {
                return;
            };
            if pace.active || pace.more || !self.shard.fall_asleep() {
                tokio::task::yield_now().await;
                continue;
            }
            self.wait(pace.deadline_ms).await;
        }
    }

    async fn wait(&self, deadline_ms: Option<u64>) {
        let mut timeout = pin!(async {
            match deadline_ms {
                None => std::future::pending().await,
                Some(at) => {
                    let ms = at.saturating_sub(self.shard.clock_ms());
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
            }
        });
        let mut mail = pin!(self.bell.notified());
        poll_fn(|cx| {
            self.hall.set_waker(cx.waker());
            if self.hall.wants_turn()
                || timeout.as_mut().poll(cx).is_ready()
                || mail.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}
