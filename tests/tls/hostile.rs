//! Whoever speaks TLS badly, or not at all, harms nobody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringhall::{CloseFrame, Config, Message, Server, WebSocket};
use rustls::version::TLS13;

use crate::client::{Client, Identity, tcp};
use crate::{PATIENCE, Running, base, start};

/// The first bytes of a ClientHello that never gets longer.
const STALLED: [u8; 9] = [22, 3, 1, 1, 0, 1, 0, 0, 0xfc];

fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            rest
        }
    }
}

#[test]
fn plain_http_is_answered_in_plain_http() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    for _ in 0..20 {
        let mut stream = tcp(server.address());
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("TLS"),
            "{answer}"
        );
    }
    Client::open(server.address(), &identity.trust(&TLS13), "/echo").echoes(b"still there");
}

#[test]
fn garbage_and_old_versions_get_an_alert() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    // TLS 1.1, with signatures as TLS 1.2 has them.
    let mut old = vec![22, 3, 1, 0, 59, 1, 0, 0, 55, 3, 2];
    old.extend([7; 32]);
    old.extend([
        0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3,
    ]);
    old[4] = (old.len() - 5) as u8;
    old[8] = (old.len() - 9) as u8;
    const PROTOCOL_VERSION: u8 = 70;
    for (bytes, alert) in [
        (old, Some(PROTOCOL_VERSION)),
        (vec![0; 100], None),
        (b"\x16\x03\x01\xff\xff".to_vec(), None),
        (vec![0x80; 5000], None),
    ] {
        let mut stream = tcp(server.address());
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = rest(&mut stream);
        assert_eq!(answer.first(), Some(&21), "{bytes:?}: {answer:?}");
        if alert.is_some() {
            assert_eq!(answer.last(), alert.as_ref());
        }
    }
    Client::open(server.address(), &identity.trust(&TLS13), "/echo").echoes(b"still there");
}

#[test]
fn a_stalled_handshake_is_cut() {
    let identity = Identity::new();
    let config = Config {
        tls_handshake_timeout: Duration::from_millis(200),
        ..base()
    };
    let server = start(config, identity.tls());
    let mut open = Client::open(server.address(), &identity.trust(&TLS13), "/echo");
    for sent in [&STALLED[..], &STALLED[..1], b""] {
        let mut stream = tcp(server.address());
        stream.write_all(sent).unwrap();
        assert!(rest(&mut stream).is_empty());
    }
    // Others have as much time as they like.
    open.echoes(b"still there");
}

#[test]
fn a_request_that_stalls_behind_the_handshake_is_answered() {
    let identity = Identity::new();
    let config = Config {
        tls_handshake_timeout: Duration::from_millis(200),
        handshake_timeout: Duration::from_millis(200),
        ..base()
    };
    let server = start(config, identity.tls());
    let mut client = Client::connect(server.address(), &identity.trust(&TLS13));
    client.stream.write_all(b"GET / HT").unwrap();
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn a_thousand_stalled_handshakes_stop_nobody() {
    const STALLING: usize = 1000;
    let identity = Identity::new();
    // One core, so that all are in one place; and nothing but the number is to cut them.
    let config = Config {
        cores: 1,
        max_tls_handshakes: STALLING,
        tls_handshake_timeout: PATIENCE * 4,
        ..base()
    };
    let server = start(config, identity.tls());
    let trust = identity.trust(&TLS13);
    let mut early = Client::open(server.address(), &trust, "/echo");
    let mut stalling: Vec<TcpStream> = (0..STALLING)
        .map(|_| {
            let mut stream = tcp(server.address());
            stream.write_all(&STALLED).unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        Client::open(server.address(), &trust, "/echo").echoes(b"hello");
    }
    early.echoes(b"still there");
    // The oldest made room, and it alone: those that came and went each needed the one place.
    assert!(rest(&mut stalling[0]).is_empty());
    for stream in stalling.iter_mut().skip(1) {
        stream.set_nonblocking(true).unwrap();
        let nothing = stream.read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn damaged_records_end_one_connection() {
    let identity = Identity::new();
    let server = start(base(), identity.tls());
    let trust = identity.trust(&TLS13);
    let mut other = Client::open(server.address(), &trust, "/echo");
    for damage in [
        &[23, 3, 3, 0, 20][..],
        &[23, 3, 3, 0xff, 0xff],
        &[99, 3, 3, 0, 1],
    ] {
        let mut client = Client::open(server.address(), &trust, "/echo");
        let mut bytes = damage.to_vec();
        bytes.extend([0x55; 20]);
        client.stream.sock.write_all(&bytes).unwrap();
        let error = client.stream.read(&mut [0]).unwrap_err();
        assert!(error.to_string().contains("alert"), "{error}");
    }
    other.echoes(b"still there");
}

#[test]
fn a_client_that_does_not_read_is_cut_at_the_limit() {
    let identity = Identity::new();
    let (sender, closed) = std::sync::mpsc::channel();
    let config = Config {
        cores: 1,
        max_unsent: 100_000,
        max_unsent_cut: 1_000_000,
        ..base()
    };
    let route = ringhall::WebSocketRoute::new()
        .on_message(|socket: &WebSocket, message: Message<'_>| {
            socket.broadcast().send(message);
        })
        .on_close(move |_: &WebSocket, _: CloseFrame<'_>| {
            let _ = sender.send(());
        });
    let builder = Server::builder().config(config).websocket_route("/", route);
    let server = Running(
        builder
            .listen_tls("127.0.0.1:0", identity.tls())
            .start()
            .unwrap(),
    );
    let trust = identity.trust(&TLS13);
    let deaf = Client::open(server.address(), &trust, "/");
    let mut talker = Client::open(server.address(), &trust, "/");
    let payload = vec![1; 100_000];
    // Buffers of the kernel take some of it.
    let mut sent = 0;
    while closed.try_recv().is_err() {
        talker.send(&payload).unwrap();
        sent += 1;
        assert!(sent < 10_000, "a gigabyte, and it was not cut");
    }
    drop(deaf);
}
