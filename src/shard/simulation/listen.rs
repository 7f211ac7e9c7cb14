//! What clients hear: each thing is checked, noted and, where the protocol wants it, answered.

use serde_json::Value;

use super::client::{Client, Ending, Heard, Kind, Packet, Question};
use super::ledger::{EVERYONE, Name};
use super::play::{blobs, tag};
use super::polling::Over;
use super::{LAST, Run, stage};
use crate::wire::frame::Opcode;

impl Run {
    /// A client reads what there is. `false`: nothing has changed for it.
    pub(super) fn pump(&mut self, index: usize) -> bool {
        self.ledger.now += 1;
        let doors = self.doors();
        let Run { clients, dice, .. } = self;
        let client = &mut clients[index];
        if client.dead {
            return false;
        }
        if client.slow {
            let reset = client.polling.is_none() && client.was_reset();
            if reset {
                self.closed(index);
            }
            return reset;
        }
        let was_stuck = client.is_stuck();
        let read = client.receive(&doors, dice);
        let some = read.and_then(|some| Ok((some, client.read()?)));
        let some = match some {
            Ok((some, heard)) => {
                heard.into_iter().for_each(|heard| self.hear(index, heard));
                some
            }
            Err(error) => self.fail(index, &error),
        };
        let client = &self.clients[index];
        let closed = !client.dead && client.is_closed() && (!some || client.polling.is_some());
        if closed {
            self.closed(index);
        }
        some || closed || was_stuck != self.clients[index].is_stuck()
    }

    fn fail(&self, index: usize, what: &str) -> ! {
        let client = &self.clients[index];
        panic!(
            "client {index} ({:?} on core {}, {:?}): {what}",
            client.kind, client.core, client.ending
        )
    }

    /// The server has ended the connection, or it broke. Was there a reason?
    fn closed(&mut self, index: usize) {
        let client = &self.clients[index];
        let (core, reset) = (client.core, client.was_reset());
        let expected = client.ending.is_some() || client.excused || (self.plan.harsh && reset);
        if !expected {
            self.unexplained[core] += 1;
            let heard = client.close_heard;
            let over = client.polling.as_ref().map(|polling| polling.over.clone());
            if !self.plan.cuts() {
                self.fail(
                    index,
                    &format!("ended for no reason, reset: {reset}, {heard:?}, {over:?}"),
                );
            }
        }
        // Those whom the server had no reason to give up before it ended what they had begun have been heard to the last word.
        let given_up = reset || client.excused || self.plan.cuts();
        let orderly = matches!(
            client.ending,
            Some(Ending::Close | Ending::Asked | Ending::Fin)
        );
        if !orderly || given_up {
            self.lose(index);
        }
        let client = &mut self.clients[index];
        let over = client.polling.as_ref().and_then(|of| of.over.clone());
        if matches!(over, Some(Over::Lost(_))) || client.is_fresh {
            client.ghost_for = Some(0);
        }
        if !client.mute || client.polling.is_some() {
            client.finish();
        }
        self.bury(index);
    }

    /// What this client sent may have been lost with it.
    pub(super) fn lose(&mut self, index: usize) {
        for name in self.clients[index].names() {
            self.ledger.sender_lost(name);
        }
    }

    pub(super) fn bury(&mut self, index: usize) {
        self.clients[index].dead = true;
        for name in self.clients[index].names() {
            self.ledger.gone(name);
        }
    }

    fn hear(&mut self, index: usize, heard: Heard) {
        let Run { clients, dice, .. } = self;
        let client = &mut clients[index];
        match heard {
            Heard::Http(101) if client.kind == Kind::Plain => drop(self.admitted(index, 0)),
            Heard::Http(101) if client.kind == Kind::SocketIo => {}
            Heard::Http(_) if client.kind == Kind::Stillborn => {}
            Heard::Http(status) => self.fail(index, &format!("was answered {status}")),
            Heard::Ping(payload) if !client.mute => client.send(Opcode::Pong, &payload, dice),
            Heard::Ping(_) => {}
            Heard::Pong(payload) => {
                // One Pong may answer several Pings, the last of them (RFC 6455 §5.5.3).
                match client.pings.iter().position(|ping| *ping == payload) {
                    Some(at) => drop(client.pings.drain(..=at)),
                    None => self.fail(index, "a Pong to nothing"),
                }
            }
            Heard::Close(code) if !client.mute => client.close(code, dice),
            Heard::Close(_) => {}
            Heard::Binary(bytes) if client.kind == Kind::Plain => {
                let echo = client.binaries.pop_front();
                if echo != Some(bytes) {
                    self.fail(index, "another binary message than the one sent");
                }
            }
            Heard::Binary(bytes) => self.attachment(index, bytes),
            Heard::Text(text) if client.kind == Kind::Plain => self.line(index, &text),
            Heard::Text(text) => self.engine_text(index, &text),
        }
    }

    /// The server has let in whom the client asked for.
    fn admitted(&mut self, index: usize, scope: usize) -> Name {
        let client = &mut self.clients[index];
        let Some(name) = client.pending[scope].take() else {
            self.fail(index, "let in without having asked")
        };
        if let Some(old) = client.members[scope].replace(name) {
            self.ledger.gone(old);
        }
        self.ledger.answer_join(name, EVERYONE);
        name
    }

    /// The server has not let in whom the client asked for.
    fn refused(&mut self, index: usize, scope: usize, json: &str) {
        let name = self.clients[index].pending[scope].take();
        let Some(name) = name.filter(|name| scope == 2 && !stage::is_welcome(*name)) else {
            self.fail(index, &format!("refused: {json}, as {name:?}"))
        };
        assert_eq!(json, r#"{"message":"refused"}"#);
        self.ledger.gone(name);
        self.refused += 1;
    }

    // ---- plain WebSockets ----

    fn line(&mut self, index: usize, text: &str) {
        let Some(name) = self.clients[index].members[0] else {
            self.fail(index, "a message before the answer")
        };
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "said" => self.said(index, name, rest, &[]),
            "done" => {
                let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                self.answered(index, name, number.parse().ok(), rest, &[]);
            }
            _ => self.fail(index, &format!("heard {text:?}")),
        }
    }

    // ---- Socket.IO ----

    fn engine_text(&mut self, index: usize, text: &str) {
        if self.clients[index].packet.is_some() {
            self.fail(index, &format!("text between attachments: {text:?}"));
        }
        match text.as_bytes().first() {
            Some(b'0') => {
                if self.clients[index].is_free() {
                    self.connect_namespace(index);
                }
            }
            Some(b'2') if self.clients[index].mute => {}
            Some(b'2') => {
                let Run { clients, dice, .. } = self;
                clients[index].text("3", dice);
            }
            // Written for a GET, when the session ended in the middle of the upgrade; a Close frame follows.
            Some(b'1') if self.clients[index].is_upgraded_to_close() => {}
            Some(b'4') => match Packet::parse(&text[1..]) {
                Ok(packet) if packet.missing > 0 => self.clients[index].packet = Some(packet),
                Ok(packet) => self.packet(index, &packet),
                Err(error) => self.fail(index, &error),
            },
            _ => self.fail(index, &format!("heard {text:?}")),
        }
    }

    fn attachment(&mut self, index: usize, bytes: Vec<u8>) {
        let Some(mut packet) = self.clients[index].packet.take() else {
            self.fail(index, "an attachment of nothing")
        };
        packet.attachments.push(bytes);
        if packet.attachments.len() < packet.missing {
            self.clients[index].packet = Some(packet);
        } else {
            self.packet(index, &packet);
        }
    }

    fn packet(&mut self, index: usize, packet: &Packet) {
        let scope = if packet.namespace == "/" { 1 } else { 2 };
        if packet.kind == b'0' {
            let name = self.admitted(index, scope);
            let id = serde_json::from_str::<Value>(&packet.json).unwrap()["sid"].clone();
            self.ids.insert(name, id.as_str().unwrap().to_owned());
            let is_welcome = scope < 2 || stage::is_welcome(name);
            assert!(is_welcome, "{name} was let in, and is not welcome");
            return;
        }
        if packet.kind == b'4' {
            return self.refused(index, scope, &packet.json);
        }
        let Some(name) = self.clients[index].members[scope] else {
            self.fail(index, &format!("heard while not connected: {packet:?}"))
        };
        match packet.kind {
            b'1' => self.disconnected(index, scope, name),
            b'2' | b'5' => {
                let (args, _) = arguments(&packet.json, packet.missing);
                match &args[..] {
                    [word, tag] if word == "said" => {
                        self.said(index, name, tag, &packet.attachments);
                        if let Some(id) = packet.id {
                            self.acknowledge(index, (scope, name), id, tag);
                        }
                    }
                    _ => self.fail(index, &format!("heard {packet:?}")),
                }
            }
            b'3' | b'6' => {
                let (args, truth) = arguments(&packet.json, packet.missing);
                let text = args.first().map_or("", |text| text.as_str());
                assert!(
                    truth || !text.is_empty(),
                    "an answer of nothing: {packet:?}"
                );
                self.answered(index, name, packet.id, text, &packet.attachments);
            }
            _ => self.fail(index, &format!("heard {packet:?}")),
        }
    }

    /// Answers a question with the member's name.
    fn acknowledge(&mut self, index: usize, (scope, name): (usize, Name), id: u64, tag: &str) {
        // Once it has asked to leave, an answer would break the protocol: it could come when it has left.
        let leaves = !self.ledger.wants_in(name, EVERYONE);
        let Run { clients, dice, .. } = self;
        let client = &mut clients[index];
        let mut parts = tag.split(':').map_while(|part| part.parse::<u32>().ok());
        if let (Some(sender), Some(number)) = (parts.next(), parts.next())
            && !leaves
            && client.is_free()
            && !client.close_sent
            && !client.finished
        {
            let text = format!("43{}{id}[\"{name}\"]", super::play::prefix(scope));
            client.text(&text, dice);
            let answers = self.answers.entry((sender, number)).or_default();
            answers.push(name);
        }
    }

    fn disconnected(&mut self, index: usize, scope: usize, name: Name) {
        let client = &mut self.clients[index];
        let asked = client.kicked[scope] == Some(name) || client.ending == Some(Ending::Asked);
        if !asked {
            self.fail(index, "disconnected from a namespace for no reason");
        }
        client.members[scope] = None;
        self.ledger.gone(name);
    }

    // ---- both ----

    fn said(&mut self, index: usize, name: Name, text: &str, attachments: &[Vec<u8>]) {
        let mut parts = text.splitn(4, ':');
        let mut number = || parts.next().and_then(|number| number.parse::<u32>().ok());
        let (Some(sender), Some(count)) = (number(), number()) else {
            self.fail(index, &format!("heard {text:?}"))
        };
        if count == LAST {
            self.note_farewell(index, sender);
        } else {
            let attached = number().unwrap_or(0) as usize;
            let right = *text == tag(sender, count, attached);
            if !right || attachments != blobs(sender, count, attached) {
                self.fail(
                    index,
                    &format!("heard {sender}:{count} with other contents"),
                );
            }
        }
        if let Err(error) = self.ledger.hear(name, sender, count) {
            self.fail(index, &error);
        }
    }

    /// Who is said farewell of without having begun to leave must have broken off, or been cut.
    fn note_farewell(&mut self, index: usize, sender: Name) {
        if self.ledger.was_begun(sender, LAST) {
            return;
        }
        let client = &self.clients[self.owners[&sender]];
        let reset = self.plan.harsh && client.was_reset();
        let may_have_left = client.excused || client.ending.is_some() || reset || self.plan.cuts();
        if !may_have_left {
            let state = client.state();
            let reason = stage::reason_of(sender);
            self.fail(
                index,
                &format!("heard that {sender} left ({reason:?}), which did not: {state}"),
            );
        }
        self.ledger.begin_farewell(sender);
    }

    fn answered(
        &mut self,
        index: usize,
        name: Name,
        id: Option<u64>,
        text: &str,
        attachments: &[Vec<u8>],
    ) {
        let client: &mut Client = &mut self.clients[index];
        let questions = client.questions.entry(name).or_default();
        let question = match questions.pop_front() {
            Some((asked, question)) if Some(asked) == id => question,
            other => self.fail(
                index,
                &format!("was answered {id:?}, and had asked {other:?}"),
            ),
        };
        match question {
            Question::Join(room) => self.ledger.answer_join(name, room),
            Question::Leave(room) => self.ledger.answer_leave(name, room),
            Question::Echo(tag) => {
                let mut parts = tag.split(':').filter_map(|part| part.parse().ok());
                let mut number = || parts.next().unwrap_or(0);
                let (name, number, count) = (number(), number(), number() as usize);
                if text != tag || attachments != blobs(name, number, count) {
                    self.fail(index, &format!("another echo of {tag}: {text}"));
                }
            }
        }
    }
}

/// The strings of an argument list, once the placeholders are seen to be as many as there are attachments; and whether `true` is
/// among the arguments.
fn arguments(json: &str, attachments: usize) -> (Vec<String>, bool) {
    let list: Value = serde_json::from_str(json).unwrap();
    let list = list.as_array().unwrap();
    let placeholders = json.matches("\"_placeholder\":true").count();
    assert_eq!(placeholders, attachments, "{json}");
    let strings = list
        .iter()
        .filter_map(|arg| arg.as_str().map(str::to_owned));
    (strings.collect(), list.contains(&Value::Bool(true)))
}
