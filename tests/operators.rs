//! What is done with many sockets at once, from threads that are no cores, and what clients may do about it: on the real kernel, byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends with the first thing that goes wrong"
)]

use std::collections::BTreeSet;
use std::future::Future;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringhall::{AckError, Answers, Config, Data, RemoteSocket, Server, Socket};

const PATIENCE: Duration = Duration::from_secs(20);
const CORES: usize = 3;

fn start() -> Server {
    let config = Config {
        cores: CORES,
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    Server::builder()
        .config(config)
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room);
            socket.core()
        })
        .listen("127.0.0.1:0")
        .start()
        .expect("the server starts")
}

fn end(server: &Server) {
    server.shutdown();
    server.wait().unwrap();
}

/// Outside of the server, where a program has a runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future)
}

struct Client {
    stream: TcpStream,
    id: String,
    core: usize,
}

impl Client {
    /// A socket of the main namespace, in a room.
    fn connect(server: &Server, room: &str) -> Client {
        let mut stream = TcpStream::connect(server.local_addrs()[0]).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let mut client = Client {
            stream,
            id: String::new(),
            core: 0,
        };
        assert!(client.read().starts_with("0{"));
        client.send("40");
        let entered = client.read();
        let id = entered
            .strip_prefix(r#"40{"sid":""#)
            .and_then(|rest| rest.strip_suffix(r#""}"#));
        client.id = id.expect(&entered).to_owned();
        client.send(&format!(r#"420["join","{room}"]"#));
        let core = client.read();
        let core = core
            .strip_prefix("430[")
            .and_then(|rest| rest.strip_suffix(']'));
        client.core = core.unwrap().parse().unwrap();
        client
    }

    /// A masked frame, with the mask that changes nothing.
    fn send(&mut self, text: &str) {
        assert!(text.len() < 126);
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    fn read(&mut self) -> String {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        assert!(head[0] == 0x81 && head[1] < 126, "{head:?}");
        let mut payload = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut payload).unwrap();
        String::from_utf8(payload).unwrap()
    }

    /// The ack id of the question that comes next.
    fn question(&mut self) -> String {
        let text = self.read();
        let id = text
            .strip_prefix("42")
            .and_then(|rest| rest.split('[').next());
        id.filter(|id| !id.is_empty()).expect(&text).to_owned()
    }
}

/// So many that they do not all live on one core: the kernel spreads them by their ports.
fn several(server: &Server, count: usize, room: &str) -> Vec<Client> {
    let clients: Vec<Client> = (0..count).map(|_| Client::connect(server, room)).collect();
    let cores: BTreeSet<usize> = clients.iter().map(|client| client.core).collect();
    assert!(cores.len() > 1, "all on one core");
    clients
}

fn ids(clients: &[Client]) -> BTreeSet<String> {
    clients.iter().map(|client| client.id.clone()).collect()
}

#[test]
fn only_those_who_were_asked_answer_and_only_once() {
    let server = start();
    let mut clients = several(&server, 30, "asked");
    let mut strangers = several(&server, 30, "others");
    let asked = server
        .to("asked")
        .timeout(PATIENCE)
        .emit_with_ack::<u32>("n", ());
    let id = clients[0].question();
    for stranger in &mut strangers {
        stranger.send(&format!("43{id}[666]"));
        // What it sent before this was handled before this.
        stranger.send(r#"421["join","others"]"#);
        assert!(stranger.read().starts_with("431["));
    }
    clients[0].send(&format!("43{id}[0]"));
    clients[0].send(&format!("43{id}[666]"));
    for (n, client) in clients.iter_mut().enumerate().skip(1) {
        assert_eq!(client.question(), id, "one id for all of them");
        client.send(&format!("43{id}[{n}]"));
    }
    let Answers {
        mut answers, error, ..
    } = block_on(asked);
    answers.sort_unstable();
    assert_eq!(answers, (0..30).collect::<Vec<u32>>());
    assert!(error.is_none(), "{error:?}");
    end(&server);
}

#[test]
fn packet_ids_are_unique_however_many_ask() {
    let server = start();
    let mut clients = several(&server, 30, "asked");
    let mut asked = Vec::new();
    std::thread::scope(|scope| {
        let ask = || {
            let all = (0..20).map(|_| server.to("asked").emit_with_ack::<u32>("n", ()));
            all.collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            asked.extend(thread.join().unwrap());
        }
    });
    for client in &mut clients {
        let ids: BTreeSet<String> = (0..100).map(|_| client.question()).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            client.send(&format!("43{id}[{id}]"));
        }
    }
    block_on(async {
        for asked in asked {
            let Answers { answers, error, .. } = asked.await;
            assert!(error.is_none(), "{error:?}");
            assert_eq!(answers, vec![answers[0]; 30]);
        }
    });
    end(&server);
}

#[test]
fn sockets_of_all_cores_are_fetched_and_operated_on_from_a_thread() {
    let server = start();
    let mut clients = several(&server, 30, "all");
    let found: Vec<RemoteSocket> = block_on(server.to("all").fetch_sockets());
    assert_eq!(found.len(), 30);
    assert_eq!(
        found
            .iter()
            .map(|it| it.id().to_owned())
            .collect::<BTreeSet<_>>(),
        ids(&clients)
    );
    let rooms = block_on(server.rooms());
    assert_eq!(rooms["all"], ids(&clients));
    assert_eq!(rooms.len(), 31);

    let half: BTreeSet<String> = ids(&clients).into_iter().take(15).collect();
    for id in &half {
        server.to(id).sockets_join(["half", "chosen"]);
    }
    server.to("half").emit("chosen", ());
    server.to("all").except("half").emit("left over", ());
    for client in &mut clients {
        let expected = match half.contains(&client.id) {
            true => r#"42["chosen"]"#,
            false => r#"42["left over"]"#,
        };
        assert_eq!(client.read(), expected);
    }
    server.to("half").sockets_leave(["half", "all"]);
    let left = block_on(server.to("all").fetch_sockets());
    assert_eq!(left.len(), 15);
    server.to("chosen").disconnect_sockets(false);
    for client in clients
        .iter_mut()
        .filter(|client| half.contains(&client.id))
    {
        assert_eq!(client.read(), "41");
    }
    assert_eq!(block_on(server.fetch_sockets()).len(), 15);
    // The server's end does not leave anybody waiting.
    let asked = server.timeout(PATIENCE).emit_with_ack::<u32>("n", ());
    let fetched = server.fetch_sockets();
    end(&server);
    block_on(fetched);
    drop(asked);
    assert!(block_on(server.fetch_sockets()).is_empty());
    assert!(
        block_on(server.emit_with_ack::<u32>("n", ()))
            .answers
            .is_empty()
    );
}

#[test]
fn answers_may_be_awaited_on_another_thread_than_they_were_asked_on() {
    let server = start();
    let mut clients = several(&server, 30, "all");
    let mut asked = server
        .to("all")
        .timeout(Duration::from_millis(300))
        .emit_with_ack::<u32>("n", ());
    let id = clients[7].question();
    clients[7].send(&format!("43{id}[7]"));
    let thread = std::thread::spawn(move || {
        block_on(async {
            let first = asked.next().await;
            let second = asked.next().await;
            (
                first.unwrap().unwrap(),
                second.unwrap(),
                asked.next().await.is_none(),
            )
        })
    });
    let (first, second, is_over) = thread.join().unwrap();
    assert_eq!(first, 7);
    assert!(matches!(second, Err(AckError::TimedOut)), "{second:?}");
    assert!(is_over);
    end(&server);
}
