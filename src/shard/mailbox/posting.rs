//! Mail from threads that are no cores and must not wait, such as those of an async runtime.
//!
//! What does not fit into a mailbox waits in a line, in order, and a thread that may wait is started to post it. While it does, further mail
//! for that core goes behind it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Address;

/// The way to all cores.
pub(crate) struct Posting<M> {
    addresses: Arc<[Address<M>]>,
    lines: Box<[Mutex<Line<M>>]>,
}

/// What waits for room in one mailbox. It is as long as there are requests that wait for their answer.
struct Line<M> {
    waiting: VecDeque<M>,
    /// A thread posts from it.
    is_attended: bool,
}

impl<M: Send + 'static> Posting<M> {
    pub(crate) fn new(addresses: Arc<[Address<M>]>) -> Self {
        let lines = addresses.iter().map(|_| {
            Mutex::new(Line {
                waiting: VecDeque::new(),
                is_attended: false,
            })
        });
        Posting {
            lines: lines.collect(),
            addresses,
        }
    }

    pub(crate) fn cores(&self) -> usize {
        self.addresses.len()
    }

    /// Posts to a core; never blocks. Mail that is posted behind other mail arrives behind it.
    pub(crate) fn post(self: &Arc<Self>, core: usize, mail: M) {
        let (Some(address), Some(line)) = (self.addresses.get(core), self.lines.get(core)) else {
            return;
        };
        let mut line = lock(line);
        if line.is_attended {
            return line.waiting.push_back(mail);
        }
        let Err(mail) = address.try_post(mail) else {
            return;
        };
        line.waiting.push_back(mail);
        line.is_attended = true;
        drop(line);
        let posting = self.clone();
        let attendant = thread::Builder::new().name("ringhall-post".to_owned());
        if let Err(error) = attendant.spawn(move || posting.attend(core)) {
            log::warn!("a full mailbox is waited for in place: no thread can be started: {error}");
            self.attend(core);
        }
    }

    /// Posts what waits, as room comes.
    fn attend(&self, core: usize) {
        let (Some(address), Some(line)) = (self.addresses.get(core), self.lines.get(core)) else {
            return;
        };
        loop {
            let mail = {
                let mut line = lock(line);
                let next = line.waiting.pop_front();
                line.is_attended = next.is_some();
                next
            };
            match mail {
                Some(mail) => {
                    address.post_blocking(mail);
                }
                None => return,
            }
        }
    }
}

fn lock<M>(line: &Mutex<Line<M>>) -> MutexGuard<'_, Line<M>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::with_capacity;
    use super::*;

    #[test]
    fn nobody_waits_and_the_order_holds_beyond_what_a_mailbox_takes() {
        let (address, mailbox) = with_capacity(2, Arc::new(|| {}));
        let posting = Arc::new(Posting::new(Arc::from([address])));
        // Nobody takes any meanwhile: had a post to wait for room, this would not end.
        for mail in 0..100 {
            posting.post(0, mail);
        }
        let mut taken = Vec::new();
        while taken.len() < 100 {
            match mailbox.take() {
                Some(mail) => taken.push(mail),
                None => thread::yield_now(),
            }
        }
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn mail_for_a_core_that_has_ended_is_dropped() {
        let (address, mailbox) = with_capacity(1, Arc::new(|| {}));
        let posting = Arc::new(Posting::new(Arc::from([address])));
        let mail = Arc::new(());
        // One in the mailbox, the others in the line.
        for _ in 0..3 {
            posting.post(0, mail.clone());
        }
        drop(mailbox);
        while Arc::strong_count(&mail) > 1 {
            thread::yield_now();
        }
        posting.post(0, mail.clone());
        posting.post(7, mail.clone());
        while Arc::strong_count(&mail) > 1 {
            thread::yield_now();
        }
    }
}
