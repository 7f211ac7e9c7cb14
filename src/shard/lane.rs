//! The lane: connections of a core that something outside of their own bytes has work for.
//!
//! An HTTP connection may wait for a session on another core, or for a future of the user's that another thread completes. Its
//! [`Waker`] puts it onto its core's lane, from any thread, and wakes the core if it sleeps. Each connection is on the lane at most once, so
//! the lane is as long as the core has connections, and needs no other limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use crossbeam_channel::{Receiver, Sender};

use super::mailbox::Alarm;
use crate::reactor::ConnKey;

/// The core's end.
pub(crate) struct Lane {
    sender: Sender<Arc<Ticket>>,
    receiver: Receiver<Arc<Ticket>>,
    alarm: Alarm,
}

/// One connection's right to be on the lane, once.
pub(crate) struct Ticket {
    connection: ConnKey,
    is_queued: AtomicBool,
    sender: Sender<Arc<Ticket>>,
    alarm: Alarm,
}

impl Lane {
    /// `alarm` wakes the core.
    pub(crate) fn new(alarm: Alarm) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Lane {
            sender,
            receiver,
            alarm,
        }
    }

    /// What wakes `connection`.
    pub(crate) fn waker(&self, connection: ConnKey) -> Waker {
        Waker::from(Arc::new(Ticket {
            connection,
            is_queued: AtomicBool::new(false),
            sender: self.sender.clone(),
            alarm: self.alarm.clone(),
        }))
    }

    /// The next connection that was woken. From here on it may be woken again.
    pub(crate) fn next(&self) -> Option<ConnKey> {
        let ticket = self.receiver.try_recv().ok()?;
        // Acquire, with the Release of whoever woke it: what that one did before is seen by the poll that follows.
        ticket.is_queued.swap(false, Ordering::AcqRel);
        Some(ticket.connection)
    }

    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        // The core may have ended: then nobody is left to care.
        if self.sender.send(self.clone()).is_ok() {
            self.alarm.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::mailbox::mailbox;

    #[test]
    fn who_is_woken_twice_is_on_the_lane_once_and_may_be_woken_again() {
        let (address, mailbox) = mailbox::<()>(Arc::new(|| {}));
        let lane = Lane::new(address.alarm());
        let key = ConnKey {
            slot: 7,
            generation: 1,
        };
        let waker = lane.waker(key);
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!((lane.next(), lane.next()), (Some(key), None));
        waker.wake();
        assert!(!lane.is_empty());
        assert_eq!(lane.next(), Some(key));
        drop(mailbox);
    }

    #[test]
    fn a_core_that_sleeps_is_woken() {
        let rung = Arc::new(AtomicBool::new(false));
        let bell = rung.clone();
        let (address, mailbox) =
            mailbox::<()>(Arc::new(move || bell.store(true, Ordering::SeqCst)));
        let lane = Lane::new(address.alarm());
        let waker = lane.waker(ConnKey {
            slot: 0,
            generation: 0,
        });
        waker.wake_by_ref();
        assert!(!rung.load(Ordering::SeqCst), "it is awake");
        assert_eq!(lane.next().map(|key| key.slot), Some(0));
        assert!(mailbox.fall_asleep(|| lane.is_empty()));
        waker.wake_by_ref();
        assert!(rung.load(Ordering::SeqCst));
        assert!(!mailbox.fall_asleep(|| lane.is_empty()), "there is work");
    }
}
