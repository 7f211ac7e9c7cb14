//! What the UI is told when it comes, and what it may ask for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::gate::Entry;
use super::{Admin, Hello};
use crate::server::{
    Auth, Broadcast, Data, Namespace, NamespaceHandle, Payload, Rejection, Server, Socket,
};

impl Admin {
    /// The namespace of the UI.
    pub(super) fn describe(self: Arc<Self>, namespace: Namespace) -> Namespace {
        let (gate, hello, goodbye) = (self.clone(), self.clone(), self.clone());
        let namespace = namespace
            .middleware(async move |socket: Socket, Auth(auth): Auth<Value>| {
                match gate.gate.enter(&auth).await {
                    None => Err(Rejection::new("invalid credentials")),
                    Some(Entry::Known) => Ok(()),
                    Some(Entry::New(session)) => {
                        socket.emit("session", session);
                        Ok(())
                    }
                }
            })
            .on_connection(async move |socket: Socket, server: Server| {
                hello.watchers.fetch_add(1, Ordering::Relaxed);
                hello.count(&socket, 1);
                hello.say_hello(&socket, &server).await;
            })
            .on_disconnect(move |socket: Socket| {
                goodbye.watchers.fetch_sub(1, Ordering::Relaxed);
                goodbye.count(&socket, -1);
            });
        if self.is_readonly {
            return namespace;
        }
        obey(namespace)
    }

    async fn say_hello(&self, socket: &Socket, server: &Server) {
        let supported_features = self.features();
        socket.emit("config", Hello { supported_features });
        if self.is_production {
            return;
        }
        let mut all = Vec::new();
        let names: Vec<Box<str>> = self.population().keys().cloned().collect();
        for name in names {
            for found in server.of(&name).fetch_sockets().await {
                all.push(self.view_of(&found));
            }
        }
        // One argument, which is a list.
        socket.emit("all_sockets", (all,));
    }
}

/// A room, or the id of a socket; nothing: the whole namespace. The UI sends `null` for what JavaScript has as undefined.
type Filter = Option<String>;

fn meant<'a>(namespace: &'a NamespaceHandle, filter: &'a Filter) -> Broadcast<'a> {
    match filter.as_deref() {
        None | Some("") => namespace.everyone(),
        Some(room) => namespace.to(room),
    }
}

fn obey(namespace: Namespace) -> Namespace {
    namespace
        .on(
            "emit",
            |server: Server,
             Data((name, filter, event)): Data<(String, Filter, String)>,
             payload: Payload| {
                meant(&server.of(&name), &filter).emit_raw(&event, &payload.skip(3));
            },
        )
        .on(
            "join",
            |server: Server, Data((name, room, filter)): Data<(String, String, Filter)>| {
                meant(&server.of(&name), &filter).sockets_join([room]);
            },
        )
        .on(
            "leave",
            |server: Server, Data((name, room, filter)): Data<(String, String, Filter)>| {
                meant(&server.of(&name), &filter).sockets_leave([room]);
            },
        )
        .on(
            "_disconnect",
            |server: Server, Data((name, close, filter)): Data<(String, Option<bool>, Filter)>| {
                meant(&server.of(&name), &filter).disconnect_sockets(close.unwrap_or(false));
            },
        )
}
