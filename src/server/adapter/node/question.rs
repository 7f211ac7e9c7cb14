//! One question to the other servers, until the last answer.

use std::collections::HashMap;

use super::super::message::ServerId;
use super::{PEERS_MAX, Ticket, Told};

/// Answers of sockets to one broadcast at most.
const ANSWERS_MAX: usize = 1_000_000;

/// What was asked of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Their sockets.
    Sockets,
    /// One answer of each.
    Event,
    /// Answers of their sockets.
    Broadcast,
}

/// What one server has said.
#[derive(Debug, Default)]
struct Said {
    /// Its one word, or how many answers its sockets will give.
    count: Option<usize>,
    answers: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Question {
    ticket: Ticket,
    asked: Asked,
    deadline_ms: u64,
    /// Only servers that came before this one of all arrivals are waited for. `None`: whoever answers is one of those.
    before: Option<u64>,
    /// How many have not said their word.
    missing: usize,
    said: HashMap<ServerId, Said>,
    /// Of sockets: to be expected, and here.
    expected: usize,
    answers: usize,
    is_counted: bool,
}

impl Question {
    /// To so many servers: those that are known, which are those that came before this one of all arrivals.
    pub(super) fn to_known(ticket: Ticket, asked: Asked, servers: usize, before: u64) -> Self {
        Question {
            before: Some(before),
            ..Self::to_number(ticket, asked, servers)
        }
    }

    /// To so many servers, whoever they are.
    pub(super) fn to_number(ticket: Ticket, asked: Asked, servers: usize) -> Self {
        Question {
            ticket,
            asked,
            deadline_ms: u64::MAX,
            before: None,
            missing: servers,
            said: HashMap::new(),
            expected: 0,
            answers: 0,
            is_counted: false,
        }
    }

    pub(super) fn until(self, deadline_ms: u64) -> Self {
        Question {
            deadline_ms,
            ..self
        }
    }

    pub(super) fn is_broadcast(&self) -> bool {
        self.asked == Asked::Broadcast
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    /// Takes what a server says, that came as this one of all arrivals if it is known. `false`: it is nothing that was asked, or too much of it.
    pub(super) fn takes(&mut self, sender: &ServerId, arrival: Option<u64>, told: &Told) -> bool {
        if !self.said.contains_key(sender) && self.said.len() >= 2 * PEERS_MAX {
            return false;
        }
        let said = self.said.entry(sender.clone()).or_default();
        match (self.asked, told) {
            (Asked::Broadcast, Told::Answer(_)) => {
                // Where a server has said how many sockets it has, it has not more of them.
                let is_too_much = said.count.is_some_and(|count| said.answers >= count);
                if is_too_much || self.answers >= ANSWERS_MAX {
                    return false;
                }
                said.answers += 1;
                self.answers += 1;
                return true;
            }
            (Asked::Broadcast, Told::Count(count)) if said.count.is_none() => {
                said.count = Some(*count);
                self.expected = self.expected.saturating_add(*count);
            }
            (Asked::Sockets, Told::Sockets(_)) | (Asked::Event, Told::Answer(_))
                if said.count.is_none() =>
            {
                said.count = Some(0);
            }
            _ => return false,
        }
        if self.awaits(arrival) {
            self.missing = self.missing.saturating_sub(1);
        }
        true
    }

    fn awaits(&self, arrival: Option<u64>) -> bool {
        match (self.before, arrival) {
            (None, _) => true,
            (Some(before), Some(arrival)) => arrival < before,
            (Some(_), None) => false,
        }
    }

    /// A server is gone: it has no more sockets than have answered. Returns what that changes for the asker.
    pub(super) fn lose(&mut self, server: &ServerId, arrival: u64) -> Option<Told> {
        let has_spoken = self
            .said
            .get(server)
            .is_some_and(|said| said.count.is_some());
        if !has_spoken && self.awaits(Some(arrival)) {
            self.missing = self.missing.saturating_sub(1);
        }
        let said = self.said.get_mut(server)?;
        let answers = said.answers;
        match said.count.replace(answers) {
            // It answered, and had no time to count.
            None if self.asked == Asked::Broadcast && answers > 0 => {
                self.expected = self.expected.saturating_add(answers);
                Some(Told::Count(answers))
            }
            Some(count) if count > answers => {
                self.expected = self.expected.saturating_sub(count - answers);
                Some(Told::Lost(count - answers))
            }
            _ => None,
        }
    }

    /// The servers that have not said their word.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// True once: when all servers have said how many answers are to be expected.
    pub(super) fn has_just_counted(&mut self) -> bool {
        let is_counted = self.is_broadcast() && self.missing == 0;
        is_counted && !std::mem::replace(&mut self.is_counted, true)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0 && (!self.is_broadcast() || self.answers >= self.expected)
    }
}
