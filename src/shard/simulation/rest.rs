//! Everything comes to rest, and then is as it must be.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::client::{Client, Ending, Kind};
use super::ledger::{EVERYONE, FIRST_ROOM, Name, ROOMS, Room};
use super::play::room_name;
use super::stage::{self, SCOPES};
use super::{Run, fixture};
use crate::room::Rooms;
use crate::server::fixture::fault_count;
use crate::shard::census::Census;

/// Rounds after which a run that does not come to rest is given up. The longest that were seen took a hundredth of it.
const ROUNDS_MAX: usize = 100_000;

impl Run {
    /// Lets all go on, in changing order, until nobody has anything to do; then looks at everything.
    pub(super) fn rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut active = false;
            let first = self.dice.below(self.plan.cores);
            for core in 0..self.plan.cores {
                let announce = self.dice.below(4) > 0;
                let core = (first + core) % self.plan.cores;
                active |= self.world.step(core, announce);
            }
            for client in 0..self.clients.len() {
                active |= self.pump(client);
            }
            active |= stage::release(&mut self.dice);
            if active {
                continue;
            }
            match self.world.near_deadline() {
                Some(ms) => self.world.network.advance(ms + 8),
                None if self.check_asked() => {}
                None => return self.check(),
            }
        }
        panic!("it does not come to rest");
    }

    /// Time passes while all is at rest: whoever cannot answer then may be given up.
    pub(super) fn let_pass(&mut self, ms: u64) {
        for client in &mut self.clients {
            let homeless = client.kind == Kind::SocketIo && client.members == [None; 3];
            client.excused |= client.slow || client.mute || homeless;
            client.mute_for += usize::from(client.mute && !client.slow);
            client.ghost_for = client.ghost_for.map(|ghost| ghost + 1);
        }
        self.world.network.advance(ms);
        self.rest();
        for client in &mut self.clients {
            // Not answered, given up, and no GET came for its last words: by now it must be forgotten.
            client.ghost_for.take_if(|ghost| *ghost > 4);
        }
        for (index, client) in self.clients.iter().enumerate() {
            // Once to be asked, once to be given up, and once more for what it said before it fell silent.
            let kept = client.mute_for > 3 && !client.dead && !client.slow;
            assert!(!kept, "client {index} is silent, and the server keeps it");
        }
    }

    fn check(&mut self) {
        self.world.check_mail();
        self.world.check_rooms();
        self.world.check_operations();
        for (index, core) in self.world.cores.iter().enumerate() {
            if let Some(shard) = &core.shard {
                self.ledger.settle(index);
                assert!(self.unexplained[index] <= shard.counters().cut_slow);
                assert_eq!(self.world.network.buffers_lent(index), 0);
                assert_eq!(fault_count(&core.local), 0, "core {index} refused events");
            }
        }
        assert_eq!(fixture::panics(), self.panics_before, "a handler panicked");
        for index in 0..self.clients.len() {
            let client = &self.clients[index];
            if !client.dead && !client.slow && !client.is_stuck() {
                self.check_client(index);
                self.clients[index].is_fresh = false;
                self.retire(index);
            }
        }
        self.check_due();
        self.check_sessions();
        self.check_counts();
        self.check_membership();
    }

    /// A client that reads has been told all there is.
    fn check_client(&self, index: usize) {
        let client = &self.clients[index];
        let what = |what: &str| {
            let shard = self.world.cores[client.core].shard.as_ref();
            let roll = shard.map(|shard| shard.roll());
            format!(
                "client {index}, {}: {what}; its core: {roll:?}",
                client.state()
            )
        };
        assert!(!client.has_rest(), "{}", what("half a frame is left"));
        if client.kind == Kind::Stillborn || client.mute {
            return;
        }
        let polls = client.polling.as_ref();
        assert!(
            polls.is_none_or(|polling| polling.is_at_rest()),
            "{}",
            what("a GET or POST does not end")
        );
        let ended = client.ending.is_some() || client.close_heard.is_some();
        assert!(!ended, "{}", what("the server does not end it"));
        assert!(
            client.packet.is_none(),
            "{}",
            what("attachments are missing")
        );
        assert!(client.pings.is_empty(), "{}", what("a Ping is unanswered"));
        assert!(client.binaries.is_empty(), "{}", what("an echo is missing"));
        assert_eq!(client.pending, [None; 3], "{}", what("not let in"));
        for name in client.names() {
            let left = !self.ledger.is_connected(name);
            let asked = client
                .questions
                .get(&name)
                .is_some_and(|asked| !asked.is_empty());
            assert!(left || !asked, "{}", what("a question is unanswered"));
            assert!(
                !client.kicked.contains(&Some(name)),
                "{}",
                what("not disconnected")
            );
        }
    }

    /// Members that left their namespace by themselves are gone by now, though nothing says so to the client.
    fn retire(&mut self, index: usize) {
        for scope in 0..SCOPES.len() {
            let member = self.clients[index].members[scope];
            if let Some(name) = member.filter(|name| !self.ledger.wants_in(*name, EVERYONE)) {
                self.clients[index].members[scope] = None;
                self.ledger.gone(name);
            }
        }
    }

    fn check_due(&self) {
        let reads = |name: Name| {
            let client = self.owners.get(&name).map(|owner| &self.clients[*owner]);
            client.is_none_or(|client| !client.slow && !client.is_stuck() && !client.breaks_off())
        };
        for name in self.ledger.present().filter(|name| reads(*name)) {
            // What a slow client sends may have to wait until it reads what it gets.
            let lost: Vec<_> = self
                .ledger
                .due(name)
                .filter(|(sender, _)| reads(*sender))
                .collect();
            let state = |name: Name| {
                let owner = *self.owners.get(&name)?;
                let state = self.clients[owner].state();
                Some(format!("client {owner}, {state}"))
            };
            assert!(
                lost.is_empty(),
                "{name} ({:?}) did not hear {lost:?} ({:?})",
                state(name),
                state(lost[0].0)
            );
        }
    }

    /// Sessions on polling are those of the clients, each holds a GET, and nothing is half done.
    fn check_sessions(&self) {
        if self.clients.iter().any(Client::is_hidden) {
            return;
        }
        for (index, core) in self.world.cores.iter().enumerate() {
            let Some(shard) = &core.shard else { continue };
            let clients = self.clients.iter().filter(|client| client.core == index);
            let sessions =
                clients.filter_map(|client| client.polling.as_ref().filter(|_| !client.dead));
            let mut expected = Census::default();
            for session in sessions {
                expected.sessions += 1;
                expected.polls += 1;
                expected.probes += session.probes();
                expected.probed += usize::from(session.probes() > 0);
            }
            let (census, roll) = (shard.census(), shard.roll());
            let all = self.states(index);
            assert_eq!(census, expected, "core {index}: {roll:?} of {all:#?}");
        }
    }

    /// Of all clients that there have been on a core.
    fn states(&self, core: usize) -> Vec<String> {
        let here = self.clients.iter().filter(|client| client.core == core);
        here.map(Client::state).collect()
    }

    /// Those who answered have been heard, once each, and nobody else. `true`: of some questions not all answers have come, and now nobody waits
    /// for the others any more.
    fn check_asked(&mut self) -> bool {
        // One at a time: a thread that stops waiting does not wait for room in a mailbox to say so.
        if self.unanswered.pop().is_some() {
            return true;
        }
        for (tag, mut acks) in stage::take_asked() {
            let (asked, answers, is_over) = acks.drain();
            let mut answers: Vec<Name> = answers.iter().map(|it| it.parse().unwrap()).collect();
            let mut parts = tag.split(':').map_while(|part| part.parse::<u32>().ok());
            let key = (parts.next().unwrap(), parts.next().unwrap());
            let sent = self.answers.get(&key).map_or(&[][..], |sent| sent);
            let count = answers.len();
            answers.sort_unstable();
            answers.dedup();
            assert_eq!(answers.len(), count, "{key:?} was answered twice");
            let told = |name: &Name| answers.binary_search(name).is_ok();
            assert!(answers.iter().all(|name| sent.contains(name)), "{key:?}");
            for name in sent.iter().filter(|name| !told(name)) {
                let client = &self.clients[self.owners[name]];
                let lost = client.dead
                    || client.slow
                    || client.is_hidden()
                    || client.members.iter().all(|member| *member != Some(*name))
                    || !self.ledger.wants_in(*name, EVERYONE);
                assert!(lost, "{name} answered {key:?} in vain: {}", client.state());
            }
            assert_eq!(is_over, answers.len() == asked, "{key:?}: {asked} asked");
            if !is_over {
                self.unanswered.push(acks);
            }
        }
        self.unanswered.pop().is_some()
    }

    fn check_counts(&self) {
        let mut cx = Context::from_waker(Waker::noop());
        for receivers in stage::take_counts() {
            let counted = pin!(receivers).poll(&mut cx);
            assert!(
                matches!(counted, Poll::Ready(_)),
                "a core did not report its receivers"
            );
        }
    }

    // ---- membership ----

    fn check_membership(&self) {
        for (scope, scope_name) in SCOPES.iter().enumerate() {
            for room in std::iter::once(EVERYONE).chain(FIRST_ROOM..ROOMS) {
                self.check_room(scope, scope_name, room);
            }
        }
        for core in self.world.cores.iter().filter(|core| core.shard.is_some()) {
            let members: usize = SCOPES
                .iter()
                .map(|scope| population(core, scope, EVERYONE))
                .sum();
            let (seats, silent) = core.hall.seats();
            assert_eq!(seats, members + silent);
            assert_eq!(core.local.census(), (seats, 0));
        }
    }

    fn check_room(&self, scope: usize, scope_name: &str, room: Room) {
        let living = || self.world.cores.iter().filter(|core| core.shard.is_some());
        for core in living() {
            let index = core.hall.core();
            let what = format!("core {index}, {} in {scope_name}", room_name(room));
            let members = population(core, scope_name, room);
            let hidden = |client: &Client| client.core == index && client.is_hidden();
            if !self.clients.iter().any(hidden)
                && let Some(expected) = self.ledger.population(scope, index, room)
            {
                let all = self.states(index);
                assert_eq!(members, expected, "members of {what} of {all:#?}");
            }
            for other in living().filter(|other| other.hall.core() != index) {
                let knows = core
                    .hall
                    .with_rooms(|rooms| interest(rooms, scope_name, room));
                let told = knows.is_some_and(|cores| cores.contains(other.hall.core()));
                let has = population(other, scope_name, room) > 0;
                assert_eq!(told, has, "{what} knows of core {}", other.hall.core());
            }
        }
    }
}

impl Client {
    /// What the server thinks of it can be unknown to itself.
    fn is_hidden(&self) -> bool {
        let living = self.slow || self.mute || self.ending == Some(Ending::Shutdown);
        let hidden = living || self.is_stuck() || self.breaks_off();
        self.ghost_for.is_some() || !self.dead && hidden
    }
}

fn name_in(room: Room) -> Option<String> {
    (room != EVERYONE).then(|| room_name(room))
}

fn population(core: &super::world::Core, scope: &str, room: Room) -> usize {
    core.hall.with_rooms(|rooms| {
        let scope = rooms.find_scope(scope);
        scope.map_or(0, |scope| rooms.population(scope, name_in(room).as_deref()))
    })
}

pub(super) fn interest(
    rooms: &Rooms,
    scope: &str,
    room: Room,
) -> Option<crate::room::cores::CoreSet> {
    let scope = rooms.find_scope(scope)?;
    Some(rooms.interest(scope, name_in(room).as_deref()))
}
