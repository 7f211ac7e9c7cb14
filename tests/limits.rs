//! What happens at the edge of a setting, and of a connection's life, on the real kernel.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ringhall::{Config, Message, Server, WebSocket};

const PATIENCE: Duration = Duration::from_secs(10);

fn server(config: Config) -> Server {
    Server::builder()
        .config(config)
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

/// Opens a WebSocket. `None`: the server closed the connection instead.
fn open(server: &Server) -> Option<TcpStream> {
    let mut stream = connect(server);
    let request = "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            _ => return None,
        }
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    Some(stream)
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
        cores: 1,
        max_connections: 2,
        ..Config::default()
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
    let server = server(Config {
        cores: 1,
        ..Config::default()
    });
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
    let server = server(Config {
        cores: 1,
        ..Config::default()
    });
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
