//! Ringhall: a WebSocket and Socket.IO server engine for Linux on io_uring.

mod proto;
mod reactor;
mod ring;
mod room;
mod server;
mod shard;
mod wire;
