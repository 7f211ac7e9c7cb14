//! What clients on polling do beside what all do: they probe, and break off.

use super::client::Ending;
use super::probe::Purpose;
use super::{Run, stage};
use crate::proto::reason::DisconnectReason;

/// How often an answer is looked for: it may come in pieces.
const ANSWERS: usize = 4;

impl Run {
    /// The cores that can be connected to.
    pub(super) fn doors(&self) -> Vec<usize> {
        let cores = self.world.cores.iter().enumerate();
        let open = cores.filter(|(_, core)| core.shard.is_some() && !core.shutdown_begun);
        open.map(|(index, _)| index).collect()
    }

    pub(super) fn act_on_polling(&mut self, index: usize) {
        let purpose = match self.dice.below(16) {
            0 => return self.break_off(index),
            1 | 2 => Purpose::Idle,
            3 => Purpose::Stuck,
            4 | 5 => Purpose::Nonsense,
            6..9 => Purpose::Eager,
            _ => Purpose::Upgrade,
        };
        let doors = self.doors();
        let Run { clients, dice, .. } = self;
        if let Some(polling) = &mut clients[index].polling {
            polling.begin_probe(purpose, &doors, dice);
        }
    }

    /// It goes without a word, with whatever is under way.
    pub(super) fn vanish(&mut self, index: usize, by_reset: bool) {
        let client = &mut self.clients[index];
        if client.polling.is_some() || client.is_fresh && by_reset {
            // Somebody notices if a request was being handled, and nobody if not.
            client.ghost_for = Some(0);
            self.lose(index);
        }
        let client = &mut self.clients[index];
        if by_reset {
            client.reset();
        } else {
            client.finish();
        }
        self.bury(index);
    }

    /// With all at rest, a GET is held. When that or a POST is broken off, the session ends at once, and tells why.
    fn break_off(&mut self, index: usize) {
        if self.plan.harsh {
            // What breaks by itself proves nothing.
            return;
        }
        self.rest();
        let doors = self.doors();
        let client = &mut self.clients[index];
        let free = client.is_free() && !client.slow;
        let Some(polling) = client.polling.take_if(|of| free && of.is_at_rest()) else {
            return;
        };
        let names = client.names();
        client.finished = true;
        let Some(mut breach) = polling.into_breach(&doors, &mut self.dice) else {
            return;
        };
        self.rest();
        // Others may have had their time out meanwhile, and that was told.
        while breach.polls_again() {
            self.rest();
        }
        self.clients[index].ending = Some(Ending::Fin);
        for name in &names {
            self.farewell(*name);
        }
        self.bury(index);
        breach.act();
        for _ in 0..ANSWERS {
            // The client is dead, and not hidden: the server must have forgotten it.
            self.rest();
            if let Err(error) = breach.read() {
                panic!("client {index} broke off: {error}");
            }
        }
        breach.check();
        for name in names {
            let reason = stage::reason_of(name);
            assert_eq!(reason, Some(DisconnectReason::TransportError), "{name}");
        }
    }
}
