use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use property::check;

impl Rooms {
    /// Panics unless everything that is noted twice is noted the same, and nothing vacant is kept.
    pub(crate) fn invariants(&self) {
        self.scopes_agree();
        self.rooms_agree();
        self.members_agree();
    }

    fn scopes_agree(&self) {
        assert_eq!(self.scope_ids.len(), self.scopes.len());
        assert_eq!(
            self.scopes
                .iter()
                .map(|(_, scope)| scope.rooms.len())
                .sum::<usize>(),
            self.rooms.len()
        );
        for (id, scope) in &self.scopes {
            assert_eq!(self.scope_ids.get(&scope.name), Some(&(id as u32)));
            for (name, room) in &scope.rooms {
                let room = &self.rooms[*room as usize];
                assert_eq!((&room.name, room.scope), (name, id as u32));
            }
            for (position, entry) in scope.everyone.entries.iter().enumerate() {
                let member = &self.members[entry.member as usize];
                assert_eq!(
                    (member.scope, member.position),
                    (id as u32, position as u32)
                );
            }
        }
    }

    fn rooms_agree(&self) {
        for (id, room) in &self.rooms {
            assert!(!room.crowd.is_vacant(), "{} is kept for nobody", room.name);
            for (position, entry) in room.crowd.entries.iter().enumerate() {
                let member = &self.members[entry.member as usize];
                assert_eq!(member.scope, room.scope);
                let place = Place {
                    room: id as u32,
                    position: position as u32,
                };
                assert_eq!(member.places().get(entry.back as usize), Some(&place));
                assert_eq!(self.connection_of(entry.member), Some(entry.connection));
            }
        }
    }

    fn members_agree(&self) {
        assert!(
            self.members
                .iter()
                .all(|member| member.joined.is_none() || !member.places().is_empty())
        );
        let here = self
            .members
            .iter()
            .filter(|member| member.scope != NOWHERE)
            .count();
        assert_eq!(
            here,
            self.scopes
                .iter()
                .map(|(_, scope)| scope.everyone.entries.len())
                .sum::<usize>()
        );
        // Each entry has a place of its own (above); no place is left over.
        let places = self
            .members
            .iter()
            .map(|member| member.places().len())
            .sum::<usize>();
        assert_eq!(
            places,
            self.rooms
                .iter()
                .map(|(_, room)| room.crowd.entries.len())
                .sum::<usize>()
        );
    }
}

fn rooms_of(rooms: &Rooms, member: u32) -> BTreeSet<&str> {
    rooms.rooms_of(member).collect()
}

#[test]
fn members_and_entries_are_as_small_as_promised() {
    assert_eq!(size_of::<Member>(), 16);
    assert_eq!(size_of::<Entry>(), 12);
    assert_eq!(size_of::<Place>(), 8);
}

#[test]
fn the_first_in_and_the_last_out_are_reported() {
    let mut rooms = Rooms::new(Limits::default());
    let chat = rooms.scope("/chat");
    assert_eq!(rooms.enter(chat, 0, 10), Change::First);
    assert_eq!(rooms.enter(chat, 1, 11), Change::None);
    assert_eq!(rooms.join(0, "lobby"), Ok(Change::First));
    assert_eq!(rooms.join(1, "lobby"), Ok(Change::None));
    assert_eq!(rooms.join(1, "lobby"), Ok(Change::None), "is in already");
    assert_eq!(rooms.population(chat, Some("lobby")), 2);
    assert_eq!(rooms.leave(1, "lobby"), Change::None);
    assert_eq!(rooms.leave(1, "lobby"), Change::None, "is out already");
    assert_eq!(rooms.leave(1, "unheard of"), Change::None);
    assert_eq!(rooms.leave(0, "lobby"), Change::Last);
    assert_eq!(rooms.population(chat, Some("lobby")), 0);
    rooms.invariants();
}

#[test]
fn a_departure_names_what_became_empty() {
    let mut rooms = Rooms::new(Limits::default());
    let chat = rooms.scope("/chat");
    for member in [0, 1] {
        let _ = rooms.enter(chat, member, member);
        assert!(rooms.join(member, "shared").is_ok());
    }
    assert_eq!(rooms.join(0, "own"), Ok(Change::First));
    let departure = rooms.leave_all(0).unwrap();
    assert_eq!(
        departure,
        Departure {
            scope: "/chat".into(),
            last: false,
            emptied: vec!["own".into()]
        }
    );
    assert_eq!(rooms.leave_all(0), None);
    assert_eq!(rooms.leave_all(99), None);
    let departure = rooms.leave_all(1).unwrap();
    assert_eq!(
        departure,
        Departure {
            scope: "/chat".into(),
            last: true,
            emptied: vec!["shared".into()]
        }
    );
    assert_eq!(rooms.find_scope("/chat"), None, "released");
    rooms.invariants();
}

#[test]
fn a_scope_stays_while_it_is_of_use() {
    let mut rooms = Rooms::new(Limits::default());
    let scope = rooms.scope("/x");
    assert_eq!(rooms.scope("/x"), scope);
    assert_eq!(rooms.scope_name(scope), Some("/x"));
    let _ = rooms.enter(scope, 0, 0);
    rooms.set_interest(scope, Some("r"), 3, true);
    let _ = rooms.leave_all(0);
    assert_eq!(
        rooms.find_scope("/x"),
        Some(scope),
        "another core is interested"
    );
    rooms.set_interest(scope, None, 3, true);
    rooms.set_interest(scope, Some("r"), 3, false);
    assert_eq!(rooms.find_scope("/x"), Some(scope), "still");
    rooms.set_interest(scope, None, 3, false);
    assert_eq!(rooms.find_scope("/x"), None);
    assert_eq!(rooms.scope_name(scope), None);
    rooms.set_interest(scope, None, 3, false);
    rooms.invariants();
}

#[test]
fn rooms_of_two_scopes_are_not_the_same() {
    let mut rooms = Rooms::new(Limits::default());
    let (a, b) = (rooms.scope("/a"), rooms.scope("/b"));
    let _ = rooms.enter(a, 0, 0);
    let _ = rooms.enter(b, 1, 0);
    assert_eq!(rooms.join(0, "lobby"), Ok(Change::First));
    assert_eq!(rooms.join(1, "lobby"), Ok(Change::First));
    rooms.set_interest(b, Some("lobby"), 2, true);
    assert!(rooms.interest(a, Some("lobby")).is_empty());
    assert!(rooms.interest(b, Some("lobby")).contains(2));
    assert!(rooms.interest(b, None).is_empty());
    assert_eq!(rooms.leave(0, "lobby"), Change::Last);
    assert!(rooms.contains(1, "lobby"));
}

#[test]
fn joining_has_limits() {
    let mut rooms = Rooms::new(Limits {
        rooms_per_member: 2,
        room_name_bytes: 4,
    });
    let scope = rooms.scope("/");
    assert_eq!(rooms.join(0, "a"), Err(JoinError::NotHere));
    let _ = rooms.enter(scope, 0, 0);
    assert_eq!(rooms.join(0, "abcde"), Err(JoinError::NameTooLong));
    assert_eq!(rooms.join(0, "abcd"), Ok(Change::First));
    assert_eq!(
        rooms.join(0, ""),
        Ok(Change::First),
        "an empty name is a name"
    );
    assert_eq!(rooms.join(0, "b"), Err(JoinError::TooManyRooms));
    assert_eq!(
        rooms.join(0, "abcd"),
        Ok(Change::None),
        "is in already: the limit does not matter"
    );
    let _ = rooms.leave(0, "");
    assert_eq!(rooms.join(0, "b"), Ok(Change::First));
    assert_eq!(rooms_of(&rooms, 0), ["abcd", "b"].into());
    assert_eq!(rooms.population(scope, Some("")), 0);
    rooms.invariants();
}

#[test]
fn memory_of_a_crowd_of_short_lived_rooms_is_given_back() {
    let mut rooms = Rooms::new(Limits {
        rooms_per_member: 100_000,
        ..Limits::default()
    });
    let scope = rooms.scope("/");
    let _ = rooms.enter(scope, 0, 0);
    let _ = rooms.enter(scope, 1, 1);
    assert_eq!(rooms.join(1, "stays"), Ok(Change::First));
    (0..20_000)
        .for_each(|number| assert_eq!(rooms.join(0, &number.to_string()), Ok(Change::First)));
    assert_eq!(rooms.leave_all(0).unwrap().emptied.len(), 20_000);
    assert!(rooms.scopes[scope.0 as usize].rooms.capacity() < 5_000);
    assert!(rooms.contains(1, "stays"));
    rooms.invariants();
}

const SCOPES: [&str; 2] = ["/", "/chat"];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const MEMBERS: u32 = 7;
const ROOMS_MAX: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Enter {
        scope: usize,
        member: u32,
        connection: u32,
    },
    LeaveAll {
        member: u32,
    },
    Join {
        member: u32,
        room: usize,
    },
    Leave {
        member: u32,
        room: usize,
    },
    Interest {
        scope: usize,
        room: Option<usize>,
        core: usize,
        on: bool,
    },
    /// A place in the scope, and one in the room.
    Hold {
        scope: usize,
        room: usize,
    },
    /// One that was held before.
    Release {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let scope = || 0..SCOPES.len();
    let room = || 0..NAMES.len();
    let member = || 0..MEMBERS;
    prop_oneof![
        4 => (scope(), member(), 0..50u32).prop_map(|(scope, member, connection)| Step::Enter { scope, member, connection }),
        2 => member().prop_map(|member| Step::LeaveAll { member }),
        9 => (member(), room()).prop_map(|(member, room)| Step::Join { member, room }),
        4 => (member(), room()).prop_map(|(member, room)| Step::Leave { member, room }),
        3 => (scope(), proptest::option::of(room()), 0..3usize, any::<bool>())
            .prop_map(|(scope, room, core, on)| Step::Interest { scope, room, core, on }),
        2 => (scope(), room()).prop_map(|(scope, room)| Step::Hold { scope, room }),
        2 => (0..20usize).prop_map(|which| Step::Release { which }),
    ]
}

struct Here {
    scope: usize,
    connection: u32,
    rooms: BTreeSet<usize>,
}

/// The naive rooms: members know their rooms, and everything else is searched for.
#[derive(Default)]
struct Model {
    members: BTreeMap<u32, Here>,
    interest: BTreeSet<(usize, Option<usize>, usize)>,
    held: Vec<(usize, usize)>,
}

impl Model {
    fn population(&self, scope: usize, room: Option<usize>) -> usize {
        let is_in = |here: &&Here| {
            here.scope == scope && room.is_none_or(|room| here.rooms.contains(&room))
        };
        self.members.values().filter(is_in).count()
    }

    fn held(&self, scope: usize, room: Option<usize>) -> usize {
        let meant =
            |held: &&(usize, usize)| held.0 == scope && room.is_none_or(|room| held.1 == room);
        self.held.iter().filter(meant).count()
    }

    /// Members and held places.
    fn here(&self, scope: usize, room: Option<usize>) -> usize {
        self.population(scope, room) + self.held(scope, room)
    }

    fn join(&mut self, member: u32, room: usize) -> Result<Change, JoinError> {
        let here = self.members.get_mut(&member).ok_or(JoinError::NotHere)?;
        if here.rooms.contains(&room) {
            return Ok(Change::None);
        }
        if here.rooms.len() == ROOMS_MAX {
            return Err(JoinError::TooManyRooms);
        }
        here.rooms.insert(room);
        let scope = here.scope;
        Ok(if self.here(scope, Some(room)) == 1 {
            Change::First
        } else {
            Change::None
        })
    }

    fn leave(&mut self, member: u32, room: usize) -> Change {
        let Some(here) = self.members.get_mut(&member) else {
            return Change::None;
        };
        let scope = here.scope;
        let was_in = here.rooms.remove(&room);
        if was_in && self.here(scope, Some(room)) == 0 {
            Change::Last
        } else {
            Change::None
        }
    }

    fn leave_all(&mut self, member: u32) -> Option<Departure> {
        let gone = self.members.remove(&member)?;
        let emptied = gone
            .rooms
            .iter()
            .filter(|room| self.here(gone.scope, Some(**room)) == 0);
        let emptied = emptied.map(|room| NAMES[*room].into()).collect();
        Some(Departure {
            scope: SCOPES[gone.scope].into(),
            last: self.here(gone.scope, None) == 0,
            emptied,
        })
    }

    fn is_of_use(&self, scope: usize) -> bool {
        let interesting = self.interest.iter().any(|(other, ..)| *other == scope);
        interesting || self.here(scope, None) > 0
    }
}

fn apply(step: Step, rooms: &mut Rooms, model: &mut Model) {
    match step {
        Step::Enter {
            scope,
            member,
            connection,
        } => {
            if model.members.contains_key(&member) {
                return;
            }
            let id = rooms.scope(SCOPES[scope]);
            let change = rooms.enter(id, member, connection);
            let rooms = BTreeSet::new();
            model.members.insert(
                member,
                Here {
                    scope,
                    connection,
                    rooms,
                },
            );
            let first = model.here(scope, None) == 1;
            assert_eq!(change, if first { Change::First } else { Change::None });
        }
        Step::LeaveAll { member } => {
            let mut departure = rooms.leave_all(member);
            if let Some(departure) = &mut departure {
                departure.emptied.sort();
            }
            assert_eq!(departure, model.leave_all(member));
        }
        Step::Join { member, room } => {
            assert_eq!(rooms.join(member, NAMES[room]), model.join(member, room))
        }
        Step::Leave { member, room } => {
            assert_eq!(rooms.leave(member, NAMES[room]), model.leave(member, room))
        }
        Step::Interest {
            scope,
            room,
            core,
            on,
        } => {
            let id = if on {
                Some(rooms.scope(SCOPES[scope]))
            } else {
                rooms.find_scope(SCOPES[scope])
            };
            if let Some(id) = id {
                rooms.set_interest(id, room.map(|room| NAMES[room]), core, on);
            }
            let interest = (scope, room, core);
            if on {
                model.interest.insert(interest)
            } else {
                model.interest.remove(&interest)
            };
        }
        Step::Hold { scope, room } => {
            let id = rooms.scope(SCOPES[scope]);
            let changes = [rooms.hold(id, None), rooms.hold(id, Some(NAMES[room]))];
            model.held.push((scope, room));
            let expected = [None, Some(room)].map(|room| match model.here(scope, room) {
                1 => Change::First,
                _ => Change::None,
            });
            assert_eq!(changes, expected);
        }
        Step::Release { which } => release(which, rooms, model),
    }
}

fn release(which: usize, rooms: &mut Rooms, model: &mut Model) {
    if model.held.is_empty() {
        return;
    }
    let (scope, room) = model.held.swap_remove(which % model.held.len());
    let id = rooms.find_scope(SCOPES[scope]).unwrap();
    let changes = [
        rooms.release(id, Some(NAMES[room])),
        rooms.release(id, None),
    ];
    let expected = [Some(room), None].map(|room| match model.here(scope, room) {
        0 => Change::Last,
        _ => Change::None,
    });
    assert_eq!(changes, expected);
}

fn agree(rooms: &Rooms, model: &Model) {
    for (scope, name) in SCOPES.iter().enumerate() {
        let id = rooms.find_scope(name);
        assert_eq!(id.is_some(), model.is_of_use(scope), "{name}");
        let Some(id) = id else { continue };
        let mut in_use = BTreeMap::new();
        for room in [None, Some(0), Some(1), Some(2), Some(3)] {
            let room_name = room.map(|room| NAMES[room]);
            let population = model.population(scope, room);
            assert_eq!(rooms.population(id, room_name), population);
            assert_eq!(rooms.held(id, room_name), model.held(scope, room));
            let to: Vec<&str> = room_name.into_iter().collect();
            assert_eq!(rooms.is_peopled(id, &to), model.here(scope, room) > 0);
            if let Some(room_name) = room_name.filter(|_| population > 0) {
                in_use.insert(room_name, population);
            }
            let cores = model
                .interest
                .iter()
                .filter(|(s, r, _)| (*s, *r) == (scope, room))
                .map(|(.., core)| *core);
            assert!(rooms.interest(id, room_name).iter().eq(cores));
        }
        assert_eq!(rooms.rooms_in(id).collect::<BTreeMap<_, _>>(), in_use);
    }
    for member in 0..MEMBERS {
        let here = model.members.get(&member);
        assert_eq!(
            rooms.scope_of(member),
            here.and_then(|here| rooms.find_scope(SCOPES[here.scope]))
        );
        assert_eq!(
            rooms.connection_of(member),
            here.map(|here| here.connection)
        );
        let names = here.map_or(BTreeSet::new(), |here| {
            here.rooms.iter().map(|room| NAMES[*room]).collect()
        });
        assert!(
            NAMES
                .iter()
                .all(|name| rooms.contains(member, name) == names.contains(name))
        );
        assert_eq!(rooms.rooms_of(member).count(), names.len());
        assert_eq!(rooms_of(rooms, member), names);
    }
}

#[test]
fn does_what_a_search_would_do() {
    check(0x20035, vec(step(), 0..120), |steps| {
        let mut rooms = Rooms::new(Limits {
            rooms_per_member: ROOMS_MAX,
            room_name_bytes: 8,
        });
        let mut model = Model::default();
        for step in steps {
            apply(step, &mut rooms, &mut model);
            rooms.invariants();
            agree(&rooms, &model);
        }
        for member in 0..MEMBERS {
            apply(Step::LeaveAll { member }, &mut rooms, &mut model);
            rooms.invariants();
        }
        while !model.held.is_empty() {
            release(0, &mut rooms, &mut model);
            rooms.invariants();
        }
        assert!(
            rooms
                .rooms
                .iter()
                .all(|(_, room)| !room.crowd.interest.is_empty())
        );
    });
}
