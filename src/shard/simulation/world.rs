//! The cores and the network around them: whose turn it is, who sleeps, and when all is at rest.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::plan::Plan;
use super::stage;
use crate::reactor::fake::{Fake, Network};
use crate::reactor::{Reactor, Wait};
use crate::server::fixture::{self, CoreParts, Local};
use crate::server::{Builder, Server};
use crate::shard::census::Census;
use crate::shard::hall::Hall;
use crate::shard::mailbox::with_capacity;
use crate::shard::{Pace, Shard, thread};

use tokio::runtime::{self, Runtime};
use tokio::task::{LocalSet, yield_now};

/// Deadlines this near are waited for when everything else is at rest (a failed accept is tried again).
const NEAR_MS: u64 = 150;

/// One core, as [`thread::run`] would have it.
pub(super) struct Core {
    /// `None`: it was shut down and is over.
    pub(super) shard: Option<Shard<Fake, Rc<Local>>>,
    pub(super) hall: Rc<Hall>,
    pub(super) local: Rc<Local>,
    /// What handlers wait in.
    tasks: LocalSet,
    /// What stands for the eventfd by which other threads wake it.
    bell: Arc<AtomicBool>,
    pace: Pace,
    asleep: bool,
    pub(super) shutdown_begun: bool,
}

pub(super) struct World {
    pub(super) network: Network,
    pub(super) cores: Vec<Core>,
    pub(super) server: Server,
    capacity: usize,
    runtime: Runtime,
    pub(super) turns: u64,
}

impl World {
    pub(super) fn new(seed: u64, plan: &Plan) -> World {
        World::of(seed, plan, stage::builder(plan))
    }

    /// The same with another application.
    pub(super) fn of(seed: u64, plan: &Plan, builder: Builder) -> World {
        let network = Network::new(seed, plan.faults);
        let bells: Vec<Arc<AtomicBool>> = (0..plan.cores).map(|_| Arc::default()).collect();
        let mailboxes = bells.iter().map(|bell| {
            let bell = bell.clone();
            with_capacity(
                plan.capacity,
                Arc::new(move || bell.store(true, Ordering::SeqCst)),
            )
        });
        let (server, parts) = fixture::cores(builder, mailboxes.collect());
        let cores = parts.into_iter().zip(bells).enumerate();
        let cores = cores
            .map(|(core, (parts, bell))| Core::new(parts, network.reactor(core), bell))
            .collect();
        World {
            network,
            cores,
            server,
            capacity: plan.capacity,
            runtime: runtime::Builder::new_current_thread().build().unwrap(),
            turns: 0,
        }
    }

    /// Lets a core go on, if it can. `false`: it sleeps, and nothing has woken it.
    pub(super) fn step(&mut self, core: usize, announce: bool) -> bool {
        let now_ms = self.network.now_ms();
        let work = self.network.has_work(core);
        let this = &mut self.cores[core];
        if this.shard.is_none() {
            return false;
        }
        let woken = this.run_tasks(&self.runtime) && this.hall.wants_turn();
        let rung = this.bell.load(Ordering::SeqCst);
        let due = this.pace.deadline_ms.is_some_and(|at| at <= now_ms);
        if this.asleep && !(work || rung || due || woken) {
            return false;
        }
        if !this.asleep && announce && this.fall_asleep() {
            return true;
        }
        self.turns += 1;
        this.turn();
        true
    }

    /// A task of the user is about to run on this core: so it does not sleep.
    pub(super) fn rouse(&mut self, core: usize) {
        self.cores[core].asleep = false;
    }

    /// When the first of the sleeping cores wakes by itself, if that is soon.
    pub(super) fn near_deadline(&self) -> Option<u64> {
        let now_ms = self.network.now_ms();
        let living = self.cores.iter().filter(|core| core.shard.is_some());
        let first = living.filter_map(|core| core.pace.deadline_ms).min()?;
        (first <= now_ms + NEAR_MS).then(|| first.saturating_sub(now_ms))
    }

    /// Whether a thread that is no core can post so many mails to each living core without waiting.
    pub(super) fn has_room_for_mail(&self, mails: usize) -> bool {
        let mut shards = self.cores.iter().filter_map(|core| core.shard.as_ref());
        shards.all(|shard| shard.mailbox().len() + mails <= self.capacity)
    }

    /// Panics if mail lies in front of a core that sleeps, or could not be delivered.
    pub(super) fn check_mail(&self) {
        for (index, core) in self.cores.iter().enumerate() {
            let Some(shard) = &core.shard else { continue };
            let (mails, waiting) = (shard.mailbox().len(), core.mail_waiting());
            assert!(mails == 0, "core {index} sleeps in front of {mails} mails");
            assert!(
                waiting == 0,
                "core {index} sleeps and keeps {waiting} mails"
            );
            assert!(core.asleep && !core.hall.wants_turn());
        }
    }

    /// Panics if a core keeps a question that nobody waits for, or takes a joining to be on its way that has arrived.
    pub(super) fn check_operations(&self) {
        // A core that has ended answers nobody; what it was asked then is remembered until the end, which is near.
        let all_live = self.cores.iter().all(|core| core.shard.is_some());
        for (index, core) in self.cores.iter().enumerate() {
            if core.shard.is_some() {
                let hall = &core.hall;
                assert_eq!(hall.open_questions(), 0, "core {index} keeps questions");
                assert!(
                    !(all_live && hall.assumes_interest()),
                    "core {index} waits for joinings"
                );
            }
        }
    }

    pub(super) fn check_rooms(&self) {
        for core in self.cores.iter().filter(|core| core.shard.is_some()) {
            core.hall.with_rooms(|rooms| rooms.invariants());
        }
    }
}

impl Core {
    fn new(parts: CoreParts, reactor: Fake, bell: Arc<AtomicBool>) -> Core {
        let CoreParts {
            hall,
            local,
            settings,
            mailbox,
        } = parts;
        let shard = Shard::new(reactor, local.clone(), hall.clone(), settings, mailbox);
        Core {
            shard: Some(shard),
            hall,
            local,
            tasks: LocalSet::new(),
            bell,
            pace: Pace {
                active: true,
                more: true,
                deadline_ms: None,
            },
            asleep: false,
            shutdown_begun: false,
        }
    }

    pub(super) fn mail_waiting(&self) -> usize {
        self.hall.with_outbox(|outbox| outbox.waiting())
    }

    fn fall_asleep(&mut self) -> bool {
        let rest = !self.pace.more && !self.hall.wants_turn();
        let shard = self.shard.as_ref();
        self.asleep = rest && shard.is_some_and(Shard::fall_asleep);
        self.asleep
    }

    /// Lets tasks go on, as they do between two turns. `false`: there are none.
    fn run_tasks(&mut self, runtime: &Runtime) -> bool {
        if self.hall.tasks() == 0 {
            return false;
        }
        let _core = thread::enter(self.hall.clone());
        // A task that one of them has woken comes in the next round.
        let rounds = async {
            for _ in 0..3 {
                yield_now().await;
            }
        };
        runtime.block_on(self.tasks.run_until(rounds));
        true
    }

    fn turn(&mut self) {
        let Some(shard) = &mut self.shard else { return };
        let _core = thread::enter(self.hall.clone());
        let _tasks = self.tasks.enter();
        if self.bell.swap(false, Ordering::SeqCst) {
            // The eventfd of this very core.
            let own = self.hall.core();
            shard.reactor_mut().wake(own);
        }
        self.asleep = false;
        self.pace = shard.turn(Wait::No).unwrap();
        if shard.is_over() {
            self.check_empty();
            self.shard = None;
        }
    }

    /// Panics unless nothing is left of all who were here.
    pub(super) fn check_empty(&self) {
        let index = self.hall.core();
        if let Some(shard) = &self.shard {
            let roll = shard.roll();
            assert_eq!(shard.connections(), 0, "core {index} keeps {roll:?}");
            assert_eq!(shard.census(), Census::default(), "core {index}");
            assert!(!shard.has_timers(), "core {index} keeps timers");
        }
        assert_eq!(self.hall.seats().0, 0, "core {index} keeps seats");
        assert_eq!(self.local.census(), (0, 0), "core {index} keeps sockets");
        assert_eq!(self.local.asking(), 0, "core {index} keeps what was asked");
        assert_eq!(self.local.inhabited(), 0, "core {index} keeps children");
        assert!(!self.hall.is_busy(), "core {index} is busy for nobody");
        assert!(
            !self.hall.has_work(),
            "core {index} keeps marks or commands"
        );
        self.hall.with_rooms(|rooms| {
            for scope in stage::SCOPES
                .iter()
                .filter_map(|name| rooms.find_scope(name))
            {
                assert_eq!(rooms.population(scope, None), 0);
                assert_eq!(rooms.rooms_in(scope).count(), 0);
            }
        });
    }
}
