//! Bytes that RFC 6455 does not allow.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringhall::{Config, Message, Server, WebSocket};

use crate::client::{BINARY, CLOSE, Client, PING, SOCKET_IO, TEXT, frame, head, masked};
use crate::{Running, base, start};

/// A server that echoes, and counts what was delivered.
fn server() -> (Running, Arc<AtomicUsize>) {
    let delivered = Arc::new(AtomicUsize::new(0));
    let count = delivered.clone();
    let echo = move |socket: &WebSocket, message: Message<'_>| {
        count.fetch_add(1, Ordering::SeqCst);
        socket.send(message);
    };
    let builder = Server::builder().config(Config {
        max_message: 1 << 20,
        ..base()
    });
    (start(builder.websocket("/echo", echo)), delivered)
}

/// Sends the bytes, and a good message behind them; only the Close with this code may come back, then FIN.
fn refused(address: SocketAddr, what: &str, bytes: &[u8], code: u16) {
    let mut client = Client::open(address, "/echo");
    let mut all = bytes.to_vec();
    all.extend(frame(TEXT, b"behind"));
    client.send(&all);
    let end = client.read_end();
    assert_eq!(end.code, Some(code), "{what}");
    assert!(end.frames.is_empty(), "{what}: {end:?}");
}

#[test]
fn h11_declared_lengths_are_refused_from_the_head() {
    let (server, delivered) = server();
    let address = server.address();
    let mut polite = Client::open(address, "/echo");
    let lengths = [
        ((1 << 20) + 1, 1009),
        (1 << 31, 1009),
        (1 << 32, 1009),
        (1 << 62, 1009),
        ((1 << 63) - 1, 1009),
        (1 << 63, 1002),
        (u64::MAX, 1002),
    ];
    for (length, code) in lengths {
        for first in [TEXT, BINARY, 0x01, 0x02] {
            let mut client = Client::open(address, "/echo");
            client.send(&head(first, length));
            assert_eq!(client.read_end().code, Some(code), "{first:#x} {length:#x}");
        }
        // The sum counts, and must not overflow.
        let mut client = Client::open(address, "/echo");
        client.send(&frame(0x02, b"begun"));
        client.send(&head(0x80, length));
        assert_eq!(client.read_end().code, Some(code), "continued {length:#x}");
        polite.echo("still here");
    }
    let sum = [frame(0x02, &[7; 20]), head(0x80, (1 << 20) - 19)].concat();
    let mut client = Client::open(address, "/echo");
    client.send(&sum);
    assert_eq!(client.read_end().code, Some(1009), "one byte too many");
    // Socket.IO has a limit of its own, 1,000,000 bytes.
    let mut client = Client::session(address);
    client.send(&head(TEXT, 1_000_001));
    assert_eq!(client.read_end().code, Some(1009));
    assert_eq!(delivered.load(Ordering::SeqCst), lengths.len());
}

const NOT_UTF8: [&[u8]; 10] = [
    b"\x80",
    b"ab\xc0\xaf",
    b"\xc1\xbf",
    b"\xe0\x80\xaf",
    b"x\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xce\xba\xff",
];

#[test]
fn h12_invalid_utf8_is_refused_at_once_wherever_it_is_cut() {
    let (server, delivered) = server();
    let address = server.address();
    for bad in NOT_UTF8 {
        let text = [&b"good "[..], bad].concat();
        refused(address, "whole", &frame(TEXT, &text), 1007);
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            let fragments = [frame(0x01, a), frame(PING, b""), frame(0x80, b)].concat();
            let mut client = Client::open(address, "/echo");
            client.send(&fragments);
            assert_eq!(client.read_end().code, Some(1007), "{bad:x?} cut at {cut}");
        }
        // Fail fast: the rest of the frame never comes, nor is it waited for.
        let mut client = Client::open(address, "/echo");
        let mut begun = head(TEXT, 1000);
        begun.extend(masked(&text));
        for byte in begun {
            let _ = client.try_send(&[byte]);
        }
        assert_eq!(client.read_end().code, Some(1007), "{bad:x?} unfinished");
        let mut client = Client::open(address, "/echo");
        client.send(&frame(0x01, &text));
        assert_eq!(client.read_end().code, Some(1007), "{bad:x?} first of many");
    }
    for cut_short in [&b"\xc3"[..], b"ok\xe2\x82", b"\xf0\x9f\x98"] {
        refused(address, "cut short", &frame(TEXT, cut_short), 1007);
        let fragments = [frame(0x01, cut_short), frame(0x80, b"")].concat();
        refused(address, "cut short in fragments", &fragments, 1007);
    }
    assert_eq!(delivered.load(Ordering::SeqCst), 0);
    // And what is valid passes in every cut.
    let mut client = Client::open(address, "/echo");
    let text = "κόσμε 😀".as_bytes();
    for cut in 0..=text.len() {
        let (a, b) = text.split_at(cut);
        client.send(&[frame(0x01, a), frame(0x80, b)].concat());
        assert_eq!(client.read_frame(), (TEXT, text.to_vec()));
    }
}

/// A Close frame with this code and reason.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn broken_rules() -> Vec<(String, Vec<u8>, u16)> {
    let mut cases: Vec<(String, Vec<u8>, u16)> = Vec::new();
    let mut case = |what: String, bytes: Vec<u8>, code: u16| cases.push((what, bytes, code));
    case("not masked".into(), [&[TEXT, 2][..], b"hi"].concat(), 1002);
    case("not masked, empty".into(), vec![TEXT, 0], 1002);
    case("a ping that is not masked".into(), vec![PING, 0], 1002);
    for reserved in [0x40, 0x20, 0x10, 0x70] {
        for first in [TEXT, BINARY, CLOSE, PING] {
            let first = first | reserved;
            case(format!("reserved bits {first:#x}"), frame(first, b""), 1002);
        }
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        case(format!("opcode {opcode}"), frame(0x80 | opcode, b""), 1002);
    }
    for opcode in [8, 9, 10] {
        case(format!("fragmented {opcode}"), frame(opcode, b""), 1002);
        case(
            format!("long {opcode}"),
            frame(0x80 | opcode, &[b'x'; 126]),
            1002,
        );
    }
    case("continuation of nothing".into(), frame(0x80, b"x"), 1002);
    case(
        "continuation of nothing, more".into(),
        frame(0x00, b"x"),
        1002,
    );
    for (a, b) in [(0x01, TEXT), (0x02, BINARY), (0x01, 0x02)] {
        let bytes = [frame(a, b"x"), frame(b, b"y")].concat();
        case(format!("{b:#x} inside {a:#x}"), bytes, 1002);
    }
    let long_16 = [&[BINARY, 0xfe, 0, 5, 0, 0, 0, 0][..], b"hello"].concat();
    case("5 in 16 bits".into(), long_16, 1002);
    let long_64 = [BINARY, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    case("65535 in 64 bits".into(), long_64.to_vec(), 1002);
    case("Close of one byte".into(), frame(CLOSE, &[3]), 1002);
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        case(format!("Close with {code}"), close(code, b""), 1002);
    }
    case("Close, reason not UTF-8".into(), close(1000, b"\xff"), 1007);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999,
    ] {
        case(
            format!("proper Close with {code}"),
            close(code, b"bye"),
            code,
        );
    }
    case(
        "proper Close without a code".into(),
        frame(CLOSE, b""),
        1005,
    );
    cases
}

#[test]
fn h13_whatever_breaks_a_rule_gets_its_close_code_and_fin_and_is_not_heard_again() {
    let (server, delivered) = server();
    let mut polite = Client::open(server.address(), "/echo");
    let cases = broken_rules();
    for (what, bytes, code) in &cases {
        refused(server.address(), what, bytes, *code);
        polite.echo("still here");
    }
    assert_eq!(
        delivered.load(Ordering::SeqCst),
        cases.len(),
        "the polite one's"
    );
    // The same over Socket.IO's WebSocket.
    for (what, bytes, code) in &cases {
        let mut client = Client::session(server.address());
        client.send(&[&bytes[..], &frame(TEXT, b"40")].concat());
        let end = client.read_end();
        assert_eq!((end.code, end.frames), (Some(*code), vec![]), "{what}");
    }
}

#[test]
fn h14_close_is_not_overtaken_by_a_reset() {
    let (server, _) = server();
    let bad = frame(0x83, b"");
    for path in ["/echo", SOCKET_IO] {
        // With data that the server has not read when it decides to end.
        let mut client = Client::open(server.address(), path);
        let mut bytes = bad.clone();
        bytes.resize(512 * 1024, 0);
        client.send(&bytes);
        client.send(&bytes);
        let end = client.read_end();
        assert_eq!(end.code, Some(1002), "{path}");
        // It goes on sending before it looks.
        let mut client = Client::open(server.address(), path);
        client.send(&bad);
        for _ in 0..64 {
            client.send(&[0; 4096]);
        }
        assert_eq!(client.read_end().code, Some(1002), "{path}");
    }
    // With answers that the client has not read yet: they come first, all of them.
    let mut client = Client::open(server.address(), "/echo");
    let message = vec![7; 32 * 1024];
    for _ in 0..20 {
        client.send(&frame(BINARY, &message));
    }
    client.send(&bad);
    client.send(&[0; 4096]);
    let end = client.read_end();
    assert_eq!((end.code, end.frames.len()), (Some(1002), 20));
    assert!(
        end.frames
            .iter()
            .all(|frame| *frame == (BINARY, message.clone()))
    );
}
