//! What a server has counted since it started.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Recoveries;

/// What a server has counted since it started, over all cores; see [`Server::counters`](crate::Server::counters).
///
/// ```
/// # fn f(server: &ringhall::Server) {
/// let counters = server.counters();
/// println!("{} panics, {} handlers failed", counters.panics, counters.handlers_failed);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// How often code of the program panicked on a core: handlers, their futures, predicates, middlewares, destructors of what they
    /// held. Each was logged at error level, and ended nothing but itself.
    pub panics: u64,
    /// Handlers that returned an error, or an answer that cannot be encoded.
    pub handlers_failed: u64,
    /// Handlers that did not run because one of their parameters could not be had, commonly arguments of another type.
    pub events_rejected: u64,
    /// Events that a packet middleware did not let pass.
    pub events_refused: u64,
    /// Sessions that were recovered or not.
    pub recoveries: Recoveries,
}

/// What is counted, each by a number of its own on each core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Code of the program panicked.
    Panicked,
    /// A handler returned an error, or an answer that cannot be encoded.
    Failed,
    /// A parameter could not be extracted, and the handler did not run.
    Rejected,
    /// A packet middleware did not let an event pass.
    Refused,
}

/// How many there are.
const COUNTS: usize = Count::Refused as usize + 1;

/// One core's numbers, on cache lines of their own: the core alone writes them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CoreCounters([AtomicU64; COUNTS]);

impl CoreCounters {
    /// Only for the thread of this core.
    pub(crate) fn add(&self, count: Count) {
        if let Some(number) = self.0.get(count as usize) {
            // There is one writer, so this needs no locked instruction.
            number.store(
                number.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::Relaxed,
            );
        }
    }

    pub(crate) fn of(&self, count: Count) -> u64 {
        self.0
            .get(count as usize)
            .map_or(0, |number| number.load(Ordering::Relaxed))
    }
}

/// The numbers of all cores of one server.
#[derive(Debug, Default)]
pub(crate) struct AllCounters(Mutex<Vec<Arc<CoreCounters>>>);

thread_local! {
    /// Those of the core that this thread is, for code that knows of no core.
    static HERE: RefCell<Option<Arc<CoreCounters>>> = const { RefCell::new(None) };
}

impl AllCounters {
    /// The numbers of one more core, which is this thread.
    pub(crate) fn enter(&self) -> Arc<CoreCounters> {
        let core = Arc::new(CoreCounters::default());
        let mut cores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cores.push(core.clone());
        HERE.with(|here| here.replace(Some(core.clone())));
        core
    }

    pub(crate) fn total(&self) -> Counters {
        let cores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |count| cores.iter().map(|core| core.of(count)).sum();
        Counters {
            panics: sum(Count::Panicked),
            handlers_failed: sum(Count::Failed),
            events_rejected: sum(Count::Rejected),
            events_refused: sum(Count::Refused),
            recoveries: Recoveries::default(),
        }
    }
}

/// Counts on the core that this thread is; on any other thread nothing.
pub(crate) fn count_here(count: Count) {
    HERE.with(|here| {
        if let Some(core) = &*here.borrow() {
            core.add(count);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_all_cores_are_added_up() {
        let all = AllCounters::default();
        let first = all.enter();
        count_here(Count::Panicked);
        let second = all.enter();
        count_here(Count::Panicked);
        first.add(Count::Failed);
        second.add(Count::Rejected);
        second.add(Count::Rejected);
        second.add(Count::Refused);
        assert_eq!(first.of(Count::Panicked), 1);
        assert_eq!(
            all.total(),
            Counters {
                panics: 2,
                handlers_failed: 1,
                events_rejected: 2,
                events_refused: 1,
                recoveries: Recoveries::default(),
            }
        );
    }

    #[test]
    fn a_thread_that_is_no_core_counts_nothing() {
        let all = AllCounters::default();
        std::thread::scope(|threads| {
            threads.spawn(|| count_here(Count::Panicked));
        });
        assert_eq!(all.total(), Counters::default());
    }
}
