//! Broadcasts that ask for an answer: who has been asked on this core and has not answered yet.
//!
//! Whoever asks holds the receiving end of a channel, and every core that has members asked holds a sending end, until all of them have
//! answered. So the channel ends with the last answer, on whichever core, and nobody counts over cores.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::{Hall, SocketKey};
use crate::shard::mail::Mail;

/// What a broadcast that asks carries beside its message.
#[derive(Clone)]
pub(crate) struct Asking {
    /// The id in the packet: unique among all that this server asks.
    pub(crate) id: u64,
    pub(crate) reports: UnboundedSender<Report>,
}

/// What whoever asks is told.
pub(crate) enum Report {
    /// So many were asked: each core that was told says it once, before any answer of one of its members.
    Count(usize),
    /// One of them answered: the JSON array of its arguments, and their attachments.
    Answer {
        json: Bytes,
        attachments: Vec<Bytes>,
    },
    /// Some on other servers will not answer, or not in time.
    NotAll,
}

/// A core's questions that are open. One costs about 100 bytes, and 16 for each socket that has not answered.
#[derive(Default)]
pub(super) struct Asked {
    open: HashMap<u64, Open>,
    /// As many open ones as make it worthwhile to look for those that nobody waits for any more.
    sweep_at: usize,
}

struct Open {
    /// Keys are not used again, so one that has left stays as one that does not answer.
    outstanding: HashSet<SocketKey>,
    reports: UnboundedSender<Report>,
}

/// Fewer open questions are not worth a search.
const SWEEP_MIN: usize = 64;

impl Asked {
    /// Notes who was asked, and reports how many that are.
    pub(super) fn note(&mut self, asking: &Asking, sockets: &[SocketKey]) {
        let told = asking.reports.send(Report::Count(sockets.len()));
        if sockets.is_empty() || told.is_err() {
            return;
        }
        // Whoever stops waiting says so; but that may have been before the question got here.
        if self.open.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.open.retain(|_, open| !open.reports.is_closed());
            self.sweep_at = self.open.len() * 2;
        }
        let open = Open {
            outstanding: sockets.iter().copied().collect(),
            reports: asking.reports.clone(),
        };
        self.open.insert(asking.id, open);
    }

    /// Takes an answer. `false`: this socket was not asked, has answered, or nobody waits for it any more.
    fn answered(&mut self, key: SocketKey, id: u64, json: &[u8], attachments: &[Bytes]) -> bool {
        let Some(open) = self.open.get_mut(&id) else {
            return false;
        };
        if !open.outstanding.remove(&key) {
            return false;
        }
        let answer = Report::Answer {
            json: Bytes::copy_from_slice(json),
            attachments: attachments.to_vec(),
        };
        let is_wanted = open.reports.send(answer).is_ok();
        if open.outstanding.is_empty() || !is_wanted {
            self.open.remove(&id);
        }
        is_wanted
    }
}

impl Hall {
    /// A socket acknowledged the packet of this id, which was not emitted to it alone.
    pub(crate) fn answered(
        &self,
        key: SocketKey,
        id: u64,
        json: &[u8],
        attachments: &[Bytes],
    ) -> bool {
        let asked = &mut self.state.borrow_mut().asked;
        asked.answered(key, id, json, attachments)
    }

    /// Nobody waits for answers to this packet any more.
    pub(crate) fn unask(&self, id: u64) {
        self.state.borrow_mut().asked.open.remove(&id);
    }

    /// The same on all cores.
    pub(crate) fn unask_everywhere(&self, id: u64) {
        let state = &mut *self.state.borrow_mut();
        state.asked.open.remove(&id);
        state.outbox.post_all(|| Mail::Unasked { id });
        self.wake_shard();
    }

    /// Questions that are open.
    #[cfg(test)]
    pub(crate) fn open_questions(&self) -> usize {
        self.state.borrow().asked.open.len()
    }
}
