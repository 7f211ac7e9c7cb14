//! Whole servers, simulated: several cores and some dozen clients in one thread, over the fake network, with faults by seed.
//!
//! The cores are real: the shard, the hall, the mailboxes and the application of the public API, with handlers described by
//! [`Server::builder`](crate::Server::builder). Only the kernel and the clock are made up. A core that announced sleep gets no
//! turn before something wakes it, so a wake that is missing is a message that never arrives.
//!
//! Who may come in is decided at once or later, by families of namespaces and middlewares that wait for the dice.
//! Clients connect, talk, join and leave, close politely or not, stop reading, fall silent; time jumps; cores shut down while others
//! work on. The [`ledger`] knows what each client must have heard once all is at rest, what it may hear, and that nothing is
//! heard twice, in another order, or by those it was not meant for. Memberships, interest, seats, timers, buffers and
//! descriptors are compared whenever all is at rest, and at the end nothing is left of anybody.
//!
//! A seed decides everything. A failure prints its seed, and `RINGHALL_SEED=<seed> cargo test --lib simulation::one` runs it again.
//! A long run is `RINGHALL_SEEDS=1000000 cargo test --release --lib simulation::seeds`, with debug assertions if
//! `CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true`; it takes that many seeds for each quarter.

mod breach;
mod client;
mod finale;
mod http;
mod ledger;
mod listen;
mod plan;
mod play;
mod polling;
mod probe;
mod rest;
mod returning;
mod roam;
mod stage;
mod world;

use std::collections::BTreeMap;
use std::str::FromStr;

use client::Client;
use ledger::{Ledger, Name};
use plan::Plan;
use world::World;

use crate::server::{BroadcastAcks, fixture};
use crate::wire::xorshift::Xorshift;

/// Seeds that each of the four tests tries.
const SEEDS: u64 = 300;
/// The number of the message by which a member is said farewell of.
const LAST: u32 = u32::MAX;

/// One run.
struct Run {
    dice: Xorshift,
    plan: Plan,
    world: World,
    ledger: Ledger,
    clients: Vec<Client>,
    /// Whose members they are.
    owners: BTreeMap<Name, usize>,
    /// The ids of all Socket.IO sockets there have been.
    ids: BTreeMap<Name, String>,
    /// Clients that were not let into a namespace.
    refused: u64,
    /// Who acknowledged which messages, by sender and number.
    answers: BTreeMap<(Name, u32), Vec<Name>>,
    /// Questions that nobody answers any more, and that are waited for all the same.
    unanswered: Vec<BroadcastAcks<String>>,
    /// Ends that only a cut for slowness explains, by core.
    unexplained: Vec<u64>,
    /// The panics that handlers of earlier runs had on this thread.
    panics_before: u64,
}

/// What two runs of the same seed must have in common.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    turns: u64,
    heard: u64,
    refused: u64,
    clients: usize,
    /// Those that began on polling and were upgraded.
    upgraded: usize,
    now_ms: u64,
    next: u64,
}

/// Says which seed it was, whatever it was that failed.
struct Witness(u64);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed}: run it again with RINGHALL_SEED={seed} cargo test --lib simulation::one"
            );
        }
    }
}

fn run(seed: u64) -> Fingerprint {
    let _witness = Witness(seed);
    stage::clear();
    let mut dice = Xorshift::new(seed);
    let plan = Plan::new(&mut dice);
    let mut run = Run {
        world: World::new(seed, &plan),
        refused: 0,
        unexplained: vec![0; plan.cores],
        dice,
        plan,
        ledger: Ledger::default(),
        clients: Vec::new(),
        owners: BTreeMap::new(),
        ids: BTreeMap::new(),
        answers: BTreeMap::new(),
        unanswered: Vec::new(),
        panics_before: fixture::panics(),
    };
    run.play();
    run.end();
    stage::clear();
    Fingerprint {
        turns: run.world.turns,
        heard: run.ledger.heard,
        refused: run.refused,
        clients: run.clients.len(),
        upgraded: run.clients.iter().filter(|of| of.was_polling).count(),
        now_ms: run.world.network.now_ms(),
        next: run.dice.next(),
    }
}

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a quarter of the seeds: tests run beside each other.
fn quarter(number: u64) {
    let count = from_environment("RINGHALL_SEEDS").unwrap_or(SEEDS);
    let (mut heard, mut upgraded, mut refused) = (0, 0, 0);
    for seed in 0..count {
        let fingerprint = run(4 * seed + number);
        heard += fingerprint.heard;
        upgraded += fingerprint.upgraded as u64;
        refused += fingerprint.refused;
    }
    assert!(
        heard > count * 100,
        "only {heard} messages were heard in {count} runs"
    );
    assert!(refused > count, "only {refused} were refused");
    assert!(
        upgraded > count,
        "only {upgraded} clients were upgraded in {count} runs"
    );
}

#[test]
fn seeds_0() {
    quarter(0);
}

#[test]
fn seeds_1() {
    quarter(1);
}

#[test]
fn seeds_2() {
    quarter(2);
}

#[test]
fn seeds_3() {
    quarter(3);
}

/// The seed in `RINGHALL_SEED`, twice: the same seed gives the same run.
#[test]
fn one_seed_is_one_run() {
    let seed = from_environment("RINGHALL_SEED").unwrap_or(7);
    let first = run(seed);
    assert_eq!(run(seed), first, "seed {seed}");
}
