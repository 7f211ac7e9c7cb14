//! The leanest arrangement of sockets on one io_uring: one thread, registered files, multishot accept and recv, one
//! ring of provided buffers. `floor` and `load` both stand on it; it knows nothing of what the bytes mean.
//!
//! The ring, its buffers and its tables are leaked when opened and live until the process ends. So no address handed
//! to the kernel can dangle, which is what most `SAFETY` lines below rest on.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

/// Bytes in one provided buffer: 20 KiB take a 16 KiB message with its frame head in one piece.
pub const BUFFER_LEN: usize = 20 * 1024;
/// Buffers posted. A power of two; few enough to stay in the second-level cache, enough for the messages of one turn.
const BUFFERS: u16 = 128;
const GROUP: u16 = 0;
const SUBMISSIONS: u32 = 4096;
const COMPLETIONS: u32 = 32 * 1024;

const ACCEPT: u64 = 0;
const RECV: u64 = 1;
const SEND: u64 = 2;
const CLOSE: u64 = 3;
const INPUT: u64 = 4;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A connection was accepted into registered file `slot`; its bytes will follow unasked.
    Accepted {
        /// Index of the registered file.
        slot: u32,
    },
    /// Bytes arrived.
    Received {
        /// The connection.
        slot: u32,
        /// They lie here until the buffer is released.
        buffer: Buffer,
    },
    /// The peer closed, or the connection broke. `close` the slot.
    Ended {
        /// The connection.
        slot: u32,
    },
    /// Bytes given to `send_owned` are sent; the vector comes back for reuse.
    Sent {
        /// The connection.
        slot: u32,
        /// The vector that was sent, unchanged.
        bytes: Vec<u8>,
    },
    /// Standard input can be read or was closed.
    Input,
}

/// A received buffer, out of the kernel's hands until it is given to [`Ring::release`].
#[derive(Debug)]
pub struct Buffer {
    id: u16,
    len: u32,
}

/// What is on its way out of one connection. One send at a time, or a short write could be overtaken by the next one.
#[derive(Default)]
struct Outbound {
    sending: Option<u16>,
    waiting: VecDeque<(u16, u32)>,
    owned: Option<Vec<u8>>,
    closing: bool,
}

impl Outbound {
    fn busy(&self) -> bool {
        self.sending.is_some() || self.owned.is_some()
    }
}

/// One io_uring with its buffers and connections. All methods belong to the thread that opened it.
pub struct Ring {
    uring: IoUring,
    listener: Option<OwnedFd>,
    entries: *mut types::BufRingEntry,
    tail: u16,
    memory: *mut u8,
    /// How many hold each buffer: the receiver, and every send out of it.
    holders: [u32; BUFFERS as usize],
    /// Connections whose recv ended because no buffer was posted.
    starved: Vec<u32>,
    slots: Vec<Outbound>,
}

#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// Zeroed, page-aligned memory for the life of the process.
fn leaked_pages(bytes: usize) -> *mut u8 {
    let pages: Vec<Page> = (0..bytes.div_ceil(4096)).map(|_| Page([0; 4096])).collect();
    Box::leak(pages.into_boxed_slice()).as_mut_ptr().cast()
}

impl Ring {
    /// Opens a ring for up to `files` connections. With a `listener` it accepts at once.
    pub fn open(files: u32, listener: Option<OwnedFd>) -> io::Result<&'static mut Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_no_sqarray()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        uring.submitter().register_files_sparse(files)?;
        let entries: *mut types::BufRingEntry = leaked_pages(usize::from(BUFFERS) * 16).cast();
        // SAFETY: `entries` is page-aligned, holds BUFFERS entries of 16 bytes and is never freed.
        unsafe {
            uring
                .submitter()
                .register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)
        }?;
        let ring = Box::leak(Box::new(Self {
            uring,
            listener,
            entries,
            tail: 0,
            memory: leaked_pages(usize::from(BUFFERS) * BUFFER_LEN),
            holders: [0; BUFFERS as usize],
            starved: Vec::new(),
            slots: (0..files).map(|_| Outbound::default()).collect(),
        }));
        (0..BUFFERS).for_each(|id| ring.post(id));
        if ring.listener.is_some() {
            ring.accept()?;
        }
        Ok(ring)
    }

    /// Takes a connected socket over as registered file `slot` and begins to receive from it.
    pub fn adopt(&mut self, slot: u32, socket: OwnedFd) -> io::Result<()> {
        self.uring
            .submitter()
            .register_files_update(slot, &[socket.as_raw_fd()])?;
        self.receive(slot)
    }

    /// Reports the next readiness of standard input as [`Event::Input`].
    pub fn watch_input(&mut self) -> io::Result<()> {
        let readable = opcode::PollAdd::new(types::Fd(0), libc::POLLIN as u32).build();
        self.push(readable, INPUT, 0)
    }

    /// Submits what was asked for and waits for at least one completion, or for `timeout` to pass.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let outcome = match timeout {
            None => self.uring.submit_and_wait(1),
            Some(timeout) => {
                let limit = types::Timespec::from(timeout);
                let arguments = types::SubmitArgs::new().timespec(&limit);
                self.uring.submitter().submit_with_args(1, &arguments)
            }
        };
        match outcome {
            Err(e)
                if !matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY)
                ) =>
            {
                Err(e)
            }
            _ => Ok(()),
        }
    }

    /// The next thing that happened since [`Ring::wait`]. `None`: wait again.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        loop {
            let Some(completion) = self.uring.completion().next() else {
                return Ok(None);
            };
            let slot = completion.user_data() as u32;
            let event = match completion.user_data() >> 32 {
                ACCEPT => self.accepted(&completion)?,
                RECV => self.received(slot, &completion)?,
                SEND => self.sent(slot, completion.result())?,
                INPUT => Some(Event::Input),
                _ => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The bytes in a received buffer.
    pub fn bytes(&self, buffer: &Buffer) -> &[u8] {
        let start = self.address(buffer.id);
        // SAFETY: the buffer is held, so the kernel does not write to it (sends only read), `len` bytes of it were
        // filled by the kernel, and the memory is never freed.
        unsafe { std::slice::from_raw_parts(start, buffer.len as usize) }
    }

    /// Gives up a received buffer; it is posted again when the last send out of it is done.
    pub fn release(&mut self, buffer: Buffer) -> io::Result<()> {
        self.let_go(buffer.id)
    }

    /// Sends a received buffer to a connection, after what waits there already. May be called for many connections.
    pub fn send(&mut self, slot: u32, buffer: &Buffer) -> io::Result<()> {
        let outbound = &mut self.slots[slot as usize];
        if outbound.closing {
            return Ok(());
        }
        self.holders[usize::from(buffer.id)] += 1;
        if outbound.busy() {
            outbound.waiting.push_back((buffer.id, buffer.len));
            return Ok(());
        }
        self.start_send(slot, buffer.id, buffer.len)
    }

    /// Sends `bytes`, which come back with [`Event::Sent`]. One at a time for each connection.
    pub fn send_owned(&mut self, slot: u32, bytes: Vec<u8>) -> io::Result<()> {
        let outbound = &mut self.slots[slot as usize];
        if outbound.busy() || outbound.closing {
            return Err(io::Error::other(
                "a send is under way or the connection is closing",
            ));
        }
        let (start, len) = (bytes.as_ptr(), bytes.len() as u32);
        outbound.owned = Some(bytes);
        self.push_send(slot, start, len)
    }

    /// Drops what waits to be sent and closes the connection once nothing of it is in the kernel's hands.
    pub fn close(&mut self, slot: u32) -> io::Result<()> {
        let outbound = &mut self.slots[slot as usize];
        outbound.closing = true;
        let busy = outbound.busy();
        for (id, _) in std::mem::take(&mut outbound.waiting) {
            self.let_go(id)?;
        }
        if busy {
            Ok(())
        } else {
            self.finish_close(slot)
        }
    }

    fn finish_close(&mut self, slot: u32) -> io::Result<()> {
        self.slots[slot as usize] = Outbound::default();
        self.push(opcode::Close::new(types::Fixed(slot)).build(), CLOSE, slot)
    }

    fn accept(&mut self) -> io::Result<()> {
        let fd: RawFd = self.listener.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        self.push(
            opcode::AcceptMulti::new(types::Fd(fd))
                .allocate_file_index(true)
                .build(),
            ACCEPT,
            0,
        )
    }

    fn receive(&mut self, slot: u32) -> io::Result<()> {
        self.push(
            opcode::RecvMulti::new(types::Fixed(slot), GROUP).build(),
            RECV,
            slot,
        )
    }

    fn accepted(&mut self, completion: &cqueue::Entry) -> io::Result<Option<Event>> {
        if !cqueue::more(completion.flags()) {
            self.accept()?;
        }
        match completion.result() {
            // Clients that gave up before they were accepted are not our trouble.
            error if error == -libc::ECONNABORTED => Ok(None),
            error if error < 0 => Err(io::Error::from_raw_os_error(-error)),
            slot => {
                self.receive(slot as u32)?;
                Ok(Some(Event::Accepted { slot: slot as u32 }))
            }
        }
    }

    fn received(&mut self, slot: u32, completion: &cqueue::Entry) -> io::Result<Option<Event>> {
        let len = completion.result();
        if len == -libc::ENOBUFS {
            self.starved.push(slot);
            return Ok(None);
        }
        let Some(id) = cqueue::buffer_select(completion.flags()).filter(|_| len > 0) else {
            return Ok(Some(Event::Ended { slot }));
        };
        if !cqueue::more(completion.flags()) {
            self.receive(slot)?;
        }
        self.holders[usize::from(id)] = 1;
        Ok(Some(Event::Received {
            slot,
            buffer: Buffer {
                id,
                len: len as u32,
            },
        }))
    }

    fn sent(&mut self, slot: u32, result: i32) -> io::Result<Option<Event>> {
        let outbound = &mut self.slots[slot as usize];
        let (id, bytes, closing) = (
            outbound.sending.take(),
            outbound.owned.take(),
            outbound.closing,
        );
        if let Some(id) = id {
            self.let_go(id)?;
        }
        if closing {
            self.finish_close(slot)?;
            return Ok(None);
        }
        if result < 0 {
            // The recv of a broken connection ends too and reports it.
            return Ok(None);
        }
        if let Some((id, len)) = self.slots[slot as usize].waiting.pop_front() {
            self.start_send(slot, id, len)?;
        }
        Ok(bytes.map(|bytes| Event::Sent { slot, bytes }))
    }

    fn start_send(&mut self, slot: u32, id: u16, len: u32) -> io::Result<()> {
        self.slots[slot as usize].sending = Some(id);
        self.push_send(slot, self.address(id), len)
    }

    /// `start` must be in the provided buffers, or in the slot's `owned`.
    fn push_send(&mut self, slot: u32, start: *const u8, len: u32) -> io::Result<()> {
        // MSG_WAITALL: the kernel finishes a short write by itself.
        let send = opcode::Send::new(types::Fixed(slot), start, len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL);
        self.push(send.build(), SEND, slot)
    }

    fn push(&mut self, entry: squeue::Entry, operation: u64, slot: u32) -> io::Result<()> {
        let entry = entry.user_data(operation << 32 | u64::from(slot));
        loop {
            // SAFETY: what the entry points to is a provided buffer or a slot's `owned` vector. Both live until the
            // process ends or, for the vector, until its completion has been seen.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.uring.submit()?;
        }
    }

    fn let_go(&mut self, id: u16) -> io::Result<()> {
        let holders = &mut self.holders[usize::from(id)];
        *holders -= 1;
        if *holders > 0 {
            return Ok(());
        }
        self.post(id);
        while let Some(slot) = self.starved.pop() {
            self.receive(slot)?;
        }
        Ok(())
    }

    fn address(&self, id: u16) -> *mut u8 {
        self.memory.wrapping_add(usize::from(id) * BUFFER_LEN)
    }

    fn post(&mut self, id: u16) {
        let entry = self.entries.wrapping_add(usize::from(self.tail % BUFFERS));
        // SAFETY: the index is below BUFFERS, the memory is never freed, and the kernel reads entries only between
        // its head and the tail published below. The first entry's last two bytes are the tail; setters spare them.
        let slot = unsafe { &mut *entry };
        slot.set_addr(self.address(id) as u64);
        slot.set_len(BUFFER_LEN as u32);
        slot.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `entries` is the registered ring's first entry, which is initialised (zeroed).
        let tail = unsafe { types::BufRingEntry::tail(self.entries) };
        // SAFETY: the tail is two aligned bytes that only this thread writes and the kernel reads.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
