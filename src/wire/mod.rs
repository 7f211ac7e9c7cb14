//! Bytes to values and back. Every codec here obeys the same rules:
//!
//! - no state, no clock, no allocation on decode;
//! - [`Status::Partial`] means "not enough yet" and is not an error; an error means that no further byte can help;
//! - a decoder never looks at a byte twice for having been given the input in pieces of another size;
//! - nothing that the peer declares (a length, a count) is allocated, looped over or indexed before it is checked.

#![forbid(unsafe_code)]

pub(crate) mod close;
pub(crate) mod coding;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod engine;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod iso;
pub(crate) mod json;
pub(crate) mod mask;
pub(crate) mod msgpack;
pub(crate) mod parser;
pub(crate) mod payload;
pub(crate) mod payload3;
pub(crate) mod socket;
pub(crate) mod utf8;
#[cfg(test)]
pub(crate) mod xorshift;

/// What a decoder says of its input when the input is not wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status<T> {
    /// The value, and nothing missing.
    Complete(T),
    /// The input ends before the value does.
    Partial,
}
