//! An application beside Ringhall upgrades connections for itself.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::{any, get};
use ringhall::{Config, Server};

use super::client::{Client, PATIENCE};
use super::describe;

/// Echoes, and says when it has ended.
async fn echo(mut socket: WebSocket, ended: Sender<()>) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
            break;
        }
    }
    let _ = ended.send(());
}

fn start() -> (Server, SocketAddr, Receiver<()>) {
    let (ended, endings) = channel();
    let own = any(async move |upgrade: WebSocketUpgrade| {
        let ended = ended.clone();
        upgrade.on_upgrade(async move |socket| echo(socket, ended).await)
    });
    let application = Router::new()
        .route("/own", own)
        .route("/page", get(async || "a page"));
    let config = Config {
        cores: 1,
        // Less than what is sent at a time, so that writing has to wait for room.
        max_unsent: 64 * 1024,
        ..Config::default()
    };
    let server = describe().0.config(config).fallback_service(application);
    let server = server.listen("127.0.0.1:0").start().unwrap();
    let address = server.local_addrs()[0];
    (server, address, endings)
}

fn end(server: &Server) {
    server.shutdown();
    server.wait().unwrap();
}

#[test]
fn its_websockets_pass_through() {
    let (server, address, endings) = start();
    for round in 0..4 {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/page").text(), "a page");
        client.upgrade("/own", &["behind", "the request"]);
        assert_eq!([client.read(), client.read()], ["behind", "the request"]);
        for number in 0..100 {
            client.send(&format!("{round} {number}"));
            assert_eq!(client.read(), format!("{round} {number}"));
        }
        let long = "0123456789".repeat(300_000);
        client.send(&long);
        assert_eq!(client.read(), long);
        client.close();
        endings.recv_timeout(PATIENCE).unwrap();
        assert!(client.is_cut());
    }
    // Ringhall's own are where they were.
    let mut client = Client::connect(address);
    client.upgrade("/echo", &["hello"]);
    assert_eq!(client.read(), "hello");
    drop(client);
    end(&server);
}

#[test]
fn its_websockets_end_with_the_client() {
    let (server, address, endings) = start();
    let mut client = Client::connect(address);
    client.upgrade("/own", &["hello"]);
    assert_eq!(client.read(), "hello");
    drop(client);
    endings.recv_timeout(PATIENCE).unwrap();
    end(&server);
}

#[test]
fn its_websockets_end_with_the_server() {
    let (server, address, endings) = start();
    let mut client = Client::connect(address);
    client.upgrade("/own", &["hello"]);
    assert_eq!(client.read(), "hello");
    server.shutdown();
    endings.recv_timeout(PATIENCE).unwrap();
    assert!(client.is_cut());
    drop(client);
    server.wait().unwrap();
}
