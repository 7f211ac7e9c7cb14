//! io_uring: submit and reap. The only module with unsafe code, behind a surface that is safe.
//!
//! Memory is safe because the kernel is never lent any: what it reads (a send's bytes) is *given* to the ring and comes back with
//! the completion, and what it writes belongs to the ring's own pool, from which a [`Buffer`] comes out only after the kernel is done with
//! it (or, for the number of a new direct descriptor, to the [`Adoption`] that the ring keeps). No method takes a pointer or a borrowed slice. A ring that is dropped first cancels and reaps everything; memory that the kernel does not
//! let go of in time is leaked, not freed.
//!
//! What an operation means, whose it is and whether its completion is stale is for the caller to know, by its [`Tag`].

mod buffers;
mod flight;
mod moving;
mod region;
mod setup;
mod tag;

use std::collections::VecDeque;
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, DestinationSlot, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use buffers::Pool;
pub(crate) use buffers::{BUFFER_BYTES, Buffer};
use flight::Flight;
use moving::Adoption;
pub(crate) use setup::{SetupError, Step};
use setup::{check_operations, register_files};
pub(crate) use tag::{GENERATIONS, Op, Tag};

/// The one group of provided buffers that a ring has.
const BUFFER_GROUP: u16 = 0;
/// Take everything or fail: the kernel goes on after a short write by itself.
const SEND_FLAGS: i32 = (RecvFlags::WAITALL.bits() | SendFlags::NOSIGNAL.bits()) as i32;
/// The most bytes that one send offers (the kernel's own limit is one page less than 2 GiB).
const SEND_BYTES_MAX: usize = 1 << 30;
/// A dropped ring waits so often for its operations to end ...
const TEARDOWN_ROUNDS: usize = 100;
/// ... and so long each time.
const TEARDOWN_ROUND: Duration = Duration::from_millis(10);

/// How large a ring is made.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    /// Entries of the submission queue (64 bytes each); more than that in one turn cost one system call each time it is full.
    pub(crate) submissions: u32,
    /// Entries of the completion queue (16 bytes each); what does not fit waits in the kernel.
    pub(crate) completions: u32,
    /// Direct descriptors, that is, connections (about 9 bytes each). `RLIMIT_NOFILE` limits them for each ring; fewer are made if it does.
    pub(crate) files: u32,
    /// Buffers in the pool. Their memory is touched only as far as it is used.
    pub(crate) buffers: u16,
    /// Buffers posted to the kernel at a time.
    pub(crate) buffers_posted: u16,
    /// Size of one buffer in bytes.
    pub(crate) buffer_bytes: usize,
}

impl Default for Sizes {
    /// 512 submissions, 8192 completions, 65,536 connections, 256 buffers of 20 KiB (5 MiB), 128 of them posted.
    fn default() -> Sizes {
        Sizes {
            submissions: 512,
            completions: 8192,
            files: 65_536,
            buffers: 256,
            buffers_posted: 128,
            buffer_bytes: BUFFER_BYTES,
        }
    }
}

/// Something that the kernel finished.
#[derive(Debug)]
pub(crate) enum Event<L> {
    /// An accept brought a direct descriptor or an error. `more`: it stays armed.
    Accepted {
        listener: u32,
        result: Result<u32, Errno>,
        more: bool,
    },
    /// A direct descriptor has an ordinary one beside it now.
    Installed {
        descriptor: u32,
        listener: u32,
        result: Result<OwnedFd, Errno>,
    },
    /// A connection's direct descriptor has an ordinary one beside it now, with which it can be taken elsewhere.
    Detached {
        tag: Tag,
        result: Result<OwnedFd, Errno>,
    },
    /// A socket has a direct descriptor here now, or the answer why it has none. The ordinary one is given back; it is no longer needed.
    Adopted {
        socket: OwnedFd,
        token: u64,
        result: Result<u32, Errno>,
    },
    /// A receive brought bytes, the end (`Ok(None)`), or an error. `more`: it stays armed.
    Received {
        tag: Tag,
        result: Result<Option<Buffer>, Errno>,
        more: bool,
    },
    /// A send ended. The load is given back.
    Sent {
        load: L,
        result: Result<usize, Errno>,
    },
    /// A shutdown, close, cancel, wake or hang-up. `more`: it stays armed.
    Done {
        tag: Tag,
        result: Result<u32, Errno>,
        more: bool,
    },
    /// A tag that this ring never gave, or gave back already.
    Unknown,
}

/// One io_uring instance with its direct descriptors and its pool of receive buffers. It stays on the thread that made it.
pub(crate) struct Ring<L: AsRef<[u8]> + 'static> {
    uring: IoUring,
    pool: Rc<Pool>,
    flight: Flight<L>,
    /// Sockets that are being given a direct descriptor.
    adoptions: Flight<Adoption>,
    /// Entries for which the submission queue had no room, in order.
    backlog: VecDeque<squeue::Entry>,
    /// Receives that the kernel may have, so that a dropped ring knows when its pool is free.
    receives: usize,
    files: u32,
    can_install: bool,
}

impl<L: AsRef<[u8]> + 'static> Ring<L> {
    /// Sets up everything that the operations below need.
    pub(crate) fn new(sizes: &Sizes) -> Result<Ring<L>, SetupError> {
        let at = |step| {
            move |error: std::io::Error| SetupError {
                step,
                errno: errno_of(&error),
            }
        };
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(sizes.completions.max(sizes.submissions))
            .setup_clamp()
            .build(sizes.submissions)
            .map_err(at(Step::Setup))?;
        let can_install = check_operations(&uring)?;
        let files = register_files(&uring, sizes.files).map_err(at(Step::Files))?;
        let invalid = SetupError {
            step: Step::Buffers,
            errno: Errno::INVAL,
        };
        let pool =
            Pool::new(sizes.buffers, sizes.buffers_posted, sizes.buffer_bytes).ok_or(invalid)?;
        let pool = Rc::new(pool);
        let (address, slots) = pool.ring();
        // SAFETY: the ring's `entries` live as long as the pool, which this `Ring` holds until it has unregistered it or else leaks.
        let registered = unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(address, slots, BUFFER_GROUP, 0)
        };
        registered.map_err(at(Step::Buffers))?;
        Ok(Ring {
            uring,
            pool,
            flight: Flight::new(),
            adoptions: Flight::new(),
            backlog: VecDeque::new(),
            receives: 0,
            files,
            can_install,
        })
    }

    /// Arms accepting into direct descriptors. The listener must be blocking, and stay open until this is submitted.
    pub(crate) fn accept(&mut self, listener: u32, fd: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(Fd(fd.as_raw_fd()))
            .allocate_file_index(true)
            .build();
        self.push(entry, Tag::new(Op::Accept, listener, 0));
    }

    /// The same for one connection. The kernel accepts first and looks for a direct descriptor then: an accept without a free one costs a
    /// connection, and a multishot accept cannot be told to stop before that.
    pub(crate) fn accept_one(&mut self, listener: u32, fd: BorrowedFd<'_>) {
        let entry = opcode::Accept::new(Fd(fd.as_raw_fd()), ptr::null_mut(), ptr::null_mut())
            .file_index(Some(DestinationSlot::auto_target()))
            .build();
        self.push(entry, Tag::new(Op::Accept, listener, 0));
    }

    /// How many direct descriptors there are.
    pub(crate) fn files(&self) -> u32 {
        self.files
    }

    /// Whether [`Ring::install`] works here (Linux 6.8).
    pub(crate) fn can_install(&self) -> bool {
        self.can_install
    }

    /// Asks for an ordinary descriptor beside a direct one.
    pub(crate) fn install(&mut self, descriptor: u32, listener: u32) {
        let entry = opcode::FixedFdInstall::new(Fixed(descriptor), 0).build();
        self.push(entry, Tag::new(Op::Install, descriptor, listener));
    }

    /// Arms receiving from the pool.
    pub(crate) fn receive(&mut self, descriptor: u32, slot: u32, generation: u32) {
        let entry = opcode::RecvMulti::new(Fixed(descriptor), BUFFER_GROUP).build();
        self.receives += 1;
        self.push(entry, Tag::new(Op::Receive, slot, generation));
    }

    /// Sends what `load` shows. The load comes back with [`Event::Sent`].
    pub(crate) fn send(&mut self, descriptor: u32, load: L) {
        let (slot, generation, load) = self.flight.put(load);
        let bytes = load.as_ref();
        let len = bytes.len().min(SEND_BYTES_MAX) as u32;
        let entry = opcode::Send::new(Fixed(descriptor), bytes.as_ptr(), len)
            .flags(SEND_FLAGS)
            .build();
        self.push(entry, Tag::new(Op::Send, slot, generation));
    }

    /// Shuts down one or both directions. It runs on one of the kernel's worker threads, which looks the descriptor up only there: it must
    /// not be closed before this has ended, or another connection is shut down.
    pub(crate) fn shutdown(&mut self, descriptor: u32, how: Shutdown, slot: u32, generation: u32) {
        let how = match how {
            Shutdown::Read => 0,
            Shutdown::Write => 1,
            Shutdown::Both => 2,
        };
        self.push(
            opcode::Shutdown::new(Fixed(descriptor), how).build(),
            Tag::new(Op::Shutdown, slot, generation),
        );
    }

    /// Closes a direct descriptor.
    pub(crate) fn close(&mut self, descriptor: u32, slot: u32, generation: u32) {
        self.push(
            opcode::Close::new(Fixed(descriptor)).build(),
            Tag::new(Op::Close, slot, generation),
        );
    }

    /// Closes a direct descriptor that never became a connection.
    pub(crate) fn refuse(&mut self, descriptor: u32) {
        self.push(
            opcode::Close::new(Fixed(descriptor)).build(),
            Tag::new(Op::Refuse, descriptor, 0),
        );
    }

    /// Cancels the operation with this tag, if there is one.
    pub(crate) fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel::new(tag.to_bits()).build();
        self.push(entry, Tag::new(Op::Cancel, tag.slot, tag.generation));
    }

    /// Polls an eventfd from now on; each write to it completes once, and nobody needs to read it.
    pub(crate) fn watch(&mut self, fd: BorrowedFd<'_>) {
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), PollFlags::IN.bits().into())
            .multi(true)
            .build();
        self.push(entry, Tag::new(Op::Wake, 0, 0));
    }

    /// Completes once, when the peer of this connection has hung up in any way (FIN, RST). Holds the connection open until then: cancel it
    /// before a close.
    pub(crate) fn watch_hangup(&mut self, descriptor: u32, slot: u32, generation: u32) {
        let entry = opcode::PollAdd::new(Fixed(descriptor), PollFlags::RDHUP.bits().into()).build();
        self.push(entry, Tag::new(Op::Hangup, slot, generation));
    }

    /// Posts returned buffers to the kernel again.
    pub(crate) fn post_buffers(&self) {
        self.pool.post();
    }

    /// Buffers that the kernel may pick.
    pub(crate) fn buffers_posted(&self) -> usize {
        self.pool.posted()
    }

    /// Buffers that somebody holds.
    #[cfg(test)]
    pub(crate) fn buffers_lent(&self) -> usize {
        self.pool.lent()
    }

    /// Sends in flight.
    #[cfg(test)]
    pub(crate) fn sends_in_flight(&self) -> usize {
        self.flight.len()
    }

    /// Whether there is something to reap.
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }

    /// Submits, lets the kernel finish what it can, and returns. No system call if there is nothing to submit and something to reap.
    ///
    /// False, here and below: the kernel was kept from it this time (a signal, a shortage), and may still have completions to give.
    pub(crate) fn poll(&mut self) -> Result<bool, Errno> {
        self.drain_backlog();
        let submissions = self.uring.submission();
        let idle = submissions.is_empty() && !submissions.cq_overflow();
        drop(submissions);
        if idle && self.has_completions() {
            return Ok(true);
        }
        self.enter(0, None)
    }

    /// Submits, and waits for something to reap.
    pub(crate) fn wait(&mut self) -> Result<bool, Errno> {
        self.drain_backlog();
        self.enter(1, None)
    }

    /// Submits, and waits for something to reap, but not longer than this.
    pub(crate) fn wait_for(&mut self, limit: Duration) -> Result<bool, Errno> {
        self.drain_backlog();
        self.enter(1, Some(Timespec::from(limit)))
    }

    /// What the kernel finished next.
    pub(crate) fn next(&mut self) -> Option<Event<L>> {
        let entry = self.uring.completion().next()?;
        Some(self.read(&entry))
    }

    /// Has the kernel write to this eventfd whenever something completes while the doorbell is on. It is on at first.
    pub(crate) fn set_doorbell(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.uring
            .submitter()
            .register_eventfd(fd.as_raw_fd())
            .map_err(|error| errno_of(&error))
    }

    /// Switches the doorbell on or off.
    pub(crate) fn ring_doorbell(&mut self, on: bool) {
        let completions = self.uring.completion();
        if on {
            completions.enable_eventfd()
        } else {
            completions.disable_eventfd()
        }
    }

    fn read(&mut self, entry: &cqueue::Entry) -> Event<L> {
        let Some(tag) = Tag::from_bits(entry.user_data()) else {
            return Event::Unknown;
        };
        let more = cqueue::more(entry.flags());
        let result = match entry.result() {
            code if code < 0 => Err(Errno::from_raw_os_error(-code)),
            code => Ok(code as u32),
        };
        match tag.op {
            Op::Accept => Event::Accepted {
                listener: tag.slot,
                result,
                more,
            },
            Op::Install => Event::Installed {
                descriptor: tag.slot,
                listener: tag.generation,
                result: result.map(own),
            },
            Op::Detach => Event::Detached {
                tag,
                result: result.map(own),
            },
            Op::Adopt => self.read_adopted(tag, result),
            Op::Receive => self.read_received(tag, result, entry.flags()),
            Op::Send => match self.flight.take(tag.slot, tag.generation) {
                Some(load) => Event::Sent {
                    load,
                    result: result.map(|len| len as usize),
                },
                None => Event::Unknown,
            },
            Op::Shutdown | Op::Close | Op::Cancel | Op::Wake | Op::Hangup | Op::Refuse => {
                Event::Done { tag, result, more }
            }
        }
    }

    fn read_received(&mut self, tag: Tag, result: Result<u32, Errno>, flags: u32) -> Event<L> {
        let more = cqueue::more(flags);
        if !more {
            self.receives = self.receives.saturating_sub(1);
        }
        let len = result.unwrap_or(0) as usize;
        // Taken whatever the result is: a buffer that the kernel names is no longer in its ring.
        let buffer = cqueue::buffer_select(flags).and_then(|id| self.pool.lend(id, len));
        match (result, buffer) {
            (Ok(len), None) if len > 0 => Event::Unknown,
            (Ok(len), buffer) => Event::Received {
                tag,
                result: Ok(buffer.filter(|_| len > 0)),
                more,
            },
            (Err(errno), _) => Event::Received {
                tag,
                result: Err(errno),
                more,
            },
        }
    }

    fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        let entry = entry.user_data(tag.to_bits());
        if self.backlog.is_empty() && self.try_push(&entry) {
            return;
        }
        self.backlog.push_back(entry);
        self.drain_backlog();
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: entries are built only by the methods above and in `moving`. That of a send points to a load that `flight` keeps in place
        // until its completion, that of an adoption to one that `adoptions` keeps; a receive names the pool, which outlives its
        // registration; the others name no memory.
        unsafe { self.uring.submission().push(entry) }.is_ok()
    }

    /// Moves entries to the submission queue. If that is full they are submitted, without waiting, to make room; if the
    /// kernel takes none (it may want its completions reaped first), the rest stays here until the next enter.
    fn drain_backlog(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if self.try_push(&entry) {
                continue;
            }
            self.backlog.push_front(entry);
            if self.uring.submitter().submit().is_err() || self.uring.submission().is_full() {
                break;
            }
        }
    }

    /// Submits everything and lets the kernel run what it deferred (`GETEVENTS`, without which nothing completes on such a ring).
    fn enter(&mut self, completions_min: u32, limit: Option<Timespec>) -> Result<bool, Errno> {
        // What could not even be queued must not be slept on.
        let completions_min = if self.backlog.is_empty() {
            completions_min
        } else {
            0
        };
        let submissions = self.uring.submission().len() as u32;
        let submitter = self.uring.submitter();
        let flags = EnterFlags::GETEVENTS;
        let entered = match &limit {
            // SAFETY: no argument is passed; the counts are the queue's own.
            None => unsafe {
                submitter.enter::<()>(submissions, completions_min, flags.bits(), None)
            },
            Some(limit) => {
                let arguments = SubmitArgs::new().timespec(limit);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: `EXT_ARG` goes with `SubmitArgs`, which, as the time it points to, outlives the call.
                unsafe {
                    submitter.enter(submissions, completions_min, flags.bits(), Some(&arguments))
                }
            }
        };
        match entered.map_err(|error| errno_of(&error)) {
            // With entries left over it did not come to running anything.
            Ok(submitted) => Ok(submitted == submissions as usize && self.backlog.is_empty()),
            Err(Errno::TIME) => Ok(true),
            // Interrupted, out of requests for now, completions to be reaped first: look at what is there and come again.
            Err(Errno::INTR | Errno::AGAIN | Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Ends everything that the kernel still has. True if no memory is in its hands any more.
    pub(crate) fn tear_down(&mut self) -> bool {
        for _ in 0..TEARDOWN_ROUNDS {
            // Submits what was only queued, too: what was never submitted would never complete.
            if self.poll().is_err() {
                return false;
            }
            while self.next().is_some() {}
            let lent = self.flight.len() + self.adoptions.len() + self.receives;
            if lent == 0 && self.backlog.is_empty() {
                return true;
            }
            // Not finding anything is as good as having cancelled everything; what counts is what is reaped.
            let _ = self
                .uring
                .submitter()
                .register_sync_cancel(Some(TEARDOWN_ROUND.into()), CancelBuilder::any());
            if self.wait_for(TEARDOWN_ROUND).is_err() {
                return false;
            }
        }
        false
    }
}

impl<L: AsRef<[u8]> + 'static> Drop for Ring<L> {
    fn drop(&mut self) {
        let ended = self.tear_down();
        let unregistered = self
            .uring
            .submitter()
            .unregister_buf_ring(BUFFER_GROUP)
            .is_ok();
        // Closes what is still open now; left to the end of the ring itself, it would happen some time later in the background.
        let _ = self.uring.submitter().unregister_files();
        if !(ended && unregistered) {
            // The kernel may still read or write these: better lost than used again.
            mem::forget(Rc::clone(&self.pool));
            mem::forget(mem::replace(&mut self.flight, Flight::new()));
            mem::forget(mem::replace(&mut self.adoptions, Flight::new()));
        }
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn own(fd: u32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and this is the only completion that names it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}
