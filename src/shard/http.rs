//! HTTP on a connection: hyper, driven by the shard.
//!
//! hyper reads from and writes to a [`pipe`] in memory. The shard fills it with what came in, polls hyper, and marks what hyper wrote. A
//! connection that waits for something else (a session, a future of the user's) is polled again when its waker puts it onto the core's
//! [`lane`](super::lane); so no HTTP connection is a task of the runtime, and an idle one keeps no core from waiting in its ring.
//!
//! An answer of 101 ends HTTP on the connection. If the service has said beforehand what comes after it ([`Takeover`]), the shard takes the
//! connection back, with the bytes that hyper has read beyond the request. Otherwise the service has upgraded it for itself
//! (`hyper::upgrade`): then hyper's end of the pipe is the service's, and bytes go through the pipe until that is dropped.

mod body;
mod pipe;

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;

use super::application::Application;
use super::call::Takeover;
use super::connection::Context;
use super::handshake::Via;
use crate::reactor::ConnKey;
use crate::wire::http::{HEAD_MAX, HEADERS_MAX};

pub(crate) use body::{Body, BoxError};
use pipe::{End, Shared, Timer};

/// Unread bytes in a pipe at which nothing more is read from the connection: whoever the body is for does not take it.
const UNREAD_MAX: usize = 64 * 1024;

/// What may wait behind the send in flight. Little, so that a peer that takes it slowly is told from one that takes nothing.
pub(super) const UNTAKEN_MAX: usize = 128 * 1024;

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
    upgrade: Rc<RefCell<Upgrade>>,
}

/// How a connection goes on after a 101.
#[derive(Default)]
struct Upgrade {
    takeover: Option<Takeover>,
    /// Brings hyper's end of the pipe back.
    end: Option<OnUpgrade>,
}

impl Peer {
    /// What the connection becomes if the answer to this request is 101.
    pub(crate) fn take_over(&self, takeover: Takeover) {
        self.upgrade.borrow_mut().takeover = Some(takeover);
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
    pipe: Shared,
    upgrade: Rc<RefCell<Upgrade>>,
    waker: Waker,
    timer: Timer,
    /// Until then the peer must have taken something of what hyper wrote; `None` if there is nothing to take.
    taken_by_ms: Option<u64>,
    /// How long it has for that.
    patience_ms: u64,
}

/// hyper's connection, whatever its service.
trait Driven {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>>;
    fn shut_down(&mut self);
}

impl<S> Driven for http1::UpgradeableConnection<End, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body> + Unpin,
    S::Error: Into<BoxError>,
    S::Future: Unpin,
{
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>> {
        Pin::new(self).poll(cx)
    }

    fn shut_down(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl Http {
    pub(crate) fn new<A: Application>(key: ConnKey, via: Via, cx: &Context<'_, A>) -> Self {
        let (pipe, waker) = (Shared::default(), cx.hall.lane().waker(key));
        let upgrade = Rc::<RefCell<Upgrade>>::default();
        let timer = Timer::new(cx.settings.handshake_timeout_ms, cx.settings.keep_alive_ms);
        let peer = Peer {
            via,
            upgrade: upgrade.clone(),
        };
        let (app, answered) = (cx.app.clone(), pipe.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            // Only a request that asks for an upgrade has one.
            peer.upgrade.borrow_mut().end = request.extensions().get().cloned();
            let (answering, pipe) = (app.respond(request, &peer), answered.clone());
            let answering: Answering = Box::pin(async move {
                let response = answering.await?;
                pipe.lock().is_last = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                Ok(response)
            });
            answering
        });
        let connection = http1::Builder::new()
            .timer(timer.clone())
            .header_read_timeout(Duration::from_millis(cx.settings.handshake_timeout_ms))
            .max_header_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .title_case_headers(true)
            .serve_connection(End::new(pipe.clone(), waker.clone()), service)
            .with_upgrades();
        Http {
            driven: Some(Box::new(connection)),
            pipe,
            upgrade,
            waker,
            timer,
            taken_by_ms: None,
            patience_ms: cx.settings.keep_alive_ms,
        }
    }

    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        let next = self.timer.deadline_ms().into_iter();
        next.chain(self.taken_by_ms).min()
    }

    /// The peer has taken what was sent to it last, and there is more, or not.
    pub(crate) fn taken(&mut self, is_more: bool, now_ms: u64) {
        if self.taken_by_ms.is_some() {
            self.taken_by_ms = is_more.then(|| now_ms.saturating_add(self.patience_ms));
        }
    }

    /// Whether the peer has not taken anything for too long. Without that, answers that nobody reads would be kept for ever.
    pub(crate) fn is_stalled(&self, now_ms: u64) -> bool {
        self.taken_by_ms.is_some_and(|by_ms| by_ms <= now_ms)
    }

    /// Whether hyper has more to write than there was room for.
    pub(crate) fn wants_room(&self) -> bool {
        self.pipe.lock().is_full
    }

    pub(crate) fn handle_input<A: Application>(
        &mut self,
        key: ConnKey,
        bytes: &[u8],
        room: usize,
        cx: &Context<'_, A>,
    ) -> Progress {
        self.pipe.lock().input.extend_from_slice(bytes);
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
        self.pipe.lock().finished = true;
        self.poll(key, room, cx)
    }

    /// Answers what is being answered, and nothing after it. Who has upgraded the connection is told that there is nothing more to come.
    pub(crate) fn shut_down<A: Application>(
        &mut self,
        key: ConnKey,
        room: usize,
        cx: &Context<'_, A>,
    ) -> Progress {
        match &mut self.driven {
            Some(driven) => driven.shut_down(),
            None => self.pipe.lock().finished = true,
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
            return self.pass(key, room, cx);
        };
        self.timer.set_now(cx.now_ms);
        self.pipe.lock().begin(room);
        // All connections of a core are polled by one task: the budget that tokio gives a task is not theirs to share.
        let step = tokio::task::unconstrained(std::future::poll_fn(|task| driven.poll(task)));
        let mut task = TaskContext::from_waker(&self.waker);
        let polled = pin!(step).poll(&mut task);
        match polled {
            Poll::Pending => {
                if !self.pipe.lock().output.is_empty() && self.taken_by_ms.is_none() {
                    self.taken_by_ms = Some(cx.now_ms.saturating_add(self.patience_ms));
                }
                self.write_and_read(key, cx);
                return Progress::Going;
            }
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => log::debug!("an HTTP connection ended: {error}"),
        }
        self.driven = None;
        self.taken_by_ms = None;
        let Upgrade { takeover, end } = std::mem::take(&mut *self.upgrade.borrow_mut());
        match takeover {
            Some(takeover) => {
                let mut bytes = end.map(read_by_hyper).unwrap_or_default();
                let mut pipe = self.pipe.lock();
                bytes.extend_from_slice(&std::mem::take(&mut pipe.input));
                drop(pipe);
                self.write_and_read(key, cx);
                Progress::TakenOver(takeover, bytes)
            }
            None => {
                // If nobody has it, it is dropped with this.
                drop(end);
                self.pass(key, room, cx)
            }
        }
    }

    /// Takes what was written, and lets the connection be read from if what was read is taken.
    fn write_and_read<A: Application>(&self, key: ConnKey, cx: &Context<'_, A>) {
        let mut pipe = self.pipe.lock();
        cx.hall.write_owned(key, std::mem::take(&mut pipe.output));
        match pipe.must_pause(UNREAD_MAX) {
            Some(true) => cx.hall.pause(key),
            Some(false) => cx.hall.resume(key),
            None => {}
        }
    }

    /// HTTP is over. If the user's service has upgraded the connection, bytes pass between the two until it drops its end.
    fn pass<A: Application>(&self, key: ConnKey, room: usize, cx: &Context<'_, A>) -> Progress {
        let mut pipe = self.pipe.lock();
        pipe.is_given = true;
        pipe.is_last = false;
        let room = room.saturating_sub(pipe.output.len());
        pipe.begin(room);
        // Looked at first: what was written before it was dropped is written.
        let is_over = self.pipe.is_alone();
        if is_over {
            pipe.input.clear();
        }
        let waiting = pipe.waiting();
        // Who still waits to write is woken when the connection has room again.
        pipe.is_full = pipe.is_waited_for();
        drop(pipe);
        waiting.for_each(Waker::wake);
        self.write_and_read(key, cx);
        if is_over {
            Progress::Ended
        } else {
            Progress::Going
        }
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        let mut pipe = self.pipe.lock();
        pipe.finished = true;
        pipe.is_gone = true;
        let waiting = pipe.waiting();
        drop(pipe);
        waiting.for_each(Waker::wake);
    }
}

/// What hyper has read beyond the request that upgraded the connection.
fn read_by_hyper(mut upgrade: OnUpgrade) -> Vec<u8> {
    let mut task = TaskContext::from_waker(Waker::noop());
    match Pin::new(&mut upgrade).poll(&mut task) {
        Poll::Ready(Ok(upgraded)) => upgraded
            .downcast::<End>()
            .map(|parts| parts.read_buf.into())
            .unwrap_or_default(),
        // Somebody else has taken it, or it did not come to an upgrade.
        Poll::Ready(Err(_)) | Poll::Pending => Vec::new(),
    }
}
