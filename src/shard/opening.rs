//! The first words of a connection: an HTTP request that becomes a WebSocket or an Engine.IO session at once, or is left to hyper
//! ([`super::http`]).
//!
//! What can be decided here and now is: a connection storm of WebSockets costs no HTTP server. A head that is none is refused here, too.

use std::net::SocketAddr;

use super::application::{Application, Door};
use super::connection::{Context, Flow};
use super::engine::Engine;
use super::handshake::{Handshake, Via};
use super::plain::Plain;
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
}

/// What became of the opening. The number is where the bytes behind the head begin: in what is stored, if anything is, or in the input.
pub(crate) enum Opened {
    NotYet,
    /// An answer is marked; the connection is to be closed.
    Refused,
    /// It is HTTP's, from the first byte on.
    Http,
    Plain(Box<Plain>, usize),
    Engine(Box<Engine>, usize),
}

impl Opening {
    pub(crate) fn new(peer: Option<SocketAddr>, deadline_ms: u64) -> Self {
        Opening {
            stored: Vec::new(),
            scanned: 0,
            deadline_ms,
            peer,
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &[u8],
        via: Via,
        cx: &Context<'_, A>,
    ) -> Opened {
        let whole = self.stored.is_empty();
        if !whole {
            self.stored.extend_from_slice(bytes);
        }
        let so_far = if whole { bytes } else { &self.stored };
        match http::find_head_end(so_far, self.scanned) {
            Ok(Status::Complete(end)) => decide(key, so_far, end, via, cx),
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
    via: Via,
    cx: &Context<'_, A>,
) -> Opened {
    let head = bytes.get(..end).unwrap_or(bytes);
    let mut headers = NO_HEADERS;
    let request = match Request::parse(head, &mut headers) {
        Ok(request) => request,
        Err(error) => return refuse(key, &error.into(), cx),
    };
    if !handshake::is_upgrade(&request) {
        return Opened::Http;
    }
    if let Err(refusal) = handshake::check_host(&request) {
        return refuse(key, &refusal, cx);
    }
    let handshake = || Handshake::new(head, via, cx.now_ms);
    match cx.app.door(&request, handshake) {
        Door::Http => Opened::Http,
        Door::Refused(refusal) => refuse(key, &refusal, cx),
        Door::Plain {
            number,
            scope,
            answer,
        } => match Plain::open(key, number, &scope, &handshake(), &answer, cx) {
            Some(plain) => Opened::Plain(Box::new(plain), end),
            None => refuse(key, &FULL, cx),
        },
        Door::Engine { opening, answer } => {
            match Engine::open_on_websocket(key, answer, *opening, cx) {
                Some(engine) => Opened::Engine(engine, end),
                None => refuse(key, &FULL, cx),
            }
        }
    }
}

pub(crate) const FULL: Refusal = Refusal::new(
    503,
    "This server holds as many connections as it may (setting `max_connections`).",
);

fn refuse<A: Application>(key: ConnKey, refusal: &Refusal, cx: &Context<'_, A>) -> Opened {
    let mut bytes = Vec::new();
    handshake::encode_refusal(&mut bytes, refusal);
    cx.hall.write(key, &[&bytes]);
    Opened::Refused
}

fn answer<A: Application>(
    key: ConnKey,
    status: u16,
    content_type: &str,
    body: &[u8],
    cx: &Context<'_, A>,
) {
    let phrase = handshake::phrase(status);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    cx.hall.write(key, &[head.as_bytes(), body]);
}
