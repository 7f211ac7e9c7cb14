//! What handlers ask of a connection: done at the end of the turn, when nobody holds it.

use super::hall::SocketKey;
use crate::reactor::ConnKey;

/// What the shard does to a connection at the end of the turn.
#[derive(Debug)]
pub(crate) enum Command {
    /// The socket left its namespace: the Socket.IO client must forget it.
    Left {
        connection: ConnKey,
        socket: SocketKey,
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
    /// See whether the connection's end can go on, now that what was marked is written.
    Advance {
        connection: ConnKey,
    },
}

impl Command {
    pub(crate) fn connection(&self) -> ConnKey {
        match *self {
            Command::Left { connection, .. }
            | Command::Close { connection, .. }
            | Command::EndClient { connection }
            | Command::Pause { connection }
            | Command::Resume { connection }
            | Command::Advance { connection } => connection,
        }
    }
}
