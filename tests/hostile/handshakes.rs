//! Opening handshakes: malformed, ambiguous, in pieces, with frames behind them, and never finished.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ringhall::{Builder, Config, Data, Message, Server, WebSocket};

use crate::client::{Client, SOCKET_IO, TEXT, frame, head, request};
use crate::{PATIENCE, base, start};

fn builder(config: Config) -> Builder {
    Server::builder()
        .config(config)
        .page("/", "text/plain", "hello")
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message);
        })
        .on("echo", |Data(n): Data<u64>| n)
}

/// The proper request with `from` replaced by `to`.
fn but(from: &str, to: &str) -> String {
    let proper = request("/echo");
    assert!(proper.contains(from), "{from}");
    proper.replacen(from, to, 1)
}

fn malformed_requests() -> Vec<(String, &'static [u16])> {
    const END: &str = "\r\n\r\n";
    let more = |headers: &str| but(END, &format!("\r\n{headers}{END}"));
    vec![
        (but("GET", "POST"), &[405]),
        (but("GET", "get"), &[405, 400]),
        (but("HTTP/1.1", "HTTP/1.0"), &[400, 505]),
        (but("HTTP/1.1", "HTTP/2.0"), &[400, 505]),
        (but("HTTP/1.1", "HTTP/1.10"), &[400, 505]),
        (but("GET /echo", "GET  /echo"), &[400]),
        (but("GET /echo", "GET echo"), &[400, 404]),
        (but("GET /echo", "GET /ec\0ho"), &[400]),
        (but(" HTTP/1.1", ""), &[400]),
        (but("Host: x\r\n", ""), &[400]),
        (but("Host: x", "Host:"), &[400]),
        (but("Host: x", "Host: x\r\nHost: y"), &[400]),
        (but("Host: x", "Host: x\r\nhost: x"), &[400]),
        (but("Host: x", "Host: a b"), &[400]),
        (but("Host: x", "Host: x/y"), &[400]),
        (but("Host: x", "Host: u@x"), &[400]),
        (but("Host: x", "Host: x:99999"), &[400]),
        (but("Host: x", "Host : x"), &[400]),
        (but("Host: x", " Host: x"), &[400]),
        (but("Host: x", "Host: x\r\n folded: y"), &[400]),
        (but("Host: x", "Host: x\0"), &[400]),
        (but("Host: x", "Host: x\r\nno colon"), &[400]),
        (but("Host: x", "Host: x\r\n: no name"), &[400]),
        (but("Host: x\r\n", "Host: x\n"), &[400]),
        (but("Host: x\r\n", "Host: x\r"), &[400]),
        (but("HTTP/1.1\r\n", "HTTP/1.1\n"), &[400]),
        (request("/echo").replace("\r\n", "\n"), &[400]),
        (more("Content-Length: 5"), &[400]),
        (more("Content-Length: 0\r\nContent-Length: 5"), &[400]),
        (more("Content-Length: 0, 5"), &[400]),
        (more("Content-Length: +0"), &[400]),
        (more("Content-Length: 0x0"), &[400]),
        (more("Content-Length:"), &[400]),
        (more("Transfer-Encoding: chunked"), &[400]),
        (more("Transfer-Encoding: identity"), &[400]),
        (more("transfer-encoding:\tchunked"), &[400]),
        (
            more("Content-Length: 0\r\nTransfer-Encoding: chunked"),
            &[400],
        ),
        (but("Upgrade: websocket\r\n", ""), &[426]),
        (but("Upgrade: websocket", "Upgrade: h2c"), &[426]),
        (but("Connection: Upgrade\r\n", ""), &[400]),
        (but("Connection: Upgrade", "Connection: close"), &[400]),
        (but("Version: 13", "Version: 8"), &[426]),
        (but("Version: 13", "Version: 013"), &[426]),
        (but("Version: 13", "Version: 13, 8"), &[426]),
        (more("Sec-WebSocket-Version: 13"), &[400]),
        (but("Sec-WebSocket-Version: 13\r\n", ""), &[426]),
        (but("dGhlIHNhbXBsZSBub25jZQ==", ""), &[400]),
        (
            but("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"),
            &[400],
        ),
        (
            but("dGhlIHNhbXBsZSBub25jZQ==", "dGhl!HNhbXBsZSBub25jZQ=="),
            &[400],
        ),
        (more("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), &[400]),
        (more("Sec-WebSocket-Protocol: a b"), &[400]),
        (more("Sec-WebSocket-Extensions: ;x"), &[400]),
        (more(&"X: y\r\n".repeat(101)), &[400, 431]),
        (more(&format!("X: {}", "y".repeat(20_000))), &[431]),
        (but("/echo", &format!("/{}", "e".repeat(9000))), &[414]),
        (but("/echo", "/nowhere"), &[404]),
        (
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03\r\n\r\n".into(),
            &[400],
        ),
        ("GET /\r\n\r\n".into(), &[400]),
        ("\r\n\r\n\r\n\r\n".into(), &[400]),
        ("GET / HTTP/1.1\r\n\r\n".into(), &[400]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(),
            &[400],
        ),
    ]
}

#[test]
fn h15_malformed_and_ambiguous_requests_get_one_framed_answer() {
    let server = start(builder(base()));
    let mut polite = Client::open(server.address(), "/echo");
    for (request, statuses) in malformed_requests() {
        let mut client = Client::connect(server.address());
        // A second request behind it, which must not be answered.
        let smuggled = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        client.send([&request, smuggled].concat().as_bytes());
        let _ = client.stream.shutdown(Shutdown::Write);
        let answer = String::from_utf8(client.read_rest()).unwrap();
        let what = &request[..request.len().min(300)];
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        let known = status.is_some_and(|status: u16| statuses.contains(&status));
        assert!(known, "{what:?}: {answer:?}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let framed = length.and_then(|length| length.parse().ok()) == Some(body.len());
        assert!(
            framed,
            "exactly one answer, with its length: {what:?}: {answer:?}"
        );
        assert!(head.contains("Connection: close"), "{what:?}: {answer:?}");
    }
    polite.echo("still here");
}

#[test]
fn h16_a_handshake_and_early_frames_in_any_segmentation() {
    let server = start(builder(base()));
    let request = request("/echo");
    let early = [frame(TEXT, b"one"), frame(0x01, b"t"), frame(0x80, b"wo")].concat();
    let all = [request.as_bytes(), &early].concat();
    for cut in 1..=all.len() {
        let mut client = Client::connect(server.address());
        let (a, b) = all.split_at(cut);
        client.send(a);
        client.send(b);
        assert!(
            client.read_head().starts_with("HTTP/1.1 101 "),
            "cut at {cut}"
        );
        assert_eq!(client.read_text(), "one", "cut at {cut}");
        assert_eq!(client.read_text(), "two", "cut at {cut}");
    }
    let mut client = Client::connect(server.address());
    for byte in &all {
        client.send(&[*byte]);
    }
    client.read_head();
    assert_eq!(
        (client.read_text(), client.read_text()),
        ("one".into(), "two".into())
    );
    // Everything at once, the Close included, and FIN behind it.
    let mut client = Client::connect(server.address());
    let early = [frame(TEXT, b"one"), frame(0x88, &[3, 232])].concat();
    client.send(&[request.as_bytes(), &early].concat());
    client.stream.shutdown(Shutdown::Write).unwrap();
    client.read_head();
    let end = client.read_end();
    assert_eq!((end.code, end.frames.len()), (Some(1000), 1));
    // More behind the request than a receive buffer holds.
    let mut client = Client::connect(server.address());
    let long = vec![b'x'; 100_000];
    client.send(&[request.as_bytes(), &frame(TEXT, &long)].concat());
    client.read_head();
    assert_eq!(client.read_frame(), (TEXT, long));
    // Socket.IO: CONNECT and an event with the request.
    let request = crate::client::request(SOCKET_IO);
    let early = [frame(TEXT, b"40"), frame(TEXT, br#"421["echo",5]"#)].concat();
    for cut in (1..=request.len() + early.len()).step_by(7) {
        let all = [request.as_bytes(), &early].concat();
        let mut client = Client::connect(server.address());
        let (a, b) = all.split_at(cut.min(all.len()));
        client.send(a);
        client.send(b);
        client.read_head();
        assert!(client.read_text().starts_with("0{"));
        assert!(client.read_text().starts_with("40{"));
        assert_eq!(client.read_text(), "431[5]");
    }
}

/// Sends single bytes until the connection has ended, and returns what the server said.
fn drip(client: &mut Client, bytes: &mut dyn Iterator<Item = u8>) -> Vec<u8> {
    let pause = Some(Duration::from_millis(20));
    client.stream.set_read_timeout(pause).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    let mut piece = [0; 1024];
    loop {
        assert!(Instant::now() < deadline, "dripping holds a connection");
        let byte = bytes.next().expect("dripping has not come to its end");
        let _ = client.stream.write_all(&[byte]);
        match client.stream.read(&mut piece) {
            Ok(0) => return said,
            Ok(read) => said.extend_from_slice(&piece[..read]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return said,
        }
    }
}

#[test]
fn h17_who_dawdles_is_dropped_and_holds_up_nobody() {
    let server = start(builder(Config {
        handshake_timeout: Duration::from_millis(500),
        ..base()
    }));
    let mut polite = Client::open(server.address(), "/echo");
    let mut waiting: Vec<Client> = (0..500)
        .map(|n| {
            let mut client = Client::connect(server.address());
            if n % 2 == 0 {
                client.send(b"GET /echo HTTP/1.1\r\nHost: ");
            }
            client
        })
        .collect();
    for _ in 0..50 {
        polite.echo("served");
    }
    let endless = b"GET /echo HTTP/1.1\r\nX: ".iter().copied();
    let mut endless = endless.chain(std::iter::repeat_n(b'y', 10_000));
    let said = drip(&mut Client::connect(server.address()), &mut endless);
    assert!(said.starts_with(b"HTTP/1.1 408 "));
    for (n, client) in waiting.iter_mut().enumerate() {
        let said = client.read_rest();
        let fits = if n % 2 == 0 {
            said.starts_with(b"HTTP/1.1 408 ")
        } else {
            said.is_empty()
        };
        assert!(fits, "{:?}", String::from_utf8_lossy(&said));
    }
    polite.echo("served");
}

#[test]
fn h17_a_dripping_frame_is_no_sign_of_life() {
    let server = start(builder(Config {
        ping_interval: Duration::from_millis(150),
        ping_timeout: Duration::from_millis(150),
        close_timeout: Duration::from_millis(150),
        ..base()
    }));
    let frame = || {
        head(TEXT, 60_000)
            .into_iter()
            .chain(std::iter::repeat_n(0, 50_000))
    };
    drip(&mut Client::open(server.address(), "/echo"), &mut frame());
    drip(&mut Client::session(server.address()), &mut frame());
    drip(&mut Client::socket_io(server.address()), &mut frame());
    // Nor is a stream of fragments of an Engine.IO message that never ends: only messages count there.
    let mut fragments = [
        vec![0x01, 0x80, 0, 0, 0, 0],
        [0x00, 0x81, 0, 0, 0, 0, b'4'].repeat(5000),
    ];
    let mut fragments = fragments.iter_mut().flat_map(|part| part.iter().copied());
    drip(&mut Client::socket_io(server.address()), &mut fragments);
}
