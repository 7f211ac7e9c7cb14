//! State machines: lent input and the time go in, outputs come out.
//!
//! The contract of every machine here:
//!
//! - `handle_*` and `next` take what came in, with `now_ms` (monotonic milliseconds, any origin) where time matters, and return **one
//!   output** that may borrow from the input or from the machine. The caller acts on it and calls again.
//! - `next_deadline_ms` says when `handle_timeout` wants to be called; calling it too early does nothing.
//! - A machine never reads a clock, never blocks, never logs, and does the same for the same calls.
//! - After an output that ends the machine, every later input is ignored: nothing is delivered after the end.

#![forbid(unsafe_code)]

pub(crate) mod client;
pub(crate) mod reason;
pub(crate) mod session;
pub(crate) mod websocket;
