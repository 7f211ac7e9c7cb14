//! What a shard was told: checked values only (`server::Config` is what users write).

use crate::proto::{client, session, websocket};
use crate::wire::parser::Parser;

/// One server's settings, the same on each core.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Plain WebSockets.
    pub(crate) websocket: websocket::Limits,
    /// The WebSocket under an Engine.IO session: its own limit, and no heartbeat (Engine.IO has its own).
    pub(crate) transport: websocket::Limits,
    pub(crate) heartbeat: session::Heartbeat,
    pub(crate) client: client::Limits,
    /// The form of Socket.IO's packets.
    pub(crate) parser: Parser,
    /// The transports that a session on polling may be upgraded to, as its open packet says.
    pub(crate) upgrades: &'static [&'static str],
    /// What every session is told first.
    pub(crate) initial_packet: Option<Box<str>>,
    /// From a WebSocket's naming of a session to its taking over.
    pub(crate) upgrade_timeout_ms: u64,
    /// Engine.IO's `maxPayload`.
    pub(crate) payload_max: usize,
    /// From accept to the end of the request head.
    pub(crate) handshake_timeout_ms: u64,
    /// From the end of one request to the first byte of the next.
    pub(crate) keep_alive_ms: u64,
    /// From accept to the end of the TLS handshake.
    pub(crate) tls_handshake_timeout_ms: u64,
    /// TLS handshakes on a core at a time.
    pub(crate) tls_handshakes_max: usize,
    /// From our FIN to the peer's, after which the connection is cut.
    pub(crate) linger_ms: u64,
    /// Unsent bytes on a connection at which nothing more is read from it.
    pub(crate) outbound_soft: usize,
    /// Unsent bytes on a connection at which it is cut when more is to be sent.
    pub(crate) outbound_hard: usize,
    /// Bytes of events that wait for an async handler at which nothing more is read from the connection.
    pub(crate) backlog_max: usize,
    /// Connections a core holds at a time.
    pub(crate) connections_max: u32,
    /// Sessions on polling that a core holds at a time; they count as connections, too.
    pub(crate) sessions_max: u32,
    /// How long `shutdown` waits for clients to close.
    pub(crate) shutdown_ms: u64,
}

impl Settings {
    /// Sockets a core holds at a time: each client may be in several namespaces, and ids have room for so many places.
    pub(crate) fn sockets_max(&self) -> u32 {
        let most = self
            .connections_max
            .saturating_mul(u32::try_from(self.client.max_namespaces).unwrap_or(u32::MAX));
        most.min(super::home::PLACES)
    }
}
