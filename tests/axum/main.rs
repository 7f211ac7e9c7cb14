//! Ringhall beside an axum application on a port of its own, and inside of one that owns the port, at the level of bytes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; whatever the client cannot do is a failed one, and what happens elsewhere is waited for"
)]

mod beside;
mod client;
mod inside;
mod own_websockets;
mod tls;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use client::{Client, polling};
use ringhall::{Builder, DisconnectReason, Message, Payload, Server, Socket, WebSocket};

/// What the tests talk to, and the reasons for which its sockets end.
fn describe() -> (Builder, Receiver<String>) {
    let (ended, endings) = channel();
    let builder = Server::builder()
        .cores(2)
        .on("echo", |socket: Socket, payload: Payload| {
            socket.emit_raw("echo", &payload);
        })
        .on_disconnect(move |_: Socket, reason: DisconnectReason| {
            let _ = ended.send(reason.to_string());
        })
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message)
        });
    (builder, endings)
}

/// One connection asks for a page, then polls, then upgrades, with the probe right behind its request.
fn page_then_polling_then_websocket(address: SocketAddr) {
    let mut client = Client::connect(address);
    assert_eq!(client.get("/page").text(), "a page");
    let sid = client.open_polling();
    assert_eq!(client.get("/page").text(), "a page");
    let said = r#"42["echo","on polling"]"#;
    assert_eq!(client.ask("POST", &polling(&sid), said).text(), "ok");
    assert_eq!(client.get(&polling(&sid)).text(), said);
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    client.upgrade(&path, &["2probe"]);
    assert_eq!(client.read(), "3probe");
    client.send("5");
    for number in 0..100 {
        client.send(&format!(r#"42["echo",{number}]"#));
    }
    for number in 0..100 {
        assert_eq!(client.read(), format!(r#"42["echo",{number}]"#));
    }
}

/// What is sent right behind the request, before the answer, is not lost, on any core.
fn messages_behind_the_request(address: SocketAddr) {
    for round in 0..20 {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/page").text(), "a page");
        let said = format!(r#"42["echo",{round}]"#);
        let path = "/socket.io/?EIO=4&transport=websocket";
        client.upgrade(path, &["40", &said, &said]);
        assert!(client.read().starts_with('0'));
        assert!(client.read().starts_with(r#"40{"sid":""#));
        assert_eq!([client.read(), client.read()], [said.clone(), said]);

        let mut plain = Client::connect(address);
        let long = "ü".repeat(40_000);
        plain.upgrade("/echo", &["one", &long, "three"]);
        assert_eq!([plain.read(), plain.read()], ["one".to_owned(), long]);
        assert_eq!(plain.read(), "three");
        plain.close();
        assert!(plain.is_cut());
    }
}

/// A client that hangs up while its poll is held, and one that hangs up on a WebSocket.
fn clients_that_vanish(address: SocketAddr, endings: &Receiver<String>) {
    // A request that ends before anybody has looked at it is none; so it is given time, and tried again.
    let reason = (0..20).find_map(|_| {
        let mut client = Client::connect(address);
        let sid = client.open_polling();
        let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling(&sid));
        client.write(request.as_bytes());
        std::thread::sleep(Duration::from_millis(20));
        drop(client);
        endings.recv_timeout(Duration::from_secs(1)).ok()
    });
    assert!(reason.is_some_and(is_of_transport));

    let mut client = Client::connect(address);
    client.upgrade("/socket.io/?EIO=4&transport=websocket", &["40"]);
    assert!(client.read().starts_with('0'));
    assert!(client.read().starts_with("40"));
    drop(client);
    let reason = endings.recv_timeout(client::PATIENCE).unwrap();
    assert_eq!(reason, "transport close");
}

fn is_of_transport(reason: String) -> bool {
    ["transport close", "transport error"].contains(&&*reason)
}
