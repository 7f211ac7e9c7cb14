//! https and wss against real servers on loopback. Time decides nothing but how long a failure is waited for.
#![cfg(feature = "tls")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test ends with the first thing that goes wrong, and waits for what happens elsewhere"
)]

mod client;
mod hostile;
#[cfg(feature = "cli")]
mod program;
mod reload;
mod upgrade;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringhall::{
    Builder, CloseFrame, Config, Handshake, Message, OwnedMessage, Server, Tls, WebSocket,
    WebSocketRoute,
};
use rustls::HandshakeKind;
use rustls::version::TLS13;

use client::{Client, Identity, VERSIONS};

/// Long enough for a debug build on a loaded machine; what is waited for normally comes in milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until it is done.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Two cores, and no patience with clients that do not close.
pub(crate) fn base() -> Config {
    Config {
        cores: 2,
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    }
}

/// A server in this process, ended with this value.
pub(crate) struct Running(Server);

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addrs()[0]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.shutdown();
        self.0.wait().unwrap();
    }
}

pub(crate) fn echo(builder: Builder) -> Builder {
    builder.page("/", "text/plain", "hello").websocket(
        "/echo",
        |socket: &WebSocket, message: Message<'_>| {
            socket.send(message);
        },
    )
}

pub(crate) fn start(config: Config, tls: Tls) -> Running {
    let builder = echo(Server::builder().config(config)).listen_tls("127.0.0.1:0", tls);
    Running(builder.start().expect("the server starts"))
}

#[test]
fn messages_of_all_sizes_come_back() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    for version in VERSIONS {
        let mut client = Client::open(server.address(), &identity.trust(version), "/echo");
        for length in [
            0,
            1,
            125,
            1024,
            16 * 1024,
            16 * 1024 + 1,
            100_000,
            3_000_000,
        ] {
            let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            client.echoes(&payload);
        }
    }
}

#[test]
fn the_end_is_said_before_the_connection_ends() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    for version in VERSIONS {
        let mut client = Client::connect(server.address(), &identity.trust(version));
        let answer = client.get().unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
            "{answer}"
        );
    }
}

#[test]
fn the_clients_end_is_understood_with_and_without_close_notify() {
    let identity = Identity::new();
    let (sender, closed) = mpsc::channel();
    let route = WebSocketRoute::new().on_close(move |_: &WebSocket, _: CloseFrame<'_>| {
        let _ = sender.send(());
    });
    let builder = Server::builder().config(base()).websocket_route("/", route);
    let server = Running(
        builder
            .listen_tls("127.0.0.1:0", identity.tls())
            .start()
            .unwrap(),
    );
    for says_so in [true, false] {
        let mut client = Client::open(server.address(), &identity.trust(&TLS13), "/");
        if says_so {
            client.stream.conn.send_close_notify();
            client
                .stream
                .conn
                .write_tls(&mut client.stream.sock)
                .unwrap();
            // It is answered in kind, and nothing else is said.
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut client.stream, &mut rest).unwrap();
            assert!(rest.is_empty());
        } else {
            drop(client);
        }
        closed.recv_timeout(PATIENCE).expect("the end was noticed");
    }
}

#[test]
fn plain_and_tls_stand_side_by_side() {
    let (one, other) = (Identity::new(), Identity::new());
    let (sender, seen) = mpsc::channel();
    let route = WebSocketRoute::new().on_open(move |_: &WebSocket, handshake: &Handshake| {
        let _ = sender.send(handshake.is_secure());
    });
    let builder = echo(Server::builder().config(base())).websocket_route("/seen", route);
    let builder = builder
        .listen_tls("127.0.0.1:0", one.tls())
        .listen("127.0.0.1:0")
        .listen_tls("127.0.0.1:0", other.tls());
    let server = Running(builder.start().unwrap());
    let &[first, plain, second] = server.0.local_addrs() else {
        panic!("three addresses");
    };
    let urls = server.0.local_urls();
    assert_eq!(
        urls,
        [
            format!("https://{first}"),
            format!("http://{plain}"),
            format!("https://{second}")
        ]
    );
    for (address, right, wrong) in [(first, &one, &other), (second, &other, &one)] {
        Client::open(address, &right.trust(&TLS13), "/seen");
        assert!(seen.recv_timeout(PATIENCE).unwrap());
        let mut misled = Client::connect(address, &wrong.trust(&TLS13));
        assert!(
            misled.upgrade("/seen").is_err(),
            "another certificate was expected"
        );
    }
    let mut stream = client::tcp(plain);
    std::io::Write::write_all(
        &mut stream,
        b"GET /seen HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    .unwrap();
    assert!(!seen.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn sessions_are_resumed_on_every_core() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    for version in VERSIONS {
        let trust = identity.trust(version);
        // Which core a connection gets is the kernel's choice: with so many, both have been there.
        let kinds: Vec<_> = (0..16)
            .map(|_| {
                let mut client = Client::open(server.address(), &trust, "/echo");
                // Tickets come with or before the first answer.
                client.echoes(b"hello");
                client.stream.conn.handshake_kind()
            })
            .collect();
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert!(
            kinds[1..]
                .iter()
                .all(|kind| *kind == Some(HandshakeKind::Resumed)),
            "{kinds:?}"
        );
    }
}

#[test]
fn http_1_1_is_agreed_on() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    let mut trust = identity.trust(&TLS13);
    trust.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = Client::open(server.address(), &trust, "/echo");
    client.echoes(b"hello");
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_broadcast_reaches_all_whole_and_in_order() {
    const MEMBERS: usize = 8;
    let identity = Identity::new();
    let route = WebSocketRoute::new()
        .on_open(|socket: &WebSocket, _: &Handshake| socket.join("all"))
        .on_message(|socket: &WebSocket, message: Message<'_>| {
            socket.broadcast().to("all").send(message);
        });
    let builder = Server::builder().config(base()).websocket_route("/", route);
    let server = Running(
        builder
            .listen_tls("127.0.0.1:0", identity.tls())
            .start()
            .unwrap(),
    );
    let trust = identity.trust(&TLS13);
    let mut members: Vec<Client> = (0..MEMBERS)
        .map(|_| Client::open(server.address(), &trust, "/"))
        .collect();
    // Small ones are copied together, large ones sent from where they lie.
    for length in [10, 20_000, 10, 1_000_000, 10] {
        let payload: Vec<u8> = (0..length).map(|index| (index % 253) as u8).collect();
        members[0].send(&payload).unwrap();
    }
    for (index, member) in members.iter_mut().enumerate().skip(1) {
        for length in [10, 20_000, 10, 1_000_000, 10] {
            let payload = member.receive().unwrap();
            assert_eq!(payload.len(), length, "member {index}");
            assert!((0..length).all(|index| payload[index] == (index % 253) as u8));
        }
    }
}

#[test]
fn handlers_that_wait_see_all_messages_in_order() {
    const MESSAGES: usize = 200;
    let identity = Identity::new();
    let builder = Server::builder()
        // The connection is paused again and again, in the middle of its records.
        .config(Config {
            max_backlog: 5000,
            ..base()
        })
        .websocket("/", async |socket: WebSocket, message: OwnedMessage| {
            tokio::task::yield_now().await;
            socket.send(&message);
        });
    let server = Running(
        builder
            .listen_tls("127.0.0.1:0", identity.tls())
            .start()
            .unwrap(),
    );
    let mut client = Client::open(server.address(), &identity.trust(&TLS13), "/");
    let payload = |number: usize| vec![number as u8; 1000 + number];
    for number in 0..MESSAGES {
        client.send(&payload(number)).unwrap();
    }
    for number in 0..MESSAGES {
        assert!(
            client.receive().unwrap() == payload(number),
            "message {number}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_at_the_start() {
    let (one, other) = (Identity::new(), Identity::new());
    let try_it = |tls: Tls| {
        let builder = Server::builder()
            .config(base())
            .listen_tls("127.0.0.1:0", tls);
        builder.start().map(drop).unwrap_err().to_string()
    };
    let text = try_it(Tls::files("/nowhere/cert.pem", "/nowhere/key.pem"));
    assert!(
        text.contains("tls_cert") && text.contains("/nowhere/cert.pem"),
        "{text}"
    );
    let text = try_it(Tls::pem(one.cert.clone(), other.key.clone()));
    assert!(
        text.contains("tls_key") && text.contains("does not belong"),
        "{text}"
    );
    let both = Server::builder()
        .listen("127.0.0.1:1")
        .listen_tls("127.0.0.1:1", one.tls());
    let text = both.start().err().unwrap().to_string();
    assert!(text.contains("127.0.0.1:1 twice"), "{text}");
    let checked =
        Server::builder().listen_tls("127.0.0.1:0", Tls::pem(one.key.clone(), one.key.clone()));
    assert!(checked.check().is_err());
}
