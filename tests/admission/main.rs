//! Who is let into a namespace, when, and what is left of those who are not: whole servers on the real kernel, spoken to byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends with the first thing that goes wrong"
)]

mod client;
mod families;
mod gate;
mod middlewares;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringhall::{Builder, Config, Server};
use tokio::sync::Semaphore;

/// One core, and no patience with clients that do not close.
fn base() -> Config {
    Config {
        cores: 1,
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    }
}

fn start(builder: Builder) -> Server {
    builder
        .listen("127.0.0.1:0")
        .start()
        .expect("the server starts")
}

fn end(server: &Server) {
    server.shutdown();
    server.wait().unwrap();
}

/// Something that middlewares wait for until a test lets one through.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Gate {
        Gate(Arc::new(Semaphore::new(0)))
    }

    fn open(&self) {
        self.0.add_permits(1);
    }

    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}
