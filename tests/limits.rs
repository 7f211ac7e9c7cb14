//! What happens at the edge of a setting, and of a connection's life, on the real kernel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends with the first thing that goes wrong"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ringhall::{
    Builder, Config, Data, DisconnectReason, Message, OwnedMessage, Server, Socket, WebSocket,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// One core, and no patience with clients that do not close.
fn base() -> Config {
    Config {
        cores: 1,
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    }
}

fn server(config: Config) -> Server {
    start(Server::builder().config(config))
}

fn start(builder: Builder) -> Server {
    builder
        .listen("127.0.0.1:0")
        .page("/", "text/plain", "hello")
        .websocket("/echo", |socket: &WebSocket, message: Message<'_>| {
            socket.send(message);
        })
        .start()
        .expect("the server starts")
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addrs()[0]).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Opens a WebSocket at `/echo`. `None`: the server closed the connection instead.
fn open(server: &Server) -> Option<TcpStream> {
    open_at(server, "/echo")
}

fn open_at(server: &Server, path: &str) -> Option<TcpStream> {
    let mut stream = connect(server);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        // Not `read`: a call that a signal interrupts is to go on.
        stream.read_exact(&mut byte).ok()?;
        answer.push(byte[0]);
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Some(stream)
}

/// Opens a Socket.IO client in the main namespace.
fn open_socket_io(server: &Server) -> TcpStream {
    let mut stream = open_at(server, "/socket.io/?EIO=4&transport=websocket").expect("a session");
    assert!(read_text(&mut stream).starts_with("0{"));
    send_text(&mut stream, "40");
    assert!(read_text(&mut stream).starts_with("40{"));
    stream
}

/// A masked text frame, with the mask that changes nothing.
fn send_text(stream: &mut TcpStream, text: &str) {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    assert!(text.len() < 126);
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).unwrap();
}

/// The next short text frame.
fn read_text(stream: &mut TcpStream) -> String {
    let (first, payload) = read_frame(stream);
    assert_eq!(first, 0x81, "{payload:?}");
    String::from_utf8(payload).unwrap()
}

fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(head[1])];
    assert!(head[1] < 126);
    stream.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

/// Everything until the server closes.
fn read_rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .expect("the server closes in good order");
    rest
}

fn echoes(stream: &mut TcpStream) {
    stream
        .write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'])
        .unwrap();
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame, [0x81, 2, b'h', b'i']);
}

fn end(server: &Server) {
    server.shutdown();
    server.wait().unwrap();
}

#[test]
fn a_full_server_refuses_and_takes_again() {
    let server = server(Config {
        max_connections: 2,
        ..base()
    });
    let (mut first, mut second) = (open(&server).unwrap(), open(&server).unwrap());
    for _ in 0..100 {
        assert!(open(&server).is_none(), "there is room for two");
    }
    echoes(&mut first);
    echoes(&mut second);
    drop(first);
    // The place is free once the server has seen the end of the first.
    let mut third = (0..1000)
        .find_map(|_| open(&server))
        .expect("a place came free");
    echoes(&mut third);
    echoes(&mut second);
    end(&server);
}

#[test]
fn a_client_that_sends_fin_behind_its_request_still_gets_the_answer() {
    let server = server(base());
    for _ in 0..200 {
        let mut stream = connect(&server);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"),
            "{answer:?}"
        );
    }
    end(&server);
}

#[test]
fn a_client_that_sends_fin_behind_its_close_still_gets_ours() {
    let server = server(base());
    for _ in 0..200 {
        let mut stream = open(&server).unwrap();
        stream
            .write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [0x88, 2, 0x03, 0xe8]);
    }
    end(&server);
}

#[test]
fn a_handler_that_panics_harms_nobody() {
    let panics = Server::builder()
        .config(Config { cores: 1, ..base() })
        .websocket("/panic", |_: &WebSocket, message: Message<'_>| {
            assert!(message == Message::Text("fine"), "on purpose");
        })
        .websocket(
            "/panic-later",
            async |socket: WebSocket, message: OwnedMessage| {
                tokio::task::yield_now().await;
                assert!(message.borrow() == Message::Text("fine"), "on purpose");
                socket.send("fine");
            },
        )
        .on_connection(|_: Socket| -> () { panic!("on purpose") })
        .on("now", || -> () { panic!("on purpose") })
        .on("later", async || -> () {
            tokio::time::sleep(Duration::from_millis(1)).await;
            panic!("on purpose")
        })
        .on("sum", |Data((a, b)): Data<(i64, i64)>| a + b)
        .on_disconnecting(|_: DisconnectReason| -> () { panic!("on purpose") });
    let server = start(panics);
    let mut client = open_socket_io(&server);
    let mut other = open(&server).unwrap();
    for round in 0..20 {
        for event in ["now", "later"] {
            send_text(&mut client, &format!(r#"42{round}["{event}"]"#));
        }
        send_text(&mut client, &format!(r#"42{round}["sum",{round},1]"#));
        assert_eq!(read_text(&mut client), format!("43{round}[{}]", round + 1));
        echoes(&mut other);
    }
    send_text(&mut client, "41");
    let mut raw = open_at(&server, "/panic-later").unwrap();
    for text in ["bad", "fine"] {
        send_text(&mut raw, text);
    }
    assert_eq!(read_text(&mut raw), "fine");
    let mut raw = open_at(&server, "/panic").unwrap();
    for text in ["bad", "fine"] {
        send_text(&mut raw, text);
    }
    raw.write_all(&[0x89, 0x80, 0, 0, 0, 0]).unwrap();
    assert_eq!(
        read_frame(&mut raw),
        (0x8a, vec![]),
        "it lives, and answers a ping"
    );
    echoes(&mut other);
    drop((client, other, raw));
    end(&server);
}

#[test]
fn who_gives_no_sign_of_life_is_disconnected() {
    let (told, reasons) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let config = Config {
        ping_interval: Duration::from_millis(50),
        ping_timeout: Duration::from_millis(100),
        ..base()
    };
    let builder =
        Server::builder()
            .config(config)
            .on_disconnect(move |reason: DisconnectReason| {
                told.lock().unwrap().send(reason).unwrap();
            });
    let server = start(builder);
    let mut client = open_socket_io(&server);
    assert_eq!(read_text(&mut client), "2", "a ping");
    send_text(&mut client, "3");
    assert_eq!(read_text(&mut client), "2", "the pong counted");
    assert_eq!(
        reasons.recv_timeout(PATIENCE),
        Ok(DisconnectReason::PingTimeout)
    );
    assert_eq!(
        read_rest(&mut client),
        [0x88, 2, 0x03, 0xf0],
        "closed with 1008"
    );
    // A plain WebSocket is asked with a ping of its own, and cut if it does not answer.
    let mut raw = open(&server).unwrap();
    let (first, _) = read_frame(&mut raw);
    assert_eq!(first, 0x89);
    let mut rest = Vec::new();
    let _reset_or_closed = raw.read_to_end(&mut rest);
    assert!(rest.is_empty());
    end(&server);
}

#[test]
fn who_does_not_get_on_with_it_is_sent_away() {
    let config = Config {
        handshake_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_millis(100),
        ..base()
    };
    let server = server(config);
    let mut half = connect(&server);
    half.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    assert!(read_rest(&mut half).starts_with(b"HTTP/1.1 408 "));
    let mut silent = connect(&server);
    assert!(read_rest(&mut silent).is_empty());
    let mut nowhere = open_at(&server, "/socket.io/?EIO=4&transport=websocket").unwrap();
    assert!(read_text(&mut nowhere).starts_with("0{"));
    assert_eq!(
        read_rest(&mut nowhere)[..2],
        [0x88, 2],
        "no namespace was joined in time"
    );
    end(&server);
}

#[test]
fn who_does_not_read_is_cut_and_holds_up_nobody() {
    let config = Config {
        max_unsent: 64 * 1024,
        max_unsent_cut: 256 * 1024,
        ..base()
    };
    let builder = Server::builder()
        .config(config)
        .websocket("/all", |socket: &WebSocket, message: Message<'_>| {
            socket.everyone().send(message)
        });
    let server = start(builder);
    let mut deaf = open_at(&server, "/all").unwrap();
    let mut talker = open_at(&server, "/all").unwrap();
    let mut frame = vec![0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0];
    frame.resize(8 + 65535, 7);
    let mut back = vec![0; 4 + 65535];
    // Far more than the buffers of both ends hold.
    for _ in 0..1000 {
        talker.write_all(&frame).unwrap();
        talker.read_exact(&mut back).unwrap();
    }
    let mut rest = Vec::new();
    let ended = deaf.read_to_end(&mut rest);
    assert!(rest.len() < 1000 * back.len(), "it was cut: {ended:?}");
    drop(talker);
    end(&server);
}

#[test]
fn events_behind_a_slow_handler_wait_in_order_and_in_little_room() {
    let builder = Server::builder()
        .config(Config {
            max_backlog: 8 * 1024,
            ..base()
        })
        .on("slow", async |Data(n): Data<u64>| {
            tokio::task::yield_now().await;
            n
        });
    let server = start(builder);
    let mut client = open_socket_io(&server);
    let mut writer = client.try_clone().unwrap();
    let count = 3000;
    // Sent without looking at the answers: the server stops reading again and again.
    let sender = std::thread::spawn(move || {
        for n in 0..count {
            send_text(&mut writer, &format!(r#"42{n}["slow",{n}]"#));
        }
    });
    for n in 0..count {
        assert_eq!(read_text(&mut client), format!("43{n}[{n}]"));
    }
    sender.join().unwrap();
    drop(client);
    end(&server);
}
