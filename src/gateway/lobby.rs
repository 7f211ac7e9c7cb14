//! The development lobby: what the server offers without any configuration.

use ringhall::{Ack, Builder, Data, EventName, Message, Namespace, Payload, Socket, WebSocket};
use serde::Deserialize;
use serde_json::Value;

const PAGE: &str = include_str!("page.html");

/// Adds the page, the echo and the lobby.
pub(crate) fn development(builder: Builder) -> Builder {
    builder
        .page("/", "text/html; charset=utf-8", PAGE)
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message)
        })
        .namespace("/", lobby)
        .namespaces(|_: &str| true, lobby)
}

fn lobby(namespace: Namespace) -> Namespace {
    namespace
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room);
            rooms(&socket)
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(room);
            rooms(&socket)
        })
        .on("rooms", |socket: Socket| rooms(&socket))
        .on("to", to)
        .fallback(
            async |socket: Socket, EventName(event): EventName, payload: Payload, ack: Ack| {
                let receivers = socket.broadcast().emit_raw_counted(&event, &payload).await;
                ack.send(receivers);
            },
        )
        .on_disconnecting(say_will)
}

/// `auth: { will: [event, argument] }`, given at connecting: what everybody else is to be told when the socket goes, however it goes. Only
/// who asks for it is spoken of, so that ten thousand clients of a load test may leave without ten thousand farewells to each.
#[derive(Deserialize)]
struct Will {
    will: (String, Value),
}

fn say_will(socket: Socket) {
    if let Ok(Will {
        will: (event, argument),
    }) = socket.auth()
    {
        // A reserved name is the client's mistake, and there is nobody left to be told of it.
        let _ = socket.broadcast().try_emit(&event, (argument,));
    }
}

/// `to(room, event, ...args)`: the event, with its arguments, to a room.
async fn to(
    socket: Socket,
    Data((room, event)): Data<(String, String)>,
    payload: Payload,
    ack: Ack,
) {
    let receivers = socket
        .to(&room)
        .emit_raw_counted(&event, &payload.skip(2))
        .await;
    ack.send(receivers);
}

fn rooms(socket: &Socket) -> Vec<String> {
    let mut rooms = socket.rooms();
    rooms.sort();
    rooms
}
