//! What happens in the namespaces, as the UI is told of it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Admin;
use crate::server::{
    DisconnectReason, EventName, HandshakeDetails, Namespace, Payload, RemoteSocket, Socket,
    SocketId,
};

/// A socket, as the UI knows it (admin-ui 0.5, `SerializedSocket`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    id: String,
    client_id: String,
    transport: String,
    nsp: String,
    data: Value,
    handshake: Value,
    rooms: Vec<String>,
}

/// Where Node's servers keep for each other what they cannot know of another server's sockets.
const ADMIN: &str = "_admin";

impl Admin {
    /// Has the UI told of what happens in a namespace, or in all of a family. What is added comes before the program's own handlers.
    pub(super) fn instrument(self: Arc<Self>, namespace: Namespace) -> Namespace {
        let (came, left) = (self.clone(), self.clone());
        let counted = namespace
            .prepend_connection(move |socket: Socket| came.count(&socket, 1))
            .on_disconnect(move |socket: Socket| left.count(&socket, -1));
        if self.is_production {
            return counted;
        }
        self.show_events(self.clone().show_rooms(self.clone().show_sockets(counted)))
    }

    /// One socket more or less in its namespace.
    pub(super) fn count(&self, socket: &Socket, change: isize) {
        let mut population = self.population();
        let name = socket.namespace();
        let sockets = population.entry(name.into()).or_default();
        sockets.count = sockets.count.saturating_add_signed(change);
        if sockets.count == 0 && !sockets.is_fixed {
            population.remove(name);
        }
    }

    fn show_sockets(self: Arc<Self>, namespace: Namespace) -> Namespace {
        let (came, upgraded, changed, left) = (self.clone(), self.clone(), self.clone(), self);
        namespace
            .prepend_connection(move |socket: Socket| {
                let view = view_of_own(&socket);
                came.tell(&socket, "socket_connected", (view, now(&socket)));
            })
            .on_upgrade(move |socket: &Socket| {
                let update = serde_json::json!({
                    "id": socket.id(),
                    "nsp": socket.namespace(),
                    "transport": socket.transport().as_str(),
                });
                upgraded.tell(socket, "socket_updated", update);
            })
            .on_data(move |socket: &Socket| {
                let update = serde_json::json!({
                    "id": socket.id(),
                    "nsp": socket.namespace(),
                    "data": socket.data::<Value>().unwrap_or_default(),
                });
                changed.tell(socket, "socket_updated", update);
            })
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                let what = (
                    socket.namespace(),
                    socket.id(),
                    reason.as_str(),
                    now(&socket),
                );
                left.tell(&socket, "socket_disconnected", what);
            })
    }

    fn show_events(self: Arc<Self>, namespace: Namespace) -> Namespace {
        let outgoing = self.clone();
        namespace
            .on_any(
                move |socket: Socket, EventName(event): EventName, payload: Payload| {
                    self.show_event("event_received", &socket, &event, &payload);
                },
            )
            .on_any_outgoing(
                move |socket: Socket, EventName(event): EventName, payload: Payload| {
                    outgoing.show_event("event_sent", &socket, &event, &payload);
                },
            )
    }

    fn show_event(&self, what: &str, socket: &Socket, event: &str, payload: &Payload) {
        if !self.is_watched(&socket.server()) {
            return;
        }
        let (namespace, id) = (json_of(socket.namespace()), json_of(socket.id().as_str()));
        let (event, when) = (json_of(event), json_of(&now(socket)));
        let comma = if payload.list().is_empty() { "" } else { "," };
        let list = payload.list();
        let json = format!("[{namespace},{id},[{event}{comma}{list}],{when}]");
        let shown = Payload::from_parts(json, payload.attachments());
        let server = socket.server();
        server
            .of(&self.namespace)
            .everyone()
            .emit_raw(what, &shown);
    }

    fn show_rooms(self: Arc<Self>, namespace: Namespace) -> Namespace {
        let left = self.clone();
        namespace
            .on_join_room(move |room: &Room<'_>, id: &SocketId| self.show_room("room_joined", room, id))
            .on_leave_room(move |room: &Room<'_>, id: &SocketId| left.show_room("room_left", room, id))
    }
}

fn json_of(text: &str) -> String {
    Value::from(text).to_string()
}
