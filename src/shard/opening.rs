//! The first words of a connection: an HTTP request that becomes a WebSocket or an Engine.IO session, or gets one answer.
//!
//! Whatever is not an upgrade is answered once, and then the connection is closed.

use std::net::SocketAddr;

use super::application::{Application, Route};
use super::connection::{Context, Flow, Plain};
use super::engine::Engine;
use super::handshake::Handshake;
use crate::proto::websocket::{Role, WebSocket};
use crate::reactor::ConnKey;
use crate::wire::Status;
use crate::wire::handshake::{self, Refusal};
use crate::wire::http::{self, NO_HEADERS, Request};

pub(crate) struct Opening {
    /// What came so far, if the head did not come in one piece.
    stored: Vec<u8>,
    /// The part of `stored` that is known not to hold the end of the head.
    scanned: usize,
    deadline_ms: u64,
    peer: Option<SocketAddr>,
    is_secure: bool,
}

/// What became of the opening. The number is where the bytes behind the head begin: in what is stored, if anything is, or in the input.
pub(crate) enum Opened {
    NotYet,
    /// An answer is marked; the connection is to be closed.
    Refused,
    Plain(Box<Plain>, usize),
    Engine(Box<Engine>, usize),
}

impl Opening {
    pub(crate) fn new(peer: Option<SocketAddr>, is_secure: bool, deadline_ms: u64) -> Self {
        Opening {
            stored: Vec::new(),
            scanned: 0,
            deadline_ms,
            peer,
            is_secure,
        }
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &[u8],
        cx: &Context<'_, A>,
    ) -> Opened {
        let whole = self.stored.is_empty();
        if !whole {
            self.stored.extend_from_slice(bytes);
        }
        let so_far = if whole { bytes } else { &self.stored };
        match http::find_head_end(so_far, self.scanned) {
            Ok(Status::Complete(end)) => decide(key, so_far, end, (self.peer, self.is_secure), cx),
            Err(error) => refuse(key, &error.into(), cx),
            Ok(Status::Partial) => {
                self.scanned = so_far.len();
                if whole {
                    self.stored.extend_from_slice(bytes);
                }
                Opened::NotYet
            }
        }
    }

    /// What is stored from `rest` on, if anything was stored.
    pub(crate) fn stored_from(&self, rest: usize) -> Option<Vec<u8>> {
        (!self.stored.is_empty()).then(|| self.stored.get(rest..).unwrap_or_default().to_vec())
    }

    pub(crate) fn handle_timeout<A: Application>(
        &mut self,
        key: ConnKey,
        cx: &Context<'_, A>,
    ) -> Flow {
        if cx.now_ms < self.deadline_ms {
            return Flow::Continue;
        }
        if self.stored.is_empty() {
            return Flow::Abort;
        }
        let text = "The request head did not arrive in time (setting `handshake_timeout`).\n";
        answer(key, 408, "text/plain; charset=utf-8", text.as_bytes(), cx);
        Flow::Finish
    }
}

fn decide<A: Application>(
    key: ConnKey,
    bytes: &[u8],
    end: usize,
    (peer, is_secure): (Option<SocketAddr>, bool),
    cx: &Context<'_, A>,
) -> Opened {
    let head = bytes.get(..end).unwrap_or(bytes);
    let mut headers = NO_HEADERS;
    let request = match Request::parse(head, &mut headers) {
        Ok(request) => request,
        Err(error) => return refuse(key, &error.into(), cx),
    };
    // An HTTP/1.0 request may do without.
    if request.minor_version == 1
        && let Err(refusal) = handshake::check_host(&request)
    {
        return refuse(key, &refusal, cx);
    }
    let handshake = || Handshake::new(head, peer, is_secure, cx.now_ms);
    match cx.app.route(&request) {
        Route::WebSocket {
            number,
            scope,
            protocols,
            origins,
        } => {
            if !is_from(&request, origins) {
                return refuse(key, &ORIGIN, cx);
            }
            let opening = match accept(&request, protocols) {
                Ok(opening) => opening,
                Err(refusal) => return refuse(key, &refusal, cx),
            };
            let Some((socket, id)) = cx.hall.seat(key, &scope) else {
                return full(key, cx);
            };
            cx.hall.write(key, &[&opening]);
            let mut machine = WebSocket::new(Role::Server);
            machine.open(cx.now_ms, &cx.settings.websocket);
            cx.app.websocket_opened(number, socket, id, &handshake());
            Opened::Plain(Box::new(Plain { machine, socket }), end)
        }
        Route::SocketIo => match engine_opening(key, &request, cx) {
            Ok(opening) => match Engine::open(key, opening, handshake(), cx) {
                Some(engine) => Opened::Engine(engine, end),
                None => full(key, cx),
            },
            Err(()) => Opened::Refused,
        },
        Route::Page { content_type, body } => {
            match request.method {
                "GET" => answer(key, 200, content_type, &body, cx),
                "HEAD" => answer_head(key, 200, content_type, body.len(), cx),
                _ => return refuse(key, &METHOD, cx),
            }
            Opened::Refused
        }
        Route::NotFound => refuse(key, &NOT_FOUND, cx),
    }
}

const METHOD: Refusal = Refusal::new(405, "This page can only be read: use GET.");
const NOT_FOUND: Refusal = Refusal::new(404, "Nothing is served at this path.");
const ORIGIN: Refusal = Refusal::new(403, "Pages of this origin may not connect here.");
const FULL: Refusal = Refusal::new(
    503,
    "This server holds as many connections as it may (setting `max_connections`).",
);

/// RFC 6455 §10.2: browsers say which page a connection comes from. Programs that are no browsers need not, and are not stopped by this.
fn is_from(request: &Request<'_>, origins: Option<&[Box<str>]>) -> bool {
    let Some(origins) = origins else { return true };
    request
        .headers("origin")
        .all(|origin| origins.iter().any(|allowed| allowed.as_bytes() == origin))
}

/// The 101 answer to a proper opening handshake (RFC 6455 §4.2).
///
/// Of the subprotocols that the client offers, the first that is spoken here is chosen (RFC 6455 §4.2.2); if none is, the answer names none, and
/// it is the client's to go on or not.
fn accept(request: &Request<'_>, protocols: &[Box<str>]) -> Result<Vec<u8>, Refusal> {
    let upgrade = handshake::check(request)?;
    let chosen = upgrade
        .protocols()
        .find(|offered| protocols.iter().any(|spoken| **spoken == **offered));
    let mut answer = Vec::with_capacity(160);
    handshake::encode_accept(&mut answer, &upgrade.key_accept, chosen, &[])
        .map_err(|_| Refusal::new(500, "The server's own headers are not valid."))?;
    Ok(answer)
}

/// Errors of Engine.IO: the code and its message, as every client knows them.
const TRANSPORT_UNKNOWN: (u8, &str) = (0, "Transport unknown");
const SESSION_UNKNOWN: (u8, &str) = (1, "Session ID unknown");
const BAD_METHOD: (u8, &str) = (2, "Bad handshake method");
const BAD_REQUEST: (u8, &str) = (3, "Bad request");
const UNSUPPORTED_VERSION: (u8, &str) = (5, "Unsupported protocol version");

/// Checks a request for an Engine.IO session in the reference server's order, then as a WebSocket handshake. The error is answered already.
fn engine_opening<A: Application>(
    key: ConnKey,
    request: &Request<'_>,
    cx: &Context<'_, A>,
) -> Result<Vec<u8>, ()> {
    let parameter = |name| http::query_value(request.query, name);
    let upgrade = handshake::is_upgrade(request);
    let error = if parameter("transport").as_deref() != Some("websocket") {
        Some(TRANSPORT_UNKNOWN)
    } else if parameter("sid").is_some_and(|sid| !sid.is_empty()) {
        // A session that began on a WebSocket stays on it, so there is none that another request could name.
        Some(SESSION_UNKNOWN)
    } else if request.method != "GET" {
        Some(BAD_METHOD)
    } else if !upgrade {
        Some(BAD_REQUEST)
    } else if parameter("EIO").as_deref() != Some("4") {
        Some(UNSUPPORTED_VERSION)
    } else {
        None
    };
    if let Some((code, message)) = error {
        if upgrade {
            answer(key, 400, "text/html", message.as_bytes(), cx);
        } else {
            let body = serde_json::json!({ "code": code, "message": message }).to_string();
            answer(key, 400, "application/json", body.as_bytes(), cx);
        }
        return Err(());
    }
    accept(request, &[]).map_err(|refusal| {
        refuse(key, &refusal, cx);
    })
}

fn full<A: Application>(key: ConnKey, cx: &Context<'_, A>) -> Opened {
    refuse(key, &FULL, cx)
}

fn refuse<A: Application>(key: ConnKey, refusal: &Refusal, cx: &Context<'_, A>) -> Opened {
    let mut bytes = Vec::new();
    handshake::encode_refusal(&mut bytes, refusal);
    cx.hall.write(key, &[&bytes]);
    Opened::Refused
}

fn answer_head<A: Application>(
    key: ConnKey,
    status: u16,
    content_type: &str,
    length: usize,
    cx: &Context<'_, A>,
) {
    let phrase = handshake::phrase(status);
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    cx.hall.write(key, &[head.as_bytes()]);
}

fn answer<A: Application>(
    key: ConnKey,
    status: u16,
    content_type: &str,
    body: &[u8],
    cx: &Context<'_, A>,
) {
    answer_head(key, status, content_type, body.len(), cx);
    cx.hall.write(key, &[body]);
}
