//! Every interleaving, and every order in which memory may show itself, of a poster and a core that falls asleep.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::sleep::{Flag, Sleep};

impl Flag for AtomicBool {
    fn store(&self, value: bool) {
        AtomicBool::store(self, value, Ordering::SeqCst);
    }

    fn load(&self) -> bool {
        AtomicBool::load(self, Ordering::SeqCst)
    }

    fn swap(&self, value: bool) -> bool {
        AtomicBool::swap(self, value, Ordering::SeqCst)
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// As little of a mailbox as orders nothing by itself: how many mails were posted.
struct Place {
    posted: AtomicUsize,
    sleep: Sleep<AtomicBool>,
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Place {
    fn new() -> Arc<Place> {
        Arc::new(Place {
            posted: AtomicUsize::new(0),
            sleep: Sleep::new(AtomicBool::new(false)),
            woken: Mutex::new(false),
            wake: Condvar::new(),
        })
    }

    fn post(&self) {
        self.posted.fetch_add(1, Ordering::Release);
        if self.sleep.must_be_woken() {
            *self.woken.lock().unwrap() = true;
            self.wake.notify_one();
        }
    }

    /// As the loop of a core does it, until so many mails were taken. A lost wake-up is a wait without end, which loom reports.
    fn take(&self, mails: usize) {
        let mut taken = 0;
        while taken < mails {
            self.sleep.awake();
            taken = self.posted.load(Ordering::Acquire);
            let is_empty = || self.posted.load(Ordering::Acquire) == taken;
            if taken < mails && self.sleep.fall_asleep(is_empty) {
                let mut woken = self.woken.lock().unwrap();
                while !*woken {
                    woken = self.wake.wait(woken).unwrap();
                }
                *woken = false;
            }
        }
    }
}

/// One mail only: loom does not know that nothing comes between an exchange and the write that it read, and finds with several mails that a
/// poster may see an exchange after the announcement that came later, which no memory does.
#[test]
fn no_mail_is_left_in_front_of_a_sleeping_core() {
    loom::model(|| {
        let place = Place::new();
        let poster = {
            let place = place.clone();
            thread::spawn(move || place.post())
        };
        place.take(1);
        poster.join().unwrap();
    });
}
