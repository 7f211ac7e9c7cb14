//! The ends of the pipe between the shard and hyper, and the clock that hyper is given.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use hyper::rt::{self, ReadBufCursor, Sleep};

/// The shard's side.
#[derive(Default)]
pub(super) struct Pipe {
    /// Received, and not read by hyper yet.
    pub(super) input: BytesMut,
    /// Behind `input` comes nothing any more.
    pub(super) finished: bool,
    /// Written by hyper, and not marked yet.
    pub(super) output: Vec<u8>,
    /// How much more may be written now.
    room: usize,
    /// There was less room than hyper wanted.
    pub(super) is_full: bool,
    /// The connection is not read from, because of `input`.
    pub(super) paused: bool,
    /// The answer that is written is the last, a 101: there is room for it, since hyper would lose what it has not written by then.
    pub(super) is_last: bool,
    /// Whoever has upgraded the connection reads and writes, when it likes, and perhaps on another thread.
    pub(super) is_given: bool,
    /// Nobody takes what is written any more.
    pub(super) is_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both sides have it. Until the connection is upgraded by the user's own service, both are on one core, and the lock is always free.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Pipe>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the other side been dropped?
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Pipe {
    /// Whoever reads or writes by itself and can go on: to be woken when the pipe is not locked any more.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let can_read = !self.input.is_empty() || self.finished;
        let can_write = self.room > 0 || self.is_gone;
        let reader = self.reader.take_if(|_| can_read);
        let writer = self.writer.take_if(|_| can_write);
        reader.into_iter().chain(writer)
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.writer.is_some()
    }

    pub(super) fn begin(&mut self, room: usize) {
        self.room = room;
        self.is_full = false;
    }

    /// Whether reading is to be paused or resumed, if it is to change.
    pub(super) fn must_pause(&mut self, unread_max: usize) -> Option<bool> {
        let must = if self.paused {
            self.input.len() > unread_max / 4
        } else {
            self.input.len() > unread_max
        };
        (must != std::mem::replace(&mut self.paused, must)).then_some(must)
    }
}

/// hyper's side; or that of whoever has upgraded the connection.
pub(super) struct End {
    pipe: Shared,
    /// Has the shard look at its side.
    shard: Waker,
}

impl End {
    pub(super) fn new(pipe: Shared, shard: Waker) -> Self {
        End { pipe, shard }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // The shard looks whether this side is gone, so that has to be true first.
        drop(std::mem::take(&mut self.pipe));
        self.shard.wake_by_ref();
    }
}

/// Whoever fills the pipe polls hyper, which needs no waker; so a waker is mostly the one that is there.
fn wait(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

impl rt::Read for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = &mut *self.pipe.lock();
        if pipe.input.is_empty() {
            if pipe.finished {
                return Poll::Ready(Ok(()));
            }
            wait(&mut pipe.reader, cx);
            return Poll::Pending;
        }
        let len = pipe.input.len().min(buf.remaining());
        buf.put_slice(&pipe.input[..len]);
        pipe.input.advance(len);
        if pipe.input.is_empty() {
            // An idle connection holds no buffer.
            pipe.input = BytesMut::new();
        }
        if pipe.is_given && pipe.paused {
            self.shard.wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pipe = &mut *self.pipe.lock();
        if pipe.is_gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = if pipe.is_last {
            bytes.len()
        } else {
            bytes.len().min(pipe.room)
        };
        if len == 0 && !bytes.is_empty() {
            pipe.is_full = true;
            wait(&mut pipe.writer, cx);
            return Poll::Pending;
        }
        pipe.room = pipe.room.saturating_sub(len);
        pipe.output.extend_from_slice(&bytes[..len]);
        if pipe.is_given {
            self.shard.wake_by_ref();
        }
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

const NEVER: u64 = u64::MAX;

/// The one timer that hyper sets on a connection: for the head of the next request. Its time is that of the shard.
#[derive(Clone)]
pub(super) struct Timer {
    times: Arc<Times>,
    head_ms: u64,
    rest_ms: u64,
}

/// Atomic because hyper's [`Sleep`] must be `Sync`; all of it happens on one core.
struct Times {
    now_ms: AtomicU64,
    deadline_ms: AtomicU64,
}

impl Timer {
    /// `head_ms`: from the first byte of a head to its last. `rest_ms`: from one request to the next one's first byte.
    pub(super) fn new(head_ms: u64, rest_ms: u64) -> Self {
        Timer {
            times: Arc::new(Times {
                now_ms: AtomicU64::new(0),
                deadline_ms: AtomicU64::new(NEVER),
            }),
            head_ms,
            rest_ms,
        }
    }

    /// The connection rests from now on.
    fn start(&self) {
        let now_ms = self.times.now_ms.load(Ordering::Relaxed);
        let deadline_ms = now_ms.saturating_add(self.rest_ms);
        self.times.deadline_ms.store(deadline_ms, Ordering::Relaxed);
    }

    pub(super) fn set_now(&self, now_ms: u64) {
        self.times.now_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let deadline_ms = self.times.deadline_ms.load(Ordering::Relaxed);
        (deadline_ms != NEVER).then_some(deadline_ms)
    }

    /// Bytes came: if a head is waited for, it must be whole soon. What drips in does not put that off.
    pub(super) fn heard(&self, now_ms: u64) {
        if let Some(deadline_ms) = self.deadline_ms() {
            let soon_ms = now_ms.saturating_add(self.head_ms).min(deadline_ms);
            self.times.deadline_ms.store(soon_ms, Ordering::Relaxed);
        }
    }
}

impl rt::Timer for Timer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.start();
        Box::pin(Rest {
            times: self.times.clone(),
        })
    }

    /// hyper's clock is not the shard's: it only says *that* it waits for a head from now on.
    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        rt::Timer::sleep(self, Duration::ZERO)
    }

    /// The old one goes on, with the new deadline: dropped, it would take that with it.
    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, _: Instant) {
        self.start();
    }
}

/// Waits for the deadline, at which the shard polls the connection.
struct Rest {
    times: Arc<Times>,
}

impl Sleep for Rest {}

impl Future for Rest {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let now_ms = self.times.now_ms.load(Ordering::Relaxed);
        if now_ms >= self.times.deadline_ms.load(Ordering::Relaxed) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.times.deadline_ms.store(NEVER, Ordering::Relaxed);
    }
}
