//! Sockets that leave the table of direct descriptors, and sockets that come into it.

#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use io_uring::opcode;
use io_uring::types::Fixed;
use rustix::io::Errno;

use super::{Event, Op, Ring, Tag};

/// `IORING_FILE_INDEX_ALLOC` (all bits set): the kernel is to choose the direct descriptor.
const ANY_INDEX: i32 = -1;

/// A socket that is being given a direct descriptor.
pub(super) struct Adoption {
    /// Open until the kernel has looked it up.
    socket: OwnedFd,
    token: u64,
    /// The kernel reads the ordinary descriptor here and writes the direct one to the same place. Atomic, since it does so while this is
    /// shared: the flight holds it, and nobody looks before the completion.
    number: AtomicI32,
}

impl<L: AsRef<[u8]> + 'static> Ring<L> {
    /// Asks for an ordinary descriptor beside the direct one of a connection. Only where [`Ring::can_install`].
    pub(crate) fn detach(&mut self, descriptor: u32, slot: u32, generation: u32) {
        let entry = opcode::FixedFdInstall::new(Fixed(descriptor), 0).build();
        self.push(entry, Tag::new(Op::Detach, slot, generation));
    }

    /// Gives a socket a direct descriptor. It comes back with [`Event::Adopted`], under the same token.
    pub(crate) fn adopt(&mut self, socket: OwnedFd, token: u64) {
        let number = AtomicI32::new(socket.as_raw_fd());
        let adoption = Adoption {
            socket,
            token,
            number,
        };
        let (slot, generation, adoption) = self.adoptions.put(adoption);
        let entry = opcode::FilesUpdate::new(adoption.number.as_ptr(), 1)
            .offset(ANY_INDEX)
            .build();
        self.push(entry, Tag::new(Op::Adopt, slot, generation));
    }

    pub(super) fn read_adopted(&mut self, tag: Tag, result: Result<u32, Errno>) -> Event<L> {
        let Some(adoption) = self.adoptions.take(tag.slot, tag.generation) else {
            return Event::Unknown;
        };
        let Adoption {
            socket,
            token,
            number,
        } = adoption;
        // The kernel counts what it has placed, and was to place one.
        let result = match result {
            Ok(1) => u32::try_from(number.load(Ordering::Relaxed)).map_err(|_| Errno::IO),
            Ok(_) => Err(Errno::IO),
            Err(errno) => Err(errno),
        };
        Event::Adopted {
            socket,
            token,
            result,
        }
    }
}
