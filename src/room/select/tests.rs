use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::room::Limits;
use crate::room::property::check;

/// A scope with members 0.., each with its rooms; connection = 100 + member.
fn rooms_with(members: &[&[&str]]) -> (Rooms, ScopeId) {
    let mut rooms = Rooms::new(Limits::default());
    let scope = rooms.scope("/");
    for (member, joined) in (0..).zip(members) {
        let _ = rooms.enter(scope, member, 100 + member);
        joined
            .iter()
            .for_each(|room| assert!(rooms.join(member, room).is_ok()));
    }
    (rooms, scope)
}

fn selected(rooms: &mut Rooms, selection: &Selection<'_, &str>) -> Vec<u32> {
    let mut members = Vec::new();
    rooms.for_each(selection, |member, connection| {
        assert_eq!(connection, 100 + member);
        members.push(member);
    });
    members.sort_unstable();
    members
}

#[test]
fn rooms_are_united_and_exceptions_taken_away() {
    let (mut rooms, scope) = rooms_with(&[&["a"], &["a", "b"], &["b"], &["c"], &[]]);
    let all = Selection::everyone(scope);
    assert_eq!(selected(&mut rooms, &all), [0, 1, 2, 3, 4]);
    assert_eq!(
        selected(
            &mut rooms,
            &Selection {
                not: Some(2),
                ..all
            }
        ),
        [0, 1, 3, 4]
    );
    assert_eq!(
        selected(&mut rooms, &Selection::rooms(scope, &["a"])),
        [0, 1]
    );
    assert_eq!(
        selected(&mut rooms, &Selection::rooms(scope, &["a", "b", "a"])),
        [0, 1, 2]
    );
    assert_eq!(
        selected(&mut rooms, &Selection::rooms(scope, &["nobody's"])),
        [0_u32; 0]
    );
    let a = Selection::rooms(scope, &["a"]);
    assert_eq!(
        selected(
            &mut rooms,
            &Selection {
                except: &["b", "nobody's"],
                ..a
            }
        ),
        [0]
    );
    let ab = Selection::rooms(scope, &["a", "b"]);
    assert_eq!(
        selected(
            &mut rooms,
            &Selection {
                except_members: &[0, 77],
                not: Some(2),
                ..ab
            }
        ),
        [1]
    );
    let all = Selection::everyone(scope);
    assert_eq!(
        selected(
            &mut rooms,
            &Selection {
                except: &["a"],
                except_members: &[4],
                ..all
            }
        ),
        [2, 3]
    );
}

#[test]
fn members_can_be_named_themselves() {
    let (mut rooms, scope) = rooms_with(&[&["a"], &["a", "b"], &["b"]]);
    let other = rooms.scope("/other");
    let _ = rooms.enter(other, 3, 103);
    let two = Selection {
        to_members: &[2, 2, 3, 99],
        ..Selection::everyone(scope)
    };
    assert_eq!(
        selected(&mut rooms, &two),
        [2],
        "once, and nobody of another scope"
    );
    let a_and_two = Selection {
        to: &["a"],
        to_members: &[1, 2],
        ..Selection::everyone(scope)
    };
    assert_eq!(selected(&mut rooms, &a_and_two), [0, 1, 2]);
    // A socket that is on another core: its name is nobody's here, and that does not mean everyone.
    assert_eq!(
        selected(
            &mut rooms,
            &Selection::rooms(scope, &["id of a distant socket"])
        ),
        [0_u32; 0]
    );
}

#[test]
fn a_released_scope_selects_nobody() {
    let (mut rooms, scope) = rooms_with(&[&["a"]]);
    let _ = rooms.leave_all(0);
    assert!(selected(&mut rooms, &Selection::everyone(scope)).is_empty());
    assert!(selected(&mut rooms, &Selection::rooms(scope, &["a"])).is_empty());
    assert!(
        rooms
            .interest_of(&Selection::<&str>::everyone(scope))
            .is_empty()
    );
}

#[test]
fn other_cores_are_told_if_they_have_members_of_any_room() {
    let (mut rooms, scope) = rooms_with(&[&["a"]]);
    rooms.set_interest(scope, None, 1, true);
    rooms.set_interest(scope, None, 2, true);
    rooms.set_interest(scope, Some("a"), 1, true);
    rooms.set_interest(scope, Some("b"), 200, true);
    let cores =
        |selection: &Selection<'_, &str>| rooms.interest_of(selection).iter().collect::<Vec<_>>();
    assert_eq!(cores(&Selection::everyone(scope)), [1, 2]);
    assert_eq!(cores(&Selection::rooms(scope, &["a", "b", "c"])), [1, 200]);
    assert!(cores(&Selection::rooms(scope, &["c"])).is_empty());
    let one_member = Selection {
        to_members: &[0],
        ..Selection::everyone(scope)
    };
    assert!(cores(&one_member).is_empty());
}

#[test]
fn stamps_survive_the_wrap_of_their_epoch() {
    let (mut rooms, scope) = rooms_with(&[&["a", "b"], &["b"], &["a"]]);
    let both = Selection::rooms(scope, &["a", "b"]);
    rooms.stamps.epoch = u32::MAX;
    // Left by the selection that began with this number long ago.
    rooms.stamps.of.fill(1);
    assert_eq!(selected(&mut rooms, &both), [0, 1, 2]);
    assert_eq!(selected(&mut rooms, &both), [0, 1, 2]);
    assert_eq!(rooms.stamps.epoch, 2);
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
struct Case {
    to: Vec<usize>,
    to_members: Vec<u32>,
    except: Vec<usize>,
    except_members: Vec<u32>,
    not: Option<u32>,
}

fn case() -> impl Strategy<Value = Case> {
    // One name more than there are rooms, and two numbers more than there are members.
    let names = || vec(0..=NAMES.len(), 0..4);
    let members = || prop_oneof![2 => Just(Vec::new()), 1 => vec(0..12u32, 0..4)];
    let case = (
        names(),
        members(),
        prop_oneof![Just(Vec::new()), names()],
        members(),
        proptest::option::of(0..12u32),
    );
    case.prop_map(|(to, to_members, except, except_members, not)| Case {
        to,
        to_members,
        except,
        except_members,
        not,
    })
}

impl Case {
    fn means(&self, member: u32, joined: &BTreeSet<usize>) -> bool {
        let everyone = self.to.is_empty() && self.to_members.is_empty();
        let meant = everyone
            || self.to.iter().any(|room| joined.contains(room))
            || self.to_members.contains(&member);
        let excepted = self.except.iter().any(|room| joined.contains(room))
            || self.except_members.contains(&member);
        meant && !excepted && self.not != Some(member)
    }
}

#[test]
fn selects_whom_a_search_would_find() {
    let members = vec(btree_set(0..NAMES.len(), 0..4), 0..10);
    check(
        0x5E1EC7,
        (members, vec(case(), 1..12)),
        |(members, cases)| {
            let joined: Vec<Vec<&str>> = members
                .iter()
                .map(|rooms| rooms.iter().map(|room| NAMES[*room]).collect())
                .collect();
            let joined: Vec<&[&str]> = joined.iter().map(Vec::as_slice).collect();
            let (mut rooms, scope) = rooms_with(&joined);
            let name = |room: &usize| NAMES.get(*room).copied().unwrap_or("nobody's");
            for case in cases {
                let to: Vec<&str> = case.to.iter().map(name).collect();
                let except: Vec<&str> = case.except.iter().map(name).collect();
                let (to_members, except_members) = (&*case.to_members, &*case.except_members);
                let selection = Selection {
                    scope,
                    to: &to,
                    to_members,
                    except: &except,
                    except_members,
                    not: case.not,
                };
                let numbered: BTreeMap<u32, &BTreeSet<usize>> = (0..).zip(&members).collect();
                let expected = numbered
                    .iter()
                    .filter(|(member, joined)| case.means(**member, joined))
                    .map(|(member, _)| *member);
                assert_eq!(
                    selected(&mut rooms, &selection),
                    expected.collect::<Vec<_>>(),
                    "{case:?}"
                );
            }
        },
    );
}
