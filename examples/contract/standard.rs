//! The events that all namespaces of the contract have.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ringhall::{
    Ack, ArgList, Binary, Data, DisconnectReason, EventError, EventName, Namespace, Payload,
    Session, Socket, State, Transport, concurrent,
};
use serde::Serialize;
use tokio::time::sleep;

use super::operations::{emit_op, room_op};
use super::program::{Arrival, Entry, Order, Profile};
use super::values::{OneOrMany, Value};

pub(super) fn standard(namespace: Namespace) -> Namespace {
    let parts = [
        coming_and_going,
        watching,
        echoes,
        rooms,
        facts,
        questions,
        bursts,
        cluster,
    ];
    parts
        .into_iter()
        .fold(namespace, |namespace, add| add(namespace))
        .on("emit-op", concurrent(emit_op))
        .on("room-op", concurrent(room_op))
}

/// What is noted of each socket, as long as it is there.
#[derive(Default)]
struct Notes {
    seen: RefCell<Seen>,
    sequence: Cell<Sequence>,
}

#[derive(Clone, Default, Serialize)]
struct Seen {
    #[serde(rename = "in")]
    incoming: Vec<String>,
    #[serde(rename = "out")]
    outgoing: Vec<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sequence {
    count: u64,
    in_order: bool,
}

impl Default for Sequence {
    fn default() -> Self {
        Sequence {
            count: 0,
            in_order: true,
        }
    }
}

fn coming_and_going(namespace: Namespace) -> Namespace {
    namespace
        .on_connection(|socket: Socket, State(profile): State<Profile>| {
            socket.set_session(Notes::default());
            let entry = Entry::Connection {
                nsp: socket.namespace().to_owned(),
                recovered: socket.recovered(),
            };
            profile.log(&socket, entry);
            greet(&socket);
        })
        .on_disconnecting(
            |socket: Socket, reason: DisconnectReason, State(profile): State<Profile>| {
                let (reason, rooms) = (reason.to_string(), sorted_rooms(&socket));
                profile.log(&socket, Entry::Disconnecting { reason, rooms });
            },
        )
        .on_disconnect(
            |socket: Socket, reason: DisconnectReason, State(profile): State<Profile>| {
                let (reason, rooms) = (reason.to_string(), sorted_rooms(&socket));
                profile.log(&socket, Entry::Disconnect { reason, rooms });
            },
        )
        .on(
            "log",
            |State(profile): State<Profile>, Data(id): Data<String>| Data(profile.log_of(&id)),
        )
        .on(
            "disconnect-me",
            |socket: Socket, Data(close): Data<Option<bool>>| {
                socket.disconnect(close.unwrap_or_default())
            },
        )
        .on("close-server", async |socket: Socket| {
            sleep(Duration::from_millis(20)).await;
            socket.server().shutdown();
        })
}

/// `?burst=N`: so many events at once. `?drip=N`: one per millisecond.
fn greet(socket: &Socket) {
    let asked = |name| socket.handshake().query(name)?.parse::<usize>().ok();
    for i in 0..asked("burst").unwrap_or_default() {
        socket.emit("burst", (i, "x".repeat(16)));
    }
    let Some(drips) = asked("drip") else { return };
    let socket = socket.clone();
    ringhall::spawn(async move {
        for i in (0..drips).take_while(|_| socket.is_connected()) {
            socket.emit("drip", i);
            sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Who listens to everything, and who lets not everything pass.
fn watching(namespace: Namespace) -> Namespace {
    namespace
        .on_any(
            |Session(notes): Session<Notes>, EventName(event): EventName| {
                notes.seen.borrow_mut().incoming.push(event);
            },
        )
        .on_any_outgoing(
            |Session(notes): Session<Notes>, EventName(event): EventName| {
                notes.seen.borrow_mut().outgoing.push(event);
            },
        )
        .on("any-log", |Session(notes): Session<Notes>| {
            Data(notes.seen.borrow().clone())
        })
        .packet_middleware(|EventName(event): EventName| match event.as_str() {
            "blocked" => Err("blocked by middleware"),
            _ => Ok(()),
        })
        .on(
            "blocked",
            |socket: Socket, State(profile): State<Profile>| {
                profile.log(&socket, Entry::BlockedHandlerRan);
            },
        )
        .on_error(|socket: &Socket, error: &EventError| {
            if let Some(profile) = socket.server().state::<Profile>() {
                let message = error.to_string();
                profile.log(socket, Entry::Error { message });
            }
        })
}

fn echoes(namespace: Namespace) -> Namespace {
    namespace
        .on("echo", |socket: Socket, payload: Payload| {
            socket.emit_raw("echo", &payload);
        })
        .on("echo-ack", |payload: Payload| payload)
        .on("no-ack", || {})
        // A second answer cannot be written: the right to answer is gone with the first.
        .on("double-ack", |Data(value): Data<Value>, ack: Ack| {
            ack.send((value, 1))
        })
}

fn rooms(namespace: Namespace) -> Namespace {
    namespace
        .on("join", |socket: Socket, Data(rooms): Data<OneOrMany>| {
            for room in rooms.into_vec() {
                socket.join(room);
            }
            sorted_rooms(&socket)
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(room);
            sorted_rooms(&socket)
        })
        .on("rooms", |socket: Socket| sorted_rooms(&socket))
        .on("namespaces", |socket: Socket| socket.server().namespaces())
}

pub(super) fn sorted_rooms(socket: &Socket) -> Vec<String> {
    let mut rooms = socket.rooms();
    rooms.sort_unstable();
    rooms
}

type Object = serde_json::Map<String, serde_json::Value>;

/// What the server knows of a socket.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    id: String,
    nsp: String,
    recovered: bool,
    connected: bool,
    transport: &'static str,
    data: Object,
    mw: bool,
    order: Vec<u8>,
    seen_connected: bool,
}

fn facts(namespace: Namespace) -> Namespace {
    namespace
        .on("info", |socket: Socket| Data(info(&socket)))
        .on("handshake", |socket: Socket| {
            Data(socket.handshake_details())
        })
        .on("set-data", |socket: Socket, Data(values): Data<Object>| {
            socket.update_data(|data: &mut Object| data.extend(values))?;
            Ok::<_, serde_json::Error>(Data(()))
        })
        .on(
            "seq",
            |Session(notes): Session<Notes>, Data(number): Data<u64>| {
                let Sequence { count, in_order } = notes.sequence.get();
                notes.sequence.set(Sequence {
                    count: count + 1,
                    in_order: in_order && number == count,
                });
            },
        )
        .on("seq-report", |Session(notes): Session<Notes>| {
            Data(notes.sequence.get())
        })
}

fn info(socket: &Socket) -> Info {
    let arrival = socket.session::<Arrival>();
    Info {
        id: socket.id().to_string(),
        nsp: socket.namespace().to_owned(),
        recovered: socket.recovered(),
        connected: socket.is_connected(),
        transport: match socket.transport() {
            Some(Transport::Polling) => "polling",
            Some(Transport::WebSocket) => "websocket",
            None => "none",
        },
        data: socket.data().unwrap_or_default(),
        mw: arrival.is_some(),
        order: socket
            .session::<Order>()
            .map_or_else(Vec::new, |order| order.0.borrow().clone()),
        seen_connected: arrival.is_some_and(|arrival| arrival.connected),
    }
}

/// What a client answered, or that it did not.
#[derive(Serialize)]
struct Answer {
    error: Option<String>,
    res: Vec<Value>,
}

/// The server asks. Questions may overlap, so that nothing waits for the answers but who wants to know them.
fn questions(namespace: Namespace) -> Namespace {
    type Question = (String, ArgList<Value>);

    namespace
        .on(
            "ask",
            concurrent(async |socket: Socket, Data((event, args, ms)): Data<(String, ArgList<Value>, u64)>| {
                let answer = socket
                    .timeout(Duration::from_millis(ms))
                    .emit_with_ack::<ArgList<Value>>(&event, args)
                    .await;
                Data(match answer {
                    Ok(ArgList(res)) => Answer { error: None, res },
                    Err(error) => Answer { error: Some(error.to_string()), res: Vec::new() },
                })
            }),
        )
        .on(
            "ask-forever",
            concurrent(async |socket: Socket, Data((event, args)): Data<Question>, ack: Ack| {
                if let Ok(ArgList(res)) = socket.emit_with_ack(&event, args).await {
                    ack.send(Answer { error: None, res });
                }
            }),
        )
}

fn bursts(namespace: Namespace) -> Namespace {
    namespace
        .on(
            "burst",
            |socket: Socket, Data((count, size)): Data<(usize, usize)>| {
                for i in 0..count {
                    socket.emit("burst", (i, "x".repeat(size)));
                }
                count
            },
        )
        .on(
            "burst-bin",
            |socket: Socket, Data((count, size)): Data<(usize, usize)>| {
                for i in 0..count {
                    socket.emit("burst-bin", (i, Binary::from(vec![i as u8; size])));
                }
                count
            },
        )
}

/// What the other servers of a cluster have answered.
#[derive(Serialize)]
struct Responses {
    error: Option<String>,
    responses: Vec<serde_json::Value>,
}

fn cluster(namespace: Namespace) -> Namespace {
    type Spec = (String, ArgList<serde_json::Value>, bool);

    namespace
        .on(
            "sse",
            concurrent(
                async |socket: Socket, Data((event, args, with_ack)): Data<Spec>| {
                    let server = socket.server();
                    if !with_ack {
                        server.server_side_emit(&event, args);
                        return Data(Responses {
                            error: None,
                            responses: Vec::new(),
                        });
                    }
                    let responses = server
                        .server_side_emit_with_ack::<serde_json::Value>(&event, args)
                        .await;
                    let missing = (!responses.is_complete()).then_some(responses.missing);
                    Data(Responses {
                        error: missing.map(|missing| format!("{missing} servers did not answer")),
                        responses: responses.values,
                    })
                },
            ),
        )
        .on("sse-log", |State(profile): State<Profile>| {
            Data(profile.cluster_log())
        })
}
