//! A whole server with the program that these tests speak to.
//!
//! The program, on the path `/engine.io`, which speaks Engine.IO alone. Messages it knows are orders: `burst N` has it say `0` to `N-1`, `big N` a
//! text of so many `x`, `bin` the bytes 1, 2, 3, 4; `close` has it close the session; `log` has it say how sessions ended, as a JSON array of
//! `WHO REASON`, where `WHO` is that parameter of the request that opened the session; `note TEXT` adds
//! a line to that, and a request that is refused the line `refused-WHO CODE`. It sends back every other one.
//!
//! On `/socket.io`, events: `echo` is acknowledged with its argument; `burst` N emits `n` 0 to N-1; `volatile` emits `v`, if that can be said at
//! once, and `said`, which can wait; `leave` disconnects, with its argument as `close`; `log` is acknowledged with how sockets ended, `ID REASON`.
//! `/` is a page that says `hello`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::session::Session;
use crate::wire::{Frame, Wire};
use crate::{ours, until};

pub(crate) const ENGINE: &str = "/engine.io/?EIO=4&transport=polling";
pub(crate) const ENGINE_WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

/// What the server is set up with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) cores: usize,
    pub(crate) transports: &'static [&'static str],
    pub(crate) allow_upgrades: bool,
    pub(crate) upgrade_timeout_ms: u64,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) handshake_timeout_ms: u64,
    pub(crate) keep_alive_ms: u64,
    pub(crate) shutdown_ms: u64,
    pub(crate) ping_interval_ms: u64,
    pub(crate) ping_timeout_ms: u64,
    pub(crate) max_payload: usize,
    pub(crate) cors: Option<Sharing>,
    pub(crate) cookie: bool,
    pub(crate) compression: Option<usize>,
    pub(crate) allow_eio3: bool,
    pub(crate) trailing_slash: bool,
    /// Requests with the parameter `forbid` are refused, with its value as the message if it has one.
    pub(crate) gate: bool,
    /// The first answer of a session gets `X-Initial`, every answer `X-Every`; the value is that of the parameter `tag`.
    pub(crate) hooks: bool,
    /// Sessions are named by the parameter `name`.
    pub(crate) names: bool,
    /// What every session is told first.
    pub(crate) initial_packet: Option<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            cores: 1,
            transports: &["polling", "websocket"],
            allow_upgrades: true,
            upgrade_timeout_ms: 60_000,
            connect_timeout_ms: 60_000,
            handshake_timeout_ms: 60_000,
            keep_alive_ms: 60_000,
            shutdown_ms: 100,
            // No test has to expect a ping that did not ask for one.
            ping_interval_ms: 120_000,
            ping_timeout_ms: 120_000,
            max_payload: 1_000_000,
            cors: None,
            cookie: false,
            compression: Some(1024),
            allow_eio3: false,
            trailing_slash: true,
            gate: false,
            hooks: false,
            names: false,
            initial_packet: None,
        }
    }
}

/// What is shared across origins.
#[derive(Clone, Debug)]
pub(crate) struct Sharing {
    pub(crate) origin: Origin,
    pub(crate) credentials: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) exposed: &'static [&'static str],
    pub(crate) allowed: Option<&'static [&'static str]>,
}

impl Sharing {
    pub(crate) fn with(origin: Origin) -> Option<Sharing> {
        Some(Sharing {
            origin,
            credentials: false,
            max_age_s: None,
            exposed: &[],
            allowed: None,
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Any,
    Reflect,
    Fixed(&'static str),
    List(&'static [&'static str]),
}

impl Setup {
    /// For `reference.mjs`.
    fn to_json(&self) -> Value {
        let cors = self.cors.as_ref().map(|cors| {
            let origin = match cors.origin {
                Origin::Any => json!("*"),
                Origin::Reflect => json!(true),
                Origin::Fixed(origin) => json!(origin),
                Origin::List(origins) => json!(origins),
            };
            let mut options = json!({ "origin": origin, "credentials": cors.credentials });
            if let Some(seconds) = cors.max_age_s {
                options["maxAge"] = json!(seconds);
            }
            if !cors.exposed.is_empty() {
                options["exposedHeaders"] = json!(cors.exposed);
            }
            if let Some(allowed) = cors.allowed {
                options["allowedHeaders"] = json!(allowed);
            }
            options
        });
        json!({
            "options": {
                "transports": self.transports,
                "allowUpgrades": self.allow_upgrades,
                "upgradeTimeout": self.upgrade_timeout_ms,
                "connectTimeout": self.connect_timeout_ms,
                "pingInterval": self.ping_interval_ms,
                "pingTimeout": self.ping_timeout_ms,
                "maxHttpBufferSize": self.max_payload,
                "cors": cors,
                "cookie": self.cookie,
                "httpCompression": self.compression.map_or(json!(false), |threshold| json!({ "threshold": threshold })),
                "allowEIO3": self.allow_eio3,
                "addTrailingSlash": self.trailing_slash,
                "initialPacket": self.initial_packet,
            },
            "headersTimeout": self.handshake_timeout_ms,
            "keepAliveTimeout": self.keep_alive_ms,
            "gate": self.gate,
            "hooks": self.hooks,
            "names": self.names,
        })
    }
}

/// A server, ended with this value.
pub(crate) struct Bed {
    pub(crate) address: SocketAddr,
    cores: usize,
    server: Kind,
}

enum Kind {
    Ours(ours::Running),
    Node(Child),
}

/// Whether it is Node's packages that are tested.
pub(crate) fn is_node() -> bool {
    std::env::var_os("RINGHALL_TESTS_AGAINST").is_some_and(|against| against == "node")
}

impl Bed {
    pub(crate) fn start(setup: &Setup) -> Bed {
        if !is_node() {
            let running = ours::start(setup);
            return Bed {
                address: running.address(),
                cores: setup.cores,
                server: Kind::Ours(running),
            };
        }
        let mut node = Command::new("node")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/polling/reference.mjs"
            ))
            .arg(setup.to_json().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed");
        let mut line = String::new();
        let mut output = BufReader::new(node.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        Bed {
            address: line.trim_end().parse().expect("its address"),
            cores: 1,
            server: Kind::Node(node),
        }
    }

    /// The defaults.
    pub(crate) fn plain() -> Bed {
        Bed::start(&Setup::default())
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// A connection that this core has accepted.
    pub(crate) fn connect_to(&self, core: usize) -> Wire {
        assert!(core < self.cores || is_node());
        if self.cores == 1 {
            return self.connect();
        }
        for _ in 0..200 {
            let mut wire = self.connect();
            // A session lives on the core that accepted the connection on which it was asked for.
            let opened = wire.get(ENGINE);
            if core_of(&sid_of(opened.text())) == core {
                return wire;
            }
        }
        panic!("200 connections, and none on core {core}");
    }

    /// How the session that was opened by `who` ended, which is waited for.
    pub(crate) fn reason_of(&self, who: &str) -> String {
        let mut watcher = self.connect();
        watcher.upgrade(ENGINE_WEBSOCKET);
        watcher.hear();
        until("the end of a session", || {
            watcher.say("4log");
            let Frame::Text(log) = watcher.hear() else {
                panic!("the log");
            };
            let log: Vec<String> = serde_json::from_str(&log[1..]).unwrap();
            log.iter()
                .find_map(|line| line.strip_prefix(who)?.strip_prefix(' '))
                .map(str::to_owned)
        })
    }

    /// Serves a client on polling, one on a WebSocket, and whoever wants the page.
    pub(crate) fn serves(&self) {
        Session::open(self).echoes();
        let mut websocket = self.connect();
        websocket.upgrade(ENGINE_WEBSOCKET);
        let opened = websocket.hear();
        assert!(matches!(&opened, Frame::Text(text) if text.starts_with("0{")));
        websocket.say("4hello");
        assert_eq!(websocket.hear(), Frame::text("4hello"));
        let page = self.connect().get("/");
        assert_eq!((page.status, page.text()), (200, "hello"));
    }

    /// Ends the server, with what is open then.
    pub(crate) fn shut_down(self) {
        drop(self);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        match &mut self.server {
            Kind::Ours(running) => running.end(),
            Kind::Node(node) => {
                let _ = node.kill();
                let _ = node.wait();
            }
        }
    }
}

/// The session id that an open packet names.
pub(crate) fn sid_of(open: &str) -> String {
    let first = open.split('\x1e').next().unwrap();
    let json: Value = serde_json::from_str(first.strip_prefix('0').expect(open)).expect(open);
    json["sid"].as_str().expect(open).to_owned()
}

/// The core that an id names: its last bytes are the core, and its place there.
pub(crate) fn core_of(sid: &str) -> usize {
    let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(sid)
        .expect("an id");
    usize::from(raw[11])
}

/// Which cores the parts of a test come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) home: usize,
    pub(crate) get: usize,
    pub(crate) post: usize,
    pub(crate) websocket: usize,
}

/// Runs a test on one core, and on two in every way that matters: at home, and all or some of it elsewhere.
pub(crate) fn on_cores(setup: &Setup, test: impl Fn(&Bed, Layout)) {
    let layout = |home, get, post, websocket| Layout {
        home,
        get,
        post,
        websocket,
    };
    let bed = Bed::start(setup);
    test(&bed, layout(0, 0, 0, 0));
    if is_node() {
        return;
    }
    drop(bed);
    let two = Setup {
        cores: 2,
        ..setup.clone()
    };
    let bed = Bed::start(&two);
    for layout in [
        layout(0, 1, 1, 1),
        layout(1, 1, 0, 0),
        layout(1, 0, 1, 1),
        layout(0, 0, 0, 1),
    ] {
        test(&bed, layout);
    }
}
