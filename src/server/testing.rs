//! Tests of handlers in milliseconds: a server without a port, clients without a network, and a clock that waits for nobody.
//!
//! [`run`] takes the builder of your server and a test. Everything happens on the thread of the test: handlers, tasks and clients take
//! turns, and when none of them has anything to do, the clock jumps to the next timer. So a handler that sleeps for half an hour, or a client that
//! does not answer in time, costs a test nothing, and no test has to wait "long enough".
//!
//! ```
//! use ringhall::testing;
//! use ringhall::{Data, Server, Socket};
//!
//! fn chat() -> ringhall::Builder {
//!     Server::builder()
//!         .on_connection(|socket: Socket| socket.join("lobby"))
//!         .on("say", |socket: Socket, Data(text): Data<String>| {
//!             socket.to("lobby").emit("said", text);
//!             "told them"
//!         })
//! }
//!
//! // In a test of yours: `#[test] fn others_hear_it() { … }`
//! testing::run(chat(), async |test| {
//!     let (ada, bob) = (test.connect().await, test.connect().await);
//!
//!     let answer: String = ada.emit_with_ack("say", "hello").await;
//!     assert_eq!(answer, "told them");
//!
//!     let heard: String = bob.expect("said").await;
//!     assert_eq!(heard, "hello");
//!     ada.expect_nothing().await;
//! });
//! ```
//!
//! What is there is the server itself, from the Engine.IO session upwards: packets are encoded and decoded, limits hold, heartbeats are
//! exchanged, namespaces, rooms, middlewares and recovery work as they do over a network. What is not there is what lies below: HTTP (so `allow_request` and other
//! hooks of HTTP are not asked), plain WebSockets, TLS. Clients are sessions on polling; there is one core.
//!
//! This module needs the feature `testing`:
//!
//! ```toml
//! [dev-dependencies]
//! ringhall = { version = "0.1", features = ["testing"] }
//! ```

#![forbid(unsafe_code)]
#![allow(
    clippy::panic,
    reason = "what is not as a test expects it ends the test"
)]

mod client;
mod session;
mod socket;
mod stage;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::{Builder, Server};
use crate::shard::hall::Hall;

pub use client::{Client, Refused};
pub use socket::{Event, Question, TestSocket};

#[cfg(test)]
mod tests;

/// Runs `test` against the server that `builder` describes, and returns what it returns. Addresses to listen on are not needed, and
/// ignored. The clock stands still as long as anything is left to do, and jumps to the next timer then.
///
/// # Panics
/// If `test` does; if the description of the server is wrong; if a handler panicked, since a panic that the server survives is still a bug (unless
/// [`Testing::allow_panics`] was called).
///
/// ```
/// use std::time::Duration;
/// use ringhall::{Server, testing};
///
/// let builder = Server::builder().on("later", async || {
///     tokio::time::sleep(Duration::from_secs(1800)).await;
///     "half an hour has passed"
/// });
/// testing::run(builder, async |test| {
///     let ada = test.connect().await;
///     let answer: String = ada.emit_with_ack("later", ()).await;
///     assert_eq!(answer, "half an hour has passed");
/// });
/// ```
pub fn run<T>(builder: Builder, test: impl AsyncFnOnce(Testing) -> T) -> T {
    stage::run(builder, test)
}

/// The server of one test; see [`run`].
///
/// ```
/// # use ringhall::{Server, testing};
/// testing::run(Server::builder(), async |test| {
///     let ada = test.connect().await;
///     test.server().emit("news", "to everybody");
///     assert_eq!(ada.expect::<String>("news").await, "to everybody");
/// });
/// ```
pub struct Testing {
    hall: Rc<Hall>,
    server: Server,
    panics_allowed: Rc<Cell<bool>>,
}

impl Testing {
    /// The server, to be spoken to as from anywhere.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     test.server().to("lobby").emit("news", "to nobody yet");
    /// });
    /// ```
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Handlers of this test may panic: [`run`] does not mind then.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// let builder = Server::builder().on("trip", || -> () { panic!("on purpose") });
    /// testing::run(builder, async |test| {
    ///     test.allow_panics();
    ///     let ada = test.connect().await;
    ///     ada.emit("trip", ());
    ///     test.settle().await;
    ///     assert!(ada.is_connected());
    /// });
    /// ```
    pub fn allow_panics(&self) {
        self.panics_allowed.set(true);
    }

    /// A client that has joined the main namespace without saying more.
    ///
    /// # Panics
    /// If it is refused.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     assert!(test.connect().await.is_connected());
    /// });
    /// ```
    pub async fn connect(&self) -> TestSocket {
        match self.client().connect("/").await {
            Ok(socket) => socket,
            Err(refused) => panic!("the client was refused: {refused}"),
        }
    }

    /// A client that joins nothing yet: for one with headers, a query, several namespaces, or that is to be refused.
    ///
    /// ```
    /// # use ringhall::{Server, testing};
    /// testing::run(Server::builder(), async |test| {
    ///     let refused = test.client().connect("/nowhere").await.unwrap_err();
    ///     assert_eq!(refused.message(), "Invalid namespace");
    /// });
    /// ```
    pub fn client(&self) -> Client {
        Client::new(&self.hall, &self.server)
    }

    /// Lets everything happen that is to happen at once: handlers, tasks, broadcasts, clients. A millisecond passes.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use ringhall::{Server, State, testing};
    ///
    /// static VISITS: AtomicU32 = AtomicU32::new(0);
    /// let builder = Server::builder().on("visit", || { VISITS.fetch_add(1, Ordering::Relaxed); });
    /// testing::run(builder, async |test| {
    ///     test.connect().await.emit("visit", ());
    ///     test.settle().await;
    ///     assert_eq!(VISITS.load(Ordering::Relaxed), 1);
    /// });
    /// ```
    pub async fn settle(&self) {
        // The clock moves only when nobody has anything left to do.
        self.advance(Duration::from_millis(1)).await;
    }

    /// Lets time pass: all timers in between fire, in order, and clients answer heartbeats.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringhall::{Server, testing};
    ///
    /// testing::run(Server::builder(), async |test| {
    ///     let silent = test.connect().await;
    ///     silent.client().stop_answering();
    ///     test.advance(Duration::from_secs(60)).await; // 25 seconds to the ping, 20 without an answer
    ///     assert!(!silent.is_connected());
    /// });
    /// ```
    pub async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}
