//! What the servers of a cluster say to each other, and its form as JSON.

mod json;

use std::fmt;
use std::sync::Arc;

use super::packet::{BadMessage, Options, Packet, SocketDetails, weight_of};
use crate::server::Payload;

/// The name of one server in a cluster: 16 hexadecimal digits for our own, up to 64 bytes of anything printable for others.
///
/// ```
/// use ringhall::adapter::ServerId;
/// let id: ServerId = "9f3a0c1d2e4b5a69".parse()?;
/// assert_eq!(id.as_str().len(), 16);
/// assert!("".parse::<ServerId>().is_err());
/// # Ok::<(), ringhall::adapter::BadMessage>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(Arc<str>);

/// The name of a question to other servers; unique for the server that asks.
///
/// ```
/// let id: ringhall::adapter::RequestId = "0000000000000001".parse()?;
/// # let _ = id;
/// # Ok::<(), ringhall::adapter::BadMessage>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

/// About how many bytes a message takes beside what is in it.
pub(crate) const OVERHEAD: usize = 128;

/// The longest name of a server or a question, in bytes.
const ID_BYTES_MAX: usize = 64;

fn checked_id(text: &str) -> Result<Arc<str>, BadMessage> {
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > ID_BYTES_MAX || !printable {
        return Err(BadMessage::new(format_args!("{text:?} is no id")));
    }
    Ok(text.into())
}

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// Its text.
            ///
            /// ```
            #[doc = concat!("use ringhall::adapter::", stringify!($name), ";")]
            #[doc = concat!("let id: ", stringify!($name), " = \"9f3a0c1d2e4b5a69\".parse()?;")]
            /// assert_eq!(id.as_str(), "9f3a0c1d2e4b5a69");
            /// # Ok::<(), ringhall::adapter::BadMessage>(())
            /// ```
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(crate) fn of_number(number: u64) -> Self {
                $name(format!("{number:016x}").into())
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadMessage;

            fn from_str(text: &str) -> Result<Self, BadMessage> {
                checked_id(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(ServerId);
id!(RequestId);

/// What one server says to the others of its cluster, or answers to one of them.
///
/// The kinds and their numbers are those of Socket.IO's own cluster adapters, and so is the JSON where a packet has no binary values.
///
/// ```
/// use ringhall::adapter::{Body, Message};
///
/// let message = Message {
///     sender: "9f3a0c1d2e4b5a69".parse()?,
///     namespace: "/".into(),
///     body: Body::Heartbeat,
/// };
/// assert_eq!(message.to_json(), r#"{"uid":"9f3a0c1d2e4b5a69","nsp":"/","type":2}"#);
/// assert_eq!(Message::from_json(&message.to_json())?, message);
/// # Ok::<(), ringhall::adapter::BadMessage>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub sender: ServerId,
    /// The namespace that it is about; `/` where it is about the server itself.
    pub namespace: Arc<str>,
    /// What is said.
    pub body: Body,
}

/// The kinds of [`Message`].
///
/// ```
/// assert_eq!(ringhall::adapter::Body::Close.kind(), 13);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// 1: a server has come. The others answer with a heartbeat.
    InitialHeartbeat,
    /// 2: the server is alive.
    Heartbeat,
    /// 3: give a packet to sockets; with a request, collect their answers.
    Broadcast {
        /// What they are given.
        packet: Packet,
        /// Which sockets, and how.
        options: Options,
        /// Present where the answers of the sockets are wanted.
        request: Option<RequestId>,
    },
    /// 4: let sockets join rooms.
    SocketsJoin {
        /// Which sockets.
        options: Options,
        /// What they join.
        rooms: Vec<String>,
    },
    /// 5: let sockets leave rooms.
    SocketsLeave {
        /// Which sockets.
        options: Options,
        /// What they leave.
        rooms: Vec<String>,
    },
    /// 6: disconnect sockets.
    DisconnectSockets {
        /// Which sockets.
        options: Options,
        /// Their connections, too.
        close: bool,
    },
    /// 7: tell of sockets.
    FetchSockets {
        /// Which sockets.
        options: Options,
        /// What the answer is for.
        request: RequestId,
    },
    /// 8: the answer to 7.
    FetchSocketsResponse {
        /// What it answers.
        request: RequestId,
        /// The server's sockets among those that were asked for.
        sockets: Vec<SocketDetails>,
    },
    /// 9: an event for the servers themselves.
    ServerSideEmit {
        /// The event.
        packet: Packet,
        /// Present where an answer is wanted.
        request: Option<RequestId>,
    },
    /// 10: the answer to 9.
    ServerSideEmitResponse {
        /// What it answers.
        request: RequestId,
        /// The answer: a list of one argument.
        answer: Payload,
    },
    /// 11: a packet whose answers are wanted was given to so many sockets.
    BroadcastClientCount {
        /// What it answers.
        request: RequestId,
        /// The server's sockets that got it.
        count: u32,
    },
    /// 12: one socket's answer.
    BroadcastAck {
        /// What it answers.
        request: RequestId,
        /// The answer: a list of one argument.
        answer: Payload,
    },
    /// 13: the server goes.
    Close,
}

impl Body {
    /// The number of its kind.
    ///
    /// ```
    /// use ringhall::adapter::Body;
    /// assert_eq!((Body::InitialHeartbeat.kind(), Body::Heartbeat.kind()), (1, 2));
    /// ```
    pub fn kind(&self) -> u8 {
        match self {
            Body::InitialHeartbeat => 1,
            Body::Heartbeat => 2,
            Body::Broadcast { .. } => 3,
            Body::SocketsJoin { .. } => 4,
            Body::SocketsLeave { .. } => 5,
            Body::DisconnectSockets { .. } => 6,
            Body::FetchSockets { .. } => 7,
            Body::FetchSocketsResponse { .. } => 8,
            Body::ServerSideEmit { .. } => 9,
            Body::ServerSideEmitResponse { .. } => 10,
            Body::BroadcastClientCount { .. } => 11,
            Body::BroadcastAck { .. } => 12,
            Body::Close => 13,
        }
    }

    /// Is it an answer, which only the server that asked wants?
    ///
    /// ```
    /// assert!(!ringhall::adapter::Body::Heartbeat.is_response());
    /// ```
    pub fn is_response(&self) -> bool {
        matches!(self.kind(), 8 | 10 | 11 | 12)
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        let names = |rooms: &[String]| rooms.iter().map(|room| room.len() + 16).sum::<usize>();
        let own = match self {
            Body::Broadcast {
                packet, options, ..
            } => packet.weight() + options.weight(),
            Body::SocketsJoin { options, rooms } | Body::SocketsLeave { options, rooms } => {
                options.weight() + names(rooms)
            }
            Body::DisconnectSockets { options, .. } | Body::FetchSockets { options, .. } => {
                options.weight()
            }
            Body::FetchSocketsResponse { sockets, .. } => {
                sockets.iter().map(SocketDetails::weight).sum()
            }
            Body::ServerSideEmit { packet, .. } => packet.weight(),
            Body::ServerSideEmitResponse { answer, .. } | Body::BroadcastAck { answer, .. } => {
                weight_of(answer)
            }
            Body::InitialHeartbeat
            | Body::Heartbeat
            | Body::BroadcastClientCount { .. }
            | Body::Close => 0,
        };
        own + OVERHEAD
    }
}

#[cfg(test)]
mod tests;
