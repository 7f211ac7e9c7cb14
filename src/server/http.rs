//! What is served over HTTP: Engine.IO, the client script, pages, the openings of WebSockets, and the user's own service for the rest.

pub(crate) mod answer;
pub(crate) mod compress;
pub(crate) mod engine;
pub(crate) mod error;
pub(crate) mod fallback;
pub(crate) mod options;
pub(crate) mod query;
pub(crate) mod script;
pub(crate) mod upgrade;

use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;

use super::local::Local;
use super::route::{Place, Spot};
use super::shared::Shared;
use super::task;
use crate::shard::application::Door;
use crate::shard::call::{Above, Call, Takeover};
use crate::shard::hall::Hall;
use crate::shard::handshake::{Handshake, Via};
use crate::shard::http::{Answering, Body, Cut, Peer};
use crate::wire::handshake::{self, Refusal};
use crate::wire::http as wire;

use answer::{insert, respond};
use engine::{Port, Served};
use query::Query;

impl Port for Rc<Hall> {
    fn call(&self, call: Call) {
        Hall::call(self, call);
    }

    fn wait_for<F: Future>(&self, code: F) -> impl Future<Output = F::Output> {
        task::counted(self.clone(), code)
    }
}

const METHOD: Refusal = Refusal::new(405, "This page can only be read: use GET.");
pub(crate) const NOT_FOUND: Refusal = Refusal::new(404, "Nothing is served at this path.");
const ORIGIN: Refusal = Refusal::new(403, "Pages of this origin may not connect here.");
const CLOSED: Refusal = Refusal::new(403, "This request may not connect here.");
const TARGET: Refusal = Refusal::new(
    400,
    "The request target must be a path, or a URL with http or https.",
);
const CODING: Refusal = Refusal::new(
    501,
    "Of the transfer codings only chunked is spoken here, and only once.",
);

/// Where the first request of a connection leads, if it asks for a WebSocket and nothing has to be waited for.
pub(crate) fn door(
    local: &Local,
    request: &wire::Request<'_>,
    handshake: impl Fn() -> Handshake,
) -> Door {
    let shared = local.shared();
    match shared.routes.find(request.path) {
        Place::Engine(above) => engine_door(local, request, above, handshake),
        Place::WebSocket(spot) => {
            if !upgrade::is_from(request.headers("origin"), spot.origins) {
                return Door::Refused(ORIGIN);
            }
            if !spot.accepts(&handshake) {
                return Door::Refused(CLOSED);
            }
            match upgrade::encode(request, spot.protocols, &http::HeaderMap::new()) {
                Ok(answer) => Door::Plain {
                    number: spot.number,
                    scope: spot.scope.clone(),
                    answer,
                },
                Err(refusal) => Door::Refused(refusal),
            }
        }
        Place::Page { .. } | Place::Nowhere => Door::Http,
    }
}

/// A new session on a WebSocket. With a session to take over, a gate to ask or an error to explain it is HTTP's.
fn engine_door(
    local: &Local,
    request: &wire::Request<'_>,
    above: Above,
    handshake: impl Fn() -> Handshake,
) -> Door {
    let options = &local.shared().engine;
    let Ok(query) = Query::read(request.query, options) else {
        return Door::Http;
    };
    if query.sid().is_some()
        || options.has_gate()
        || options.cors.is_some()
        || query.check_opening(request.method, true).is_err()
    {
        return Door::Http;
    }
    let Ok(opening) = query.opening(above, handshake(), None, options) else {
        return Door::Http;
    };
    let mut headers = http::HeaderMap::new();
    options.run_hooks(&opening.handshake, true, &mut headers);
    match upgrade::encode(request, &[], &headers) {
        Ok(answer) => Door::Engine {
            opening: Box::new(opening),
            answer,
        },
        Err(refusal) => Door::Refused(refusal),
    }
}

/// Answers one request.
pub(crate) fn serve(local: &Rc<Local>, request: Request<Incoming>, from: &Peer) -> Answering {
    let (local, from) = (local.clone(), from.clone());
    Box::pin(async move {
        let has_body = !request.body().is_end_stream();
        let place = local.shared().routes.find(request.uri().path());
        let fallback = local.shared().served.fallback.as_ref();
        let answer = match (refused(&request), place, fallback) {
            (Some(refused), ..) => Ok(refusal(&refused).map(Body::Full)),
            // What becomes of the body is its own affair.
            (None, Place::Nowhere, Some(fallback)) => {
                return fallback.serve(&local, request, &from).await;
            }
            (None, place, _) => {
                let served = serve_own(local.shared(), local.hall_of(), place, request, from.via);
                finish(served.await, &from)
            }
        };
        answer.map(|response| close_behind(has_body, response))
    })
}

/// Why a request is refused wherever it leads.
pub(crate) fn refused<B>(request: &Request<B>) -> Option<Refusal> {
    let hosts = request.headers().get_all(header::HOST);
    if request.version() == http::Version::HTTP_11
        && let Err(refused) = handshake::check_hosts(hosts.iter().map(HeaderValue::as_bytes))
    {
        return Some(refused);
    }
    if !request.uri().path().starts_with('/') {
        // RFC 9112 §3.2: of the other forms `*` is OPTIONS' own, and the rest is for proxies.
        return Some(TARGET);
    }
    (!has_plain_body(request)).then_some(CODING)
}

/// Answers a request for what is the server's own, in its own HTTP or in somebody else's.
pub(crate) async fn serve_own<P, B>(
    shared: &Shared,
    port: &P,
    place: Place<'_>,
    request: Request<B>,
    via: Via,
) -> Served
where
    P: Port,
    B: http_body::Body<Data = Bytes>,
{
    match place {
        Place::Engine(above) => {
            let (head, body) = request.into_parts();
            let request = engine::Request {
                options: &shared.engine,
                port,
                scripts: shared.served.scripts_for(&above),
                prefix: &shared.served.script_prefix,
                above,
                head,
                via,
                now_ms: shared.now_ms(),
            };
            request.serve(body).await
        }
        Place::WebSocket(spot) => open_websocket(shared, &spot, &request, via),
        Place::Page { content_type, body } => {
            Served::Answer(page(request.method(), content_type, body))
        }
        Place::Nowhere => Served::Answer(nothing_here(&request)),
    }
}

/// Of a request that is refused the body may not be read to its end: then hyper closes the connection, and the client is to be told, lest it
/// sends the next request into that (RFC 9112 §9.6).
fn close_behind(has_body: bool, mut response: Response<Body>) -> Response<Body> {
    let status = response.status();
    if has_body && (status.is_client_error() || status.is_server_error()) {
        insert(response.headers_mut(), "connection", b"close");
    }
    response
}

/// Gives hyper the answer, and keeps what the connection is to become.
fn finish(served: Served, from: &Peer) -> Result<Response<Body>, Cut> {
    match served {
        Served::Answer(response) => Ok(response.map(Body::Full)),
        Served::TakeOver(response, takeover) => {
            from.take_over(takeover);
            Ok(response.map(Body::Full))
        }
        Served::Cut => Err(Cut),
    }
}

/// A plain WebSocket on a connection that speaks HTTP.
fn open_websocket<B>(shared: &Shared, spot: &Spot<'_>, request: &Request<B>, via: Via) -> Served {
    let asked = request.headers().get_all(header::ORIGIN);
    if !upgrade::is_from(asked.iter().map(HeaderValue::as_bytes), spot.origins) {
        return Served::Answer(refusal(&ORIGIN));
    }
    let head = answer::head_of_request(request);
    let handshake = || Handshake::new(&head, via, shared.now_ms());
    if !spot.accepts(handshake) {
        return Served::Answer(refusal(&CLOSED));
    }
    match upgrade::accept(&head, spot.protocols) {
        Ok(response) => {
            let takeover = Takeover::Plain {
                number: spot.number,
                scope: spot.scope.clone(),
                handshake: handshake(),
            };
            Served::TakeOver(response, takeover)
        }
        Err(refused) => Served::Answer(refusal(&refused)),
    }
}

/// What asks for another protocol is not served in this one: its connection ends.
fn nothing_here<B>(request: &Request<B>) -> Response<Bytes> {
    let mut response = refusal(&NOT_FOUND);
    if answer::is_websocket(request.headers()) {
        insert(response.headers_mut(), "connection", b"close");
    }
    response
}

/// RFC 9112 §6.1: hyper undoes chunking, and looks at the last coding alone. What else was done to the body, or another server on the way may
/// think of it, is not known.
fn has_plain_body<B>(request: &Request<B>) -> bool {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn page(method: &Method, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    match *method {
        // hyper leaves the body of an answer to HEAD out, and tells its length.
        Method::GET | Method::HEAD => respond(StatusCode::OK, Some(content_type), body),
        _ => refusal(&METHOD),
    }
}

/// An answer that says what is wrong.
pub(crate) fn refusal(refusal: &Refusal) -> Response<Bytes> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = Bytes::from_static(refusal.reason.as_bytes());
    let mut response = respond(status, Some("text/plain; charset=utf-8"), body);
    let headers = response.headers_mut();
    match refusal.status {
        // RFC 9110 §15.5.22 and §7.8: a 426 names the protocol, and Connection names Upgrade.
        426 => {
            insert(headers, "connection", b"close, Upgrade");
            insert(headers, "upgrade", b"websocket");
            insert(headers, "sec-websocket-version", b"13");
        }
        // RFC 9110 §15.5.6: a 405 names what is allowed.
        405 => insert(headers, "allow", b"GET, HEAD"),
        400 | 501 => insert(headers, "connection", b"close"),
        _ => {}
    }
    response
}
