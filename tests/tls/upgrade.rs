//! A session on polling goes over to a WebSocket, and takes with it what was not decrypted yet.

use std::io::{Read, Write};

use ringhall::{EngineRoute, EngineSocket, Message, Server};
use rustls::version::TLS13;

use crate::client::{Client, Identity};
use crate::{Running, base};

const TARGET: &str = "/engine.io/?EIO=4&transport=polling";

impl Client {
    fn ask(&mut self, request: &str) -> String {
        self.stream.write_all(request.as_bytes()).unwrap();
        self.answer()
    }

    /// The body of the next answer.
    fn answer(&mut self) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.split_once("Content-Length: ").map_or(0, |(_, rest)| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }

    /// Opens a session; gives its name.
    fn session(&mut self) -> String {
        let opened = self.ask(&format!("GET {TARGET} HTTP/1.1\r\nHost: x\r\n\r\n"));
        opened.split('"').nth(3).expect(&opened).to_owned()
    }
}

/// A text message, with the mask that changes nothing.
fn text(payload: &str) -> Vec<u8> {
    let length = payload.len() as u16;
    let mut frame = match length {
        0..126 => vec![0x81, 0x80 | length as u8],
        _ => [&[0x81, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    frame.extend([0; 4]);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

#[test]
fn so_much_may_come_behind_the_upgrade_request_that_reading_pauses() {
    let identity = Identity::new();
    let trust = identity.trust(&TLS13);
    let echo = EngineRoute::new()
        .on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
    let builder = Server::builder()
        .config(base())
        .engine_io("/engine.io", echo)
        .listen_tls("127.0.0.1:0", identity.tls());
    let server = Running(builder.start().expect("the server starts"));
    // On two cores it is often another one that the session lives on.
    for _ in 0..6 {
        let connect = || Client::connect(server.address(), &trust);
        let mut other = connect();
        let (held, session) = (other.session(), other.session());
        let texts: Vec<String> = (0..100)
            .map(|n| format!("4{n} {}", "x".repeat(4000)))
            .collect();
        let mut bytes = format!(
            "GET {TARGET}&sid={held} HTTP/1.1\r\nHost: x\r\n\r\n\
             GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            format_args!("/engine.io/?EIO=4&transport=websocket&sid={session}")
        )
        .into_bytes();
        for payload in ["2probe", "5"]
            .into_iter()
            .chain(texts.iter().map(String::as_str))
        {
            bytes.extend(text(payload));
        }
        let mut websocket = connect();
        websocket.stream.write_all(&bytes).unwrap();
        // While others are served on both cores, as much of that is read as is read at all before the first answer.
        for _ in 0..12 {
            connect().session();
        }
        let post =
            format!("POST {TARGET}&sid={held} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n4go");
        assert_eq!(other.ask(&post), "ok");
        assert_eq!(websocket.answer(), "4go");
        assert_eq!(websocket.answer(), "", "a 101");
        assert_eq!(websocket.receive().unwrap(), b"3probe");
        for said in texts {
            assert!(websocket.receive().unwrap() == said.as_bytes(), "in order");
        }
        // It is read from again.
        websocket.stream.write_all(&text("4alive?")).unwrap();
        assert_eq!(websocket.receive().unwrap(), b"4alive?");
    }
}
