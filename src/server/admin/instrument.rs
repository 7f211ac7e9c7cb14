//! What happens in the namespaces, as the UI is told of it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Admin;
use crate::server::{
    DisconnectReason, EventName, HandshakeDetails, Namespace, Payload, RemoteSocket, Server,
    Socket, SocketId,
};

/// A socket, as the UI knows it (admin-ui 0.5, `SerializedSocket`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    id: String,
    client_id: String,
    transport: String,
    nsp: &'a str,
    data: Box<RawValue>,
    handshake: HandshakeView,
    rooms: Vec<String>,
}
