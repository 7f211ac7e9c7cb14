#![doc = include_str!("../README.md")]

mod error;
pub mod guide;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod pages;
mod proto;
mod reactor;
mod ring;
mod room;
mod server;
mod shard;

#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "without the feature nobody can ask for TLS")
)]
mod tls;
mod wire;

pub use error::{Error, Result};
#[cfg(feature = "admin")]
pub use server::AdminUi;
pub use server::ArgList;
#[cfg(feature = "tls")]
pub use server::Tls;
pub use server::adapter;
#[cfg(feature = "testing")]
pub use server::testing;
pub use server::{
    Ack, AckError, AckFuture, Answers, Auth, Binary, Broadcast, BroadcastAcks, Builder, CloseFrame,
    CloseHandler, Config, ConnectContext, ConnectHandler, ConnectionError, Cookie, Cors, Counters,
    Data, DecodeError, DisconnectContext, DisconnectHandler, DisconnectReason, EmitError,
    EncodeError, Ending, EngineRoute, EngineSocket, EventContext, EventHandler, EventName,
    ExtractError, FetchSockets, Forbidden, FromConnect, FromDisconnect, FromEvent, HandlerError,
    Handshake, HandshakeDetails, IntoReply, IntoRooms, JoinError, Message, MessageHandler,
    Namespace, NamespaceHandle, OpenHandler, Origin, OwnedMessage, Payload, Priority, Receivers,
    Recoveries, Recovery, RemoteAck, RemoteSocket, RemoteWithTimeout, Rooms, SameSite, Server,
    ServerEvent, Session, Socket, SocketId, State, Transport, TryData, WebSocket,
    WebSocketBroadcast, WebSocketRoute, WithTimeout, spawn,
};
pub use server::{Admission, Middleware, Rejection};
pub use server::{
    Concurrent, EventError, EventErrorKind, Headers, Listener, PacketMiddleware, concurrent,
};
pub use server::{Family, FamilyBroadcast, NamespaceMatcher, NamespaceRequest};
#[cfg(feature = "tower")]
pub use server::{Layer, Nowhere, Service, ServiceBody, ServiceFuture};
pub use wire::close::CloseCode;
pub use wire::parser::Parser;
