//! The sessions of clients that are away, by the secret that each was given: the one table that all cores of a server share. It is locked
//! when a client is lost and when one comes back, and at no other time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Pid, Refusal};
use crate::shard::home::SocketId;

/// Sessions of which it is remembered why they are not here any more: for the counters alone.
const REMEMBERED_MAX: usize = 4096;

/// What a client finds again.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    pub(crate) sid: SocketId,
    pub(crate) namespace: Arc<str>,
    /// Its rooms, without that of its own id.
    pub(crate) rooms: Arc<[Arc<str>]>,
    /// JSON.
    pub(crate) data: Option<Arc<str>>,
    /// In whose log its messages are.
    pub(crate) core: usize,
    pub(crate) deadline_ms: u64,
}

/// See the module's text. How many sessions it holds is for the cores to limit, each for its own.
#[derive(Default)]
pub(crate) struct Store {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    sessions: HashMap<Pid, Parked>,
    gone: HashMap<Pid, Refusal>,
    order: VecDeque<Pid>,
}

impl Store {
    pub(crate) fn park(&self, pid: Pid, session: Parked) {
        let mut inside = self.lock();
        inside.gone.remove(&pid);
        inside.sessions.insert(pid, session);
    }

    /// Takes a session out, for good: whoever gets it is the only one. One that belongs to another namespace stays.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn take(&self, pid: &Pid, namespace: &str, now_ms: u64) -> Result<Parked, Refusal> {
        let mut inside = self.lock();
        let known = inside.sessions.get(pid);
        if known.is_none_or(|session| *session.namespace != *namespace) {
            return Err(inside.gone.get(pid).copied().unwrap_or(Refusal::UnknownPid));
        }
        let session = inside.sessions.remove(pid).ok_or(Refusal::UnknownPid)?;
        if session.deadline_ms <= now_ms {
            inside.remember(*pid, Refusal::Expired);
            return Err(Refusal::Expired);
        }
        inside.remember(*pid, Refusal::Used);
        Ok(session)
    }

    /// A core keeps nothing for this session any more. (It may have moved to another one meanwhile, which does.)
    pub(crate) fn forget(&self, pid: &Pid, core: usize, why: Refusal) {
        let mut inside = self.lock();
        if inside
            .sessions
            .get(pid)
            .is_some_and(|session| session.core == core)
        {
            inside.sessions.remove(pid);
            inside.remember(*pid, why);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn remember(&mut self, pid: Pid, why: Refusal) {
        if self.gone.insert(pid, why).is_none() {
            self.order.push_back(pid);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.gone.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::home::IdSource;

    fn session(ids: &mut IdSource) -> (Pid, Parked) {
        let session = Parked {
            sid: ids.next(1).unwrap(),
            namespace: "/chat".into(),
            rooms: Arc::from([Arc::from("lobby")]),
            data: None,
            core: 3,
            deadline_ms: 1000,
        };
        (ids.next(0).unwrap(), session)
    }

    #[test]
    fn a_session_is_found_once() {
        let (store, mut ids) = (Store::default(), IdSource::new(0));
        let (pid, parked) = session(&mut ids);
        let sid = parked.sid;
        store.park(pid, parked.clone());
        assert_eq!(store.take(&pid, "/", 0).unwrap_err(), Refusal::UnknownPid);
        assert_eq!(store.take(&pid, "/chat", 999).unwrap().sid, sid);
        assert_eq!(store.take(&pid, "/chat", 999).unwrap_err(), Refusal::Used);
        store.park(pid, parked);
        assert_eq!(store.take(&pid, "/chat", 999).unwrap().sid, sid);
    }

    #[test]
    fn why_there_is_none_is_remembered_for_a_while() {
        let (store, mut ids) = (Store::default(), IdSource::new(0));
        let (late, parked) = session(&mut ids);
        store.park(late, parked.clone());
        assert_eq!(
            store.take(&late, "/chat", 1000).unwrap_err(),
            Refusal::Expired
        );
        let (evicted, _) = session(&mut ids);
        store.park(evicted, parked.clone());
        store.forget(&evicted, 2, Refusal::Evicted);
        assert_eq!(store.len(), 1, "another core's");
        store.forget(&evicted, 3, Refusal::Evicted);
        assert_eq!(
            store.take(&evicted, "/chat", 0).unwrap_err(),
            Refusal::Evicted
        );
        for _ in 0..REMEMBERED_MAX {
            let (pid, _) = session(&mut ids);
            store.park(pid, parked.clone());
            assert!(store.take(&pid, "/chat", 0).is_ok());
        }
        let now = store.take(&late, "/chat", 0).unwrap_err();
        assert_eq!((now, store.len()), (Refusal::UnknownPid, 0));
        let inside = store.lock();
        assert_eq!(
            (inside.gone.len(), inside.order.len()),
            (REMEMBERED_MAX, REMEMBERED_MAX)
        );
    }
}
