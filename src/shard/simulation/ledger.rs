//! Who said what to whom, who must have heard it by now, and who may have.
//!
//! A member's stay in a room has an uncertain beginning (asked, not yet answered) and an uncertain end. So whether a message
//! meets it has three answers: it must (certainly in, from before the message was sent), it must not (certainly out), or it may.

use std::collections::{BTreeMap, BTreeSet};

/// A member: a plain WebSocket, or a Socket.IO socket in one namespace. Never used twice. 0 is the server's handle.
pub(super) type Name = u32;
/// Rooms by number: 0 is the whole scope.
pub(super) type Room = usize;

pub(super) const HANDLE: Name = 0;
pub(super) const EVERYONE: Room = 0;
/// Not a room: the members whose handles were kept by their core.
pub(super) const KEPT: Room = 1;
/// The first real room.
pub(super) const FIRST_ROOM: Room = 2;
pub(super) const ROOMS: usize = 6;

/// One stay in a room, by the moments at which the client knew.
#[derive(Clone, Copy, Debug)]
struct Stay {
    asked: u64,
    answered: Option<u64>,
    /// Answered, and known on every core that is going to ask.
    settled: Option<u64>,
    leaving: Option<u64>,
    left: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) scope: usize,
    pub(super) core: usize,
    stays: [Vec<Stay>; ROOMS],
    said: u32,
    /// The last number heard of each sender, and which of them there were.
    last: BTreeMap<Name, u32>,
    /// What it must hear yet.
    due: BTreeSet<(Name, u32)>,
}

/// Whom a message is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub(super) scope: usize,
    pub(super) to: Vec<Room>,
    /// The one member whose id is named, who may be gone.
    pub(super) to_member: Option<Name>,
    pub(super) except: Vec<Room>,
    pub(super) not: Option<Name>,
    pub(super) volatile: bool,
    /// Only members of this core, in whatever scope.
    pub(super) only_core: Option<usize>,
    /// It goes out from this core; `None`: every core is told, and decides by itself.
    pub(super) from_core: Option<usize>,
}

struct Message {
    target: Target,
    begun: u64,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) now: u64,
    members: BTreeMap<Name, Member>,
    messages: BTreeMap<(Name, u32), Message>,
    /// Members that are still around, in whatever state.
    present: BTreeSet<Name>,
    names: Name,
    said_by_handle: u32,
    pub(super) heard: u64,
}

impl Stay {
    fn is_certain(&self, direct: bool) -> bool {
        let known = if direct { self.answered } else { self.settled };
        known.is_some() && self.leaving.is_none()
    }
}

impl Member {
    fn is_certainly_in(&self, room: Room, direct: bool) -> bool {
        self.stays[room]
            .last()
            .is_some_and(|stay| stay.is_certain(direct))
    }

    fn is_certainly_out(&self, room: Room) -> bool {
        self.stays[room].iter().all(|stay| stay.left.is_some())
    }

    /// Whether it can have been in at any time since `begun`.
    fn may_have_been_in(&self, room: Room, begun: u64) -> bool {
        let stays = &self.stays[room];
        stays
            .iter()
            .any(|stay| stay.left.is_none_or(|left| left >= begun))
    }

    /// Whether it was in all the time since `begun`.
    fn was_in_since(&self, room: Room, begun: u64) -> bool {
        let last = self.stays[room].last();
        last.is_some_and(|stay| {
            stay.leaving.is_none() && stay.answered.is_some_and(|answered| answered < begun)
        })
    }
}

impl Target {
    fn names(&self, room: Room) -> bool {
        self.to.contains(&room) || self.except.contains(&room)
    }

    fn is_for_all(&self) -> bool {
        self.to.is_empty() && self.to_member.is_none()
    }

    fn takes(&self, name: Name, member: &Member) -> bool {
        let here = match self.only_core {
            Some(core) => core == member.core,
            None => self.scope == member.scope,
        };
        here && self.not != Some(name)
    }

    fn must_meet(&self, name: Name, member: &Member) -> bool {
        let direct = self.from_core.is_none_or(|core| core == member.core);
        let meant = self.is_for_all()
            || self.to_member == Some(name)
            || self
                .to
                .iter()
                .any(|room| member.is_certainly_in(*room, direct));
        // The named member is looked for on its own core, whatever others know.
        let direct = direct || self.to_member == Some(name);
        self.takes(name, member)
            && !self.volatile
            && meant
            && member.is_certainly_in(EVERYONE, direct)
            && self
                .except
                .iter()
                .all(|room| member.is_certainly_out(*room))
    }

    fn may_meet(&self, name: Name, member: &Member, begun: u64) -> bool {
        let meant = self.is_for_all()
            || self.to_member == Some(name)
            || self
                .to
                .iter()
                .any(|room| member.may_have_been_in(*room, begun));
        self.takes(name, member)
            && meant
            && !self
                .except
                .iter()
                .any(|room| member.was_in_since(*room, begun))
    }
}

impl Ledger {
    /// A new member, that has asked to be let in.
    pub(super) fn enter(&mut self, scope: usize, core: usize) -> Name {
        self.names += 1;
        let member = Member {
            scope,
            core,
            stays: Default::default(),
            said: 0,
            last: BTreeMap::new(),
            due: BTreeSet::new(),
        };
        self.members.insert(self.names, member);
        self.present.insert(self.names);
        self.ask_join(self.names, EVERYONE);
        self.names
    }

    pub(super) fn member(&self, name: Name) -> &Member {
        &self.members[&name]
    }

    fn member_mut(&mut self, name: Name) -> &mut Member {
        self.members.get_mut(&name).unwrap()
    }

    pub(super) fn ask_join(&mut self, name: Name, room: Room) {
        let asked = self.now;
        self.forgive(name, |message| message.target.names(room));
        self.member_mut(name).stays[room].push(Stay {
            asked,
            answered: None,
            settled: None,
            leaving: None,
            left: None,
        });
    }

    pub(super) fn answer_join(&mut self, name: Name, room: Room) {
        let now = self.now;
        let stays = &mut self.member_mut(name).stays[room];
        if let Some(stay) = stays.iter_mut().find(|stay| stay.answered.is_none()) {
            assert!(stay.asked <= now);
            stay.answered = Some(now);
        }
    }

    pub(super) fn ask_leave(&mut self, name: Name, room: Room) {
        let now = self.now;
        self.forgive(name, |message| {
            room == EVERYONE || message.target.names(room)
        });
        if let Some(stay) = self.member_mut(name).stays[room].last_mut() {
            stay.leaving.get_or_insert(now);
        }
    }

    pub(super) fn answer_leave(&mut self, name: Name, room: Room) {
        let now = self.now;
        let stays = &mut self.member_mut(name).stays[room];
        if let Some(stay) = stays.iter_mut().find(|stay| stay.left.is_none()) {
            stay.left = Some(now);
        }
    }

    /// It is gone, and hears nothing more.
    pub(super) fn gone(&mut self, name: Name) {
        self.ask_leave(name, EVERYONE);
        self.present.remove(&name);
        let now = self.now;
        for stays in &mut self.member_mut(name).stays {
            for stay in stays {
                stay.leaving.get_or_insert(now);
                stay.left.get_or_insert(now);
            }
        }
    }

    /// Whether the last wish was to be in.
    pub(super) fn wants_in(&self, name: Name, room: Room) -> bool {
        let last = self.members[&name].stays[room].last();
        last.is_some_and(|stay| stay.leaving.is_none())
    }

    pub(super) fn is_connected(&self, name: Name) -> bool {
        self.members[&name].is_certainly_in(EVERYONE, true)
    }

    /// The other cores know by now of all that the members of this core were answered.
    pub(super) fn settle(&mut self, core: usize) {
        let now = self.now;
        for name in &self.present {
            let member = self.members.get_mut(name).unwrap();
            if member.core == core {
                for stay in member.stays.iter_mut().flatten() {
                    if stay.answered.is_some() {
                        stay.settled.get_or_insert(now);
                    }
                }
            }
        }
    }

    /// The number of the sender's next message.
    pub(super) fn next_number(&mut self, sender: Name) -> u32 {
        let said = if sender == HANDLE {
            &mut self.said_by_handle
        } else {
            &mut self.member_mut(sender).said
        };
        *said += 1;
        *said
    }

    /// The message is sent now.
    pub(super) fn begin(&mut self, sender: Name, number: u32, target: Target) {
        for name in &self.present {
            let member = self.members.get_mut(name).unwrap();
            if target.must_meet(*name, member) {
                member.due.insert((sender, number));
            }
        }
        let message = Message {
            target,
            begun: self.now,
        };
        self.messages.insert((sender, number), message);
    }

    /// A member turns out to have left, at some time.
    pub(super) fn begin_farewell(&mut self, sender: Name) {
        let target = Target {
            scope: self.members[&sender].scope,
            not: Some(sender),
            volatile: true,
            ..Target::default()
        };
        self.begin(sender, super::LAST, target);
    }

    pub(super) fn was_begun(&self, sender: Name, number: u32) -> bool {
        self.messages.contains_key(&(sender, number))
    }

    /// A member heard a message. Says what is wrong with that, if anything is.
    pub(super) fn hear(&mut self, name: Name, sender: Name, number: u32) -> Result<(), String> {
        let Some(message) = self.messages.get_mut(&(sender, number)) else {
            return Err(format!("{name} heard {sender}:{number}, which nobody said"));
        };
        let member = self.members.get_mut(&name).unwrap();
        if !message.target.may_meet(name, member, message.begun) {
            return Err(format!(
                "{name} heard {sender}:{number}, begun at {}, meant for {:?}: {member:?}",
                message.begun, message.target
            ));
        }
        self.heard += 1;
        member.due.remove(&(sender, number));
        match member.last.insert(sender, number) {
            Some(last) if last >= number => Err(format!(
                "{name} heard {sender}:{number} after {sender}:{last}"
            )),
            _ => Ok(()),
        }
    }

    fn forgive(&mut self, name: Name, which: impl Fn(&Message) -> bool) {
        let messages = &self.messages;
        let member = self.members.get_mut(&name).unwrap();
        member.due.retain(|key| !which(&messages[key]));
    }

    /// The sender broke off: what it sent may be lost.
    pub(super) fn sender_lost(&mut self, sender: Name) {
        for name in &self.present {
            let member = self.members.get_mut(name).unwrap();
            member.due.retain(|(of, _)| *of != sender);
        }
    }

    /// What a member must have heard by now.
    pub(super) fn due(&self, name: Name) -> impl Iterator<Item = (Name, u32)> {
        self.members[&name].due.iter().copied()
    }

    pub(super) fn present(&self) -> impl Iterator<Item = Name> {
        self.present.iter().copied()
    }

    /// How many members of a core are in a room of a scope, if that is certain.
    pub(super) fn population(&self, scope: usize, core: usize, room: Room) -> Option<usize> {
        let mut population = 0;
        for name in &self.present {
            let member = &self.members[name];
            if member.scope != scope || member.core != core {
                continue;
            }
            let connected = member.is_certainly_in(EVERYONE, true);
            if connected && member.is_certainly_in(room, true) {
                population += 1;
            } else if !(connected && member.is_certainly_out(room)) {
                return None;
            }
        }
        Some(population)
    }
}
