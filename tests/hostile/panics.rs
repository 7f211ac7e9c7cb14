//! Whatever the application's own code does, the connection and the core live on.

use std::time::Duration;

use ringhall::{
    Ack, CloseFrame, Data, Message, OwnedMessage, Server, Socket, WebSocket, WebSocketRoute,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::client::Client;
use crate::{base, start};

struct Bomb;

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("on purpose")
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

/// A bomb behind some good values.
#[derive(Serialize)]
struct Late {
    good: Vec<u8>,
    bomb: Bomb,
}

fn server() -> crate::Running {
    let builder = Server::builder()
        .config(base())
        .on("echo", |Data(n): Data<u64>| n)
        .on("sync", || -> () { panic!("on purpose") })
        .on("async", async || -> () {
            tokio::task::yield_now().await;
            panic!("on purpose")
        })
        .on("slow", async || -> () {
            tokio::time::sleep(Duration::from_millis(1)).await;
            panic!("on purpose")
        })
        .on("answer", || Data(Bomb))
        .on("answer later", async || {
            tokio::task::yield_now().await;
            Data(Bomb)
        })
        .on("ack", |ack: Ack| ack.send(Bomb))
        .on("emit", |socket: Socket| {
            let good = vec![1; 1000];
            socket.emit("x", Late { good, bomb: Bomb });
        })
        .on("broadcast", |socket: Socket| {
            socket.everyone().emit("x", (1, Bomb))
        })
        .on("extract", |_: Data<Bomb>| ())
        .on("ask", async |socket: Socket| {
            let _ = socket.emit_with_ack::<Bomb>("question", ()).await;
        })
        .on("spawn", || ringhall::spawn(async { panic!("on purpose") }))
        .namespace("/connect", |n| {
            n.on_connection(|_: Socket| -> () { panic!("on purpose") })
        })
        .namespace("/leave", |n| {
            n.on_disconnecting(|_: Socket| -> () { panic!("on purpose") })
                .on_disconnect(|_: Socket| -> () { panic!("on purpose") })
        })
        .namespaces(
            |name: &str| {
                assert!(name != "/predicate", "on purpose");
                false
            },
            |n| n,
        );
    let route = WebSocketRoute::new()
        .on_open(|_: &WebSocket, _: &ringhall::Handshake| panic!("on purpose"))
        .on_message(|socket: &WebSocket, message: Message<'_>| {
            assert!(message != Message::Text("bomb"), "on purpose");
            socket.send(message);
        })
        .on_close(|_: &WebSocket, _: CloseFrame<'_>| panic!("on purpose"));
    start(builder.websocket_route("/plain", route).websocket(
        "/async",
        async |socket: WebSocket, message: OwnedMessage| {
            tokio::task::yield_now().await;
            assert!(message.borrow() != Message::Text("bomb"), "on purpose");
            socket.send(&message);
        },
    ))
}

#[test]
fn h29_a_panic_in_any_handler_ends_that_handler_alone() {
    let server = server();
    let mut polite = Client::socket_io(server.address());
    let mut client = Client::socket_io(server.address());
    let events = [
        "sync",
        "async",
        "slow",
        "answer",
        "answer later",
        "ack",
        "emit",
        "broadcast",
        "extract",
        "spawn",
    ];
    for (n, event) in events.iter().enumerate() {
        client.text(&format!(r#"4299["{event}",1]"#));
        client.ask(n);
        polite.ask(n);
    }
    // The answer to a question is read by the application's own code, too.
    client.text(r#"42["ask"]"#);
    let question = client.read_text();
    let id = question
        .strip_prefix("42")
        .and_then(|text| text.strip_suffix(r#"["question"]"#));
    client.text(&format!(
        "43{}[1]",
        id.unwrap_or_else(|| panic!("{question}"))
    ));
    client.ask(100);
    polite.ask(100);
}

#[test]
fn h29_a_panic_on_the_way_in_or_out_ends_that_handler_alone() {
    let server = server();
    let mut polite = Client::socket_io(server.address());
    let mut client = Client::socket_io(server.address());
    client.text("40/connect,");
    assert!(client.read_text().starts_with("40/connect,{"));
    client.text("40/leave,");
    assert!(client.read_text().starts_with("40/leave,{"));
    client.text("41/leave,");
    client.ask(1);
    client.text("40/leave,");
    assert!(client.read_text().starts_with("40/leave,{"));
    client.text("40/predicate,");
    assert_eq!(
        client.read_text(),
        r#"44/predicate,{"message":"Invalid namespace"}"#
    );
    client.ask(2);
    polite.ask(2);
    drop(client);
    polite.ask(3);
    for path in ["/plain", "/async"] {
        let mut plain = Client::open(server.address(), path);
        for n in 0..5 {
            plain.text("bomb");
            plain.echo(&format!("good {n}"));
        }
        drop(plain);
        polite.ask(4);
    }
}
