//! What happens in the namespaces, as the UI is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::Admin;
use crate::server::{
    DisconnectReason, EventName, HandshakeDetails, Namespace, Payload, RemoteSocket, Socket,
    Transport,
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

/// What a client's handshake does not tell of it.
#[derive(Clone)]
pub(super) struct Client {
    /// Common to the sockets of a client, and no secret.
    id: String,
    transport: Transport,
}

/// Under this name Node's servers put the same into a socket's data, for other servers to find.
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
        let shown = self.clone().show_rooms(self.clone().show_sockets(counted));
        self.show_events(shown)
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
            .prepend_connection(move |socket: Socket| came.show_arrival(&socket))
            .on_upgrade(move |socket: &Socket| {
                upgraded.meet(socket);
                let transport = Transport::WebSocket.as_str();
                upgraded.show_update(socket, json!({ "transport": transport }));
            })
            .on_data(move |socket: &Socket| {
                let data = without_admin(socket.data().unwrap_or_default());
                changed.show_update(socket, json!({ "data": data }));
            })
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                left.clients().remove(socket.id().as_str());
                let what = (
                    socket.namespace(),
                    socket.id(),
                    reason.as_str(),
                    now(&socket),
                );
                left.tell(&socket.server(), "socket_disconnected", what);
            })
    }

    /// Notes what cannot be learnt of a socket from afar.
    fn meet(&self, socket: &Socket) {
        let (Some(transport), Some(id)) = (socket.transport(), socket.client_number()) else {
            return;
        };
        let client = Client { id, transport };
        self.clients().insert(socket.id().as_str().into(), client);
    }

    fn show_arrival(&self, socket: &Socket) {
        self.meet(socket);
        let server = socket.server();
        if self.is_watched(&server) {
            let details = socket.handshake_details();
            let data = socket.data().unwrap_or_default();
            let view = self.view(
                socket.id(),
                socket.namespace(),
                socket.rooms(),
                &details,
                data,
            );
            self.tell(&server, "socket_connected", (view, now(socket)));
        }
    }

    fn show_update(&self, socket: &Socket, mut update: Value) {
        let server = socket.server();
        if self.is_watched(&server) {
            update["id"] = socket.id().as_str().into();
            update["nsp"] = socket.namespace().into();
            self.tell(&server, "socket_updated", update);
        }
    }

    pub(super) fn view_of(&self, socket: &RemoteSocket) -> View {
        let details = socket.handshake_details();
        let data = socket.data().unwrap_or_default();
        let rooms = socket.rooms().to_vec();
        self.view(socket.id(), socket.namespace(), rooms, &details, data)
    }

    fn view(
        &self,
        id: &str,
        namespace: &str,
        rooms: Vec<String>,
        details: &HandshakeDetails,
        data: Value,
    ) -> View {
        let here = self.clients().get(id).cloned();
        let there = |key: &str| {
            let text = data.get(ADMIN).and_then(|admin| admin.get(key)?.as_str());
            text.unwrap_or_default().to_owned()
        };
        let (client_id, transport) = match here {
            Some(client) => (client.id, client.transport.as_str().to_owned()),
            None => (there("clientId"), there("transport")),
        };
        View {
            id: id.to_owned(),
            client_id,
            transport,
            nsp: namespace.to_owned(),
            data: without_admin(data),
            handshake: handshake_of(details),
            rooms,
        }
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
        let list = String::from_utf8_lossy(payload.list());
        let comma = if list.is_empty() { "" } else { "," };
        let json = format!("[{namespace},{id},[{event}{comma}{list}],{when}]");
        let shown = Payload::from_parts(json, payload.attachments());
        let server = socket.server();
        server.of(&self.namespace).everyone().emit_raw(what, &shown);
    }

    fn show_rooms(self: Arc<Self>, namespace: Namespace) -> Namespace {
        let left = self.clone();
        namespace.on_memberships(
            move |socket, room| self.show_room("room_joined", socket, room),
            move |socket, room| left.show_room("room_left", socket, room),
        )
    }

    fn show_room(&self, what: &str, socket: &Socket, room: &str) {
        let server = socket.server();
        if self.is_watched(&server) {
            let args = (socket.namespace(), room, socket.id(), now(socket));
            self.tell(&server, what, args);
        }
    }
}

/// Headers by which a client shows who it is. Whoever looks on need not be able to do so in its place.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The handshake without what the client gave to identify itself.
fn handshake_of(details: &HandshakeDetails) -> Value {
    let shown = details.headers.iter().map(|(name, value)| {
        let is_secret = SECRET.contains(&name.as_str());
        (name, if is_secret { "(hidden)" } else { value })
    });
    let headers: BTreeMap<&String, &str> = shown.collect();
    // Behind a proxy the client's address is what the proxy says.
    let header = |name| details.headers.get(name);
    let address = header("cf-connecting-ip").or_else(|| header("x-forwarded-for"));
    json!({
        "address": address.unwrap_or(&details.address),
        "headers": headers,
        "query": details.query,
        "issued": details.issued,
        "secure": details.secure,
        "time": details.time,
        "url": details.url,
        "xdomain": details.xdomain,
    })
}

fn without_admin(mut data: Value) -> Value {
    if let Value::Object(fields) = &mut data {
        fields.remove(ADMIN);
    }
    data
}

fn now(socket: &Socket) -> String {
    Admin::now(&socket.server())
}

fn json_of(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_identifies_a_client_is_not_shown() {
        let secrets = ["authorization", "cookie", "proxy-authorization"];
        let headers = secrets.into_iter().chain(["host"]);
        let details = HandshakeDetails {
            headers: headers.map(|name| (name.into(), "s3cret".into())).collect(),
            auth: json!({ "token": "t0ken" }),
            ..HandshakeDetails::default()
        };
        let shown = handshake_of(&details);
        assert_eq!(shown["headers"]["host"], "s3cret");
        let text = shown.to_string();
        assert_eq!(text.matches("s3cret").count(), 1, "{text}");
        assert_eq!(text.matches("(hidden)").count(), 3, "{text}");
        assert!(!text.contains("t0ken"), "{text}");
    }
}
