//! The program of [`crate::bed`] on this library.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use ringhall::{
    Builder, Config, ConnectionError, Cookie, Cors, Data, DisconnectReason, EngineRoute,
    EngineSocket, Forbidden, Handshake, Message, Payload, Server, Socket, Transport,
};

use crate::bed::{Origin, Setup, Sharing};

/// How sessions ended: `WHO REASON`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, who: &str, reason: DisconnectReason) {
        self.push(format!("{who} {reason}"));
    }

    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A server in this process.
pub(crate) struct Running(Server);

impl Running {
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.0.local_addrs()[0]
    }

    pub(crate) fn end(&self) {
        self.0.shutdown();
        let ended = self.0.wait();
        if !std::thread::panicking() {
            ended.expect("every core ends in good order");
        }
    }
}

pub(crate) fn start(setup: &Setup) -> Running {
    let log = Log::default();
    let refusals = log.clone();
    let builder = Server::builder()
        .config(config(setup))
        .listen("127.0.0.1:0")
        .page("/", "text/plain", "hello")
        .engine_io("/engine.io", raw(&log))
        .on_connection_error(move |error: &ConnectionError<'_>| {
            let who = error.request.query("who").unwrap_or_default();
            refusals.push(format!("refused-{who} {}", error.code));
        });
    Running(
        hooks(setup, socket_io(builder))
            .start()
            .expect("the server starts"),
    )
}

fn config(setup: &Setup) -> Config {
    let ms = Duration::from_millis;
    Config {
        cores: setup.cores,
        transports: setup.transports.iter().map(transport).collect(),
        allow_upgrades: setup.allow_upgrades,
        upgrade_timeout: ms(setup.upgrade_timeout_ms),
        connect_timeout: ms(setup.connect_timeout_ms),
        handshake_timeout: ms(setup.handshake_timeout_ms),
        keep_alive_timeout: ms(setup.keep_alive_ms),
        ping_interval: ms(setup.ping_interval_ms),
        ping_timeout: ms(setup.ping_timeout_ms),
        max_payload: setup.max_payload,
        cors: setup.cors.as_ref().map(cors),
        cookie: setup.cookie.then(Cookie::default),
        http_compression: setup.compression,
        allow_eio3: setup.allow_eio3,
        trailing_slash: setup.trailing_slash,
        initial_packet: setup.initial_packet.map(str::to_owned),
        shutdown_timeout: ms(setup.shutdown_ms),
        ..Config::default()
    }
}

fn transport(name: &&str) -> Transport {
    match *name {
        "polling" => Transport::Polling,
        _ => Transport::WebSocket,
    }
}

fn cors(sharing: &Sharing) -> Cors {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Cors {
        origin: match sharing.origin {
            Origin::Any => ringhall::Origin::Any,
            Origin::Reflect => ringhall::Origin::Reflect,
            Origin::Fixed(origin) => ringhall::Origin::Fixed(origin.to_owned()),
            Origin::List(origins) => ringhall::Origin::List(owned(origins)),
        },
        credentials: sharing.credentials,
        max_age_s: sharing.max_age_s,
        exposed_headers: owned(sharing.exposed),
        allowed_headers: sharing.allowed.map(owned),
        ..Cors::default()
    }
}

fn hooks(setup: &Setup, mut builder: Builder) -> Builder {
    if setup.gate {
        builder = builder.allow_request(|request: Handshake| async move {
            match request.query("forbid") {
                None => Ok(()),
                Some(message) if message.is_empty() => Err(Forbidden::default()),
                Some(message) => Err(Forbidden::new(message)),
            }
        });
    }
    if setup.hooks {
        let tag = |name: &'static str| {
            move |request: &Handshake, headers: &mut HeaderMap| {
                let tag = request.query("tag").unwrap_or("none".into());
                let tag = HeaderValue::from_str(&tag).unwrap();
                headers.insert(HeaderName::from_static(name), tag);
            }
        };
        builder = builder
            .initial_headers(tag("x-initial"))
            .response_headers(tag("x-every"));
    }
    if setup.names {
        builder = builder.session_name(|request: &Handshake| {
            request.query("name").map(|name| name.into_owned())
        });
    }
    builder
}

fn raw(log: &Log) -> EngineRoute {
    let names: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    let (of_open, of_message, of_close) = (names.clone(), log.clone(), log.clone());
    EngineRoute::new()
        .on_open(move |socket: &EngineSocket, request: &Handshake| {
            let who = request.query("who").unwrap_or_default().into_owned();
            of_open.lock().unwrap().insert(socket.id().to_string(), who);
        })
        .on_message(move |socket: &EngineSocket, message: Message<'_>| {
            follow(socket, message, &of_message);
        })
        .on_close(move |socket: &EngineSocket, reason: DisconnectReason| {
            let who = names.lock().unwrap().remove(socket.id().as_str());
            of_close.add(&who.expect("it was opened"), reason);
        })
}

/// Does what the message says.
fn follow(socket: &EngineSocket, message: Message<'_>, log: &Log) {
    let Message::Text(text) = message else {
        return socket.send(message);
    };
    let (order, rest) = text.split_once(' ').unwrap_or((text, ""));
    let number = rest.parse().unwrap_or(0);
    match order {
        "burst" => (0..number).for_each(|n: usize| socket.send(&*n.to_string())),
        "big" => socket.send(&*"x".repeat(number)),
        "bin" => socket.send(&[1, 2, 3, 4][..]),
        "close" => socket.close(),
        "note" => log.push(rest.to_owned()),
        "log" => socket.send(&*serde_json::to_string(&log.lines()).unwrap()),
        _ => socket.send(message),
    }
}

fn socket_io(builder: Builder) -> Builder {
    let log = Log::default();
    let of_end = log.clone();
    builder
        .on("echo", |payload: Payload| payload)
        .on("burst", |socket: Socket, Data(n): Data<usize>| {
            (0..n).for_each(|n| socket.emit("n", n));
        })
        .on("volatile", |socket: Socket| {
            socket.emit_volatile("v", ());
            socket.emit("said", ());
        })
        .on("leave", |socket: Socket, Data(close): Data<bool>| {
            socket.disconnect(close);
        })
        .on("log", move || Data(log.lines()))
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            of_end.add(socket.id().as_str(), reason);
        })
}
