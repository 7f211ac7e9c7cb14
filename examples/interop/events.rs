//! The namespace of `tests/interop/events.test.mjs`: all that happens to an event before, beside and instead of its handlers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ringhall::{
    Auth, Data, EventError, EventErrorKind, EventName, Namespace, Payload, Rejection, Session,
    Socket, concurrent,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the gate knows of a client.
struct User {
    name: String,
}

/// What happened to a socket, in order.
#[derive(Default)]
struct Notes(RefCell<Vec<Value>>);

impl Notes {
    fn add(&self, note: Value) {
        self.0.borrow_mut().push(note);
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

/// Which middleware lets which events pass, by their names.
fn let_pass(event: &str, forbidden: &str) -> Result<(), String> {
    if event == forbidden {
        return Err(format!("{event} is forbidden"));
    }
    Ok(())
}

/// What the tests ask for by themselves leaves no note.
fn is_noted(event: &str) -> bool {
    !matches!(event, "notes" | "watch" | "unwatch")
}

pub(crate) fn describe(namespace: Namespace) -> Namespace {
    let namespace = namespace
        .middleware(async |Auth(Login { name }): Auth<Login>| {
            tokio::task::yield_now().await;
            match name.as_str() {
                "mallory" => Err(Rejection::new("not you").data(json!({ "code": 17 }))),
                _ => Ok(Session(Rc::new(User { name }))),
            }
        })
        .middleware(|socket: Socket| socket.set_session(Notes::default()))
        .on_connection(attach)
        .on_any(|EventName(event): EventName, notes: Session<Notes>| {
            if is_noted(&event) {
                notes.add(json!(["any", event]));
            }
        })
        .packet_middleware(|EventName(event): EventName, notes: Session<Notes>| {
            if is_noted(&event) {
                notes.add(json!(["gate", event]));
            }
            let_pass(&event, "forbidden")
        })
        .packet_middleware(async |EventName(event): EventName, payload: Payload| {
            if event == "slow gate" {
                let (_, ms) = payload.decode().unwrap_or((0_u32, 0));
                tokio::time::sleep(Duration::from_millis(ms)).await;
            }
        })
        .on_error(|socket: &Socket, error: &EventError| match error.kind() {
            EventErrorKind::Protocol => socket.broadcast().emit("broken", socket.id()),
            _ => socket.emit("refused", error.to_string()),
        });
    talk(handlers(namespace))
}

/// What a socket listens to by itself.
fn attach(socket: Socket, notes: Session<Notes>) {
    let [before, gate, own, once] = [(); 4].map(|()| notes.clone());
    socket.prepend_any(move |EventName(event): EventName| {
        if is_noted(&event) {
            before.add(json!(["first", event]));
        }
    });
    socket.packet_middleware(move |EventName(event): EventName| {
        if is_noted(&event) {
            gate.add(json!(["own gate", event]));
        }
        let_pass(&event, "not here")
    });
    socket.on("several", move || own.add(json!("own")));
    socket.once("several", move || once.add(json!("once")));
}

fn handlers(namespace: Namespace) -> Namespace {
    namespace
        .on("notes", |notes: Session<Notes>| {
            std::mem::take(&mut *notes.0.0.borrow_mut())
        })
        .on("several", |notes: Session<Notes>| notes.add(json!("one")))
        .on("several", |notes: Session<Notes>| {
            notes.add(json!("two"));
            "answered"
        })
        .on("off", |socket: Socket| {
            socket.off("several");
            socket.off_any();
            true
        })
        .on("forbidden", || "never")
        .on("not here", || "never")
        .on("slow gate", |Data((n, _)): Data<(u32, u64)>| n)
        .on("slow", async |Data((n, ms)): Data<(u32, u64)>| {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            n
        })
        .on(
            "slow beside",
            concurrent(async |Data((n, ms)): Data<(u32, u64)>| {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                n
            }),
        )
        // It yields as often as it is told to, which the client draws by lot.
        .on("yield", async |Data((n, times)): Data<(u32, u32)>| {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
            n
        })
        .on("panic", || -> () { panic!("on purpose") })
        .on("fail", || Err::<(), _>("it failed"))
}

fn talk(namespace: Namespace) -> Namespace {
    namespace
        .on("watch", |socket: Socket, notes: Session<Notes>| {
            let notes = notes.clone();
            socket.on_any_outgoing(move |EventName(event): EventName, payload: Payload| {
                let args: Value = serde_json::from_str(payload.json()).unwrap_or_default();
                notes.add(json!(["out", event, args]));
            });
            true
        })
        .on("unwatch", |socket: Socket| {
            socket.off_any_outgoing();
            true
        })
        .on(
            "tell",
            |socket: Socket, Data((room, event, text)): Data<(Option<String>, String, String)>| {
                match room {
                    Some(room) => socket.everyone().to(&room).emit(&event, text),
                    None => socket.everyone().emit(&event, text),
                }
                true
            },
        )
        .on(
            "tell me",
            |socket: Socket, Data((event, text)): Data<(String, String)>| {
                socket.emit(&event, text);
                true
            },
        )
        .on("ask me", async |socket: Socket| {
            let answer: Result<Value, _> = socket.emit_with_ack("question", "how old").await;
            answer.unwrap_or_default()
        })
        .on("who am i", |user: Session<User>| user.name.clone())
        .on("set data", |socket: Socket, Data(data): Data<Value>| {
            socket.set_data(&data);
            true
        })
        .on("data", |socket: Socket| {
            socket.data::<Value>().unwrap_or_default()
        })
        .on("all data", async |socket: Socket| {
            let sockets = socket.everyone().fetch_sockets().await;
            let data = sockets
                .iter()
                .map(|socket| (socket.id().to_owned(), socket.data().unwrap_or_default()));
            Data(data.collect::<BTreeMap<String, Value>>())
        })
}
