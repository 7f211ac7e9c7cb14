//! Longer texts about the whole, beside the documentation of each item.

#![forbid(unsafe_code)]

/// Node's Socket.IO, call by call.
///
#[doc = include_str!("../docs/coming-from-node.md")]
pub mod coming_from_node {}

/// Where a client could tell this server from Node's.
///
#[doc = include_str!("../docs/differences-from-node.md")]
pub mod differences {}
