//! The settings of a server: public fields with defaults, checked once.

use std::time::Duration;

use super::http::options::{Hooks, Options};
use crate::error::Error;
use crate::proto::{client, session, websocket};
use crate::room::cores::MAX_CORES;
use crate::shard::settings::Settings;
use crate::wire::cookie::Cookie;
use crate::wire::cors::Cors;
use crate::wire::parser::Parser;
use crate::wire::{json, socket};

/// The settings of a server. Every limit is here, with its default; [`Config::default`] is what most servers want.
///
/// ```
/// use std::time::Duration;
/// use ringhall::{Config, Server};
///
/// let config = Config { ping_interval: Duration::from_secs(10), max_message: 64 * 1024, ..Config::default() };
/// let builder = Server::builder().config(config);
/// # let _ = builder;
/// ```
/// Write `..Config::default()` at its end: settings are added now and then.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that serve, one pinned to each CPU: 1 to 256. Default: as many as there are CPUs for this process.
    pub cores: usize,
    /// Whether Socket.IO is spoken at all. Off for a server of plain WebSockets, or of Engine.IO by itself: then nothing is served at `path`.
    /// Default: true.
    pub socket_io: bool,
    /// The path of Socket.IO, with or without its slashes. Default: `/socket.io`.
    pub path: String,
    /// Whether Socket.IO's path ends in a slash, so that `/socket.io?…` is not Socket.IO's, and `/socket.ioXYZ` neither. Default: true, which
    /// is what clients expect.
    pub trailing_slash: bool,
    /// The transports that Engine.IO is served on. Default: both.
    pub transports: Vec<Transport>,
    /// Whether a session on polling may go over to a WebSocket. Default: true.
    pub allow_upgrades: bool,
    /// From a WebSocket's naming of a session on polling to its taking over; after that it is closed, and the session goes on on
    /// polling. Default: 10 s.
    pub upgrade_timeout: Duration,
    /// What pages of other origins may do with Engine.IO over HTTP and with the client script. `None`: nothing is said of it, so that
    /// browsers allow them nothing. WebSockets are not protected by it: see [`Builder::allow_request`](crate::Builder::allow_request).
    /// Default: `None`.
    pub cors: Option<Cors>,
    /// A cookie with the session's name in the first answer of a session on polling; nothing reads it back. Default: `None`.
    pub cookie: Option<Cookie>,
    /// Answers to polls of at least so many bytes are compressed, for clients that take it (gzip or deflate). `None`: none is.
    /// Default: 1,024.
    pub http_compression: Option<usize>,
    /// A message that every session is told first, behind its open packet (for clients of Engine.IO by itself, since to Socket.IO's it would
    /// be no packet). Default: `None`.
    pub initial_packet: Option<String>,
    /// Whether the client script is served below Socket.IO's path; see [`Builder::client_dir`](crate::Builder::client_dir). Default: true.
    pub serve_client: bool,
    /// Whether clients of Socket.IO 2 (Engine.IO 3) are served, too: all that do not say `EIO=4`. Default: false.
    ///
    /// They share namespaces, rooms and events with clients of today, text and binary, on polling and WebSocket. What differs:
    /// - They are in the main namespace from the start. To another one they come with a query and no `auth`:
    ///   [`Socket::auth`](crate::Socket::auth) has its parameters, each a string. Why they are refused they are told as a message alone.
    /// - It is they who ping. One that is silent for `ping_interval` and `ping_timeout` together is disconnected.
    /// - **Socket ids**: they are not told [`Socket::id`](crate::Socket::id), and take the session's name for it; in the namespace `/chat`, that
    ///   with `/chat#` before it. Each is in a room so named, so that [`to`](crate::Server::to) with either id reaches it. The room is one of its
    ///   [`rooms`](crate::Socket::rooms), and counts. Who knows a session's name can speak in its place: do not
    ///   hand such an id on to other clients.
    ///
    /// ```
    /// use ringhall::{Config, Data, Server, Socket};
    ///
    /// let builder = Server::builder()
    ///     .config(Config { allow_eio3: true, ..Config::default() })
    ///     .on("tell", |socket: Socket, Data((id, text)): Data<(String, String)>| {
    ///         socket.to(&id).emit("told", text); // whichever id its client has sent us
    ///     });
    /// # let _ = builder;
    /// ```
    pub allow_eio3: bool,
    /// The longest message on a plain WebSocket, in bytes; a longer one is refused with close code 1009. Default: 16 MiB.
    ///
    /// Worst case per connection: this much memory for an unfinished message.
    pub max_message: usize,
    /// The longest Engine.IO message, in bytes (`maxHttpBufferSize` in Node); a longer one is refused with close code 1009.
    /// Default: 1,000,000.
    pub max_payload: usize,
    /// The form of Socket.IO's packets, which its clients must speak, too. With another one than the default `allow_eio3` cannot be set: clients of
    /// Socket.IO 2 have nothing that fits. Default: [`Parser::Default`].
    pub parser: Parser,
    /// Binary attachments in one Socket.IO packet at most, 1 to 1,000; a client that sends more is disconnected. Default: 10, which is also
    /// what official clients accept (those with msgpack accept any number).
    pub max_attachments: usize,
    /// How deep the lists and objects of a packet from a client may lie inside each other, the list of arguments counted: 1 to 127, which is
    /// what `serde_json` reads at most. A client that sends more is disconnected. Default: 127.
    pub max_depth: usize,
    /// Namespaces that one client may be in at a time, at least 1. Default: 64.
    pub max_namespaces: usize,
    /// Whether a namespace of a family ([`Builder::namespaces`](crate::Builder::namespaces)) is forgotten when the last socket has left it, or was not
    /// let in; the family is asked again when somebody comes. Default: false, as in Node.
    pub cleanup_empty_child_namespaces: bool,
    /// Namespaces of families that are remembered at a time, at least 1. Their names are the clients' choice: when there are so many, the one that
    /// nobody has been in for longest makes way for a new one; if there is somebody in each, clients are refused with "Too many namespaces".
    /// Default: 10,000.
    ///
    /// Worst case: 4 KiB each, the longest name.
    pub max_child_namespaces: usize,
    /// Rooms that one socket may be in at a time. Default: 1,000.
    pub max_rooms: usize,
    /// Connections on one core at a time, sessions on polling included; further connections are closed at once, further sessions refused
    /// with status 503. Default: 1,000,000, or what the limit of open files (`ulimit -n`) allows, if that is less.
    ///
    /// Worst case per session: what its client sent as the head of its first request, 16 KiB, and what waits for it.
    pub max_connections: u32,
    /// Engine.IO sessions on polling on one core at a time. They need no descriptor, so that nothing else limits them; each keeps its request's
    /// head (commonly 0.8 KiB, at most 16 KiB) until its client falls silent. One whose client never comes back ends after
    /// `ping_interval`. For one more the answer is status 503. Default: 100,000.
    pub max_polling_sessions: u32,
    /// The server asks a silent client for a sign of life this often. Default: 25 s.
    pub ping_interval: Duration,
    /// A client that gives no sign of life for this long after it was asked is disconnected. Default: 20 s.
    pub ping_timeout: Duration,
    /// A Socket.IO client must be in a namespace this long after it connected. Default: 45 s.
    pub connect_timeout: Duration,
    /// A request head must be complete this long after the connection was accepted. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How long an HTTP connection may rest between two requests. Longer than that of a proxy in front, commonly 60 s, so that it is the
    /// proxy that closes. Default: 75 s.
    pub keep_alive_timeout: Duration,
    /// A TLS handshake must be over this long after the connection was accepted; the connection is cut otherwise. The request head has
    /// `handshake_timeout` on top of it. Default: 10 s.
    pub tls_handshake_timeout: Duration,
    /// TLS handshakes on one core at a time, at least 1. For one more, the oldest that is not over is cut: honest clients are through within a
    /// few round trips, so those that stall on purpose go first, and keep nobody out. Default: 1,000.
    ///
    /// Worst case per handshake: 100 KiB (the largest message that a client may begin and not end); commonly 4 KiB.
    pub max_tls_handshakes: usize,
    /// How long to wait for the other side to end a connection that this side has ended. Default: 5 s.
    pub close_timeout: Duration,
    /// How long [`Server::shutdown`](crate::Server::shutdown) waits for connections to end before it cuts them. Default: 5 s.
    pub shutdown_timeout: Duration,
    /// Unsent bytes on a connection at which nothing more is read from it until it catches up. Default: 1 MiB.
    pub max_unsent: usize,
    /// Unsent bytes on a connection at which it is cut when more is to be sent: a receiver of broadcasts that is too
    /// slow. At least `max_unsent`. Default: 8 MiB.
    pub max_unsent_cut: usize,
    /// Bytes of events that wait for a socket's async handler to end, at which nothing more is read from
    /// the connection. Default: 1 MiB.
    pub max_backlog: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            cores: std::thread::available_parallelism()
                .map_or(1, |cores| cores.get().min(MAX_CORES)),
            socket_io: true,
            path: "/socket.io".to_owned(),
            trailing_slash: true,
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            upgrade_timeout: Duration::from_secs(10),
            cors: None,
            cookie: None,
            http_compression: Some(1024),
            initial_packet: None,
            serve_client: true,
            allow_eio3: false,
            max_message: 16 * 1024 * 1024,
            max_payload: 1_000_000,
            parser: Parser::Default,
            max_attachments: 10,
            max_depth: json::MAX_DEPTH,
            max_namespaces: 64,
            cleanup_empty_child_namespaces: false,
            max_child_namespaces: 10_000,
            max_rooms: 1000,
            max_connections: 1_000_000,
            max_polling_sessions: 100_000,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            tls_handshake_timeout: Duration::from_secs(10),
            max_tls_handshakes: 1000,
            close_timeout: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(5),
            max_unsent: 1024 * 1024,
            max_unsent_cut: 8 * 1024 * 1024,
            max_backlog: 1024 * 1024,
        }
    }
}

/// What carries an Engine.IO session.
///
/// ```
/// use ringhall::{Config, Transport};
///
/// let config = Config { transports: vec![Transport::WebSocket], ..Config::default() };
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP requests that are held until there is something to say.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl Transport {
    /// Its name on the wire.
    ///
    /// ```
    /// assert_eq!(ringhall::Transport::WebSocket.as_str(), "websocket");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// No message may be longer than this: lengths stay far from every overflow.
const MESSAGE_MAX: usize = 1 << 31;

impl Config {
    fn check_ranges(&self) -> Result<(), Error> {
        in_range("cores", self.cores, 1, MAX_CORES)?;
        in_range("max_message", self.max_message, 1, MESSAGE_MAX)?;
        in_range("max_payload", self.max_payload, 1, MESSAGE_MAX)?;
        in_range("max_attachments", self.max_attachments, 1, 1000)?;
        in_range("max_depth", self.max_depth, 1, json::MAX_DEPTH)?;
        in_range("max_namespaces", self.max_namespaces, 1, 10_000)?;
        in_range(
            "max_child_namespaces",
            self.max_child_namespaces,
            1,
            10_000_000,
        )?;
        in_range("max_rooms", self.max_rooms, 1, 1 << 20)?;
        in_range("max_tls_handshakes", self.max_tls_handshakes, 1, 1 << 24)?;
        in_range("max_connections", self.max_connections as usize, 1, 1 << 24)?;
        let sessions_max = self.max_polling_sessions as usize;
        in_range("max_polling_sessions", sessions_max, 1, 1 << 24)?;
        in_range(
            "max_unsent_cut",
            self.max_unsent_cut,
            self.max_unsent,
            usize::MAX,
        )
    }

    /// Checks everything, and turns it into what the engine runs on.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        self.check_ranges()?;
        if self.allow_eio3 && self.parser != Parser::Default {
            // Their socket.io-msgpack-parser 2 is another protocol: what is no event is JSON in a text message.
            return Err(Error::setting(
                "allow_eio3",
                "is set, and clients of Socket.IO 2 speak the default parser alone",
            ));
        }
        let (interval_ms, timeout_ms) = (
            ms("ping_interval", self.ping_interval)?,
            ms("ping_timeout", self.ping_timeout)?,
        );
        let close_timeout_ms = ms("close_timeout", self.close_timeout)?;
        Ok(Settings {
            websocket: websocket::Limits {
                max_message: self.max_message,
                close_timeout_ms,
                heartbeat: Some(websocket::Heartbeat {
                    interval_ms,
                    timeout_ms,
                }),
            },
            transport: websocket::Limits {
                max_message: self.max_payload,
                close_timeout_ms,
                heartbeat: None,
            },
            heartbeat: session::Heartbeat {
                interval_ms,
                timeout_ms,
            },
            client: client::Limits {
                packet: socket::Limits {
                    max_attachments: self.max_attachments,
                    max_depth: self.max_depth,
                },
                max_namespaces: self.max_namespaces,
                connect_timeout_ms: ms("connect_timeout", self.connect_timeout)?,
                // A packet and its attachments are messages of at most `max_payload` each; together they may pin no more than two.
                max_pending_bytes: 2 * self.max_payload,
            },
            parser: self.parser,
            upgrades: if self.allow_upgrades && self.serves(Transport::WebSocket) {
                &["websocket"]
            } else {
                &[]
            },
            initial_packet: self.initial_packet.as_deref().map(Into::into),
            upgrade_timeout_ms: ms("upgrade_timeout", self.upgrade_timeout)?,
            payload_max: self.max_payload,
            handshake_timeout_ms: ms("handshake_timeout", self.handshake_timeout)?,
            keep_alive_ms: ms("keep_alive_timeout", self.keep_alive_timeout)?,
            tls_handshake_timeout_ms: ms("tls_handshake_timeout", self.tls_handshake_timeout)?,
            tls_handshakes_max: self.max_tls_handshakes,
            linger_ms: close_timeout_ms,
            outbound_soft: self.max_unsent,
            outbound_hard: self.max_unsent_cut,
            backlog_max: self.max_backlog,
            connections_max: self.max_connections,
            sessions_max: self.max_polling_sessions,
            shutdown_ms: ms("shutdown_timeout", self.shutdown_timeout)?,
        })
    }

    fn serves(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }

    /// What Engine.IO over HTTP runs on.
    pub(crate) fn engine_options(&self, hooks: Hooks) -> Result<Options, Error> {
        if self.transports.is_empty() {
            return Err(Error::setting(
                "transports",
                "is empty, and must have one of Polling and WebSocket at least",
            ));
        }
        if let Some(Err(error)) = self.cors.as_ref().map(Cors::check) {
            return Err(Error::setting("cors", format!("cannot be sent: {error:?}")));
        }
        if let Some(Err(error)) = self.cookie.as_ref().map(Cookie::check) {
            let field = error.field();
            return Err(Error::setting(
                "cookie",
                format!("has a field that cannot be sent: {field}"),
            ));
        }
        Ok(Options {
            polling: self.serves(Transport::Polling),
            websocket: self.serves(Transport::WebSocket),
            allow_eio3: self.allow_eio3,
            payload_max: self.max_payload,
            cors: self.cors.clone(),
            cookie: self.cookie.clone(),
            compression: self.http_compression,
            hooks,
        })
    }

    /// Socket.IO's path, as requests are compared with it.
    pub(crate) fn path_prefix(&self) -> Result<String, Error> {
        self.prefix_of(&self.path)
    }

    /// A path of Engine.IO with a slash at its front and, by default, at its end.
    pub(crate) fn prefix_of(&self, path: &str) -> Result<String, Error> {
        let inner = path.trim_matches('/');
        let plain = inner
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
        if inner.is_empty() || !plain {
            return Err(Error::setting(
                "path",
                "must be a path such as /socket.io, without query and spaces",
            ));
        }
        let end = if self.trailing_slash { "/" } else { "" };
        Ok(format!("/{inner}{end}"))
    }
}

fn in_range(name: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let range = if most == usize::MAX {
        format!("at least {least}")
    } else {
        format!("from {least} to {most}")
    };
    Err(Error::setting(
        name,
        format!("is {value}, and must be {range}"),
    ))
}

/// Timeouts are kept in milliseconds: at least one, at most ten days.
pub(super) fn ms(name: &'static str, value: Duration) -> Result<u64, Error> {
    const MOST: u64 = 10 * 24 * 3600 * 1000;
    u64::try_from(value.as_millis())
        .ok()
        .filter(|ms| (1..=MOST).contains(ms))
        .ok_or_else(|| {
            Error::setting(
                name,
                format!("is {value:?}, and must be from 1 ms to ten days"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_accepted() {
        assert!(Config::default().settings().is_ok());
        assert_eq!(Config::default().path_prefix().unwrap(), "/socket.io/");
    }

    #[test]
    fn each_bad_value_names_its_setting() {
        type Change = fn(&mut Config);
        let cases: [(&str, Change); 12] = [
            ("cores", |c| c.cores = 0),
            ("cores", |c| c.cores = 257),
            ("max_message", |c| c.max_message = usize::MAX),
            ("max_attachments", |c| c.max_attachments = 0),
            ("max_depth", |c| c.max_depth = 0),
            ("allow_eio3", |c| {
                (c.allow_eio3, c.parser) = (true, Parser::MsgPack);
            }),
            ("max_depth", |c| c.max_depth = 128),
            ("max_unsent_cut", |c| c.max_unsent_cut = 1),
            ("ping_timeout", |c| c.ping_timeout = Duration::ZERO),
            ("max_tls_handshakes", |c| c.max_tls_handshakes = 0),
            ("tls_handshake_timeout", |c| {
                c.tls_handshake_timeout = Duration::ZERO
            }),
            ("connect_timeout", |c| c.connect_timeout = Duration::MAX),
        ];
        for (name, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let text = config.settings().map(|_| ()).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn paths_are_normalised() {
        for (path, prefix) in [
            ("/rt", Some("/rt/")),
            ("a/b/", Some("/a/b/")),
            ("/", None),
            ("/a?b", None),
            ("/a b", None),
        ] {
            let config = Config {
                path: path.to_owned(),
                ..Config::default()
            };
            assert_eq!(config.path_prefix().ok().as_deref(), prefix, "{path}");
        }
    }
}
