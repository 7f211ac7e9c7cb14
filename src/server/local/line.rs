//! In what order handlers run: those of one socket one after the other, also when they wait.

use std::collections::VecDeque;

use super::Local;
use crate::reactor::ConnKey;
use crate::server::handler::Outcome;
use crate::server::task::{self, LocalFuture};
use crate::shard::command::Command;
use crate::shard::hall::SocketKey;

/// What a waiting event costs beside its bytes, so that a flood of empty events is bounded, too.
pub(super) const WAITING_OVERHEAD: usize = 256;

/// Work that waits until the handler before it has ended.
pub(super) type Waiting = Box<dyn FnOnce() -> Outcome>;

/// What waits for a handler of one socket to end.
#[derive(Default)]
pub(super) struct Line {
    waiting: VecDeque<(usize, Waiting)>,
    bytes: usize,
    /// The connection from which nothing is read until the line is shorter.
    paused: Option<ConnKey>,
}

impl Local {
    /// Runs `now`, unless a handler of this socket has not ended: then `later` is asked for an owned form, which waits in line.
    pub(super) fn run_in_order(
        &self,
        key: SocketKey,
        now: impl FnOnce() -> Outcome,
        later: impl FnOnce() -> (usize, Waiting),
    ) {
        let busy = !self.lines.borrow().is_empty() && self.lines.borrow().contains_key(&key);
        if busy {
            let (bytes, waiting) = later();
            return self.queue(key, bytes, waiting);
        }
        if let Outcome::Pending(future) = caught(now) {
            self.lines.borrow_mut().insert(key, Line::default());
            self.follow(key, future);
        }
    }

    pub(super) fn queue(&self, key: SocketKey, bytes: usize, waiting: Waiting) {
        let mut lines = self.lines.borrow_mut();
        let Some(line) = lines.get_mut(&key) else {
            return;
        };
        line.waiting.push_back((bytes, waiting));
        line.bytes += bytes;
        if line.bytes > self.shared.settings.backlog_max && line.paused.is_none() {
            line.paused = self.hall.connection_of(key);
            if let Some(connection) = line.paused {
                self.hall.command(Command::Pause { connection });
            }
        }
    }

    /// Waits for a handler, then for each that waits in line behind it.
    pub(super) fn follow(&self, key: SocketKey, first: LocalFuture) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        task::spawn_on(
            self.hall.clone(),
            Box::pin(async move {
                task::guarded(first).await;
                while let Some(next) = this.next_in_line(key) {
                    if let Outcome::Pending(future) = caught(next) {
                        task::guarded(future).await;
                    }
                }
            }),
        );
    }

    pub(super) fn next_in_line(&self, key: SocketKey) -> Option<Waiting> {
        let mut lines = self.lines.borrow_mut();
        let line = lines.get_mut(&key)?;
        let next = line.waiting.pop_front();
        line.bytes -= next.as_ref().map_or(0, |(bytes, _)| *bytes);
        // The socket may have left meanwhile, and its connection live on: so it is not asked for its connection again.
        if line.bytes <= self.shared.settings.backlog_max / 2
            && let Some(connection) = line.paused.take()
        {
            self.hall.command(Command::Resume { connection });
        }
        if next.is_none() {
            lines.remove(&key);
        }
        next.map(|(_, waiting)| waiting)
    }

    /// What waits for a socket that has left is not handled any more; its connection, if it lives on, is read from again at once, however
    /// long the handler takes that is still at work.
    pub(super) fn abandon_line(&self, key: SocketKey) {
        let (waiting, paused) = match self.lines.borrow_mut().get_mut(&key) {
            None => return,
            Some(line) => {
                line.bytes = 0;
                (std::mem::take(&mut line.waiting), line.paused.take())
            }
        };
        if let Some(connection) = paused {
            self.hall.command(Command::Resume { connection });
        }
        drop(waiting);
    }

    /// Runs a handler for whose end nothing waits.
    pub(crate) fn run_detached(&self, handler: impl FnOnce() -> Outcome) {
        if let Outcome::Pending(future) = caught(handler) {
            task::spawn_on(self.hall.clone(), future);
        }
    }
}

/// Runs handlers of the user; a panic in them is logged and counted.
pub(super) fn caught(run: impl FnOnce() -> Outcome) -> Outcome {
    task::guard(run).unwrap_or(Outcome::Done)
}

/// Several handlers of one event: all are begun in order, and those that wait do so at the same time; the event has ended when all have.
pub(super) fn all(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let mut pending: Vec<LocalFuture> = outcomes
        .filter_map(|outcome| match outcome {
            Outcome::Done => None,
            Outcome::Pending(future) => Some(future),
        })
        .collect();
    match pending.len() {
        0 => Outcome::Done,
        1 => pending.pop().map_or(Outcome::Done, Outcome::Pending),
        _ => Outcome::Pending(Box::pin(task::all_guarded(pending))),
    }
}

#[cfg(test)]
mod tests;
