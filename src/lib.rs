#![doc = include_str!("../README.md")]

mod error;
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
#[cfg(feature = "tls")]
pub use server::Tls;
pub use server::{
    Ack, AckError, AckFuture, Auth, Binary, Broadcast, Builder, CloseFrame, CloseHandler, Config,
    ConnectContext, ConnectHandler, Data, DecodeError, DisconnectContext, DisconnectHandler,
    DisconnectReason, EmitError, EncodeError, Ending, EventContext, EventHandler, EventName,
    ExtractError, FromConnect, FromDisconnect, FromEvent, HandlerError, Handshake, IntoReply,
    JoinError, Message, MessageHandler, Namespace, NamespaceHandle, OpenHandler, OwnedMessage,
    Payload, Receivers, Server, Socket, SocketId, State, TryData, WebSocket, WebSocketBroadcast,
    WebSocketRoute, WithTimeout, spawn,
};
pub use wire::close::CloseCode;
