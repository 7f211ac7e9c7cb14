//! Mail between cores: bounded, first in first out for each pair, never blocking a core, waking only a core that sleeps.
//!
//! A core posts with [`Outbox::post`]: what does not fit into the other's mailbox waits in an overflow queue of the poster, in
//! order, and is tried again each turn. A thread that is no core posts with [`Address::post_blocking`].
//!
//! Sleeping: a core announces that it sleeps, *then* looks into its mailbox once more, then waits. A poster sends, *then*
//! looks whether the core announced sleep. Both sides use sequentially consistent operations, so at least one of the two sees the
//! other: mail is never left in front of a sleeping core.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::room::cores::CoreSet;

#[cfg(feature = "tower")]
pub(crate) mod posting;
mod sleep;
#[cfg(test)]
mod tests;

use sleep::Sleep;

/// Mails a mailbox holds before posters keep the rest themselves. Worst case: 4096 × 32 bytes and what the mails share.
const CAPACITY: usize = 4096;

/// Where mail for one core goes; known to every core and to the server handle.
pub(crate) struct Address<M> {
    sender: Sender<M>,
    alarm: Alarm,
    end: Arc<End<M>>,
}

/// The core has ended, and what is or comes into its mailbox is for nobody. It is dropped then: somebody may wait for the answer to it.
struct End<M> {
    has_come: AtomicBool,
    receiver: Receiver<M>,
}

impl<M> End<M> {
    fn has_come(&self) -> bool {
        self.has_come.load(Ordering::SeqCst)
    }

    /// To be called after each send. The end is announced before the mailbox is cleared, and this looks after it has sent: one of the
    /// two sees the mail.
    fn clear_if_come(&self) {
        if self.has_come() {
            while self.receiver.try_recv().is_ok() {}
        }
    }
}

/// Wakes a core that sleeps, from any thread.
#[derive(Clone)]
pub(crate) struct Alarm {
    sleep: Arc<Sleep<AtomicBool>>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Alarm {
    /// Wakes nobody.
    fn silent() -> Self {
        Alarm {
            sleep: Arc::new(Sleep::new(AtomicBool::new(false))),
            wake: Arc::new(|| {}),
        }
    }

    /// To be called *after* the core was given something to find.
    pub(crate) fn ring(&self) {
        if self.sleep.must_be_woken() {
            (self.wake)();
        }
    }
}

/// A core's own end.
pub(crate) struct Mailbox<M> {
    receiver: Receiver<M>,
    sleep: Arc<Sleep<AtomicBool>>,
    end: Arc<End<M>>,
}

impl<M> Drop for Mailbox<M> {
    fn drop(&mut self) {
        self.end.has_come.store(true, Ordering::SeqCst);
        self.end.clear_if_come();
    }
}

/// A new mailbox and its address. `wake` is called by posters that are no cores when the core sleeps.
pub(crate) fn mailbox<M>(wake: Arc<dyn Fn() + Send + Sync>) -> (Address<M>, Mailbox<M>) {
    with_capacity(CAPACITY, wake)
}

/// As [`mailbox`], for so many mails.
pub(crate) fn with_capacity<M>(
    capacity: usize,
    wake: Arc<dyn Fn() + Send + Sync>,
) -> (Address<M>, Mailbox<M>) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    let sleep = Arc::new(Sleep::new(AtomicBool::new(false)));
    let alarm = Alarm {
        sleep: sleep.clone(),
        wake,
    };
    let end = Arc::new(End {
        has_come: AtomicBool::new(false),
        receiver: receiver.clone(),
    });
    let address = Address {
        sender,
        alarm,
        end: end.clone(),
    };
    let mailbox = Mailbox {
        receiver,
        sleep,
        end,
    };
    (address, mailbox)
}

impl<M> Mailbox<M> {
    pub(crate) fn take(&self) -> Option<M> {
        self.receiver.try_recv().ok()
    }

    /// Mails that wait here.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Announces sleep. `false`: there is mail, or not `is_idle`, so do not sleep (the announcement is taken back).
    pub(crate) fn fall_asleep(&self, is_idle: impl Fn() -> bool) -> bool {
        self.sleep
            .fall_asleep(|| self.receiver.is_empty() && is_idle())
    }

    pub(crate) fn awake(&self) {
        self.sleep.awake();
    }
}

impl<M> Address<M> {
    /// Posts from a thread that is no core; waits while the mailbox is full. `false`: the core has ended.
    pub(crate) fn post_blocking(&self, mail: M) -> bool {
        if self.end.has_come() || self.sender.send(mail).is_err() {
            return false;
        }
        self.end.clear_if_come();
        self.alarm.ring();
        true
    }

    /// Sends without waiting and without waking.
    fn try_send(&self, mail: M) -> Result<(), TrySendError<M>> {
        if self.end.has_come() {
            return Err(TrySendError::Disconnected(mail));
        }
        self.sender.try_send(mail)?;
        self.end.clear_if_come();
        Ok(())
    }

    /// Posts unless the mailbox is full: then the mail comes back. Mail for a core that has ended is dropped.
    pub(crate) fn try_post(&self, mail: M) -> Result<(), M> {
        match self.try_send(mail) {
            Ok(()) => self.alarm.ring(),
            Err(TrySendError::Full(mail)) => return Err(mail),
            Err(TrySendError::Disconnected(_)) => {}
        }
        Ok(())
    }

    /// What wakes this core.
    pub(crate) fn alarm(&self) -> Alarm {
        self.alarm.clone()
    }
}

/// One core's way to all the others.
pub(crate) struct Outbox<M> {
    own: usize,
    addresses: Arc<[Address<M>]>,
    overflow: Vec<VecDeque<M>>,
    posted: CoreSet,
}

impl<M> Outbox<M> {
    pub(crate) fn new(own: usize, addresses: Arc<[Address<M>]>) -> Self {
        let overflow = addresses.iter().map(|_| VecDeque::new()).collect();
        Outbox {
            own,
            addresses,
            overflow,
            posted: CoreSet::EMPTY,
        }
    }

    /// What wakes this core itself.
    pub(crate) fn alarm(&self) -> Alarm {
        let own = self.addresses.get(self.own);
        debug_assert!(own.is_some(), "every core has an address");
        own.map_or_else(Alarm::silent, Address::alarm)
    }

    pub(crate) fn cores(&self) -> usize {
        self.addresses.len()
    }

    pub(crate) fn is_among(&self, addresses: &Arc<[Address<M>]>) -> bool {
        Arc::ptr_eq(&self.addresses, addresses)
    }

    /// Posts to another core. Never blocks; keeps the order of what this core posts to that one.
    pub(crate) fn post(&mut self, core: usize, mail: M) {
        debug_assert_ne!(core, self.own, "a core does not write to itself");
        let (Some(address), Some(overflow)) =
            (self.addresses.get(core), self.overflow.get_mut(core))
        else {
            return;
        };
        self.posted.insert(core);
        if !overflow.is_empty() {
            overflow.push_back(mail);
        } else if let Err(TrySendError::Full(mail)) = address.try_send(mail) {
            overflow.push_back(mail);
        }
    }

    /// Mails that wait for room in a mailbox.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.overflow.iter().map(VecDeque::len).sum()
    }

    /// Posts a copy to every other core.
    pub(crate) fn post_all(&mut self, mail: impl Fn() -> M) {
        for core in 0..self.cores() {
            if core != self.own {
                self.post(core, mail());
            }
        }
    }

    /// Has anything been posted whose receiver was not looked after by [`Outbox::take_sleepers`]?
    pub(crate) fn has_posted(&self) -> bool {
        !self.posted.is_empty()
    }

    /// Moves what waited into mailboxes that have room again. `true`: something still waits.
    pub(crate) fn flush_overflow(&mut self) -> bool {
        let mut waiting = false;
        for (core, overflow) in self.overflow.iter_mut().enumerate() {
            let Some(address) = self.addresses.get(core) else {
                continue;
            };
            while let Some(mail) = overflow.pop_front() {
                self.posted.insert(core);
                match address.try_send(mail) {
                    Ok(()) => {}
                    // The core has ended: nobody is left to care.
                    Err(TrySendError::Disconnected(_)) => overflow.clear(),
                    Err(TrySendError::Full(mail)) => {
                        overflow.push_front(mail);
                        waiting = true;
                        break;
                    }
                }
            }
        }
        waiting
    }

    /// The cores that got mail since the last call and sleep: the caller wakes them.
    pub(crate) fn take_sleepers(&mut self) -> CoreSet {
        let mut sleepers = std::mem::replace(&mut self.posted, CoreSet::EMPTY);
        for core in sleepers.iter() {
            if !self
                .addresses
                .get(core)
                .is_some_and(|address| address.alarm.sleep.must_be_woken())
            {
                sleepers.remove(core);
            }
        }
        sleepers
    }
}
