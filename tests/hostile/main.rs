//! A hostile client against real servers on loopback: what it tries, and that nobody else notices.
//!
//! Whether memory stays flat is asked of servers in a process of their own, everything else mostly of servers in this one. Time decides nothing
//! but how long a failure is waited for.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends with the first thing that goes wrong, and waits for what happens elsewhere"
)]

mod abandoned;
mod client;
mod frames;
mod handshakes;
mod load;
mod packets;
mod panics;
mod program;
mod system;

use std::time::{Duration, Instant};

use ringhall::{Builder, Config, Server};

/// Long enough for a debug build on a loaded machine; what is waited for normally comes in milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What "flat" means: the memory of a server under attack grows by less than this, in KiB.
pub(crate) const FLAT_KIB: u64 = 64 * 1024;

/// Looks again and again until it is done.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One core, and no patience with clients that do not close.
pub(crate) fn base() -> Config {
    Config {
        cores: 1,
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    }
}

pub(crate) fn start(builder: Builder) -> Running {
    Running(
        builder
            .listen("127.0.0.1:0")
            .start()
            .expect("the server starts"),
    )
}

/// A server in this process, ended with this value.
pub(crate) struct Running(pub(crate) Server);

impl Running {
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.0.local_addrs()[0]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shutdown();
        let ended = self.0.wait();
        if !std::thread::panicking() {
            ended.expect("every core ends in good order");
        }
    }
}
