//! How a run ends: everybody goes, and nothing is left of them.

use super::Run;
use super::client::{Client, Ending, Kind};
use super::plan::Finale;
use super::stage::{PING_INTERVAL_MS, SCOPES};
use crate::server::fixture;

/// Longer than a shutdown lets clients be, and than the other side's FIN is waited for.
const PATIENCE_MS: u64 = 6000;

impl Run {
    pub(super) fn end(&mut self) {
        match self.plan.finale {
            Finale::Exodus => self.exodus(),
            Finale::Silence => self.silence(),
            Finale::Shutdown => return self.shut_down_one_by_one(),
        }
        let waits = |client: &Client| client.ghost_for.is_some() || client.is_stuck();
        while self.clients.iter().any(waits) {
            self.let_pass(PING_INTERVAL_MS);
        }
        self.check_vacant();
        self.world.server.shutdown();
        self.rest();
        self.check_over();
    }

    /// Everybody goes by itself, so nobody has to be waited for.
    fn exodus(&mut self) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.dead {
                client.finish();
                continue;
            }
            let leaving = client.ending.is_some() && client.kind != Kind::Stillborn;
            if leaving {
                client.slow = false;
                continue;
            }
            let free = client.is_free() && !(client.slow && self.dice.below(2) == 0);
            let how = [Ending::Close, Ending::Fin, Ending::Asked, Ending::Reset];
            let how = if free {
                how[self.dice.below(4)]
            } else {
                Ending::Reset
            };
            client.slow = false;
            self.leave(index, how);
            if self.dice.below(3) == 0 {
                self.world.step(self.clients[index].core, true);
            }
        }
        self.rest();
    }

    /// Nobody says or answers anything any more; some do not even read.
    fn silence(&mut self) {
        for client in &mut self.clients {
            client.mute = true;
            client.slow |= self.dice.below(4) == 0;
        }
        for _ in 0..5 {
            self.let_pass(PING_INTERVAL_MS);
        }
        for client in &mut self.clients {
            client.slow = false;
        }
        self.rest();
    }

    fn shut_down_one_by_one(&mut self) {
        let mut cores: Vec<usize> = (0..self.plan.cores).collect();
        while !cores.is_empty() {
            let core = cores.swap_remove(self.dice.below(cores.len()));
            self.rest();
            self.begin_shutdown(core);
            for _ in 0..self.dice.below(20) {
                self.step();
            }
        }
        self.rest();
        for _ in 0..3 {
            self.let_pass(PATIENCE_MS);
        }
        self.check_over();
    }

    fn begin_shutdown(&mut self, core: usize) {
        if self.world.cores[core].shard.is_none() {
            return;
        }
        self.world.cores[core].shutdown_begun = true;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client
                .polling
                .as_ref()
                .is_some_and(|polling| polling.uses(core))
            {
                // What it asks for in this moment may be cut off.
                client.excused = true;
                self.lose(index);
            }
            if self.clients[index].core == core && !self.clients[index].dead {
                // What is on the way when the core closes a connection is not read any more.
                self.lose(index);
                self.leave(index, Ending::Shutdown);
                self.lose(index);
            }
        }
        fixture::shut_down(&self.world.server, core);
    }

    /// Panics unless nobody is known to anybody, on this core or another.
    fn check_vacant(&self) {
        for (index, core) in self.world.cores.iter().enumerate() {
            core.check_empty();
            assert_eq!(self.world.network.open_descriptors(index), 0);
            core.hall.with_rooms(|rooms| {
                let kept = SCOPES
                    .iter()
                    .filter(|name| rooms.find_scope(name).is_some());
                let kept: Vec<_> = kept
                    .map(|name| (name, super::rest::interest(rooms, name, 0)))
                    .collect();
                assert!(kept.is_empty(), "core {index} keeps scopes: {kept:?}");
            });
        }
        self.world.network.check_quiescent();
    }

    fn check_over(&self) {
        for (index, core) in self.world.cores.iter().enumerate() {
            assert!(core.shard.is_none(), "core {index} is not over");
            assert_eq!(self.world.network.open_descriptors(index), 0);
            assert_eq!(self.world.network.buffers_lent(index), 0);
        }
        self.world.network.check_quiescent();
    }
}
