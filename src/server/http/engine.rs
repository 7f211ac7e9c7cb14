//! Engine.IO over HTTP: which requests are let through to a session, and how they are answered.
//!
//! The order of the checks is that of the reference server, since clients see it: transport, session, method, the application's gate,
//! revision (Engine.IO protocol; errors as `{"code":…,"message":…}`).

use std::pin::pin;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::answer::{contains, head_of, insert, is_websocket, joined, respond};
use super::compress;
use super::error::{Error, refuse};
use super::options::{ConnectionError, Forbidden, Options};
use super::query::Query;
use super::script::Scripts;
use crate::proto::session::{Revision, Transport};
use crate::shard::call::{Above, Answer, Call, Refused, Reply, Request as Asked, Takeover, Ticket};
use crate::shard::grant::Grant;
use crate::shard::handshake::{Handshake, Via};
use crate::wire::coding;
use crate::wire::cors;

/// The way to the sessions, from a core or from outside.
pub(crate) trait Port {
    fn call(&self, call: Call);

    /// Waits for the user's code, and for nothing else: a core counts that as a task, since what it waits for may be brought by the runtime.
    fn wait_for<F: Future>(&self, code: F) -> impl Future<Output = F::Output> {
        code
    }
}

/// What comes of a request.
pub(crate) enum Served {
    Answer(Response<Bytes>),
    /// The answer is a 101, after which the connection goes on so.
    TakeOver(Response<Bytes>, Takeover),
    /// The connection is to be cut.
    Cut,
}

/// Why no session on polling is opened.
const FULL: &str = "This server holds as many sessions as it may (settings `max_polling_sessions` and `max_connections`).";

/// One request for Engine.IO.
pub(crate) struct Request<'a, P> {
    pub(crate) options: &'a Options,
    pub(crate) port: &'a P,
    pub(crate) above: Above,
    /// The path of Socket.IO with a slash at its end, and what is served there by name.
    pub(crate) prefix: &'a str,
    pub(crate) scripts: Option<&'a Scripts>,
    pub(crate) head: http::request::Parts,
    pub(crate) via: Via,
    pub(crate) now_ms: u64,
}

impl<P: Port> Request<'_, P> {
    pub(crate) async fn serve<B>(self, body: B) -> Served
    where
        B: http_body::Body<Data = Bytes>,
    {
        let is_upgrade = is_websocket(&self.head.headers);
        let mut headers = HeaderMap::new();
        if let Some(answer) = self.cors(&mut headers) {
            return Served::Answer(answer);
        }
        if let Some(script) = self.script() {
            return Served::Answer(script).with(headers);
        }
        let served = match self.query() {
            Err(error) => Err(error),
            Ok(query) if is_upgrade => self.upgrade(&query, &mut headers).await,
            Ok(query) => match query.sid.clone() {
                Some(sid) => self.talk(&query, sid, body, &mut headers).await,
                None => self.open(&query, &mut headers).await,
            },
        };
        match served {
            Ok(served) => served.with(headers),
            Err(error) => {
                if self.options.hooks.connection_error.is_some() {
                    self.options.tell_refusal(&ConnectionError {
                        code: error.code(),
                        message: error.message(),
                        request: &self.handshake(),
                    });
                }
                Served::Answer(refuse(&error, is_upgrade)).with(headers)
            }
        }
    }

    fn query(&self) -> Result<Query, Error> {
        Query::read(self.head.uri.query().unwrap_or_default(), self.options)
    }

    /// The headers of CORS; or the whole answer to a preflight.
    fn cors(&self, headers: &mut HeaderMap) -> Option<Response<Bytes>> {
        let cors = self.options.cors.as_ref()?;
        let asked_headers = joined(&self.head.headers, &header::ACCESS_CONTROL_REQUEST_HEADERS);
        let asked = cors::Asked {
            method: self.head.method.as_str(),
            origin: self
                .head
                .headers
                .get(header::ORIGIN)
                .map(HeaderValue::as_bytes),
            request_headers: asked_headers.as_deref(),
        };
        let answer = cors.answer(&asked);
        for (name, value) in &answer.headers {
            insert(headers, name, value);
        }
        let status = StatusCode::from_u16(answer.ends_with?).unwrap_or(StatusCode::NO_CONTENT);
        let mut response = respond(status, None, Bytes::new());
        response.headers_mut().extend(std::mem::take(headers));
        Some(response)
    }

    /// A file of the client. Names that are none of these are requests like others.
    fn script(&self) -> Option<Response<Bytes>> {
        let scripts = self.scripts?;
        let (_, name) = self.head.uri.path().rsplit_once('/')?;
        // Exactly below the path.
        let is_below = self.prefix.len() + name.len() == self.head.uri.path().len();
        scripts.serve(name, &self.head.headers).filter(|_| is_below)
    }

    fn handshake(&self) -> Handshake {
        Handshake::new(&head_of(&self.head), self.via, self.now_ms)
    }

    // ---- opening ----

    /// A session that begins on polling.
    async fn open(&self, query: &Query, headers: &mut HeaderMap) -> Result<Served, Error> {
        query.check_opening(self.head.method.as_str(), false)?;
        let handshake = self.handshake();
        let grant = self.port.wait_for(self.ask_gate(&handshake)).await?;
        let opening = query.opening(self.above.clone(), handshake, grant, self.options)?;
        let mut first = HeaderMap::new();
        self.options.run_hooks(&opening.handshake, true, &mut first);
        let answer = self.ask(|reply| Call::Open(Box::new(opening), reply)).await;
        match answer {
            Some(Answer::Opened {
                sid,
                body,
                is_binary,
            }) => {
                headers.extend(first);
                if let Some(cookie) = &self.options.cookie {
                    insert(headers, "set-cookie", cookie.set_cookie(&sid).as_bytes());
                }
                Ok(Served::Answer(self.packets(body, is_binary)))
            }
            Some(Answer::Refused(Refused::Full)) => Ok(Served::Answer(respond(
                StatusCode::SERVICE_UNAVAILABLE,
                Some("text/plain; charset=utf-8"),
                Bytes::from_static(FULL.as_bytes()),
            ))),
            // The server is shutting down.
            _ => Ok(Served::Cut),
        }
    }

    async fn ask_gate(&self, handshake: &Handshake) -> Result<Option<Grant>, Error> {
        let asked = self.options.ask_gate(handshake).await;
        asked.map_err(|Forbidden(message)| Error::Forbidden(message))
    }

    /// A WebSocket, for a new session or for one on polling.
    async fn upgrade(&self, query: &Query, headers: &mut HeaderMap) -> Result<Served, Error> {
        let head = head_of(&self.head);
        let takeover = match &query.sid {
            Some(sid) => {
                self.check_session(query, sid).await?;
                if query.transport != Transport::WebSocket {
                    return Err(Error::BadRequest);
                }
                Takeover::Probe {
                    sid: sid.clone(),
                    base64_only: query.base64_only,
                }
            }
            None => {
                query.check_opening(self.head.method.as_str(), true)?;
                let handshake = self.handshake();
                let grant = self.port.wait_for(self.ask_gate(&handshake)).await?;
                let opening = query.opening(self.above.clone(), handshake, grant, self.options)?;
                Takeover::Engine(Box::new(opening))
            }
        };
        let opens = matches!(takeover, Takeover::Engine(_));
        let response = match super::upgrade::accept(&head, &[]) {
            Ok(response) => response,
            Err(refusal) => return Ok(Served::Answer(super::refusal(&refusal))),
        };
        if self.options.has_hooks() {
            self.options.run_hooks(&self.handshake(), opens, headers);
        }
        Ok(Served::TakeOver(response, takeover))
    }

    /// Is there such a session, of that revision?
    async fn check_session(&self, query: &Query, sid: &str) -> Result<Transport, Error> {
        let revision = query.revision.unwrap_or(Revision::V3);
        let answer = self
            .ask(|reply| self.session(sid, revision, Asked::Probe { reply }))
            .await;
        match answer {
            Some(Answer::Welcome(transport)) => Ok(transport),
            Some(Answer::Refused(Refused::Revision)) => Err(Error::BadRequest),
            _ => Err(Error::SessionUnknown),
        }
    }

    // ---- talking ----

    /// A GET or POST of a session on polling.
    async fn talk<B>(
        &self,
        query: &Query,
        sid: Box<str>,
        body: B,
        headers: &mut HeaderMap,
    ) -> Result<Served, Error>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let revision = query.revision.unwrap_or(Revision::V3);
        let is_talk = matches!(self.head.method, Method::GET | Method::POST);
        if query.transport != Transport::Polling || !is_talk {
            let transport = self.check_session(query, &sid).await?;
            if query.transport != Transport::Polling || transport != Transport::Polling {
                return Err(Error::BadRequest);
            }
            // As in Node: the transport takes GET and POST, and has no other answer.
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Ok(Served::Answer(respond(status, None, Bytes::new())));
        }
        let ticket = Ticket::new();
        let mut guard = Guard {
            port: self.port,
            sid: Some((sid.clone(), ticket)),
        };
        let served = if self.head.method == Method::GET {
            self.poll(&sid, revision, ticket).await
        } else {
            self.push(&sid, revision, ticket, body).await
        };
        guard.sid = None;
        if self.options.has_hooks() && served.as_ref().is_ok_and(Served::is_success) {
            self.options.run_hooks(&self.handshake(), false, headers);
        }
        served
    }

    async fn poll(&self, sid: &str, revision: Revision, ticket: Ticket) -> Result<Served, Error> {
        let answer = self
            .ask(|reply| self.session(sid, revision, Asked::Poll { ticket, reply }))
            .await;
        match answer {
            Some(Answer::Packets { body, is_binary }) => {
                Ok(Served::Answer(self.packets(body, is_binary)))
            }
            other => refused(other),
        }
    }

    async fn push<B>(
        &self,
        sid: &str,
        revision: Revision,
        ticket: Ticket,
        body: B,
    ) -> Result<Served, Error>
    where
        B: http_body::Body<Data = Bytes>,
    {
        let answer = self
            .ask(|reply| self.session(sid, revision, Asked::Push { ticket, reply }))
            .await;
        let ended = match answer {
            Some(Answer::Ready(ended)) => ended,
            other => return refused(other),
        };
        let is_binary = self
            .head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value == "application/octet-stream");
        if is_binary && revision == Revision::V4 {
            self.port.call(Call::BrokenOff {
                sid: sid.into(),
                ticket,
            });
            return Ok(Served::Answer(respond(
                StatusCode::BAD_REQUEST,
                None,
                Bytes::new(),
            )));
        }
        let body = match self.collect(body, ended).await {
            Collected::Whole(body) => body,
            Collected::TooLong => {
                self.port
                    .call(self.session(sid, revision, Asked::Unpushed { ticket }));
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Ok(Served::Answer(respond(status, None, Bytes::new())));
            }
            Collected::Broken => {
                self.port.call(Call::BrokenOff {
                    sid: sid.into(),
                    ticket,
                });
                return Ok(Served::Cut);
            }
        };
        let answer = self
            .ask(|reply| {
                let pushed = Asked::Pushed {
                    ticket,
                    body,
                    is_binary,
                    reply,
                };
                self.session(sid, revision, pushed)
            })
            .await;
        match answer {
            Some(Answer::Done) => {
                let mut response =
                    respond(StatusCode::OK, Some("text/html"), Bytes::from_static(b"ok"));
                self.mark_uncached(&mut response);
                Ok(Served::Answer(response))
            }
            other => refused(other),
        }
    }

    /// The body, in as many bytes as it has: a Content-Length is not believed. It is given up when the session ends.
    async fn collect<B>(&self, body: B, mut ended: oneshot::Receiver<()>) -> Collected
    where
        B: http_body::Body<Data = Bytes>,
    {
        let mut body = pin!(body);
        let mut whole = Vec::new();
        loop {
            let frame = tokio::select! {
                biased;
                _ = &mut ended => return Collected::Broken,
                frame = body.frame() => frame,
            };
            match frame {
                None => return Collected::Whole(whole),
                Some(Err(_)) => return Collected::Broken,
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    if whole.len() + data.len() > self.options.payload_max {
                        return Collected::TooLong;
                    }
                    whole.extend_from_slice(&data);
                }
            }
        }
    }

    /// The answer to a poll.
    fn packets(&self, body: Vec<u8>, is_binary: bool) -> Response<Bytes> {
        let content_type = if is_binary {
            "application/octet-stream"
        } else {
            "text/plain; charset=UTF-8"
        };
        let accepted = self.head.headers.get_all(header::ACCEPT_ENCODING);
        let coding = match self.options.compression {
            Some(threshold) if body.len() >= threshold => {
                coding::negotiate(accepted.iter().map(HeaderValue::as_bytes))
            }
            _ => coding::Coding::Identity,
        };
        let (body, coded) = compress::compress(body.into(), coding);
        let mut response = respond(StatusCode::OK, Some(content_type), body);
        if let Some(name) = coded {
            insert(response.headers_mut(), "content-encoding", name.as_bytes());
        }
        self.mark_uncached(&mut response);
        response
    }

    fn mark_uncached(&self, response: &mut Response<Bytes>) {
        let headers = response.headers_mut();
        insert(headers, "cache-control", b"no-store");
        // As in Node, for browsers that take a script in an answer for an attack.
        let agent = self.head.headers.get(header::USER_AGENT);
        let agent = agent.map(HeaderValue::as_bytes).unwrap_or_default();
        if contains(agent, b";MSIE") || contains(agent, b"Trident/") {
            insert(headers, "x-xss-protection", b"0");
        }
    }

    fn session(&self, sid: &str, revision: Revision, request: Asked) -> Call {
        Call::Session {
            sid: sid.into(),
            route: self.above.route(),
            revision,
            request,
        }
    }

    async fn ask(&self, call: impl FnOnce(Reply) -> Call) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.port.call(call(reply));
        answer.await.ok()
    }
}

impl Served {
    /// Adds headers to the answer, whatever it is. One that it has already is replaced, except that what it varies by adds up.
    fn with(mut self, headers: HeaderMap) -> Served {
        if let Served::Answer(response) | Served::TakeOver(response, _) = &mut self {
            let varies: Vec<HeaderValue> = response
                .headers()
                .get_all(header::VARY)
                .iter()
                .cloned()
                .collect();
            let both = response.headers_mut();
            both.extend(headers);
            for value in varies {
                if !both
                    .get_all(header::VARY)
                    .iter()
                    .any(|there| *there == value)
                {
                    both.append(header::VARY, value);
                }
            }
        }
        self
    }

    /// Hooks have no say in errors.
    fn is_success(&self) -> bool {
        matches!(self, Served::Answer(response) if response.status().is_success())
    }
}

enum Collected {
    Whole(Vec<u8>),
    TooLong,
    Broken,
}

/// Tells the session when its GET or POST is dropped before it was answered: hyper drops what it waits for when the client closes.
struct Guard<'a, P: Port> {
    port: &'a P,
    sid: Option<(Box<str>, Ticket)>,
}

impl<P: Port> Drop for Guard<'_, P> {
    fn drop(&mut self) {
        if let Some((sid, ticket)) = self.sid.take() {
            self.port.call(Call::BrokenOff { sid, ticket });
        }
    }
}

fn refused(answer: Option<Answer>) -> Result<Served, Error> {
    match answer {
        Some(Answer::Refused(Refused::Transport(_) | Refused::Revision)) => Err(Error::BadRequest),
        Some(Answer::Refused(Refused::Duplicate)) => Ok(Served::Answer(respond(
            StatusCode::BAD_REQUEST,
            None,
            Bytes::new(),
        ))),
        Some(Answer::Refused(Refused::Cut)) => Ok(Served::Cut),
        _ => Err(Error::SessionUnknown),
    }
}
