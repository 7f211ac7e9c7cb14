//! The development lobby: what the server offers without any configuration.

use ringhall::{Ack, Builder, Data, EventName, Message, Namespace, Payload, Socket, WebSocket};

const PAGE: &str = include_str!("page.html");

/// Adds the page, the echo and the lobby.
pub(crate) fn development(builder: Builder) -> Builder {
    builder
        .page("/", "text/html; charset=utf-8", PAGE)
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message)
        })
        .namespace("/", lobby)
        .namespaces(|_| true, lobby)
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
