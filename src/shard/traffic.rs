//! What goes through one core, counted for whoever watches: sessions, packets, bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::proto::reason::DisconnectReason;

/// A number that its core alone writes, and anybody may read: no locked instruction is needed.
#[derive(Debug, Default)]
struct Number(AtomicU64);

impl Number {
    fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module's text. On cache lines of its own, since a core writes to it in every turn.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Traffic {
    opened: Number,
    closed: [Number; DisconnectReason::ALL.len()],
    on_polling: Number,
    packets_in: Number,
    bytes_in: Number,
    packets_out: Number,
    bytes_out: Number,
}

/// The same as plain numbers, of one core or of several.
#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Engine.IO sessions that were opened.
    pub(crate) opened: u64,
    /// Those that ended, in the order of [`DisconnectReason::ALL`].
    pub(crate) closed: [u64; DisconnectReason::ALL.len()],
    /// Sessions that are on polling at present.
    pub(crate) on_polling: u64,
    /// Messages of sessions, without heartbeats.
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
}

impl Traffic {
    pub(super) fn session_opened(&self) {
        self.opened.add(1);
    }

    pub(super) fn session_closed(&self, reason: DisconnectReason) {
        if let Some(number) = self.closed.get(reason as usize) {
            number.add(1);
        }
    }

    pub(super) fn set_on_polling(&self, sessions: usize) {
        self.on_polling.set(sessions as u64);
    }

    pub(super) fn came_in(&self, bytes: usize) {
        self.packets_in.add(1);
        self.bytes_in.add(bytes as u64);
    }

    pub(super) fn went_out(&self, packets: u64, bytes: u64) {
        self.packets_out.add(packets);
        self.bytes_out.add(bytes);
    }

    #[cfg(feature = "admin")]
    pub(crate) fn flow(&self) -> Flow {
        let mut closed = [0; DisconnectReason::ALL.len()];
        for (sum, number) in closed.iter_mut().zip(&self.closed) {
            *sum = number.get();
        }
        Flow {
            opened: self.opened.get(),
            closed,
            on_polling: self.on_polling.get(),
            packets_in: self.packets_in.get(),
            bytes_in: self.bytes_in.get(),
            packets_out: self.packets_out.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}

#[cfg(feature = "admin")]
impl Flow {
    /// Sessions that are open.
    pub(crate) fn clients(&self) -> u64 {
        self.opened.saturating_sub(self.closed.iter().sum())
    }

    /// With that of another core.
    pub(crate) fn plus(mut self, other: &Flow) -> Flow {
        for (sum, number) in self.closed.iter_mut().zip(other.closed) {
            *sum += number;
        }
        self.opened += other.opened;
        self.on_polling += other.on_polling;
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self
    }
}

#[cfg(all(test, feature = "admin"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read_and_added_up() {
        let traffic = Traffic::default();
        for _ in 0..3 {
            traffic.session_opened();
        }
        traffic.session_closed(DisconnectReason::PingTimeout);
        traffic.came_in(10);
        traffic.went_out(2, 70);
        traffic.set_on_polling(1);
        let one = traffic.flow();
        let both = one.plus(&one);
        assert_eq!((one.clients(), both.clients()), (2, 4));
        assert_eq!(both.closed[DisconnectReason::PingTimeout as usize], 2);
        assert_eq!(
            (both.packets_in, both.bytes_in, both.on_polling),
            (2, 20, 2)
        );
        assert_eq!((both.packets_out, both.bytes_out), (4, 140));
    }

    #[test]
    fn each_reason_has_its_place() {
        for (place, reason) in DisconnectReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
