//! Connections that are left at every step, politely or not: nothing of them may stay behind.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ringhall::{
    Ack, CloseFrame, Config, Message, Payload, Server, Socket, WebSocket, WebSocketRoute,
};

use crate::client::{BINARY, Client, SOCKET_IO, TEXT, frame, head, request};
use crate::program::Program;
use crate::{Running, base, start, until};

/// How many connections the server under test holds: all of them must be free again in the end.
const ROOM: u32 = 600;

#[derive(Default)]
struct Census {
    entered: AtomicUsize,
    left: AtomicUsize,
}

fn server(config: Config) -> (Running, Arc<Census>) {
    let census = Arc::new(Census::default());
    let counts: [Arc<Census>; 4] = std::array::from_fn(|_| census.clone());
    let [a, b, c, d] = counts;
    let count = |counter: &AtomicUsize| {
        counter.fetch_add(1, Ordering::SeqCst);
    };
    let route = WebSocketRoute::new()
        .on_open(move |_: &WebSocket, _: &ringhall::Handshake| count(&a.entered))
        .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message))
        .on_close(move |_: &WebSocket, _: CloseFrame<'_>| count(&b.left));
    let builder = Server::builder()
        .config(Config {
            max_connections: ROOM,
            ..config
        })
        .page("/", "text/plain", "hello")
        .websocket_route("/echo", route)
        .on_connection(move |_: Socket| count(&c.entered))
        .on("echo", |payload: Payload, ack: Ack| ack.send_raw(&payload))
        .on_disconnect(move |_: Socket| count(&d.left));
    (start(builder), census)
}

/// Everybody has left, and there is room for as many as in the beginning.
fn back_to_base(server: &Running, census: &Census) {
    until("everybody has left", || {
        census.entered.load(Ordering::SeqCst) == census.left.load(Ordering::SeqCst)
    });
    let mut all = Vec::new();
    let asking = request("/echo");
    until("there is room for all", || {
        all.clear();
        for _ in 0..ROOM {
            let mut client = Client::connect(server.address());
            if client.try_send(asking.as_bytes()).is_err() {
                return false;
            }
            all.push(client);
        }
        let mut byte = [0];
        all.iter_mut()
            .all(|client| matches!(std::io::Read::read(&mut client.stream, &mut byte), Ok(1)))
    });
    // RFC 6455 §4.2.2: the first byte was that of "HTTP/1.1 101".
    for client in &mut all {
        assert!(client.read_head().starts_with("TTP/1.1 101 "));
        client.echo("in");
    }
}

/// How far a client comes before it is gone.
type Step = (&'static str, fn(&mut Client));

fn upgrade(client: &mut Client, path: &str) {
    client.send(request(path).as_bytes());
    client.read_head();
}

fn connected(client: &mut Client) {
    upgrade(client, SOCKET_IO);
    client.read_text();
    client.text("40");
    client.read_text();
}

const STEPS: [Step; 17] = [
    ("connected", |_| {}),
    ("half a request", |client| {
        client.send(b"GET /echo HTTP/1.1\r\nHo")
    }),
    ("a request", |client| {
        client.send(request("/echo").as_bytes())
    }),
    ("a page's request", |client| {
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    }),
    ("a WebSocket", |client| upgrade(client, "/echo")),
    ("half a head", |client| {
        upgrade(client, "/echo");
        client.send(&head(BINARY, 70_000)[..5]);
    }),
    ("half a frame", |client| {
        upgrade(client, "/echo");
        client.send(&frame(BINARY, &[7; 70_000])[..40_000]);
    }),
    ("half a message", |client| {
        upgrade(client, "/echo");
        client.send(&frame(0x02, &[7; 70_000]));
    }),
    ("unread answers", |client| {
        upgrade(client, "/echo");
        client.send(&frame(BINARY, &[7; 70_000]));
        client.send(&frame(BINARY, &[7; 70_000]));
    }),
    ("Close", |client| {
        upgrade(client, "/echo");
        client.send(&frame(0x88, &[3, 232]));
    }),
    ("a broken rule", |client| {
        upgrade(client, "/echo");
        client.send(&[0x83, 0x80, 0, 0, 0, 0]);
    }),
    ("a session's request", |client| {
        client.send(request(SOCKET_IO).as_bytes())
    }),
    ("a session", |client| {
        upgrade(client, SOCKET_IO);
        client.read_text();
    }),
    ("CONNECT", |client| {
        upgrade(client, SOCKET_IO);
        client.text("40");
    }),
    ("a namespace", connected),
    ("half a binary event", |client| {
        connected(client);
        client.text(r#"452-["echo",{"_placeholder":true,"num":0}]"#);
        client.send(&frame(BINARY, b"one of two"));
    }),
    ("DISCONNECT", |client| {
        connected(client);
        client.text("41");
    }),
];

#[test]
fn h19_fin_in_every_state_is_answered_with_the_end() {
    let (server, census) = server(base());
    for (what, step) in STEPS {
        for _ in 0..20 {
            let mut client = Client::connect(server.address());
            step(&mut client);
            client.stream.shutdown(Shutdown::Write).unwrap();
            // What it was still told does not matter, but that it ends does.
            let mut rest = Vec::new();
            let ended = std::io::Read::read_to_end(&mut client.stream, &mut rest);
            assert!(ended.is_ok(), "{what}: {ended:?}");
        }
    }
    back_to_base(&server, &census);
}

#[test]
fn h19_a_reset_in_every_state_leaves_nothing() {
    let (server, census) = server(base());
    for (_, step) in STEPS {
        for _ in 0..20 {
            let mut client = Client::connect(server.address());
            step(&mut client);
            client.reset();
        }
    }
    back_to_base(&server, &census);
}

#[test]
fn h19_a_storm_of_connections_and_resets_leaves_nothing() {
    let (server, census) = server(base());
    let mut polite = Client::open(server.address(), "/echo");
    for n in 0..2000 {
        let mut client = Client::connect(server.address());
        match n % 4 {
            0 => {}
            1 => client.send(b"GET"),
            2 => client.send(request("/echo").as_bytes()),
            _ => client.send(request(SOCKET_IO).as_bytes()),
        }
        client.reset();
        if n % 100 == 0 {
            polite.echo("served");
        }
    }
    drop(polite);
    back_to_base(&server, &census);
}

#[test]
fn h19_a_storm_leaves_the_program_its_descriptors() {
    let program = Program::start(2);
    let mut polite = Client::open(program.address, "/echo");
    polite.echo("served");
    let before = program.descriptors();
    for n in 0..2000 {
        let mut client = Client::connect(program.address);
        if n % 2 == 0 {
            client.send(request("/echo").as_bytes());
        }
        client.reset();
    }
    until("its descriptors are as before", || {
        program.descriptors() <= before
    });
    polite.echo("served");
}

fn impatient() -> Config {
    Config {
        ping_interval: Duration::from_millis(200),
        ping_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_millis(300),
        handshake_timeout: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(300),
        close_timeout: Duration::from_millis(200),
        ..base()
    }
}

#[test]
fn h21_h18_who_vanishes_at_any_step_is_forgotten() {
    let (server, census) = server(impatient());
    // They stay open and silent, as if the network had gone: no FIN, no reset, no pong, nothing is read.
    let mut vanished = Vec::new();
    for (_, step) in STEPS {
        for _ in 0..30 {
            let mut client = Client::connect(server.address());
            step(&mut client);
            vanished.push(client);
        }
    }
    until("everybody is given up", || {
        census.entered.load(Ordering::SeqCst) == census.left.load(Ordering::SeqCst)
    });
    // While they still hold their ends, ours are free.
    let mut polite = Client::open(server.address(), "/echo");
    polite.echo("served");
    for client in &mut vanished {
        let mut rest = Vec::new();
        let ended = std::io::Read::read_to_end(&mut client.stream, &mut rest);
        let open = matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!open, "still open");
    }
}

#[test]
fn h18_who_vanishes_with_output_waiting_for_him_is_given_up() {
    let (server, census) = server(Config {
        max_unsent: 64 * 1024,
        ..impatient()
    });
    let mut vanished: Vec<Client> = ["/echo", SOCKET_IO]
        .iter()
        .map(|path| Client::open(server.address(), path))
        .collect();
    let [plain, session] = &mut vanished[..] else {
        unreachable!()
    };
    session.text("40");
    let short = Some(Duration::from_millis(200));
    for client in [plain, session] {
        client.stream.set_write_timeout(short).unwrap();
        let text = format!(r#"421["echo",1,"{}"]"#, "x".repeat(60_000));
        // Until the server takes no more, since nobody takes its answers.
        while client.try_send(&frame(TEXT, text.as_bytes())).is_ok() {
            if census.left.load(Ordering::SeqCst) > 0 {
                break;
            }
        }
    }
    until("both are given up", || {
        census.left.load(Ordering::SeqCst) == 2
    });
}

#[test]
fn h21_sessions_without_a_namespace_are_closed_in_time() {
    let (server, _) = server(Config {
        connect_timeout: Duration::from_millis(300),
        ..base()
    });
    let mut silent: Vec<Client> = (0..100)
        .map(|_| Client::session(server.address()))
        .collect();
    // A refused namespace is none, and chatter does not count.
    for client in silent.iter_mut().take(50) {
        client.text("40/nowhere,");
        client.text("3");
        assert!(client.read_text().starts_with("44/nowhere,"));
    }
    for client in &mut silent {
        assert_eq!(client.read_end().code, Some(1008));
    }
}
