//! What tests ask of a core: who is there, and what is left.

use super::application::Application;
use super::connection::{Connection, Phase};
use super::mail::Mail;
use super::mailbox::Mailbox;
use super::{Counters, Shard};
use crate::reactor::Reactor;

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// Sessions on polling.
    pub(crate) sessions: usize,
    /// GETs that they hold.
    pub(crate) polls: usize,
    /// POSTs of theirs that are not answered.
    pub(crate) pushes: usize,
    /// WebSockets that are to take one over.
    pub(crate) probes: usize,
    /// Sessions that have let one of those in.
    pub(crate) probed: usize,
    /// Connections that leave for another core.
    pub(crate) leaving: usize,
    /// Connections that come from another core.
    pub(crate) arriving: usize,
}

impl<R: Reactor, A: Application> Shard<R, A> {
    pub(crate) fn mailbox(&self) -> &Mailbox<Mail> {
        &self.mailbox
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Whether any connection's deadline is in the wheel.
    pub(crate) fn has_timers(&self) -> bool {
        !self.wheel.is_empty()
    }

    pub(crate) fn census(&self) -> Census {
        let mut census = Census {
            arriving: self.arriving.len(),
            ..Census::default()
        };
        for (_, connection) in self.connections.iter() {
            connection.count(&mut census);
        }
        census
    }

    /// What each connection is, for whoever wants to know why it is there.
    pub(crate) fn roll(&self) -> Vec<String> {
        let all = self.connections.iter();
        all.map(|(key, connection)| {
            let (phase, end) = (connection.phase_name(), connection.end);
            let due_ms = connection.next_deadline_ms();
            format!("{}: {phase}, {end:?}, due at {due_ms:?}", key.slot)
        })
        .collect()
    }
}

impl Connection {
    fn count(&self, census: &mut Census) {
        match &self.phase {
            Phase::Engine(engine) => {
                if let Some((poll, push, probe)) = engine.polling() {
                    census.sessions += 1;
                    census.polls += usize::from(poll);
                    census.pushes += usize::from(push);
                    census.probed += usize::from(probe);
                }
            }
            Phase::Probing(_) => census.probes += 1,
            Phase::Moving(_) => census.leaving += 1,
            _ => {}
        }
    }

    fn phase_name(&self) -> &'static str {
        match &self.phase {
            Phase::Opening(_) => "opening",
            Phase::Http(_) => "HTTP",
            Phase::Plain(_) => "a plain WebSocket",
            Phase::Engine(_) if self.descriptor.is_none() => "a session on polling",
            Phase::Engine(_) => "a session",
            Phase::Probing(_) => "a probe",
            Phase::Moving(_) => "moving",
            Phase::Over => "over",
        }
    }
}
