//! HTTP on a connection: hyper, driven by the shard.
//!
//! hyper reads from and writes to a [`pipe`] in memory. The shard fills it with what came in, polls hyper, and marks what hyper wrote. A
//! connection that waits for something else (a session, a future of the user's) is polled again when its waker puts it onto the core's
//! [`lane`](super::lane); so no HTTP connection is a task of the runtime, and an idle one keeps no core from waiting in its ring.
//!
//! An answer of 101 ends HTTP on the connection: the service has said beforehand what comes after it ([`Takeover`]), and hyper gives back the
//! bytes that it has read beyond the request.

mod body;
mod pipe;

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;

use super::application::Application;
use super::call::Takeover;
use super::connection::Context;
use super::handshake::Via;
use crate::reactor::ConnKey;
use crate::wire::http::{HEAD_MAX, HEADERS_MAX};

pub(crate) use body::{Body, BoxError};
use pipe::{End, Pipe, Timer};

/// Unread bytes in a pipe at which nothing more is read from the connection: whoever the body is for does not take it.
const UNREAD_MAX: usize = 64 * 1024;

/// The service asks for the connection to be cut without an answer.
#[derive(Debug)]
pub(crate) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}

/// Who sent a request, and what is to become of its connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) via: Via,
    takeover: Rc<RefCell<Option<Takeover>>>,
}

impl Peer {
    /// What the connection becomes if the answer to this request is 101.
    pub(crate) fn take_over(&self, takeover: Takeover) {
        *self.takeover.borrow_mut() = Some(takeover);
    }
}

/// The answer to one request.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Cut>>>>;

/// What a poll led to.
pub(crate) enum Progress {
    Going,
    /// HTTP is over on this connection.
    Ended,
    /// So it goes on, with the bytes that came behind the request.
    TakenOver(Takeover, Vec<u8>),
}

/// See the module's text.
pub(crate) struct Http {
    /// `None` once it has ended.
    driven: Option<Box<dyn Driven>>,
    pipe: Rc<RefCell<Pipe>>,
    takeover: Rc<RefCell<Option<Takeover>>>,
    waker: Waker,
    timer: Timer,
}

/// hyper's connection, whatever its service.
trait Driven {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>>;
    fn shut_down(&mut self);
    /// What was read and belongs to nobody yet.
    fn into_rest(self: Box<Self>) -> Bytes;
}

impl<S> Driven for http1::Connection<End, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body> + Unpin,
    S::Error: Into<BoxError>,
    S::Future: Unpin,
{
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>> {
        self.poll_without_shutdown(cx)
    }

    fn shut_down(&mut self) {
        Pin::new(self).graceful_shutdown();
    }

    fn into_rest(self: Box<Self>) -> Bytes {
        self.into_parts().read_buf
    }
}

impl Http {
    pub(crate) fn new<A: Application>(key: ConnKey, via: Via, cx: &Context<'_, A>) -> Self {
        let pipe = Rc::new(RefCell::new(Pipe::default()));
        let takeover = Rc::new(RefCell::new(None));
        let timer = Timer::new(cx.settings.handshake_timeout_ms, cx.settings.keep_alive_ms);
        let peer = Peer {
            via,
            takeover: takeover.clone(),
        };
        let app = cx.app.clone();
        let service =
            service_fn(move |request: http::Request<Incoming>| app.respond(request, &peer));
        let connection = http1::Builder::new()
            .timer(timer.clone())
            .header_read_timeout(Duration::from_millis(cx.settings.handshake_timeout_ms))
            .max_header_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .title_case_headers(true)
            .serve_connection(End(pipe.clone()), service);
        Http {
            driven: Some(Box::new(connection)),
            pipe,
            takeover,
            waker: cx.hall.lane().waker(key),
            timer,
        }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.timer.deadline_ms()
    }

    /// Whether hyper has more to write than there was room for.
    pub(crate) fn wants_room(&self) -> bool {
        self.pipe.borrow().is_full
    }

    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &[u8],
        room: usize,
        cx: &Context<'_, A>,
    ) -> Progress {
        self.pipe.borrow_mut().input.extend_from_slice(bytes);
        self.timer.heard(cx.now_ms);
        self.poll(key, room, cx)
    }

    /// The peer sends no more.
    pub(crate) fn handle_end<A: Application>(
        &mut self,
        key: ConnKey,
        room: usize,
        cx: &Context<'_, A>,
    ) -> Progress {
        self.pipe.borrow_mut().finished = true;
        self.poll(key, room, cx)
    }

    /// Answers what is being answered, and nothing after it.
    pub(crate) fn shut_down<A: Application>(
        &mut self,
        key: ConnKey,
        room: usize,
        cx: &Context<'_, A>,
    ) -> Progress {
        if let Some(driven) = &mut self.driven {
            driven.shut_down();
        }
        self.poll(key, room, cx)
    }

    /// Lets hyper go on; it may write `room` bytes.
    pub(crate) fn poll<A: Application>(
        &mut self,
        key: ConnKey,
        room: usize,
        cx: &Context<'_, A>,
    ) -> Progress {
        let Some(driven) = self.driven.as_mut() else {
            return Progress::Ended;
        };
        self.timer.set_now(cx.now_ms);
        self.pipe.borrow_mut().begin(room);
        // All connections of a core are polled by one task: the budget that tokio gives a task is not theirs to share.
        let step = tokio::task::unconstrained(std::future::poll_fn(|task| driven.poll(task)));
        let mut task = TaskContext::from_waker(&self.waker);
        let polled = pin!(step).poll(&mut task);
        let mut pipe = self.pipe.borrow_mut();
        let output = std::mem::take(&mut pipe.output);
        cx.hall.write_owned(key, output);
        match polled {
            Poll::Pending => {
                // Nobody takes the body that is arriving, or too slowly: the connection is not read from meanwhile.
                match pipe.must_pause(UNREAD_MAX) {
                    Some(true) => cx.hall.pause(key),
                    Some(false) => cx.hall.resume(key),
                    None => {}
                }
                return Progress::Going;
            }
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => log::debug!("an HTTP connection ended: {error}"),
        }
        if pipe.paused {
            pipe.paused = false;
            cx.hall.resume(key);
        }
        let behind = std::mem::take(&mut pipe.input);
        drop(pipe);
        let rest = self.driven.take().map(Driven::into_rest);
        match self.takeover.borrow_mut().take() {
            Some(takeover) => {
                let mut bytes = rest.map(Vec::from).unwrap_or_default();
                bytes.extend_from_slice(&behind);
                Progress::TakenOver(takeover, bytes)
            }
            None => Progress::Ended,
        }
    }
}
