//! Engine.IO over HTTP at the level of bytes: every answer of the protocol's tables, and what a client may do to it.
//!
//! A [`bed::Bed`] is a whole server, made by [`ours`] or, with `RINGHALL_TESTS_AGAINST=node`, by `reference.mjs` on Node's own packages
//! (`tests/setup interop` installs them): what passes there is Socket.IO's behaviour and not ours by accident. Time decides nothing but how long
//! a failure is waited for.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends with the first thing that goes wrong, and waits for what happens elsewhere"
)]

mod bad;
mod bed;
mod chaos;
mod closing;
mod compression;
mod cors;
mod gates;
mod hostile;
mod http;
mod ours;
mod polling;
mod pushing;
mod refusals;
mod revision3;
mod session;
mod socketio;
mod upgrade;
mod wire;

use std::time::{Duration, Instant};

/// Long enough for a debug build on a loaded machine; what is waited for normally comes in milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until it is done.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
