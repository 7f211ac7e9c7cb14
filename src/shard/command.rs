//! What handlers ask of a connection: done at the end of the turn, when nobody holds it.

use std::sync::Arc;

use super::application::Decision;
use super::call::Call;
use super::hall::SocketKey;
use super::recovery::Refusal;
use crate::reactor::ConnKey;

/// What the shard does to a connection at the end of the turn.
pub(crate) enum Command {
    /// The socket left its namespace: the Socket.IO client must forget it.
    Left {
        connection: ConnKey,
        socket: SocketKey,
    },
    /// The session that this pending socket claimed is here, or cannot be had.
    Returned {
        connection: ConnKey,
        socket: SocketKey,
        refused: Option<Refusal>,
    },
    /// What has become of a CONNECT that was decided later ([`Verdict::Later`](super::application::Verdict::Later)).
    Decide {
        connection: ConnKey,
        namespace: Arc<str>,
        decision: Box<Decision>,
    },
    /// Close with this code once everything marked so far is written.
    Close {
        connection: ConnKey,
        code: u16,
        reason: String,
    },
    /// End the client: all its namespaces, then the session.
    EndClient {
        connection: ConnKey,
    },
    /// Read no more from this connection until `Resume`.
    Pause {
        connection: ConnKey,
    },
    Resume {
        connection: ConnKey,
    },
    /// A GET is held: give it what waits, or release it.
    Polled {
        connection: ConnKey,
    },
    /// The session on polling is being probed by a WebSocket that was answered.
    Probed {
        connection: ConnKey,
    },
    /// The WebSocket that probed the session has gone.
    ProbeEnded {
        connection: ConnKey,
        probe: ConnKey,
    },
    /// This WebSocket probes a session that has ended.
    DropProbe {
        connection: ConnKey,
    },
    /// HTTP asks something of a session, or for one, on this core.
    Call(Box<Call>),
    /// See whether the connection's end can go on, now that what was marked is written.
    Advance {
        connection: ConnKey,
    },
}

impl Command {
    /// Whom it is for, if that is one connection.
    pub(crate) fn connection(&self) -> Option<ConnKey> {
        match *self {
            Command::Left { connection, .. }
            | Command::Returned { connection, .. }
            | Command::Decide { connection, .. }
            | Command::Close { connection, .. }
            | Command::EndClient { connection }
            | Command::Pause { connection }
            | Command::Resume { connection }
            | Command::Polled { connection }
            | Command::Probed { connection }
            | Command::ProbeEnded { connection, .. }
            | Command::DropProbe { connection }
            | Command::Advance { connection } => Some(connection),
            Command::Call(_) => None,
        }
    }
}
