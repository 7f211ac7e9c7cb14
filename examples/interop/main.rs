//! The server that `tests/interop/features.test.mjs` and `namespaces.test.mjs` (and `eio3.test.mjs`, with clients of Socket.IO 2) talks to with the official client: the server asks, addresses
//! some and leaves out others, and parts from clients in every way.
//!
//! ```text
//! cargo run --example interop -- --listen 127.0.0.1:3000
//! ```

mod admission;
mod events;
mod operators;
mod recovery;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use ringhall::{
    Ack, Binary, Config, Data, DisconnectReason, Namespace, Parser, Payload, Recoveries, Recovery,
    Server, Socket, State,
};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};
use tokio::io::BufStream;
use tokio::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let mut builder = Server::builder()
        .config(options.config)
        .state(Log::default());
    for name in ["/", "/chat", "/other"] {
        builder = builder.namespace(name, |namespace| operators::install(program(namespace)));
    }
    builder = builder.namespace("/events", events::describe);
    builder = builder.namespace("/recovery", recovery::describe);
    builder = admission::describe(builder);
    if let Some(recovery) = options.recovery {
        builder = builder.recovery(recovery);
    }
    if options.port != Port::Ringhall {
        return inside_axum(builder.start_embedded()?, &options.listen, options.port);
    }
    for address in options.listen {
        builder = builder.listen(address);
    }
    let server = builder.start()?;
    for address in server.local_addrs() {
        println!("listening on http://{address}");
    }
    server.wait()?;
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn inside_axum(server: Server, listen: &[String], port: Port) -> Result<(), Box<dyn Error>> {
    let application = Router::new().fallback_service(server.service());
    let listener = TcpListener::bind(listen.first().ok_or("no --listen")?).await?;
    println!("listening on http://{}", listener.local_addr()?);
    match port {
        Port::AxumBehindBuffers => axum::serve(Buffered(listener), application).await?,
        Port::Axum | Port::Ringhall => axum::serve(listener, application).await?,
    }
    Ok(())
}

/// Connections of a kind that cannot be handed over.
struct Buffered(TcpListener);

impl Listener for Buffered {
    type Io = BufStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (BufStream::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn program(namespace: Namespace) -> Namespace {
    namespace
        .on("echo", |socket: Socket, payload: Payload| {
            socket.emit_raw("echo", &payload)
        })
        .on("echo-ack", |payload: Payload| payload)
        .on("wander", async |socket: Socket, Data(number): Data<u64>| {
            wander().await;
            socket.emit("wandered", number);
            number
        })
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room);
            sorted_rooms(&socket)
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(room);
            sorted_rooms(&socket)
        })
        .on("rooms", |socket: Socket| sorted_rooms(&socket))
        .on("core", |socket: Socket| socket.core())
        .on("recoveries", |socket: Socket| {
            Data(counted(socket.server().counters().recoveries))
        })
        .on("who-am-i", |socket: Socket| Data(Presence::of(&socket)))
        .on(
            "burst-bin",
            |socket: Socket, Data((count, size)): Data<(usize, usize)>| {
                for i in 0..count {
                    socket.emit("burst-bin", (i, Binary::from(vec![i as u8; size])));
                }
            },
        )
        // Handlers of one socket run one after the other; questions may overlap, so each is a task of its own.
        .on(
            "ask",
            |socket: Socket, Data(question): Data<Question>, ack: Ack| {
                ringhall::spawn(ask(socket, question, ack));
            },
        )
        .on(
            "emit-op",
            |socket: Socket, Data(operation): Data<Operation>| {
                operation.emit(&socket);
                true
            },
        )
        .on(
            "disconnect-me",
            |socket: Socket, Data(close): Data<bool>| socket.disconnect(close),
        )
        .on("log", |State(log): State<Log>, Data(id): Data<String>| {
            Data(log.of(&id))
        })
        .on_disconnecting(
            |socket: Socket, reason: DisconnectReason, State(log): State<Log>| {
                log.add(&socket, "disconnecting", reason);
            },
        )
        .on_disconnect(
            |socket: Socket, reason: DisconnectReason, State(log): State<Log>| {
                log.add(&socket, "disconnect", reason);
            },
        )
}

/// Does not come back at once, and not always equally late.
async fn wander() {
    thread_local! {
        static STATE: Cell<u32> = const { Cell::new(0x9E37_79B9) };
    }
    let random = STATE.with(|state| {
        let mut bits = state.get();
        bits ^= bits << 13;
        bits ^= bits >> 17;
        bits ^= bits << 5;
        state.set(bits);
        bits
    });
    for _ in 0..random % 4 {
        tokio::task::yield_now().await;
    }
    if random.is_multiple_of(16) {
        tokio::time::sleep(Duration::from_micros(u64::from(random % 2000))).await;
    }
}

/// How many clients came back as they were, and how many did not, by reason.
fn counted(recoveries: Recoveries) -> serde_json::Value {
    serde_json::json!({
        "recovered": recoveries.recovered,
        "malformed": recoveries.malformed,
        "unknown session": recoveries.unknown_session,
        "already recovered": recoveries.already_recovered,
        "expired": recoveries.expired,
        "evicted": recoveries.evicted,
        "unknown offset": recoveries.unknown_offset,
        "offset too old": recoveries.offset_too_old,
        "log full": recoveries.log_full,
        "too much": recoveries.too_much,
        "unavailable": recoveries.unavailable,
    })
}

fn sorted_rooms(socket: &Socket) -> Vec<String> {
    let mut rooms = socket.rooms();
    rooms.sort_unstable();
    rooms
}

/// What the server knows of a client.
#[derive(Serialize)]
struct Presence {
    id: String,
    auth: serde_json::Value,
}

impl Presence {
    fn of(socket: &Socket) -> Self {
        Presence {
            id: socket.id().to_string(),
            auth: socket.auth().unwrap_or_default(),
        }
    }
}

type Question = (String, Arguments, u64);

/// `ask(event, args, ms)`: puts a question to the client and acknowledges with what it answered, or that it did not.
async fn ask(socket: Socket, (event, args, ms): Question, ack: Ack) {
    type AtMostThree = (Option<Value>, Option<Value>, Option<Value>);

    let question = socket
        .timeout(Duration::from_millis(ms))
        .emit_with_ack::<AtMostThree>(&event, args);
    let (error, res) = match question.await {
        Ok((first, second, third)) => {
            (None, [first, second, third].into_iter().flatten().collect())
        }
        Err(error) => (Some(error.to_string()), Vec::new()),
    };
    ack.send(Answer { error, res });
}

#[derive(Serialize)]
struct Answer {
    error: Option<String>,
    res: Vec<Value>,
}

/// `emit-op`: whom to tell, and what.
#[derive(Deserialize)]
struct Operation {
    from: Origin,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    volatile: bool,
    #[serde(default)]
    local: bool,
    event: String,
    #[serde(default)]
    args: Arguments,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    /// The whole namespace.
    Nsp,
    /// Everybody but the sender.
    Socket,
    /// The sender alone.
    #[serde(rename = "self")]
    Itself,
}

impl Operation {
    fn emit(self, socket: &Socket) {
        let namespace = socket.server().of(socket.namespace());
        let mut receivers = match self.from {
            Origin::Nsp => namespace.everyone(),
            Origin::Socket => socket.broadcast(),
            Origin::Itself if self.volatile => return socket.emit_volatile(&self.event, self.args),
            Origin::Itself => return socket.emit(&self.event, self.args),
        };
        for room in &self.to {
            receivers = receivers.to(room);
        }
        for room in &self.except {
            receivers = receivers.except(room);
        }
        if self.volatile {
            receivers = receivers.volatile();
        }
        if self.local {
            receivers = receivers.local();
        }
        receivers.emit(&self.event, self.args);
    }
}

/// Anything that a client can send, binary included.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Binary(Binary),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

/// A list of arguments whose length is not known before: as the tuple that stands for one, where a `Vec` is one argument.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Arguments(Vec<Value>);

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

/// How sockets ended, by their ids; kept for whoever asks after they are gone.
#[derive(Default)]
struct Log(Mutex<HashMap<String, Vec<Entry>>>);

#[derive(Clone, Serialize)]
struct Entry {
    ev: &'static str,
    reason: String,
    rooms: Vec<String>,
}

impl Log {
    fn add(&self, socket: &Socket, ev: &'static str, reason: DisconnectReason) {
        let entry = Entry {
            ev,
            reason: reason.to_string(),
            rooms: sorted_rooms(socket),
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .entry(socket.id().to_string())
            .or_default()
            .push(entry);
    }

    fn of(&self, id: &str) -> Vec<Entry> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(id).cloned().unwrap_or_default()
    }
}

#[derive(Default)]
struct Options {
    listen: Vec<String>,
    config: Config,
    port: Port,
    recovery: Option<Recovery>,
}

/// Who listens on the port.
#[derive(Clone, Copy, Default, PartialEq)]
enum Port {
    #[default]
    Ringhall,
    Axum,
    AxumBehindBuffers,
}

/// `--listen ADDR` (repeatable), `--cores N`, `--ping-interval MS`, `--ping-timeout MS`, `--allow-eio3`, `--recovery MS`, `--parser msgpack`, `--port ringhall|axum|buffers`.
fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options::default();
    let config = &mut options.config;
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        if option == "--allow-eio3" {
            config.allow_eio3 = true;
            continue;
        }
        let value = words
            .next()
            .ok_or_else(|| format!("{option} needs a value"))?;
        match (option.as_str(), value.as_str()) {
            ("--listen", _) => options.listen.push(value),
            ("--cores", _) => config.cores = value.parse()?,
            ("--ping-interval", _) => config.ping_interval = Duration::from_millis(value.parse()?),
            ("--ping-timeout", _) => config.ping_timeout = Duration::from_millis(value.parse()?),
            ("--parser", "msgpack") => config.parser = Parser::MsgPack,
            ("--recovery", _) => {
                options.recovery = Some(Recovery {
                    max_disconnection_duration: Duration::from_millis(value.parse()?),
                    ..Recovery::default()
                });
            }
            ("--port", "ringhall") => options.port = Port::Ringhall,
            ("--port", "axum") => options.port = Port::Axum,
            ("--port", "buffers") => options.port = Port::AxumBehindBuffers,
            _ => return Err(format!("unknown option {option} {value}").into()),
        }
    }
    Ok(options)
}
