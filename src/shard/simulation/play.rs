//! What clients do, by the dice.

use serde_json::{Value, json};

use super::client::{Client, Ending, Kind, Question};
use super::ledger::{EVERYONE, FIRST_ROOM, HANDLE, KEPT, Name, ROOMS, Room, Target};
use super::polling::Polling;
use super::stage::{self, PATH, SCOPES, Spec, gathering};
use super::{LAST, Run};
use crate::wire::frame::Opcode;

/// The longest stretch without a rest.
const RESTLESS_MAX: usize = 60;

pub(super) fn room_name(room: Room) -> String {
    format!("room{room}")
}

/// The padding and the attachments of a message follow from its number, so receivers can tell whether they are right.
fn padding(name: Name, number: u32) -> usize {
    let mixed = mix(name, number);
    match mixed % 128 {
        0 => 16_000 + mixed / 128 % 3000,
        1..=16 => mixed / 128 % 1500,
        _ => mixed / 128 % 60,
    }
}

fn blob(name: Name, number: u32, index: usize) -> Vec<u8> {
    let len = padding(name + 1, number + index as u32);
    vec![mix(name, number) as u8 ^ index as u8; len]
}

pub(super) fn blobs(name: Name, number: u32, count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| blob(name, number, index)).collect()
}

/// Adds the places of so many attachments to a list.
fn with_placeholders(mut list: Value, count: usize) -> Value {
    if let Value::Array(list) = &mut list {
        list.extend((0..count).map(|num| json!({"_placeholder": true, "num": num})));
    }
    list
}

fn mix(name: Name, number: u32) -> usize {
    let mixed = (u64::from(name) << 32 | u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as usize
}

pub(super) fn tag(name: Name, number: u32, blobs: usize) -> String {
    let padding = "x".repeat(padding(name, number));
    format!("{name}:{number}:{blobs}:{padding}")
}

impl Run {
    pub(super) fn play(&mut self) {
        let mut since_rest = 0;
        for _ in 0..self.plan.steps {
            self.step();
            since_rest += 1;
            if self.dice.below(RESTLESS_MAX) < since_rest / 4 {
                self.rest();
                since_rest = 0;
            }
        }
        self.rest();
    }

    /// Something happens, then some cores and clients go on.
    pub(super) fn step(&mut self) {
        for _ in 0..=self.dice.below(3) {
            self.act();
        }
        for _ in 0..self.dice.below(6) {
            let core = self.dice.below(self.plan.cores);
            let announce = self.dice.below(2) == 0;
            self.world.step(core, announce);
        }
        for _ in 0..self.dice.below(6) {
            if !self.clients.is_empty() {
                let client = self.dice.below(self.clients.len());
                self.pump(client);
            }
        }
        if self.dice.below(16) == 0 {
            self.world.check_rooms();
        }
    }

    fn act(&mut self) {
        self.ledger.now += 1;
        match self.dice.below(1000) {
            0..80 => self.connect(),
            80..90 => self.speak_from_outside(),
            90..140 => self.world.network.advance(self.dice.below(20) as u64),
            140..146 => self.jump(),
            146..170 => drop(stage::release(&mut self.dice)),
            _ => {
                let free: Vec<usize> = (0..self.clients.len())
                    .filter(|client| self.clients[*client].is_free())
                    .collect();
                if !free.is_empty() {
                    let client = free[self.dice.below(free.len())];
                    self.act_as(client);
                }
            }
        }
    }

    fn act_as(&mut self, index: usize) {
        if self.clients[index].polling.is_some() && self.dice.below(12) == 0 {
            return self.act_on_polling(index);
        }
        let dice = self.dice.below(1000);
        match dice {
            0..8 => return self.leave(index, Ending::Close),
            8..14 => return self.leave(index, Ending::Fin),
            14..20 => return self.leave(index, Ending::Reset),
            20..26 => return self.leave(index, Ending::Asked),
            26..30 => return self.clients[index].mute = true,
            30..90 => {
                let client = &mut self.clients[index];
                client.slow = !client.slow && dice < 60;
                return;
            }
            90..130 => return self.connect_namespace(index),
            130..160 => return self.clients[index].ping(&mut self.dice),
            _ => {}
        }
        let Some((scope, name)) = self.any_member(index) else {
            return;
        };
        match dice {
            160..180 if scope > 0 => self.leave_namespace(index, scope, name),
            180..340 => self.change_room(index, scope, name),
            340..440 => self.echo(index, scope, name),
            440..480 if scope > 0 => self.keep_or_poke(index, scope, name),
            480..560 => self.cross(index, scope, name),
            560..640 if scope > 0 => self.relay(index, scope, name),
            _ => self.say(index, scope, name),
        }
    }

    fn any_member(&mut self, index: usize) -> Option<(usize, Name)> {
        let members = self.clients[index].members;
        let connected: Vec<(usize, Name)> = (0..SCOPES.len())
            .filter_map(|scope| Some((scope, members[scope]?)))
            .filter(|(_, name)| self.ledger.is_connected(*name))
            .collect();
        (!connected.is_empty()).then(|| connected[self.dice.below(connected.len())])
    }

    // ---- coming and going ----

    fn connect(&mut self) {
        let core = self.dice.below(self.plan.cores);
        let shut = self.world.cores[core].shutdown_begun;
        if shut || self.clients.len() >= self.plan.clients {
            return;
        }
        let kind = match self.dice.below(20) {
            0 => Kind::Stillborn,
            1..9 => Kind::Plain,
            _ => Kind::SocketIo,
        };
        let network = &self.world.network;
        let polls = kind == Kind::SocketIo && self.dice.below(2) == 0;
        let mut client = if polls {
            Client::polls(Polling::new(network.clone(), core), core)
        } else {
            Client::new(network.connect(core), core, kind)
        };
        client.next_id = self.dice.below(1000) as u64;
        let index = self.clients.len();
        self.clients.push(client);
        match kind {
            Kind::Stillborn => self.stillborn(index),
            Kind::Plain => {
                let name = self.new_member(index, 0);
                let target = format!("{PATH}?name={name}");
                self.clients[index].upgrade(&target);
                if self.dice.below(3) == 0 {
                    // In one piece with the request.
                    self.change_room(index, 0, name);
                }
            }
            Kind::SocketIo => {
                if !polls {
                    self.clients[index].upgrade("/socket.io/?EIO=4&transport=websocket");
                }
                if self.dice.below(2) == 0 {
                    self.connect_namespace(index);
                }
            }
        }
    }

    fn stillborn(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.ending = Some(Ending::Asked);
        let text = match self.dice.below(3) {
            0 => "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => "GET /ws HTTP/1.1\r\nHo",
            _ => "",
        };
        client.send_bytes(text.as_bytes());
    }

    /// A member that is asked in; it counts as the client's when the server has answered.
    fn new_member(&mut self, index: usize, scope: usize) -> Name {
        let name = self.ledger.enter(scope, self.clients[index].core);
        self.clients[index].pending[scope] = Some(name);
        self.owners.insert(name, index);
        name
    }

    pub(super) fn connect_namespace(&mut self, index: usize) {
        let scope = 1 + self.dice.below(2);
        let client = &self.clients[index];
        let taken = client.members[scope].is_some_and(|name| self.ledger.wants_in(name, EVERYONE));
        let awaited = client.members[scope].is_some_and(|name| client.kicked[scope] == Some(name));
        let asked = client.pending[scope].is_some();
        if client.kind != Kind::SocketIo || taken || asked || awaited {
            return;
        }
        let name = self.new_member(index, scope);
        let dice = &mut self.dice;
        let (first, waits) = (dice.below(3) == 0, dice.below(3));
        let auth = json!({ "name": name, "first": first, "waits": waits });
        let text = format!("40{}{auth}", prefix(scope));
        self.clients[index].text(&text, &mut self.dice);
    }

    fn leave_namespace(&mut self, index: usize, scope: usize, name: Name) {
        self.farewell(name);
        let text = if self.dice.below(2) == 0 {
            format!("41{}", prefix(scope))
        } else {
            // The server is asked to do it; nothing more is sent there before it has.
            self.clients[index].kicked[scope] = Some(name);
            format!("42{}[\"quit\",false]", prefix(scope))
        };
        self.clients[index].text(&text, &mut self.dice);
    }

    /// The member asks to be let out: the others must hear of it if they heard of nothing before.
    pub(super) fn farewell(&mut self, name: Name) {
        if !self.ledger.wants_in(name, EVERYONE) {
            return;
        }
        let member = self.ledger.member(name);
        let target = Target {
            scope: member.scope,
            not: Some(name),
            // Who was not answered yet may never have been in; and of one that broke by itself the server may have told before.
            volatile: !self.ledger.is_connected(name)
                || self.clients[self.owners[&name]].is_closed(),
            from_core: Some(member.core),
            ..Target::default()
        };
        self.ledger.ask_leave(name, EVERYONE);
        // The others can know before the client that the server has given it up.
        if !self.ledger.was_begun(name, LAST) {
            self.begin(name, LAST, target);
        }
    }

    /// Leaves for good, in one of several ways.
    pub(super) fn leave(&mut self, index: usize, how: Ending) {
        let polls = self.clients[index].polling.is_some();
        if how == Ending::Reset || polls && how == Ending::Fin {
            self.lose(index);
        }
        let members = self.clients[index].members;
        let connected = |name: Name| self.ledger.is_connected(name);
        let namespace = (1..SCOPES.len()).find(|scope| members[*scope].is_some_and(connected));
        for name in self.clients[index].names() {
            self.farewell(name);
        }
        let Run { dice, clients, .. } = self;
        let client = &mut clients[index];
        client.ending = Some(how);
        match how {
            Ending::Close => client.close(1000, dice),
            Ending::Fin if polls => self.vanish(index, false),
            Ending::Fin => client.finish(),
            Ending::Asked => match (client.kind, namespace) {
                (Kind::Plain, _) => client.text("bye", dice),
                (_, Some(scope)) => {
                    client.text(&format!("42{}[\"quit\",true]", prefix(scope)), dice);
                }
                // Engine.IO's close packet.
                _ => client.text("1", dice),
            },
            Ending::Reset => self.vanish(index, true),
            Ending::Shutdown => {}
        }
    }

    fn jump(&mut self) {
        self.rest();
        let ms = stage::PING_INTERVAL_MS + self.dice.below(5000) as u64;
        self.let_pass(ms);
    }

    // ---- rooms and messages ----

    fn change_room(&mut self, index: usize, scope: usize, name: Name) {
        let room = FIRST_ROOM + self.dice.below(ROOMS - FIRST_ROOM);
        let joins = !self.ledger.wants_in(name, room);
        let word = if joins { "join" } else { "leave" };
        let question = if joins {
            self.ledger.ask_join(name, room);
            Question::Join(room)
        } else {
            self.ledger.ask_leave(name, room);
            Question::Leave(room)
        };
        let id = self.clients[index].ask(name, question);
        let text = match scope {
            0 => format!("{word} {id} {}", room_name(room)),
            _ => format!("42{}{id}{}", prefix(scope), json!([word, room_name(room)])),
        };
        self.clients[index].text(&text, &mut self.dice);
    }

    fn echo(&mut self, index: usize, scope: usize, name: Name) {
        let (number, blobs) = (self.dice.below(1 << 20) as u32, self.dice.below(3));
        let Run { dice, clients, .. } = self;
        let client = &mut clients[index];
        if scope == 0 && blobs > 0 {
            let blob = blob(name, number, 0);
            client.send(Opcode::Binary, &blob, dice);
            client.binaries.push_back(blob);
        } else if scope == 0 {
            let tag = tag(name, number, 0);
            let id = client.ask(name, Question::Echo(tag.clone()));
            client.text(&format!("echo {id} {tag}"), dice);
        } else {
            let tag = tag(name, number, blobs);
            let id = client.ask(name, Question::Echo(tag.clone()));
            let args = with_placeholders(json!(["echo", tag]), blobs);
            let head = format!("{}{id}", prefix(scope));
            client.event(&head, &args, &self::blobs(name, number, blobs), dice);
        }
    }

    fn keep_or_poke(&mut self, index: usize, scope: usize, name: Name) {
        let core = self.clients[index].core;
        if !self.ledger.wants_in(name, KEPT) {
            self.ledger.ask_join(name, KEPT);
            let id = self.clients[index].ask(name, Question::Join(KEPT));
            let text = format!("42{}{id}[\"keep\"]", prefix(scope));
            return self.clients[index].text(&text, &mut self.dice);
        }
        let target = Target {
            to: vec![KEPT],
            only_core: Some(core),
            from_core: Some(core),
            ..Target::default()
        };
        let number = self.ledger.next_number(name);
        self.begin(name, number, target);
        let text = format!(
            "42{}{}",
            prefix(scope),
            json!(["poke", tag(name, number, 0)])
        );
        self.clients[index].text(&text, &mut self.dice);
    }

    /// To members of another kind: from WebSockets to the main namespace, and from namespaces to the WebSockets.
    fn cross(&mut self, index: usize, scope: usize, name: Name) {
        let room = self.any_room(EVERYONE);
        let target = Target {
            scope: usize::from(scope == 0),
            to: Vec::from_iter((room != EVERYONE).then_some(room)),
            from_core: Some(self.clients[index].core),
            ..Target::default()
        };
        let number = self.ledger.next_number(name);
        self.begin(name, number, target);
        let tag = tag(name, number, 0);
        let text = match (scope, room) {
            (0, EVERYONE) => format!("cross - {tag}"),
            (0, room) => format!("cross {} {tag}", room_name(room)),
            (_, EVERYONE) => format!("42{}{}", prefix(scope), json!(["cross", "", tag])),
            (_, room) => {
                format!(
                    "42{}{}",
                    prefix(scope),
                    json!(["cross", room_name(room), tag])
                )
            }
        };
        self.clients[index].text(&text, &mut self.dice);
    }

    fn any_room(&mut self, or: Room) -> Room {
        match self.dice.below(ROOMS - FIRST_ROOM + 1) {
            0 => or,
            room => FIRST_ROOM + room - 1,
        }
    }

    /// Arguments that the server passes on unread, to everyone or to all others.
    fn relay(&mut self, index: usize, scope: usize, name: Name) {
        let counted = self.dice.below(2) == 0;
        let target = Target {
            scope,
            not: counted.then_some(name),
            from_core: Some(self.clients[index].core),
            ..Target::default()
        };
        let number = self.ledger.next_number(name);
        self.begin(name, number, target);
        let blobs = self.dice.below(3);
        let word = if counted { "count" } else { "relay" };
        let args = with_placeholders(json!([word, tag(name, number, blobs)]), blobs);
        let blobs = self::blobs(name, number, blobs);
        self.clients[index].event(prefix(scope), &args, &blobs, &mut self.dice);
    }

    fn say(&mut self, index: usize, scope: usize, name: Name) {
        let rooms = |run: &mut Run, most: usize| -> Vec<Room> {
            let count = run.dice.below(most + 1);
            (0..count)
                .map(|_| FIRST_ROOM + run.dice.below(ROOMS - FIRST_ROOM))
                .collect()
        };
        let (to, except) = (rooms(self, 2), rooms(self, 1));
        let me = self.dice.below(2) == 0;
        let to_member = (self.dice.below(5) == 0)
            .then(|| self.any_id(scope))
            .flatten();
        let volatile = self.dice.below(12) == 0;
        let special = scope > 0 && !volatile;
        let gather = special && self.dice.below(5) == 0;
        let ask = special && self.dice.below(4) == 0;
        let mut to_names: Vec<String> = to.iter().map(|room| room_name(*room)).collect();
        to_names.extend(to_member.as_ref().map(|(_, id)| id.clone()));
        let spec = Spec {
            to: to_names,
            except: except.iter().map(|room| room_name(*room)).collect(),
            me,
            volatile,
            gather,
            ask,
        };
        let target = Target {
            scope,
            to,
            to_member: to_member.map(|(name, _)| name),
            except,
            not: (!me).then_some(name),
            volatile,
            only_core: None,
            from_core: Some(self.clients[index].core),
        };
        let number = self.ledger.next_number(name);
        self.begin(name, number, target);
        self.send_say(index, scope, (name, number), &spec);
    }

    fn send_say(&mut self, index: usize, scope: usize, (name, number): (Name, u32), spec: &Spec) {
        let Run { dice, clients, .. } = self;
        let client = &mut clients[index];
        if scope > 0 {
            let blobs = if dice.below(4) == 0 {
                1 + dice.below(2)
            } else {
                0
            };
            let list = with_placeholders(json!([]), blobs);
            let args = json!(["say", spec, tag(name, number, blobs), list]);
            let blobs = self::blobs(name, number, blobs);
            return client.event(prefix(scope), &args, &blobs, dice);
        }
        let list = |names: &[String]| match names {
            [] => "-".to_owned(),
            names => names.join(","),
        };
        let mut flags = String::from("-");
        flags.extend(spec.me.then_some('m'));
        flags.extend(spec.volatile.then_some('v'));
        let (to, except) = (list(&spec.to), list(&spec.except));
        let text = format!("say {flags} {to} {except} {}", tag(name, number, 0));
        client.text(&text, dice);
    }

    /// The id of any Socket.IO socket there has been in the scope, gone or not.
    fn any_id(&mut self, scope: usize) -> Option<(Name, String)> {
        let known = self
            .ids
            .iter()
            .filter(|(name, _)| self.ledger.member(**name).scope == scope);
        let known: Vec<(&Name, &String)> = known.collect();
        if known.is_empty() {
            return None;
        }
        let (name, id) = known[self.dice.below(known.len())];
        Some((*name, id.clone()))
    }

    /// The server's handle, on a thread that is no core.
    fn speak_from_outside(&mut self) {
        let gather = self.dice.below(3) == 0;
        if !self.world.has_room_for_mail(if gather { 3 } else { 1 }) {
            return;
        }
        let (scope, room) = (self.dice.below(SCOPES.len()), self.any_room(EVERYONE));
        let target = Target {
            scope,
            to: Vec::from_iter((room != EVERYONE).then_some(room)),
            ..Target::default()
        };
        let number = self.ledger.next_number(HANDLE);
        self.begin(HANDLE, number, target);
        let (tag, name) = (tag(HANDLE, number, 0), room_name(room));
        let server = &self.world.server;
        if scope == 0 {
            let all = server.websockets(PATH).unwrap();
            let text = format!("said {tag}");
            match room {
                EVERYONE => all.send(&text),
                _ => all.to(&name).send(&text),
            }
        } else {
            let namespace = server.of(SCOPES[scope]);
            let receivers = match room {
                EVERYONE => namespace.everyone(),
                _ => namespace.to(&name),
            };
            if gather {
                let room = gathering(&tag);
                receivers.sockets_join(&room);
                namespace.to(&room).emit("said", tag);
                namespace.to(&room).sockets_leave(&room);
            } else {
                receivers.emit("said", tag);
            }
        }
    }

    /// Notes that a message is sent now, and who must hear it.
    fn begin(&mut self, sender: Name, number: u32, target: Target) {
        for (index, core) in self.world.cores.iter().enumerate() {
            // What members were answered before, their core has posted, and nothing waits behind: the others see it first.
            if core.shard.is_some() && core.mail_waiting() == 0 {
                self.ledger.settle(index);
            }
        }
        self.ledger.begin(sender, number, target);
    }
}

pub(super) fn prefix(scope: usize) -> &'static str {
    if scope == 2 { "/chat," } else { "" }
}
