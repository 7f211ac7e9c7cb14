//! What handlers may do, and what clients may do to them: whole servers on the real kernel, spoken to byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends with the first thing that goes wrong"
)]

use std::future::pending;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use ringhall::{
    Builder, CloseCode, Config, Data, DisconnectReason, EventContext, EventError, EventName,
    ExtractError, FromEvent, OwnedMessage, Server, Socket, WebSocket,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// One core, a small backlog, and no patience with clients that do not close.
fn base() -> Config {
    Config {
        cores: 1,
        max_backlog: 4 * 1024,
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    }
}

fn start(builder: Builder) -> Server {
    builder
        .listen("127.0.0.1:0")
        .start()
        .expect("the server starts")
}

fn end(server: &Server) {
    server.shutdown();
    server.wait().unwrap();
}

fn open(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.local_addrs()[0]).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}

/// A Socket.IO client that is in no namespace yet.
fn open_session(server: &Server) -> TcpStream {
    let mut stream = open(server, "/socket.io/?EIO=4&transport=websocket");
    assert!(read_text(&mut stream).starts_with("0{"));
    stream
}

fn join(stream: &mut TcpStream, namespace: &str) {
    send_text(stream, &format!("40{namespace}"));
    let answer = read_text(stream);
    assert!(
        answer.starts_with(&format!("40{namespace}{{\"sid\"")),
        "{answer}"
    );
}

/// A masked frame, with the mask that changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

fn send_text(stream: &mut TcpStream, text: &str) {
    stream.write_all(&frame(0x81, text.as_bytes())).unwrap();
}

/// Far more than the backlog of [`base`] holds, in one write.
fn flood(stream: &mut TcpStream, text: &str) {
    let one = frame(0x81, text.as_bytes());
    stream.write_all(&one.repeat(20_000)).unwrap();
}

fn read_text(stream: &mut TcpStream) -> String {
    let (first, payload) = read_frame(stream);
    assert_eq!(first, 0x81, "{payload:?}");
    String::from_utf8(payload).unwrap()
}

fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert!(head[1] < 126);
    let mut payload = vec![0; usize::from(head[1])];
    stream.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

/// Tells a test what happened on a core.
struct Teller<T>(Mutex<Sender<T>>);

impl<T> Teller<T> {
    fn tell(&self, what: T) {
        self.0.lock().unwrap().send(what).unwrap();
    }
}

fn teller<T>() -> (Teller<T>, mpsc::Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    (Teller(Mutex::new(sender)), receiver)
}

#[test]
fn a_family_of_namespaces_may_panic() {
    let server = start(Server::builder().config(base()).namespaces(
        |name: &str| {
            assert!(name != "/bad", "on purpose");
            name.starts_with("/good")
        },
        |family| family.on("hello", || "there"),
    ));
    let mut client = open_session(&server);
    send_text(&mut client, "40/bad,");
    assert_eq!(
        read_text(&mut client),
        r#"44/bad,{"message":"Invalid namespace"}"#
    );
    join(&mut client, "/good,");
    send_text(&mut client, r#"42/good,7["hello"]"#);
    assert_eq!(read_text(&mut client), r#"43/good,7["there"]"#);
    drop(client);
    end(&server);
}

#[test]
fn a_family_of_namespaces_is_asked_once_for_each_client() {
    let asked = AtomicUsize::new(0);
    let (left, reasons) = teller();
    let server = start(Server::builder().config(base()).namespaces(
        move |_| asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
        move |family| {
            family
                .on("hello", || "there")
                .on_disconnect(move |reason: DisconnectReason| left.tell(reason))
        },
    ));
    let mut client = open_session(&server);
    join(&mut client, "/game,");
    send_text(&mut client, r#"42/game,7["hello"]"#);
    assert_eq!(read_text(&mut client), r#"43/game,7["there"]"#);
    send_text(&mut client, "40/refused,");
    assert!(read_text(&mut client).starts_with("44/refused,"));
    drop(client);
    assert_eq!(
        reasons.recv_timeout(PATIENCE),
        Ok(DisconnectReason::TransportClose)
    );
    end(&server);
}

#[test]
fn nothing_follows_the_answer_to_a_close() {
    let server = start(
        Server::builder()
            .config(base())
            .on_disconnecting(|socket: Socket| {
                socket.emit("late", ());
                socket.everyone().emit("late to all", ());
            }),
    );
    let mut client = open_session(&server);
    join(&mut client, "");
    client
        .write_all(&frame(0x88, &1000u16.to_be_bytes()))
        .unwrap();
    // RFC 6455 §5.5.1: no data frames behind a Close.
    while read_frame(&mut client).0 != 0x88 {}
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    end(&server);
}

#[test]
fn waiting_for_the_server_on_one_of_its_cores_is_refused() {
    let server = start(
        Server::builder()
            .config(base())
            .on("wait", |server: Server| server.wait().is_err()),
    );
    let mut client = open_session(&server);
    join(&mut client, "");
    send_text(&mut client, r#"421["wait"]"#);
    assert_eq!(read_text(&mut client), "431[true]");
    drop(client);
    end(&server);
}

#[test]
fn a_socket_that_left_holds_up_no_other_of_its_connection() {
    let server = start(
        Server::builder()
            .config(base())
            .on("slow", async |socket: Socket| {
                ringhall::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    socket.disconnect(false);
                });
                pending::<()>().await;
            })
            .namespace("/other", |other| other.on("hello", || "there")),
    );
    let mut client = open_session(&server);
    join(&mut client, "");
    join(&mut client, "/other,");
    flood(&mut client, r#"42["slow"]"#);
    assert_eq!(read_text(&mut client), "41");
    send_text(&mut client, r#"42/other,7["hello"]"#);
    assert_eq!(read_text(&mut client), r#"43/other,7["there"]"#);
    drop(client);
    end(&server);
}

#[test]
fn a_websocket_that_waits_for_its_handler_can_be_closed() {
    let server = start(Server::builder().config(base()).websocket(
        "/slow",
        async |socket: WebSocket, _: OwnedMessage| {
            ringhall::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                socket.close(CloseCode::NORMAL, "");
            });
            pending::<()>().await;
        },
    ));
    let mut client = open(&server, "/slow");
    flood(&mut client, "a message that nobody gets round to");
    assert_eq!(read_frame(&mut client).0, 0x88);
    client
        .write_all(&frame(0x88, &1000u16.to_be_bytes()))
        .unwrap();
    let mut rest = Vec::new();
    client
        .read_to_end(&mut rest)
        .expect("the server closes in good order");
    assert!(rest.is_empty(), "{rest:?}");
    end(&server);
}

#[test]
fn who_hangs_up_while_a_handler_dawdles_is_noticed() {
    let ((left, reasons), (begun, beginnings)) = (teller(), teller());
    let config = Config {
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(50),
        ..base()
    };
    let server = start(
        Server::builder()
            .config(config)
            .on("first", move || begun.tell(()))
            .on("slow", async || pending::<()>().await)
            .on_disconnect(move |reason: DisconnectReason| left.tell(reason)),
    );
    let mut client = open_session(&server);
    join(&mut client, "");
    // The first and what makes the server stop reading, in one piece; then what it does not read any more, little enough
    // to lie before its door together with the FIN.
    let mut piece = frame(0x81, br#"42["first"]"#);
    piece.extend(frame(0x81, br#"42["slow"]"#).repeat(100));
    client.write_all(&piece).unwrap();
    beginnings.recv_timeout(PATIENCE).unwrap();
    client.write_all(&piece).unwrap();
    drop(client);
    reasons
        .recv_timeout(PATIENCE)
        .expect("a connection that nobody is at the other end of ends");
    end(&server);
}

/// Tells when it is dropped.
struct Guard(Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[test]
fn handlers_for_a_socket_that_is_gone_are_not_kept() {
    let (sender, dropped) = mpsc::channel();
    let sender = Mutex::new(sender);
    let server = start(
        Server::builder()
            .config(base())
            .on_disconnect(move |socket: Socket| {
                let guard = Guard(sender.lock().unwrap().clone());
                ringhall::spawn(async move {
                    tokio::task::yield_now().await;
                    let (kept, same) = (socket.clone(), guard);
                    // It holds the socket that holds it.
                    socket.on("never", move || {
                        let _ = (&kept, &same);
                    });
                });
            }),
    );
    let mut client = open_session(&server);
    join(&mut client, "");
    drop(client);
    dropped
        .recv_timeout(PATIENCE)
        .expect("the handler is let go");
    end(&server);
}

/// Panics when it is dropped, once.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!std::mem::take(&mut self.0), "on purpose");
    }
}

#[test]
fn a_handler_that_panics_when_it_is_dropped_harms_nobody() {
    let server = start(
        Server::builder()
            .config(base())
            .on_connection(|socket: Socket| {
                let bomb = Bomb(true);
                socket.on("bomb", move || {
                    let _ = &bomb;
                });
            })
            .on("hello", || "there"),
    );
    let mut first = open_session(&server);
    join(&mut first, "");
    let mut second = open_session(&server);
    join(&mut second, "");
    send_text(&mut first, "41");
    // Handled on the same core behind it.
    join(&mut first, "");
    send_text(&mut second, r#"427["hello"]"#);
    assert_eq!(read_text(&mut second), r#"437["there"]"#);
    drop((first, second));
    end(&server);
}

/// What was sent is handled, and the core lives.
fn settle(client: &mut TcpStream) {
    send_text(client, r#"429["settle"]"#);
    loop {
        if read_text(client).starts_with("439") {
            return;
        }
    }
}

#[test]
fn code_that_panics_is_counted_and_harms_nobody() {
    let server = start(
        Server::builder()
            .config(base())
            .on("settle", || true)
            .on("sync", || -> () { panic!("on purpose") })
            .on("async", async || -> () {
                tokio::task::yield_now().await;
                panic!("on purpose")
            })
            .on(
                "beside",
                ringhall::concurrent(async || -> () {
                    tokio::task::yield_now().await;
                    panic!("on purpose")
                }),
            )
            .on("thrown", || -> () { std::panic::panic_any(Bomb(true)) })
            .on("dropped", || {
                let bomb = Bomb(true);
                async move {
                    tokio::task::yield_now().await;
                    let _bomb = bomb;
                }
            })
            .on("parameter", |_: Panics| {})
            .on("answer", || Data(Panics))
            .on("emit", |socket: Socket| socket.emit("panics", Panics))
            .on("any", || {})
            .on_any(|EventName(event): EventName| assert!(event != "any", "on purpose"))
            .on("gate", || -> () {
                unreachable!("a gate that panics is shut")
            })
            .on("slow gate", || -> () {
                unreachable!("a gate that panics is shut")
            })
            .packet_middleware(async |EventName(event): EventName| {
                assert!(event != "gate", "on purpose");
                if event == "slow gate" {
                    tokio::task::yield_now().await;
                    panic!("on purpose");
                }
            })
            .on("error", || Err::<(), _>(Panics))
            .on("error handler", || Err::<(), _>("an error"))
            .on_error(|_: &Socket, error: &EventError| {
                assert!(error.event() != "error handler", "on purpose");
            })
            .on("outgoing", |socket: Socket| socket.emit("seen", ()))
            .on_any_outgoing(|EventName(event): EventName| assert!(event != "seen", "on purpose"))
            .on("once", |socket: Socket| {
                let bomb = Bomb(true);
                socket.once("boom", move || {
                    let _ = &bomb;
                });
            })
            .on("taken off", |socket: Socket| {
                let bomb = Bomb(true);
                let listener = socket.on("never", move || {
                    let _ = &bomb;
                });
                socket.off_listener(listener);
            })
            .on("keep", |socket: Socket| {
                // Several in one socket: a panic on top of a panic would end the process.
                let [one, two, three, four] = [(); 4].map(|()| Bomb(true));
                socket.on("never", move || {
                    let _ = &one;
                });
                socket.on("never", move || {
                    let _ = &two;
                });
                socket.packet_middleware(move || {
                    let _ = &three;
                });
                socket.on_disconnect(move || {
                    let _ = &four;
                });
                socket.set_session(Bomb(true));
                socket.set_session((Bomb(true),));
            })
            .on_connection(|| -> () { panic!("on purpose") })
            .on_disconnecting(|| -> () { panic!("on purpose") })
            .on_disconnect(|| -> () { panic!("on purpose") }),
    );
    let mut client = open_session(&server);
    join(&mut client, "");
    settle(&mut client);
    let mut panics = 1;
    assert_eq!(server.counters().panics, panics);
    for event in [
        "sync",
        "async",
        "beside",
        "thrown",
        "dropped",
        "parameter",
        "answer",
        "emit",
        "any",
        "gate",
        "slow gate",
        "error",
        "error handler",
        "outgoing",
        "once",
        "taken off",
    ] {
        send_text(&mut client, &format!("421[\"{event}\"]"));
        if event == "once" {
            send_text(&mut client, "42[\"boom\"]");
        }
        settle(&mut client);
        // A concurrent handler may end a moment later.
        while event == "beside" && server.counters().panics == panics {
            settle(&mut client);
        }
        panics += 1;
        assert_eq!(server.counters().panics, panics, "{event}");
    }
    let counters = server.counters();
    assert_eq!(counters.events_refused, 2);
    send_text(&mut client, "42[\"keep\"]");
    settle(&mut client);
    send_text(&mut client, "41");
    join(&mut client, "");
    settle(&mut client);
    // What was kept, and the handlers of connecting and disconnecting.
    assert_eq!(server.counters().panics, panics + 6 + 3);
    drop(client);
    end(&server);
}

/// Panics in every way in which it can be used.
struct Panics;

impl FromEvent for Panics {
    fn from_event(_: &EventContext<'_>) -> Result<Self, ExtractError> {
        panic!("on purpose")
    }
}

impl serde::Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("on purpose")
    }
}

impl std::fmt::Display for Panics {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("on purpose")
    }
}

#[test]
fn broken_protocol_is_told_before_the_session_ends() {
    let (told, errors) = teller();
    let told = std::sync::Arc::new(told);
    let left = told.clone();
    let server = start(
        Server::builder()
            .config(base())
            .on_error(move |socket: &Socket, error: &EventError| {
                assert!(socket.is_connected());
                told.tell(format!("{:?} {error}", error.kind()));
            })
            .on_disconnect(move |reason: DisconnectReason| left.tell(reason.to_string())),
    );
    for (packet, rule) in [
        ("4", "Protocol invalid packet"),
        ("45", "Protocol invalid packet"),
        ("42[1", "Protocol invalid packet"),
    ] {
        let mut client = open_session(&server);
        join(&mut client, "");
        send_text(&mut client, packet);
        assert_eq!(
            errors.recv_timeout(PATIENCE).as_deref(),
            Ok(rule),
            "{packet}"
        );
        assert_eq!(
            errors.recv_timeout(PATIENCE).as_deref(),
            Ok("forced close"),
            "{packet}"
        );
    }
    // As in Node, a packet that can be read is no error of a socket, whatever it costs the client.
    for packet in ["40", "42/other,[\"x\"]"] {
        let mut client = open_session(&server);
        join(&mut client, "");
        send_text(&mut client, packet);
        let told = errors.recv_timeout(PATIENCE);
        assert_eq!(told.as_deref(), Ok("forced close"), "{packet}");
    }
    end(&server);
}
