//! Clients that lose their connection again and again and come back to any core, while everything is told from everywhere: cores, a thread that is
//! none, and handlers that keep the sockets. Each client must hear all of it, in each sender's order, from the moment it is in; or it is
//! told that its session is a new one, and that is counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Heard, decode, send_frame, upgrade_head};
use super::plan::{Finale, Plan};
use super::world::World;
use super::{Witness, from_environment};
use crate::reactor::fake::{FakeClient, Faults};
use crate::server::{
    Builder, Config, Namespace, Recoveries, Recovery, Rejection, Server, Socket, fixture,
};
use crate::shard::thread;
use crate::wire::frame::Opcode;
use crate::wire::xorshift::Xorshift;

const SEEDS: u64 = 250;
const ROOMS: [&str; 3] = ["a", "b", "c"];
const NAMESPACES: [&str; 2] = ["/", "/chat"];
const AWAY_MS: u64 = 1_000_000;
const ROUNDS_MAX: usize = 100_000;

thread_local! {
    static BACKSTAGE: RefCell<Backstage> = RefCell::default();
}

#[derive(Default)]
struct Backstage {
    /// By client: its last socket, gone or not.
    sockets: BTreeMap<usize, Socket>,
    /// By client: how many sockets it has.
    here: BTreeMap<usize, usize>,
}

fn backstage<T>(act: impl FnOnce(&mut Backstage) -> T) -> T {
    BACKSTAGE.with(|backstage| act(&mut backstage.borrow_mut()))
}

#[derive(Deserialize)]
struct Auth {
    name: usize,
    rooms: Vec<String>,
}

fn builder(plan: &Plan, recovery: Recovery) -> Builder {
    let config = Config {
        cores: plan.cores,
        ..Config::default()
    };
    let builder = Server::builder().config(config).recovery(recovery);
    NAMESPACES
        .iter()
        .fold(builder, |builder, name| builder.namespace(name, program))
}

fn program(namespace: Namespace) -> Namespace {
    namespace
        .middleware(|socket: Socket| -> Result<(), Rejection> {
            let auth: Auth = socket.auth().unwrap();
            // A session has its rooms and its data before it is let in.
            let rooms = socket.rooms();
            assert_eq!(
                socket.recovered(),
                socket.data::<usize>().ok() == Some(auth.name)
            );
            assert!(!socket.recovered() || auth.rooms.iter().all(|room| rooms.contains(room)));
            socket.emit("m", ("gate", 0));
            Ok(())
        })
        .on_connection(|socket: Socket| {
            let auth: Auth = socket.auth().unwrap();
            if socket.recovered() {
                let rooms = socket.rooms();
                assert_eq!(socket.data::<usize>().ok(), Some(auth.name));
                assert!(auth.rooms.iter().all(|room| rooms.contains(room)));
                assert!(rooms.contains(&socket.id().to_string()));
                assert_eq!(rooms.len(), auth.rooms.len() + 1);
            } else {
                assert_eq!(socket.rooms().len(), 1);
                for room in auth.rooms {
                    socket.join(room);
                }
                socket.set_data(&auth.name);
            }
            backstage(|backstage| {
                *backstage.here.entry(auth.name).or_default() += 1;
                backstage.sockets.insert(auth.name, socket.clone())
            });
        })
        .on_disconnect(|socket: Socket| {
            let auth: Auth = socket.auth().unwrap();
            backstage(|backstage| *backstage.here.entry(auth.name).or_default() -= 1);
        })
}

struct Client {
    namespace: usize,
    rooms: Vec<&'static str>,
    link: Option<FakeClient>,
    core: usize,
    input: Vec<u8>,
    is_open: bool,
    asked: bool,
    sid: Option<String>,
    pid: Option<String>,
    offset: Option<String>,
    /// Events that came before the answer to CONNECT.
    early: Vec<Value>,
    /// All was at rest since its session began: what is for it is certain to reach it, if the session goes on.
    is_settled: bool,
    is_in: bool,
    /// It reads and answers nothing.
    is_mute: bool,
    /// By sender: what is for it, and whether it must hear that.
    due: BTreeMap<String, VecDeque<(u64, bool)>>,
}

impl Client {
    /// Whether a message is for it, and whether that is certain: it may have another id than it knows of.
    fn is_meant(&self, to: &[String], except: &[String]) -> Option<bool> {
        let in_room = |name: &String| self.rooms.contains(&&**name);
        let is_it = |name: &String| Some(name) == self.sid.as_ref();
        let is_unsure = self.asked && !self.is_in && to.iter().chain(except).any(is_it);
        let is_in = |name: &String| in_room(name) || is_it(name);
        let not_in = |name: &String| in_room(name) || is_it(name) && !is_unsure;
        let meant = (to.is_empty() || to.iter().any(is_in)) && !except.iter().any(not_in);
        meant.then_some(!is_unsure)
    }

    /// Whether what is said for it on this core is certain to reach it.
    fn is_certain(&self, from: Option<usize>) -> bool {
        self.is_settled || self.is_in && from == Some(self.core)
    }
}

struct Run {
    dice: Xorshift,
    plan: Plan,
    world: World,
    clients: Vec<Client>,
    numbers: BTreeMap<String, u64>,
    /// CONNECTs with a pid that were answered, by whether it was the same.
    recovered: u64,
    renewed: u64,
    /// CONNECTs with a pid whose answer never came.
    unanswered: u64,
    heard: u64,
}

impl Run {
    fn new(seed: u64, recovery: Recovery) -> Run {
        let mut dice = Xorshift::new(seed);
        let plan = Plan {
            cores: 1 + dice.below(4),
            clients: 1 + dice.below(6),
            steps: 150,
            faults: [Faults::NONE, Faults::ROUGH, Faults::HARSH][dice.below(3)],
            harsh: true,
            capacity: [2, 5, 4096][dice.below(3)],
            max_unsent: 1 << 20,
            max_unsent_cut: 64 << 20,
            finale: Finale::Exodus,
        };
        let world = World::of(seed, &plan, builder(&plan, recovery));
        let clients = (0..plan.clients).map(|_| Client {
            namespace: dice.below(NAMESPACES.len()),
            rooms: ROOMS.into_iter().filter(|_| dice.below(2) == 0).collect(),
            link: None,
            core: 0,
            input: Vec::new(),
            is_open: false,
            asked: false,
            sid: None,
            pid: None,
            offset: None,
            early: Vec::new(),
            is_settled: false,
            is_in: false,
            is_mute: false,
            due: BTreeMap::new(),
        });
        Run {
            clients: clients.collect(),
            plan,
            world,
            numbers: BTreeMap::new(),
            recovered: 0,
            renewed: 0,
            unanswered: 0,
            heard: 0,
            dice,
        }
    }

    fn play(&mut self) {
        for _ in 0..self.plan.steps {
            for _ in 0..=self.dice.below(2) {
                self.act();
            }
            for _ in 0..self.dice.below(6) {
                let core = self.dice.below(self.plan.cores);
                let announce = self.dice.below(2) == 0;
                self.world.step(core, announce);
            }
            for _ in 0..self.dice.below(4) {
                let index = self.dice.below(self.clients.len());
                self.pump(index);
            }
            if self.dice.below(25) == 0 {
                self.rest();
            }
        }
    }

    fn act(&mut self) {
        let index = self.dice.below(self.clients.len());
        match self.dice.below(100) {
            0..25 => self.connect(index),
            25..35 => self.cut(index),
            35..37 => self.clients[index].is_mute = self.clients[index].is_in,
            37..40 => {
                let ms = [1, 30, 1000][self.dice.below(3)];
                self.world.network.advance(ms);
            }
            40 if self.clients.iter().any(|client| client.is_mute) => self.lose_the_mute(),
            41..55 => self.tell(index),
            55..65 => self.say(None),
            _ => {
                let core = self.dice.below(self.plan.cores);
                self.say(Some(core));
            }
        }
    }

    // ---- what is said ----

    fn next_number(&mut self, sender: &str) -> u64 {
        let number = self.numbers.entry(sender.to_owned()).or_default();
        *number += 1;
        *number
    }

    /// From a core, or from a thread that is none.
    fn say(&mut self, from: Option<usize>) {
        if from.is_none() && !self.world.has_room_for_mail(1)
            || from.is_some_and(|core| self.world.cores[core].shard.is_none())
        {
            return;
        }
        let namespace = self.dice.below(NAMESPACES.len());
        let any = self.dice.below(self.clients.len());
        let mut names: Vec<String> = ROOMS.map(str::to_owned).to_vec();
        names.extend(self.clients[any].sid.clone());
        let mut pick = |most: usize| -> Vec<String> {
            let count = self.dice.below(most + 1);
            (0..count)
                .map(|_| names[self.dice.below(names.len())].clone())
                .collect()
        };
        let (to, except) = (pick(2), pick(1));
        let sender = from.map_or("out".to_owned(), |core| format!("c{core}"));
        let number = self.next_number(&sender);
        let here = self.clients.iter_mut();
        for client in here.filter(|client| client.namespace == namespace) {
            if let Some(certain) = client.is_meant(&to, &except) {
                let certain = certain && client.is_certain(from);
                let due = client.due.entry(sender.clone()).or_default();
                due.push_back((number, certain));
            }
        }
        let _core = from.map(|core| {
            self.world.rouse(core);
            thread::enter(self.world.cores[core].hall.clone())
        });
        let server = self.world.server.clone();
        let handle = server.of(NAMESPACES[namespace]);
        let mut receivers = handle.except("nobody");
        for name in &to {
            receivers = receivers.to(name);
        }
        for name in &except {
            receivers = receivers.except(name);
        }
        receivers.emit("m", (&sender, number));
    }

    /// By a handler that has kept the socket, which may be gone.
    fn tell(&mut self, index: usize) {
        let Some(socket) = backstage(|backstage| backstage.sockets.get(&index).cloned()) else {
            return;
        };
        if self.world.cores[socket.core()].shard.is_none() {
            return;
        }
        let sender = format!("d{index}on{}", socket.core());
        let number = self.next_number(&sender);
        let client = &mut self.clients[index];
        if client.sid.as_deref() == Some(socket.id().as_str()) {
            let certain = client.is_certain(Some(socket.core()));
            let due = client.due.entry(sender.clone()).or_default();
            due.push_back((number, certain));
        } else if client.asked {
            // It may turn out to be a new session's, of which the client does not know yet.
            let due = client.due.entry(sender.clone()).or_default();
            due.push_back((number, false));
        }
        self.world.rouse(socket.core());
        let _core = thread::enter(self.world.cores[socket.core()].hall.clone());
        socket.emit("m", (&sender, number));
    }

    // ---- clients ----

    fn connect(&mut self, index: usize) {
        let here = backstage(|backstage| backstage.here.get(&index).copied());
        let doors: Vec<usize> = (0..self.plan.cores)
            .filter(|core| {
                self.world.cores[*core].shard.is_some() && !self.world.cores[*core].shutdown_begun
            })
            .collect();
        let client = &mut self.clients[index];
        // Before the server has noticed, there is nothing to come back to.
        if client.link.is_some() || here.unwrap_or_default() > 0 || doors.is_empty() {
            return;
        }
        client.core = doors[self.dice.below(doors.len())];
        let link = self.world.network.connect(client.core);
        link.send(upgrade_head("/socket.io/?EIO=4&transport=websocket").as_bytes());
        client.link = Some(link);
        client.input.clear();
        client.early.clear();
        client.is_open = false;
        client.asked = false;
    }

    fn cut(&mut self, index: usize) {
        if self.dice.below(3) == 0 {
            self.pump(index);
        }
        if let Some(link) = &self.clients[index].link {
            match self.dice.below(2) {
                0 => link.reset(),
                _ => link.finish(),
            }
            self.lost(index);
        }
    }

    fn lost(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.link = None;
        self.unanswered += u64::from(client.asked && !client.is_in && client.pid.is_some());
        client.is_in = false;
        client.is_mute = false;
    }

    /// They do not answer, and are given up.
    fn lose_the_mute(&mut self) {
        self.rest();
        for _ in 0..4 {
            self.world.network.advance(15_000);
            self.rest();
        }
        for index in 0..self.clients.len() {
            if self.clients[index].is_mute {
                self.lost(index);
            }
        }
    }

    fn pump(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        let Some(link) = client.link.as_ref().filter(|_| !client.is_mute) else {
            return false;
        };
        let bytes = link.receive();
        client.input.extend_from_slice(&bytes);
        let ended = bytes.is_empty() && (link.was_reset() || link.is_closed());
        if !client.is_open
            && let Some(end) = client.input.windows(4).position(|four| four == b"\r\n\r\n")
        {
            assert!(client.input.starts_with(b"HTTP/1.1 101 "));
            client.input.drain(..end + 4);
            client.is_open = true;
        }
        while self.clients[index].is_open {
            let client = &mut self.clients[index];
            let Some((heard, len)) = decode(&client.input).unwrap() else {
                break;
            };
            client.input.drain(..len);
            match heard {
                Heard::Text(text) => self.hear(index, &text),
                Heard::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
        if ended {
            if let Some(link) = &self.clients[index].link {
                link.finish();
            }
            self.lost(index);
        }
        !bytes.is_empty() || ended
    }

    fn send(&mut self, index: usize, text: &str) {
        if let Some(link) = &self.clients[index].link {
            send_frame(link, Opcode::Text, true, text.as_bytes(), &mut self.dice);
        }
    }

    fn hear(&mut self, index: usize, text: &str) {
        let client = &mut self.clients[index];
        let name = NAMESPACES[client.namespace];
        let prefix = if name == "/" {
            String::new()
        } else {
            format!("{name},")
        };
        if text.starts_with('0') {
            let mut auth = json!({"name": index, "rooms": client.rooms});
            if let Some(pid) = &client.pid {
                auth["pid"] = json!(pid);
                auth["offset"] = json!(client.offset);
            }
            client.asked = true;
            return self.send(index, &format!("40{prefix}{auth}"));
        }
        if text == "2" {
            return self.send(index, "3");
        }
        if let Some(answer) = text.strip_prefix(&format!("40{prefix}")) {
            return self.admitted(index, &serde_json::from_str(answer).unwrap());
        }
        let Some(event) = text.strip_prefix(&format!("42{prefix}")) else {
            panic!("client {index} is told {text}");
        };
        let event = serde_json::from_str(event).unwrap();
        if client.is_in {
            self.event(index, &event);
        } else {
            client.early.push(event);
        }
    }

    fn admitted(&mut self, index: usize, answer: &Value) {
        let client = &mut self.clients[index];
        let (sid, pid) = (
            answer["sid"].as_str().unwrap(),
            answer["pid"].as_str().unwrap(),
        );
        assert!(!client.is_in && sid.len() == 20 && pid.len() == 20 && sid != pid);
        let same = client.pid.as_deref() == Some(pid);
        if client.pid.is_some() {
            self.recovered += u64::from(same);
            self.renewed += u64::from(!same);
        }
        assert!(!same || client.sid.as_deref() == Some(sid), "another id");
        if !same {
            client.is_settled = false;
            // Nothing of the old session comes any more. What came before the answer is the gate's.
            client
                .due
                .values_mut()
                .for_each(|due| due.iter_mut().for_each(|(_, certain)| *certain = false));
        }
        client.sid = Some(sid.to_owned());
        client.pid = Some(pid.to_owned());
        client.is_in = true;
        let early = std::mem::take(&mut client.early);
        for event in early {
            self.event(index, &event);
        }
    }

    fn event(&mut self, index: usize, event: &Value) {
        let client = &mut self.clients[index];
        let (sender, number) = (event[1].as_str().unwrap(), event[2].as_u64().unwrap());
        client.offset = Some(event[3].as_str().unwrap().to_owned());
        assert_eq!(event.as_array().unwrap().len(), 4);
        if sender == "gate" {
            return;
        }
        let due = client.due.entry(sender.to_owned()).or_default();
        while let Some((next, certain)) = due.pop_front() {
            if next == number {
                self.heard += 1;
                return;
            }
            assert!(
                !certain,
                "client {index} hears {sender}:{number}, and not {sender}:{next}"
            );
        }
        panic!("client {index} hears {sender}:{number}, which is not for it, or not any more");
    }

    // ---- rest ----

    fn rest(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut active = false;
            for core in 0..self.plan.cores {
                let announce = self.dice.below(4) > 0;
                active |= self.world.step(core, announce);
            }
            for index in 0..self.clients.len() {
                active |= self.pump(index);
            }
            if active {
                continue;
            }
            match self.world.near_deadline() {
                Some(ms) => self.world.network.advance(ms + 8),
                None => {
                    for client in &mut self.clients {
                        client.is_settled |= client.is_in && !client.is_mute;
                    }
                    self.world.check_rooms();
                    return;
                }
            }
        }
        panic!("it does not come to rest");
    }

    /// Everybody is in, and has heard all.
    fn gather(&mut self) {
        self.lose_the_mute();
        for _ in 0..100 {
            for index in 0..self.clients.len() {
                self.connect(index);
            }
            self.rest();
            if self.clients.iter().all(|client| client.is_in) {
                break;
            }
            // A core that has ended does not answer.
            self.world.network.advance(11_000);
        }
        for (index, client) in self.clients.iter().enumerate() {
            let state = (client.link.is_some(), client.is_open, client.asked);
            assert!(client.is_in, "client {index} does not get in: {state:?}");
            let missed: Vec<_> = client
                .due
                .iter()
                .filter(|(_, due)| due.iter().any(|(_, certain)| *certain))
                .collect();
            assert!(missed.is_empty(), "client {index} misses {missed:?}");
        }
    }

    fn recoveries(&self) -> Recoveries {
        self.world.server.counters().recoveries
    }

    /// Everybody goes, and nothing is kept.
    fn end(&mut self) {
        for index in 0..self.clients.len() {
            self.cut(index);
        }
        self.rest();
        for _ in 0..3 {
            self.world.network.advance(AWAY_MS);
            self.rest();
        }
        backstage(std::mem::take);
        for core in &self.world.cores {
            core.check_empty();
            assert!(core.hall.remembers_nobody());
            core.hall.with_rooms(|rooms| {
                assert!(
                    NAMESPACES
                        .iter()
                        .all(|name| rooms.find_scope(name).is_none())
                );
            });
        }
        self.world.server.shutdown();
        self.rest();
        assert!(self.world.cores.iter().all(|core| core.shard.is_none()));
    }
}

fn generous(seed: u64) -> Recovery {
    Recovery {
        max_disconnection_duration: Duration::from_millis(AWAY_MS),
        skip_middlewares: seed.is_multiple_of(2),
        max_packet_age: Duration::from_secs(800_000),
        ..Recovery::default()
    }
}

#[test]
fn nobody_misses_anything() {
    let count = from_environment("RINGHALL_SEEDS").unwrap_or(SEEDS);
    let (mut heard, mut recovered) = (0, 0);
    let one: Option<u64> = from_environment("RINGHALL_SEED");
    for seed in one.map_or(0..count, |seed| seed..seed + 1) {
        let _witness = Witness(seed);
        backstage(std::mem::take);
        let panics = fixture::panics();
        let mut run = Run::new(seed, generous(seed));
        run.play();
        run.gather();
        assert_eq!(fixture::panics(), panics, "a handler panicked");
        let counted = run.recoveries();
        assert!(
            counted.recovered >= run.recovered
                && counted.recovered <= run.recovered + run.unanswered
        );
        assert!(
            counted.refused() >= run.renewed && counted.refused() <= run.renewed + run.unanswered
        );
        // A session is away when its client comes back, except if it was lost while it was on its way.
        let other = counted.refused()
            - counted.malformed
            - counted.already_recovered
            - counted.unknown_session;
        assert_eq!(other, 0, "{counted:?}");
        assert!(
            counted.already_recovered + counted.unknown_session <= run.unanswered,
            "{counted:?}"
        );
        heard += run.heard;
        recovered += run.recovered;
        run.end();
    }
    assert!(
        heard > 50 * count && recovered > 2 * count,
        "{heard} heard, {recovered} recovered"
    );
}

#[test]
fn one_seed_is_one_run() {
    let seed = from_environment("RINGHALL_SEED").unwrap_or(3);
    let once = || {
        backstage(std::mem::take);
        let mut run = Run::new(seed, generous(seed));
        run.play();
        run.gather();
        let result = (run.heard, run.recovered, run.world.turns, run.dice.next());
        run.end();
        result
    };
    assert_eq!(once(), once());
}

/// A core goes while others go on: what it had is lost, and nobody waits for it for ever.
#[test]
fn a_core_that_ends_takes_its_sessions_with_it() {
    let mut unavailable = 0;
    for seed in 0..60 {
        let _witness = Witness(seed);
        backstage(std::mem::take);
        let mut run = Run::new(seed, generous(seed));
        if run.plan.cores < 2 {
            continue;
        }
        run.play();
        let core = run.dice.below(run.plan.cores);
        run.rest();
        run.world.cores[core].shutdown_begun = true;
        fixture::shut_down(&run.world.server, core);
        for client in &mut run.clients {
            client
                .due
                .values_mut()
                .for_each(|due| due.iter_mut().for_each(|(_, certain)| *certain = false));
        }
        run.play();
        for client in &mut run.clients {
            client
                .due
                .values_mut()
                .for_each(|due| due.iter_mut().for_each(|(_, certain)| *certain = false));
        }
        run.gather();
        unavailable += run.recoveries().unavailable;
        backstage(|backstage| std::mem::take(&mut backstage.sockets));
        run.world.server.shutdown();
        for _ in 0..4 {
            run.world.network.advance(6000);
            run.rest();
        }
        assert!(run.world.cores.iter().all(|core| core.shard.is_none()));
    }
    assert!(unavailable > 0);
}
