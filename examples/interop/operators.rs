//! What `tests/interop/operators.test.mjs` asks for: questions to many, operations on sockets wherever they live, rooms and what happens to them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringhall::{Ack, Broadcast, Data, Namespace, NamespaceHandle, Socket, SocketId};
use serde::{Deserialize, Serialize};

use super::{Arguments, Value};

pub(crate) fn install(namespace: Namespace) -> Namespace {
    on_rooms(namespace)
        .on("set-data", |socket: Socket, Data(data): Data<Value>| {
            socket.set_data(&data);
            true
        })
        .on(
            "ask-all",
            |socket: Socket, Data(all): Data<All>, ack: Ack| {
                ringhall::spawn(ask_all(socket, all, ack));
            },
        )
        .on(
            "ask-remote",
            |socket: Socket, Data(one): Data<One>, ack: Ack| {
                ringhall::spawn(ask_remote(socket, one, ack));
            },
        )
        .on(
            "room-op",
            |socket: Socket, Data(all): Data<All>, ack: Ack| {
                ringhall::spawn(operate(socket, all, ack));
            },
        )
        .on("join-and-tell", join_and_tell)
        .on(
            "rooms-of-all",
            async |socket: Socket, Data(prefix): Data<String>| {
                let mut rooms = handle(&socket).rooms().await;
                rooms.retain(|room, _| room.starts_with(&prefix));
                Data(rooms)
            },
        )
        .on(
            "sids-of",
            async |socket: Socket, Data(ids): Data<BTreeSet<String>>| {
                let mut rooms = handle(&socket).sids().await;
                rooms.retain(|id, _| ids.contains(id));
                Data(rooms)
            },
        )
}

fn handle(socket: &Socket) -> NamespaceHandle {
    socket.server().of(socket.namespace())
}

/// Whom something is for, and what it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct All {
    /// All but the sender.
    others: bool,
    to: Vec<String>,
    except: Vec<String>,
    local: bool,
    /// Milliseconds.
    timeout: Option<u64>,
    event: String,
    args: Arguments,
    op: String,
    rooms: Vec<String>,
    close: bool,
}

impl All {
    fn receivers<'a>(&'a self, socket: &'a Socket, handle: &'a NamespaceHandle) -> Broadcast<'a> {
        let mut receivers = match self.others {
            true => socket.broadcast(),
            false => handle.everyone(),
        };
        for room in &self.to {
            receivers = receivers.to(room);
        }
        for room in &self.except {
            receivers = receivers.except(room);
        }
        if self.local {
            receivers = receivers.local();
        }
        match self.timeout {
            Some(ms) => receivers.timeout(Duration::from_millis(ms)),
            None => receivers,
        }
    }
}

#[derive(Serialize)]
struct Answered {
    error: Option<String>,
    responses: Vec<Option<Value>>,
}

async fn ask_all(socket: Socket, all: All, ack: Ack) {
    let handle = handle(&socket);
    let receivers = all.receivers(&socket, &handle);
    let answers = receivers.emit_with_ack(&all.event, &all.args).await;
    ack.send(Answered {
        error: answers.error.map(|error| error.to_string()),
        responses: answers.answers,
    });
}

type One = (String, String, Arguments, u64);

/// `ask-remote(id, event, args, ms)`: a socket that was fetched is asked.
async fn ask_remote(socket: Socket, (id, event, args, ms): One, ack: Ack) {
    let fetched = handle(&socket).to(&id).fetch_sockets().await;
    let mut responses = Vec::new();
    let mut error = None;
    for remote in fetched {
        let asked = remote.timeout(Duration::from_millis(ms));
        match asked.emit_with_ack(&event, &args).await {
            Ok(response) => responses.push(response),
            Err(missing) => error = Some(missing.to_string()),
        }
    }
    ack.send(Answered { error, responses });
}

#[derive(Serialize)]
struct Found {
    id: String,
    rooms: BTreeSet<String>,
    data: Value,
    auth: serde_json::Value,
}

async fn operate(socket: Socket, all: All, ack: Ack) {
    let handle = handle(&socket);
    let receivers = all.receivers(&socket, &handle);
    let mut found = Vec::new();
    match all.op.as_str() {
        "join" => receivers.sockets_join(&all.rooms),
        "leave" => receivers.sockets_leave(&all.rooms),
        "disconnect" => receivers.disconnect_sockets(all.close),
        _ => {
            for socket in receivers.fetch_sockets().await {
                found.push(Found {
                    id: socket.id().to_owned(),
                    rooms: socket.rooms().iter().cloned().collect(),
                    data: socket.data().unwrap_or(Value::Null),
                    auth: socket.handshake_details().auth,
                });
            }
            found.sort_by(|one, other| one.id.cmp(&other.id));
        }
    }
    // One argument, where a tuple would be a list of them.
    ack.send((found,));
}

/// `join-and-tell(ids, room, event, from a thread)`: makes them join, and tells the room at once.
fn join_and_tell(
    socket: Socket,
    Data((ids, room, event, from_thread)): Data<(Vec<String>, String, String, bool)>,
) {
    let handle = handle(&socket);
    let act = move || {
        for id in &ids {
            handle.to(id).sockets_join(&room);
        }
        handle.to(&room).emit(&event, ids.len());
    };
    match from_thread {
        true => drop(std::thread::spawn(act)),
        false => act(),
    }
}

/// What happened to rooms, in order.
type Happened = Arc<Mutex<Vec<(&'static str, String, Option<String>)>>>;

/// `room-log(prefix)`: what happened to rooms whose names begin so.
fn on_rooms(namespace: Namespace) -> Namespace {
    let happened = Happened::default();
    let log = |what: &'static str| {
        let happened = happened.clone();
        move |room: &str, id: Option<&SocketId>| {
            let mut happened = happened.lock().unwrap_or_else(PoisonError::into_inner);
            happened.push((what, room.to_owned(), id.map(SocketId::to_string)));
        }
    };
    let (create, join, leave, delete) = (log("create"), log("join"), log("leave"), log("delete"));
    namespace
        .on_create_room(move |room| create(room, None))
        .on_join_room(move |room, id| join(room, Some(id)))
        .on_leave_room(move |room, id| leave(room, Some(id)))
        .on_delete_room(move |room| delete(room, None))
        .on("room-log", move |Data(prefix): Data<String>| {
            let happened = happened.lock().unwrap_or_else(PoisonError::into_inner);
            let those = happened
                .iter()
                .filter(|(_, room, _)| room.starts_with(&prefix));
            those.cloned().collect::<Vec<_>>()
        })
}
