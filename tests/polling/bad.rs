//! Bad requests of every kind, each with the answer it is to get; after each the server serves everybody else.

use std::net::Shutdown;

use crate::bed::{Bed, ENGINE, Setup, is_node};
use crate::session::Session;
use crate::wire::{UPGRADE, post, request};

/// What becomes of a bad request.
#[derive(Clone, Copy)]
enum Fate {
    /// One of these answers.
    Answer(&'static [u16]),
    /// One of these, and the connection ends.
    AnswerAndEnd(&'static [u16]),
    /// One of these or nothing, and the connection ends.
    End(&'static [u16]),
}

use Fate::{Answer, AnswerAndEnd, End};

type Case = (&'static str, Vec<u8>, Fate);

const POLL: &str = "/engine.io/?EIO=4&transport=polling";

/// A proper request with `from` replaced by `to`.
fn but(from: &str, to: &str) -> Vec<u8> {
    let proper = request("GET", POLL, "");
    assert!(proper.contains(from), "{from}");
    proper.replacen(from, to, 1).into_bytes()
}

/// A proper request for a WebSocket with `from` replaced by `to`.
fn upgrade_but(from: &str, to: &str) -> Vec<u8> {
    let proper = request("GET", "/engine.io/?EIO=4&transport=websocket", UPGRADE);
    assert!(proper.contains(from), "{from}");
    proper.replacen(from, to, 1).into_bytes()
}

fn with(headers: &str) -> Vec<u8> {
    request("POST", POLL, headers).into_bytes()
}

/// What is no HTTP, or not to be trusted (RFC 9112 §2.2, §3, §5, §6).
fn syntax() -> Vec<Case> {
    vec![
        ("noise", b"\x00\xff\xfe\r\n\r\n".to_vec(), End(&[400])),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n".to_vec(),
            End(&[400]),
        ),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            End(&[400, 505]),
        ),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec(), End(&[400])),
        ("no version", but(" HTTP/1.1", ""), End(&[400])),
        (
            "another version",
            but("HTTP/1.1", "HTTP/1.2"),
            End(&[400, 505]),
        ),
        ("version 2", but("HTTP/1.1", "HTTP/2.0"), End(&[400, 505])),
        (
            "a version in small letters",
            but("HTTP/1.1", "http/1.1"),
            End(&[400, 505]),
        ),
        ("two spaces", but("GET /", "GET  /"), End(&[400])),
        ("no target", but(&format!("GET {POLL}"), "GET"), End(&[400])),
        (
            "a target that is no path",
            but("GET /", "GET "),
            End(&[400]),
        ),
        (
            "a target with NUL",
            but("transport", "tran\0sport"),
            End(&[400]),
        ),
        (
            "a target with a space",
            but("&transport", " &transport"),
            End(&[400, 505]),
        ),
        ("a method that is no token", but("GET", "G(T"), End(&[400])),
        ("no method", but("GET ", " "), End(&[400])),
        ("a name with a space", but("Host:", "Host :"), End(&[400])),
        (
            "a folded line",
            but("Host: x\r\n", "Host: x\r\nX: a\r\n b\r\n"),
            End(&[400]),
        ),
        (
            "a line without a colon",
            but("Host: x\r\n", "Host: x\r\nnothing\r\n"),
            End(&[400]),
        ),
        (
            "a line without a name",
            but("Host: x\r\n", "Host: x\r\n: y\r\n"),
            End(&[400]),
        ),
        (
            "a value with NUL",
            but("Host: x\r\n", "Host: x\r\nX: a\0b\r\n"),
            End(&[400]),
        ),
        (
            "a value with CR",
            but("Host: x\r\n", "Host: x\r\nX: a\rb\r\n"),
            End(&[400]),
        ),
        (
            "a name with NUL",
            but("Host: x\r\n", "Host: x\r\nX\0: a\r\n"),
            End(&[400]),
        ),
    ]
}

/// RFC 9112 §3.2: exactly one valid Host.
fn hosts() -> Vec<Case> {
    vec![
        ("no host", but("Host: x\r\n", ""), End(&[400])),
        (
            "two hosts",
            but("Host: x", "Host: x\r\nHost: y"),
            End(&[400]),
        ),
        (
            "the same host twice",
            but("Host: x", "Host: x\r\nhost: x"),
            End(&[400]),
        ),
        (
            "a host with a space",
            but("Host: x", "Host: a b"),
            End(&[400]),
        ),
        (
            "a host with a path",
            but("Host: x", "Host: x/y"),
            End(&[400]),
        ),
    ]
}

/// Two readings of one stream (RFC 9112 §6.1, §6.3, §11.2).
fn framing() -> Vec<Case> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let with_chunks = |chunks: &[u8]| [&*with(chunked), chunks].concat();
    vec![
        (
            "a length that is none",
            with("Content-Length: x\r\n"),
            End(&[400]),
        ),
        (
            "a length with a sign",
            with("Content-Length: +2\r\n"),
            End(&[400]),
        ),
        (
            "a negative length",
            with("Content-Length: -2\r\n"),
            End(&[400]),
        ),
        (
            "a length in hexadecimal",
            with("Content-Length: 0x2\r\n"),
            End(&[400]),
        ),
        (
            "a length with a fraction",
            with("Content-Length: 2.0\r\n"),
            End(&[400]),
        ),
        ("an empty length", with("Content-Length:\r\n"), End(&[400])),
        (
            "a length beyond all",
            with("Content-Length: 99999999999999999999999\r\n"),
            End(&[400, 413]),
        ),
        (
            "two lengths",
            with("Content-Length: 2\r\nContent-Length: 3\r\n"),
            End(&[400]),
        ),
        (
            "a list of lengths",
            with("Content-Length: 2, 3\r\n"),
            End(&[400]),
        ),
        (
            "length and chunks",
            with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
            End(&[400]),
        ),
        (
            "an unknown coding",
            with("Transfer-Encoding: x\r\n"),
            End(&[400, 501]),
        ),
        (
            "chunked and not last",
            with("Transfer-Encoding: chunked, x\r\n"),
            End(&[400, 501]),
        ),
        (
            "chunks in HTTP/1.0",
            request("POST", POLL, chunked)
                .replace("/1.1", "/1.0")
                .into_bytes(),
            End(&[400]),
        ),
        // The request is refused before its body is looked at; then the body ends the connection.
        (
            "a chunk without a size",
            with_chunks(b"\r\nab\r\n0\r\n\r\n"),
            End(&[400]),
        ),
        (
            "a chunk's size that is none",
            with_chunks(b"g\r\nab\r\n0\r\n\r\n"),
            End(&[400]),
        ),
        (
            "a chunk's size beyond all",
            with_chunks(b"fffffffffffffffff\r\nab\r\n"),
            End(&[400]),
        ),
        (
            "a chunk that is longer",
            with_chunks(b"1\r\nab\r\n0\r\n\r\n"),
            End(&[400]),
        ),
        (
            "a body that ends too early",
            [&*with("Content-Length: 9\r\n"), b"4x"].concat(),
            End(&[400]),
        ),
    ]
}

/// Too much of something.
fn sizes() -> Vec<Case> {
    vec![
        (
            "a long header",
            but("Host: x", &format!("Host: x\r\nX: {}", "y".repeat(20_000))),
            AnswerAndEnd(&[431]),
        ),
        (
            "a long name",
            but("Host: x", &format!("Host: x\r\n{}: y", "x".repeat(70_000))),
            End(&[400, 431]),
        ),
        (
            "a long target",
            but(POLL, &format!("{POLL}&x={}", "y".repeat(20_000))),
            End(&[414, 431]),
        ),
        (
            "a long method",
            but("GET", &"G".repeat(20_000)),
            End(&[400, 414, 431]),
        ),
        (
            "no end of headers",
            [but("\r\n\r\n", ""), b"\r\nX: y".repeat(9000)].concat(),
            End(&[431]),
        ),
        (
            "no end of the line",
            b"GET /".repeat(5000),
            End(&[400, 414, 431]),
        ),
    ]
}

/// What Engine.IO refuses.
fn engine() -> Vec<Case> {
    let target = |query: &str| request("GET", &format!("/engine.io/?{query}"), "").into_bytes();
    vec![
        ("no parameters", target(""), Answer(&[400])),
        (
            "an unknown transport",
            target("EIO=4&transport=tobi"),
            Answer(&[400]),
        ),
        (
            "an unknown session",
            target("EIO=4&transport=polling&sid=tobi"),
            Answer(&[400]),
        ),
        (
            "a long sid",
            target(&format!("EIO=4&transport=polling&sid={}", "A".repeat(4000))),
            Answer(&[400]),
        ),
        (
            "a sid with anything",
            target("EIO=4&transport=polling&sid=%00%ff%f0%9f%98%80../"),
            Answer(&[400]),
        ),
        (
            "a sid far away",
            target("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAD_____"),
            Answer(&[400]),
        ),
        (
            "bad percents",
            target("EIO=4&transport=%zz%"),
            Answer(&[400]),
        ),
        (
            "an unknown revision",
            target("EIO=5&transport=polling"),
            Answer(&[400]),
        ),
        (
            "an opening by POST",
            with("Content-Length: 0\r\n"),
            Answer(&[400]),
        ),
        (
            "an opening by HEAD",
            request("HEAD", POLL, "").into_bytes(),
            Answer(&[400]),
        ),
        (
            "an opening by TRACE",
            request("TRACE", POLL, "").into_bytes(),
            Answer(&[400, 405]),
        ),
        (
            "an opening by an unknown method",
            request("BREW", POLL, "").into_bytes(),
            End(&[400, 501]),
        ),
        (
            "a tunnel",
            b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n".to_vec(),
            End(&[400, 404, 405, 501]),
        ),
        (
            "the server itself",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            Answer(&[200, 204, 400, 404, 405]),
        ),
        (
            "a POST for nobody",
            post(&format!("{POLL}&sid=tobi"), "4x"),
            Answer(&[400]),
        ),
        (
            "a page that is not there",
            request("GET", "/nowhere", "").into_bytes(),
            Answer(&[404]),
        ),
        (
            "a way out",
            request("GET", "/../../etc/passwd", "").into_bytes(),
            Answer(&[400, 404]),
        ),
        (
            "an expectation",
            with("Content-Length: 2\r\nExpect: the-unexpected\r\n"),
            End(&[400, 417]),
        ),
    ]
}

/// Handshakes (RFC 6455 §4.2.1).
fn handshakes() -> Vec<Case> {
    vec![
        (
            "no key",
            upgrade_but("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            End(&[400]),
        ),
        (
            "an empty key",
            upgrade_but("dGhlIHNhbXBsZSBub25jZQ==", ""),
            End(&[400]),
        ),
        (
            "a short key",
            upgrade_but("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"),
            End(&[400]),
        ),
        (
            "a key that is no base64",
            upgrade_but("dGhlIHNhbXBs", "dGhl!HNhbXBs"),
            End(&[400]),
        ),
        (
            "no version",
            upgrade_but("Sec-WebSocket-Version: 13\r\n", ""),
            End(&[400, 426]),
        ),
        (
            "version 12",
            upgrade_but("Version: 13", "Version: 12"),
            End(&[400, 426]),
        ),
        (
            "version 0013",
            upgrade_but("Version: 13", "Version: 0013"),
            End(&[400, 426]),
        ),
        (
            "no word of it in Connection",
            upgrade_but("Connection: Upgrade", "Connection: close"),
            End(&[400]),
        ),
        (
            "another method",
            upgrade_but("GET", "POST"),
            End(&[400, 405]),
        ),
        ("HTTP/1.0", upgrade_but("HTTP/1.1", "HTTP/1.0"), End(&[400])),
        (
            "an upgrade of another kind",
            upgrade_but("Upgrade: websocket", "Upgrade: h2c"),
            End(&[400, 426]),
        ),
        (
            "a body",
            upgrade_but("Host: x", "Host: x\r\nContent-Length: 2"),
            End(&[400]),
        ),
        (
            "chunks",
            upgrade_but("Host: x", "Host: x\r\nTransfer-Encoding: chunked"),
            End(&[400]),
        ),
        (
            "an unknown session",
            upgrade_but("EIO=4", "EIO=4&sid=tobi"),
            AnswerAndEnd(&[400]),
        ),
        (
            "an unknown transport",
            upgrade_but("transport=websocket", "transport=tobi"),
            AnswerAndEnd(&[400]),
        ),
        (
            "the transport of others",
            upgrade_but("transport=websocket", "transport=polling"),
            End(&[400]),
        ),
        (
            "a revision of others",
            upgrade_but("EIO=4", "EIO=7"),
            End(&[400]),
        ),
        (
            "a path of nobody",
            upgrade_but("/engine.io/", "/nowhere"),
            End(&[400, 404]),
        ),
    ]
}

/// What Node decides otherwise, where the protocol says nothing: it answers 101 before it looks, or does not look.
const NODE_DIFFERS: &[&str] = &[
    "a body",
    "chunks",
    "HTTP/1.0",
    "the transport of others",
    "a revision of others",
    "an upgrade of another kind",
    "version 0013",
    "no word of it in Connection",
    "an expectation",
];

#[test]
fn every_bad_request_gets_its_answer_and_harms_nobody() {
    let bed = Bed::start(&Setup {
        handshake_timeout_ms: 60_000,
        ..Setup::default()
    });
    let mut witness = Session::open(&bed);
    let mut cases = [engine(), handshakes()].concat();
    if !is_node() {
        // Its parser is not the one in question.
        cases.extend([syntax(), hosts(), framing(), sizes()].concat());
        assert!(cases.len() >= 60, "{}", cases.len());
    }
    for (what, bytes, fate) in cases {
        if is_node() && NODE_DIFFERS.contains(&what) {
            continue;
        }
        let mut wire = bed.connect();
        wire.try_send(&bytes);
        match fate {
            Answer(statuses) => {
                let answer = if bytes.starts_with(b"HEAD") {
                    wire.response_to_head().unwrap()
                } else {
                    wire.response()
                };
                assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
                // The request was whole: the connection is as good as before, or said to be closed.
                if answer.header("connection") != Some("close") {
                    assert_eq!(wire.get("/").status, 200, "{what}");
                }
            }
            AnswerAndEnd(statuses) => {
                let answer = wire.response();
                assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
                wire.expect_end();
            }
            End(statuses) => {
                // What is not whole is not waited for any longer.
                let _ = wire.stream.shutdown(Shutdown::Write);
                if let Ok(answer) = wire.try_response() {
                    assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
                }
                wire.expect_end();
            }
        }
        witness.echoes();
        bed.serves();
    }
}

#[test]
fn what_follows_a_bad_request_is_not_served() {
    let bed = Bed::plain();
    if is_node() {
        return;
    }
    for (what, bytes, fate) in [syntax(), hosts(), framing()].concat() {
        let End(_) = fate else { continue };
        let mut wire = bed.connect();
        // If it were, somebody would have a page in a connection that is not theirs.
        wire.try_send([&*bytes, request("GET", "/", "").as_bytes()].concat());
        let _ = wire.stream.shutdown(Shutdown::Write);
        while let Ok(answer) = wire.try_response() {
            assert_ne!(answer.status, 200, "{what}: {answer:?}");
        }
    }
    assert_eq!(bed.connect().get(ENGINE).status, 200);
}
