//! Why a client left, in Socket.IO's words.

use std::fmt;

use super::session::CloseReason;

/// Why a socket left its namespace. `Display` prints what Node's `disconnect` event would be given.
///
/// ```
/// use ringhall::DisconnectReason;
///
/// assert_eq!(DisconnectReason::PingTimeout.to_string(), "ping timeout");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace: `socket.disconnect()` there.
    ClientNamespaceDisconnect,
    /// The server put the socket out: `socket.disconnect()` here.
    ServerNamespaceDisconnect,
    /// The connection ended: the client closed it, or it was lost.
    TransportClose,
    /// The connection broke a rule of its transport, such as the limit on the size of a message.
    TransportError,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// The client sent something that is no Engine.IO packet.
    ParseError,
    /// The server closed the session, because of a packet that is against Socket.IO's rules.
    ForcedClose,
    /// The server closed the session, because the client joined no namespace in time, while it was on polling and no poll was held.
    ForcedServerClose,
    /// The server is shutting down.
    ServerShuttingDown,
}

impl DisconnectReason {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::ClientNamespaceDisconnect,
        Self::ServerNamespaceDisconnect,
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::ForcedServerClose,
        Self::ServerShuttingDown,
    ];

    /// The name of the reason in Node's socket.io.
    ///
    /// ```
    /// assert_eq!(ringhall::DisconnectReason::ForcedClose.as_str(), "forced close");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ForcedServerClose => "forced server close",
            Self::ServerShuttingDown => "server shutting down",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::TransportError => Self::TransportError,
            CloseReason::TransportClose => Self::TransportClose,
            CloseReason::PingTimeout => Self::PingTimeout,
            CloseReason::ParseError => Self::ParseError,
        }
    }
}
