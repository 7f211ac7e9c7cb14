//! The server that the simulation runs: a real application, whose handlers do what clients ask of them.
//!
//! A message says who it is from and the how-manieth it is: `<sender>:<number>:<padding>`, the tag. Receivers need no more to tell
//! what was lost, doubled or out of order. Who leaves is said farewell of under the number [`LAST`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::LAST;
use super::plan::Plan;
use crate::proto::reason::DisconnectReason;
use crate::server::{
    Auth, Binary, BroadcastAcks, Builder, CloseFrame, Config, Data, EventName, Handshake, Message,
    Namespace, NamespaceRequest, Payload, Receivers, Server, Socket, WebSocket, WebSocketBroadcast,
    WebSocketRoute,
};
use crate::wire::close::CloseCode;
use crate::wire::xorshift::Xorshift;

/// The scopes, by the number under which the ledger knows them.
pub(super) const SCOPES: [&str; 3] = ["websocket /ws", "/", "/chat"];
/// The path of the plain WebSockets.
pub(super) const PATH: &str = "/ws";
pub(super) const PING_INTERVAL_MS: u64 = 25_000;

/// To whom something is to be said.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) to: Vec<String>,
    pub(super) except: Vec<String>,
    /// To the sender, too.
    pub(super) me: bool,
    pub(super) volatile: bool,
    /// They are made to join a room of their own, which is told, and leave it again.
    pub(super) gather: bool,
    /// They are asked to acknowledge it with their names.
    pub(super) ask: bool,
}

/// Who a client says it is.
#[derive(Deserialize)]
struct Name {
    name: u32,
}

thread_local! {
    static BACKSTAGE: RefCell<Backstage> = RefCell::default();
}

/// What handlers keep between events. All cores of a simulation run in one thread.
#[derive(Default)]
struct Backstage {
    /// The names of plain WebSockets, by id.
    names: HashMap<String, u32>,
    /// Handles that are kept, dead ones too: those must reach nobody.
    kept: Vec<Socket>,
    counts: Vec<Receivers>,
    /// The middlewares and families that wait.
    waiting: Vec<oneshot::Sender<()>>,
    /// By tag.
    asked: Vec<(String, BroadcastAcks<String>)>,
    /// Why Socket.IO sockets left, by name.
    reasons: HashMap<u32, DisconnectReason>,
}

fn backstage<T>(act: impl FnOnce(&mut Backstage) -> T) -> T {
    BACKSTAGE.with(|backstage| act(&mut backstage.borrow_mut()))
}

/// Forgets all that handlers kept: sockets hold their core.
pub(super) fn clear() {
    let old = backstage(std::mem::take);
    drop(old);
}

/// The numbers of receivers that were asked for since the last time.
pub(super) fn take_counts() -> Vec<Receivers> {
    backstage(|backstage| std::mem::take(&mut backstage.counts))
}

/// What was asked since the last time.
pub(super) fn take_asked() -> Vec<(String, BroadcastAcks<String>)> {
    backstage(|backstage| std::mem::take(&mut backstage.asked))
}

/// Why the Socket.IO socket of this name left, if it has.
pub(super) fn reason_of(name: u32) -> Option<DisconnectReason> {
    backstage(|backstage| backstage.reasons.get(&name).copied())
}

/// Lets one of those go on that wait. `false`: there is none.
pub(super) fn release(dice: &mut Xorshift) -> bool {
    let released = backstage(|backstage| {
        let waiting = &mut backstage.waiting;
        (!waiting.is_empty()).then(|| waiting.swap_remove(dice.below(waiting.len())))
    });
    // Whoever waited may have gone with its core.
    released.is_some_and(|released| {
        let _ = released.send(());
        true
    })
}

/// Waits until the dice let it go on.
async fn pause() {
    let (sender, receiver) = oneshot::channel();
    backstage(|backstage| backstage.waiting.push(sender));
    // The end of the simulation lets go, too.
    let _ = receiver.await;
}

pub(super) fn builder(plan: &Plan) -> Builder {
    let config = Config {
        cores: plan.cores,
        ping_interval: Duration::from_millis(PING_INTERVAL_MS),
        ping_timeout: Duration::from_secs(20),
        max_unsent: plan.max_unsent,
        max_unsent_cut: plan.max_unsent_cut,
        cleanup_empty_child_namespaces: true,
        ..Config::default()
    };
    Server::builder()
        .config(config)
        .namespace(SCOPES[1], talk)
        .namespaces(
            async |request: NamespaceRequest| {
                if request.auth().is_ok_and(|asks: Asks| asks.first) {
                    pause().await;
                }
                request.name() == SCOPES[2]
            },
            guarded,
        )
        .websocket_route(PATH, route())
}

// ---- Socket.IO ----

/// How long a client wants to be kept waiting.
#[derive(Deserialize)]
struct Asks {
    /// By the family, too.
    first: bool,
    waits: usize,
}

/// Whether the middlewares let a client in is in its name.
pub(super) fn is_welcome(name: u32) -> bool {
    !name.is_multiple_of(4)
}

/// Middlewares that wait, join, leave and refuse.
fn guarded(namespace: Namespace) -> Namespace {
    watched(talk(namespace))
        .middleware(|socket: Socket| socket.join("antechamber"))
        .middleware(
            async |socket: Socket, Auth(asks): Auth<Asks>, Auth(Name { name }): Auth<Name>| {
                for wait in 0..asks.waits {
                    pause().await;
                    assert!(!socket.is_connected());
                    socket.join(format!("wait {wait}"));
                }
                if is_welcome(name) {
                    Ok(())
                } else {
                    Err("refused")
                }
            },
        )
        .middleware(|socket: Socket| socket.leave("antechamber"))
}

/// Everything that comes and goes is looked at, which must change nothing.
fn watched(namespace: Namespace) -> Namespace {
    namespace
        .on_any(|socket: Socket, EventName(_): EventName| assert!(socket.is_connected()))
        .packet_middleware(|_: Payload| Ok::<(), &str>(()))
        .on_any_outgoing(|_: EventName, _: Payload| ())
}

fn talk(namespace: Namespace) -> Namespace {
    namespace
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.try_join(room).is_ok()
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(room);
            true
        })
        .on("say", say)
        .on("relay", |socket: Socket, payload: Payload| {
            socket.everyone().emit_raw("said", &payload);
        })
        .on("echo", |payload: Payload| payload)
        .on("count", |socket: Socket, payload: Payload| {
            let receivers = socket.broadcast().emit_raw_counted("said", &payload);
            backstage(|backstage| backstage.counts.push(receivers));
        })
        .on("keep", |socket: Socket| {
            backstage(|backstage| backstage.kept.push(socket));
            true
        })
        .on("poke", poke)
        .on(
            "cross",
            |socket: Socket, Data((room, tag)): Data<(String, String)>| {
                let server = socket.server();
                if let Some(all) = server.websockets(PATH) {
                    let text = format!("said {tag}");
                    match room.as_str() {
                        "" => all.send(&text),
                        room => all.to(room).send(&text),
                    }
                }
            },
        )
        .on("quit", |socket: Socket, Data(close): Data<bool>| {
            socket.disconnect(close);
        })
        .on_disconnecting(|socket: Socket, reason: DisconnectReason| {
            if let Ok(Name { name }) = socket.auth() {
                backstage(|backstage| backstage.reasons.insert(name, reason));
                socket.broadcast().emit("said", format!("{name}:{LAST}:"));
            }
        })
}

/// `["say", spec, tag, attachments…]`
fn say(socket: Socket, Data((spec, tag, blobs)): Data<(Spec, String, Vec<Binary>)>) {
    let room = gathering(&tag);
    let mut receivers = if spec.me {
        socket.everyone()
    } else {
        socket.broadcast()
    };
    for room in &spec.to {
        receivers = receivers.to(room);
    }
    for room in &spec.except {
        receivers = receivers.except(room);
    }
    if spec.volatile {
        receivers = receivers.volatile();
    }
    let gathered = socket.everyone().to(&room);
    if spec.gather {
        receivers.sockets_join(&room);
        receivers = gathered.clone();
    }
    if spec.ask {
        let asked = receivers.emit_with_ack("said", (&tag, blobs));
        // Whoever asks may lose interest at once.
        if !tag.len().is_multiple_of(5) {
            backstage(|backstage| backstage.asked.push((tag, asked)));
        }
    } else {
        receivers.emit("said", (tag, blobs));
    }
    if spec.gather {
        gathered.sockets_leave(&room);
    }
}

/// The name of a room for one message.
pub(super) fn gathering(tag: &str) -> String {
    let number: Vec<&str> = tag.split(':').take(2).collect();
    format!("gathered for {}", number.join(":"))
}

/// To all sockets of this core that were kept.
fn poke(socket: Socket, Data(tag): Data<String>) {
    let kept = backstage(|backstage| backstage.kept.clone());
    for other in kept.iter().filter(|other| other.core() == socket.core()) {
        other.emit("said", &tag);
    }
}

// ---- plain WebSockets ----

fn route() -> WebSocketRoute {
    WebSocketRoute::new()
        .on_open(|socket: &WebSocket, handshake: &Handshake| {
            let name = handshake.query("name").and_then(|name| name.parse().ok());
            if let Some(name) = name {
                let id = socket.id().to_string();
                backstage(|backstage| backstage.names.insert(id, name));
            }
        })
        .on_message(|socket: &WebSocket, message: Message<'_>| match message {
            Message::Binary(_) => socket.send(message),
            Message::Text(text) => obey(socket, text),
        })
        .on_close(|socket: &WebSocket, _: CloseFrame<'_>| {
            let name = backstage(|backstage| backstage.names.remove(socket.id().as_str()));
            if let Some(name) = name {
                let text = format!("said {name}:{LAST}:");
                socket.broadcast().send(&text);
            }
        })
}

/// A line of words: what to do, and with what.
fn obey<'a>(socket: &WebSocket, text: &'a str) {
    let words: Vec<&str> = text.splitn(5, ' ').collect();
    match words[..] {
        ["join", number, room] => {
            socket.join(room);
            socket.send(&format!("done {number}"));
        }
        ["leave", number, room] => {
            socket.leave(room);
            socket.send(&format!("done {number}"));
        }
        ["echo", number, tag] => socket.send(&format!("done {number} {tag}")),
        ["say", flags, to, except, tag] => {
            let names = |list: &'a str| -> Vec<&'a str> {
                list.split(',').filter(|name| *name != "-").collect()
            };
            let (to, except) = (names(to), names(except));
            let receivers = match flags.contains('m') {
                true => socket.everyone(),
                false => socket.broadcast(),
            };
            speak(receivers, flags, (&to, &except), tag);
        }
        ["cross", room, tag] => {
            let server = socket.server();
            let root = server.of("/");
            match room {
                "-" => root.emit("said", tag),
                room => root.to(room).emit("said", tag),
            }
        }
        ["bye"] => socket.close(CloseCode::NORMAL, "bye"),
        _ => panic!("a client says {text:?}"),
    }
}

fn speak<'a>(
    mut receivers: WebSocketBroadcast<'a>,
    flags: &str,
    (to, except): (&'a [&'a str], &'a [&'a str]),
    tag: &str,
) {
    for room in to {
        receivers = receivers.to(*room);
    }
    for room in except {
        receivers = receivers.except(*room);
    }
    if flags.contains('v') {
        receivers = receivers.volatile();
    }
    receivers.send(&format!("said {tag}"));
}
