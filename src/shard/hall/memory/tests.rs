//! Halls of several cores without shards: their mail is handled by the dice, clients are cut at any moment and come back to any core. Each
//! must hear all that is meant for it, once, and in each sender's order; or be refused, for a reason that can be.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::proto::websocket::Kind;
use crate::reactor::ConnKey;
use crate::room::{Limits as RoomLimits, Rooms};
use crate::shard::command::Command;
use crate::shard::hall::broadcast::Wanted;
use crate::shard::hall::{Hall, Outgoing, Target};
use crate::shard::mail::Mail;
use crate::shard::mailbox::{Mailbox, Outbox, with_capacity};
use crate::shard::recovery::Limits;
use crate::wire::Status;
use crate::wire::frame;
use crate::wire::xorshift::Xorshift;

const SCOPE: &str = "/";
const ROOMS: [&str; 3] = ["a", "b", "c"];
const AWAY_MS: u64 = 60_000;

/// Where a client's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    /// It waits to be let in.
    Pending(usize, SocketKey),
    Here(usize, SocketKey),
    /// It was cut, and the server has not noticed.
    Cut(usize, SocketKey),
}

struct Client {
    rooms: Vec<&'static str>,
    link: Link,
    sid: String,
    pid: String,
    offset: Option<String>,
    /// Marked for its connection, and not received.
    flying: VecDeque<String>,
    /// By sender: the numbers that it must hear yet.
    due: BTreeMap<String, VecDeque<u64>>,
    heard: u64,
    generation: u32,
}

struct World {
    dice: Xorshift,
    halls: Vec<(Hall, Mailbox<Mail>)>,
    recovery: Arc<Recovery>,
    clients: Vec<Client>,
    numbers: BTreeMap<String, u64>,
    now_ms: u64,
    moved: u64,
    refused: Vec<Refusal>,
}

fn limits() -> Limits {
    Limits {
        away_ms: AWAY_MS,
        log_bytes: 1 << 30,
        log_ms: 1 << 40,
        sessions: 1000,
        session_bytes: 1 << 30,
        replay_bytes: 1 << 30,
    }
}

impl World {
    fn new(seed: u64, limits: Limits) -> World {
        let mut dice = Xorshift::new(seed);
        let cores = 1 + dice.below(4);
        let capacity = [1, 3, 100][dice.below(3)];
        let recovery = Arc::new(Recovery::new(limits, cores).unwrap());
        let boxes = (0..cores).map(|_| with_capacity(capacity, Arc::new(|| {})));
        let (addresses, boxes): (Vec<_>, Vec<_>) = boxes.unzip();
        let addresses: Arc<[_]> = addresses.into();
        let halls = boxes.into_iter().enumerate().map(|(core, mailbox)| {
            let outbox = Outbox::new(core, addresses.clone());
            let hall = Hall::new(core, outbox, 100, Rooms::new(RoomLimits::default()));
            hall.set_recovery(Some(&recovery));
            (hall, mailbox)
        });
        let mut world = World {
            halls: halls.collect(),
            recovery,
            clients: Vec::new(),
            numbers: BTreeMap::new(),
            now_ms: 1,
            moved: 0,
            refused: Vec::new(),
            dice,
        };
        for _ in 0..1 + world.dice.below(4) {
            world.clients.push(Client {
                rooms: Vec::new(),
                link: Link::None,
                sid: String::new(),
                pid: String::new(),
                offset: None,
                flying: VecDeque::new(),
                due: BTreeMap::new(),
                heard: 0,
                generation: 0,
            });
            world.begin(world.clients.len() - 1);
        }
        world
    }

    fn connection(&mut self, index: usize) -> ConnKey {
        let client = &mut self.clients[index];
        client.generation += 1;
        client.flying.clear();
        ConnKey {
            slot: index as u32,
            generation: client.generation,
        }
    }

    /// An ordinary new session.
    fn begin(&mut self, index: usize) {
        self.settle();
        let core = self.dice.below(self.halls.len());
        let connection = self.connection(index);
        let hall = &self.halls[core].0;
        let (key, id) = hall.seat(connection, &SCOPE.into()).unwrap();
        hall.begin_recoverable(key);
        let mut rooms = ROOMS.to_vec();
        rooms.retain(|_| self.dice.below(2) == 0);
        for room in &rooms {
            hall.join(key, room).unwrap();
        }
        let client = &mut self.clients[index];
        client.rooms = rooms;
        client.link = Link::Here(core, key);
        client.sid = id.to_string();
        client.pid = hall.pid_of(key).unwrap().to_string();
        client.due.clear();
        self.settle();
    }

    // ---- what is said ----

    fn say(&mut self) {
        let core = self.dice.below(self.halls.len());
        let any = self.dice.below(self.clients.len());
        let mut names: Vec<String> = ROOMS.iter().map(|room| (*room).to_owned()).collect();
        names.push(self.clients[any].sid.clone());
        let mut pick = |most: usize| -> Vec<String> {
            let count = self.dice.below(most + 1);
            (0..count)
                .map(|_| names[self.dice.below(names.len())].clone())
                .collect()
        };
        let (to, except) = (pick(2), pick(1));
        let number = self.next_number(core.to_string());
        for client in &mut self.clients {
            let is_in = |name: &String| *name == client.sid || client.rooms.contains(&&**name);
            if (to.is_empty() || to.iter().any(is_in)) && !except.iter().any(is_in) {
                let due = client.due.entry(core.to_string()).or_default();
                due.push_back(number);
            }
        }
        let (to, except): (Vec<&str>, Vec<&str>) = (
            to.iter().map(|name| &**name).collect(),
            except.iter().map(|name| &**name).collect(),
        );
        let target = Target {
            scope: &SCOPE.into(),
            to: &to,
            except: &except,
            not: None,
            volatile: false,
        };
        let hall = &self.halls[core].0;
        with_message(hall, &core.to_string(), number, |message| {
            hall.broadcast(&target, message, Wanted::default());
        });
        self.gather(core);
    }

    fn next_number(&mut self, sender: String) -> u64 {
        let number = self.numbers.entry(sender).or_default();
        *number += 1;
        *number
    }

    /// To one socket, by its handle.
    fn tell(&mut self, index: usize) {
        let (core, key) = match self.clients[index].link {
            Link::Here(core, key) | Link::Cut(core, key) | Link::Pending(core, key) => (core, key),
            Link::None => return,
        };
        let sender = format!("to{index}");
        let number = self.next_number(sender.clone());
        let due = self.clients[index].due.entry(sender.clone()).or_default();
        due.push_back(number);
        let hall = &self.halls[core].0;
        with_message(hall, &sender, number, |message| {
            assert!(hall.deliver(key, message, false));
        });
        self.gather(core);
    }

    /// What was marked on a core goes out.
    fn gather(&mut self, core: usize) {
        let clients = &mut self.clients;
        self.halls[core].0.with_turn(|turn, _| {
            while let Some(marked) = turn.take_marked() {
                let client = &mut clients[marked.connection as usize];
                let bytes: Vec<u8> = turn
                    .pieces(marked)
                    .flat_map(|piece| piece.bytes().to_vec())
                    .collect();
                match client.link {
                    Link::Here(home, _) => {
                        assert_eq!(home, core, "told on a core where it is not");
                        client.flying.extend(texts(&bytes));
                    }
                    Link::Cut(home, _) => assert_eq!(home, core),
                    Link::Pending(..) | Link::None => panic!("told before it is let in"),
                }
            }
            turn.clear();
        });
        for command in self.halls[core].0.take_commands() {
            if let Command::Returned {
                socket, refused, ..
            } = command
            {
                self.returned(core, socket, refused);
            }
        }
    }

    // ---- clients ----

    fn receive(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            let client = &mut self.clients[index];
            let Some(text) = client.flying.pop_front() else {
                return;
            };
            let [sender, number, offset] = text.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{text}");
            };
            let due = client.due.get_mut(sender).and_then(VecDeque::pop_front);
            let number: u64 = number.parse().unwrap();
            assert_eq!(Some(number), due, "client {index} hears of {sender}");
            client.offset = Some(offset.to_owned());
            client.heard += 1;
        }
    }

    fn cut(&mut self, index: usize) {
        if let Link::Here(core, key) = self.clients[index].link {
            let count = self.dice.below(self.clients[index].flying.len() + 1);
            self.receive(index, count);
            self.clients[index].link = Link::Cut(core, key);
            self.clients[index].flying.clear();
        }
    }

    fn notice(&mut self, index: usize) {
        drop(match self.clients[index].link {
            Link::Cut(core, key) => self.halls[core].0.depart(key, Some("{}".into())),
            Link::Pending(core, key) => self.halls[core].0.vacate(key),
            Link::Here(..) | Link::None => return,
        });
        self.clients[index].link = Link::None;
    }

    fn come_back(&mut self, index: usize) {
        let client = &self.clients[index];
        let (pid, Some(offset)) = (client.pid.clone(), client.offset.clone()) else {
            return;
        };
        if client.link != Link::None {
            return;
        }
        let core = self.dice.below(self.halls.len());
        let connection = self.connection(index);
        let hall = &self.halls[core].0;
        match hall.claim(SCOPE, (&pid, &offset)) {
            Ok(claim) => {
                assert_eq!(claim.sid.as_str(), self.clients[index].sid);
                assert_eq!(claim.data.as_deref(), Some("{}"));
                let key = hall
                    .seat_returning(connection, &SCOPE.into(), &claim)
                    .unwrap();
                let rooms = hall.rooms_of(key);
                assert!(
                    self.clients[index]
                        .rooms
                        .iter()
                        .all(|room| rooms.contains(&(*room).to_owned()))
                );
                self.clients[index].link = Link::Pending(core, key);
                self.moved += u64::from(claim.moves);
                if !claim.moves && self.dice.below(2) == 0 {
                    self.admit(index);
                }
            }
            Err(why) => self.refuse(index, why),
        }
        self.gather(core);
    }

    fn admit(&mut self, index: usize) {
        let Link::Pending(core, key) = self.clients[index].link else {
            return;
        };
        self.clients[index].link = Link::Here(core, key);
        let hall = &self.halls[core].0;
        hall.admit(key);
        match hall.pid_of(key) {
            Some(pid) => assert_eq!(pid.as_str(), self.clients[index].pid),
            None => {
                // What was said while it waited to be let in did not fit into the log.
                hall.vacate(key);
                self.refuse(index, Refusal::LogFull);
            }
        }
        self.gather(core);
    }

    fn returned(&mut self, core: usize, socket: SocketKey, refused: Option<Refusal>) {
        let pending = Link::Pending(core, socket);
        let index = self
            .clients
            .iter()
            .position(|client| client.link == pending);
        let index = index.expect("only who waits is told");
        match refused {
            None => self.admit(index),
            Some(why) => {
                self.halls[core].0.vacate(socket);
                self.refuse(index, why);
            }
        }
    }

    fn refuse(&mut self, index: usize, why: Refusal) {
        self.refused.push(why);
        self.clients[index].link = Link::None;
        self.begin(index);
    }

    // ---- cores ----

    /// Some mails of one core.
    fn work(&mut self, core: usize, most: usize) -> bool {
        let mut active = false;
        for _ in 0..most {
            let Some(mail) = self.halls[core].1.take() else {
                break;
            };
            active = true;
            self.halls[core].0.handle_mail(mail);
            self.gather(core);
        }
        active |= self.halls[core].0.with_outbox(Outbox::flush_overflow);
        active
    }

    fn settle(&mut self) {
        while (0..self.halls.len()).fold(false, |active, core| self.work(core, 100) | active) {}
    }

    fn let_pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for core in 0..self.halls.len() {
            self.halls[core].0.set_now(self.now_ms);
            self.halls[core].0.forget_old();
            self.gather(core);
        }
    }

    fn step(&mut self) {
        let index = self.dice.below(self.clients.len());
        match self.dice.below(20) {
            0..6 => self.say(),
            6..8 => self.tell(index),
            8 => self.cut(index),
            9 => self.notice(index),
            10..12 => self.come_back(index),
            12 => self.admit_if_here(index),
            13..15 => {
                let count = self.dice.below(4);
                self.receive(index, count);
            }
            15 => self.let_pass(1),
            _ => {
                let core = self.dice.below(self.halls.len());
                let most = 1 + self.dice.below(3);
                self.work(core, most);
            }
        }
    }

    /// Middlewares have passed a session that did not have to move.
    fn admit_if_here(&mut self, index: usize) {
        if let Link::Pending(core, key) = self.clients[index].link
            && self.halls[core].0.is_ready(key)
        {
            self.admit(index);
        }
    }

    /// Everybody comes back, and has heard all.
    fn end(&mut self) {
        for index in 0..self.clients.len() {
            for _ in 0..3 {
                self.settle();
                self.admit_if_here(index);
                self.notice(index);
                self.come_back(index);
            }
            self.settle();
            self.admit_if_here(index);
            let waits =
                self.clients[index].link == Link::None && self.clients[index].offset.is_none();
            assert!(waits || matches!(self.clients[index].link, Link::Here(..)));
            self.receive(index, usize::MAX);
            if !waits {
                let due = &self.clients[index].due;
                assert!(
                    due.values().all(VecDeque::is_empty),
                    "client {index} misses {due:?}"
                );
            }
        }
        for index in 0..self.clients.len() {
            self.cut(index);
            self.notice(index);
        }
        self.let_pass(AWAY_MS + 1);
        self.settle();
        self.let_pass(AWAY_MS + 1);
        assert_eq!(self.recovery.store.len(), 0);
        for (hall, _) in &self.halls {
            assert!(hall.remembers_nobody());
            hall.with_rooms(|rooms| {
                rooms.invariants();
                assert!(
                    rooms.find_scope(SCOPE).is_none(),
                    "a place is held, or somebody is said to be interested"
                );
            });
        }
    }
}

impl Hall {
    fn is_ready(&self, key: SocketKey) -> bool {
        let state = self.state.borrow();
        let memory = state.memory.as_ref().unwrap();
        let pid = memory.returning[&key];
        matches!(memory.away[&pid].replay, Replay::From(..))
    }
}

fn with_message(hall: &Hall, sender: &str, number: u64, act: impl FnOnce(Outgoing<'_>)) {
    let offset = hall.next_offset().unwrap();
    let mut body = format!("{sender} {number} ").into_bytes();
    offset.write(&mut body);
    act(Outgoing {
        kind: Kind::Text,
        body: &body,
        attachments: &[],
        offset: Some(offset),
    });
}

fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Ok(Status::Complete(head)) = frame::decode_head(bytes) {
        let end = head.head_len + usize::try_from(head.payload_len).unwrap();
        texts.push(String::from_utf8(bytes[head.head_len..end].to_vec()).unwrap());
        bytes = &bytes[end..];
    }
    texts
}

struct Witness(u64);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

#[test]
fn nobody_misses_anything() {
    let seeds = std::env::var("RINGHALL_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let (mut heard, mut moved, mut recovered) = (0, 0, 0);
    for seed in 0..seeds.unwrap_or(400) {
        let _witness = Witness(seed);
        let mut world = World::new(seed, limits());
        for _ in 0..200 {
            world.step();
        }
        world.end();
        // Who comes back while his session is still on its way is too early.
        assert!(
            world.refused.iter().all(|why| *why == Refusal::Used),
            "{:?}",
            world.refused
        );
        heard += world.clients.iter().map(|client| client.heard).sum::<u64>();
        moved += world.moved;
        recovered += world.recovery.recovered();
    }
    assert!(
        heard > 1000 && moved > 100 && recovered > 100,
        "{heard} {moved} {recovered}"
    );
}

/// With a log that holds little, and sessions that make way for others.
#[test]
fn whoever_would_miss_something_is_refused() {
    let mut reasons = std::collections::BTreeMap::<String, u64>::new();
    for seed in 0..300 {
        let _witness = Witness(seed);
        let mut tight = limits();
        tight.log_bytes = 3000;
        tight.sessions = 1 + seed as usize % 3;
        tight.log_ms = [3, 1 << 40][seed as usize % 2];
        tight.replay_bytes = [600, 1 << 30][seed as usize / 2 % 2];
        let mut world = World::new(1000 + seed, tight);
        for _ in 0..200 {
            world.step();
        }
        world.end();
        for why in world.refused {
            *reasons.entry(format!("{why:?}")).or_default() += 1;
        }
    }
    for why in ["Evicted", "LogFull", "OffsetTooOld", "TooMuch"] {
        assert!(reasons.contains_key(why), "{why} is not among {reasons:?}");
    }
}
