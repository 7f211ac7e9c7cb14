//! What is to be measured, and every message said and expected for it, made once before the clock starts.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use perf::client::{Protocol, encode_text};
use perf::options::Options;

pub(crate) const USAGE: &str = "load SCENARIO --to 127.0.0.1:PORT …; scenarios: raw-echo raw-room ws-echo ws-room \
                                sio-ack sio-room idle (see perf/README.md)";
pub(crate) const OPTIONS: [&str; 12] = [
    "to",
    "connections",
    "bytes",
    "depth",
    "burst",
    "rooms",
    "path",
    "kind",
    "tls",
    "seconds",
    "warm-up",
    "messages",
];
/// Ack ids go round: a script of so many messages is made beforehand.
const ACK_IDS: u64 = 256;
/// The first so many answers of a connection are compared byte by byte, the others by length.
const COMPARED: u64 = 8;

/// What the command line asks for.
pub(crate) struct Plan {
    pub(crate) scenario: String,
    pub(crate) protocol: Protocol,
    pub(crate) in_rooms: bool,
    pub(crate) idle: bool,
    pub(crate) tls: bool,
    pub(crate) to: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) bytes: usize,
    pub(crate) depth: u64,
    pub(crate) burst: u64,
    pub(crate) rooms: usize,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    pub(crate) messages_max: u64,
    base_path: String,
}

impl Plan {
    pub(crate) fn new(scenario: &str, options: &Options) -> io::Result<Self> {
        let kind = options.text("kind").unwrap_or("ws");
        let (protocol, path) = match (scenario, kind) {
            ("raw-echo" | "raw-room", _) => (Protocol::Raw, ""),
            ("ws-echo", _) | ("idle", "ws") => (Protocol::WebSocket, "/echo"),
            ("ws-room", _) => (Protocol::WebSocket, "/room"),
            ("sio-ack" | "sio-room", _) | ("idle", "sio") => (Protocol::SocketIo, "/socket.io/"),
            _ => return Err(io::Error::other(USAGE)),
        };
        let to = options
            .text("to")
            .and_then(|to| to.parse().ok())
            .ok_or_else(|| io::Error::other(USAGE))?;
        Ok(Self {
            scenario: scenario.to_owned(),
            protocol,
            in_rooms: scenario.ends_with("-room"),
            idle: scenario == "idle",
            tls: options.value("tls", false)?,
            to,
            connections: options.value("connections", 64)?.max(1),
            bytes: options.value("bytes", 20)?.max(1),
            depth: options.value("depth", 1)?.max(1),
            burst: options.value("burst", 1)?.max(1),
            rooms: options.value("rooms", 1)?.max(1),
            warm_up: Duration::from_secs_f64(options.value("warm-up", 0.5)?),
            window: Duration::from_secs_f64(options.value("seconds", 3.0)?),
            messages_max: options.value("messages", u64::MAX)?,
            base_path: options.text("path").unwrap_or(path).to_owned(),
        })
    }

    /// What a connection that belongs to `room` asks for.
    pub(crate) fn path(&self, room: usize) -> String {
        let mut path = self.base_path.clone();
        if self.protocol == Protocol::SocketIo {
            path.push_str("?EIO=4&transport=websocket");
        }
        if self.in_rooms {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&format!("room=r{room}"));
        }
        path
    }
}

/// The messages of a plan.
pub(crate) struct Script {
    pub(crate) protocol: Protocol,
    /// Length of a raw message.
    pub(crate) message_len: usize,
    frames: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
}

/// A JSON object of `len` bytes; the smallest has eight.
fn json(len: usize) -> String {
    format!("{{\"d\":\"{}\"}}", "x".repeat(len.saturating_sub(8)))
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_text(payload, &mut frame);
    frame
}

impl Script {
    pub(crate) fn new(plan: &Plan) -> Self {
        let plain: Vec<u8> = (b'a'..=b'z').cycle().take(plan.bytes).collect();
        let data = json(plan.bytes);
        let (frames, answers) = match (plan.protocol, plan.in_rooms) {
            (Protocol::Raw, _) => (vec![plain], Vec::new()),
            (Protocol::WebSocket, _) => (vec![framed(&plain)], vec![plain]),
            (Protocol::SocketIo, true) => {
                let packet = format!("42[\"msg\",{data}]").into_bytes();
                (vec![framed(&packet)], vec![packet])
            }
            (Protocol::SocketIo, false) => (0..ACK_IDS)
                .map(|id| {
                    (
                        framed(format!("42{id}[\"msg\",{data}]").as_bytes()),
                        format!("43{id}[{data}]").into_bytes(),
                    )
                })
                .unzip(),
        };
        Self {
            protocol: plan.protocol,
            message_len: plan.bytes,
            frames,
            answers,
        }
    }

    /// The bytes of a connection's message `number`.
    pub(crate) fn frame(&self, number: u64) -> &[u8] {
        &self.frames[number as usize % self.frames.len()]
    }

    /// Whether `message` is what had to come as answer `number`.
    pub(crate) fn check(&self, number: u64, message: &[u8]) -> io::Result<()> {
        let wanted = &self.answers[number as usize % self.answers.len()];
        let right = if number < COMPARED {
            message == wanted
        } else {
            message.len() == wanted.len()
        };
        if right {
            return Ok(());
        }
        let (got, wanted) = (
            String::from_utf8_lossy(message),
            String::from_utf8_lossy(wanted),
        );
        Err(io::Error::other(format!(
            "answer {number} is {got:?}, wanted {wanted:?}"
        )))
    }
}
