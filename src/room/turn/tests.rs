use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::room::property::check;

/// Takes all that is marked: connections in order, each with its messages.
fn taken(turn: &mut Turn) -> Vec<(u32, Vec<Vec<u8>>)> {
    let mut all = Vec::new();
    while let Some(marked) = turn.take_marked() {
        all.push((
            marked.connection,
            turn.pieces(marked)
                .map(|piece| piece.bytes().to_vec())
                .collect(),
        ));
    }
    all
}

/// What the pieces come to on the wire: where one message ends and the next begins is not seen there.
fn joined<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> Vec<u8> {
    pieces.flat_map(|piece| piece.bytes().to_vec()).collect()
}

fn lines(all: &[(u32, &[&str])]) -> Vec<(u32, Vec<Vec<u8>>)> {
    all.iter()
        .map(|(connection, said)| {
            (
                *connection,
                said.iter().map(|text| text.as_bytes().to_vec()).collect(),
            )
        })
        .collect()
}

#[test]
fn a_mark_and_a_line_cost_eight_bytes() {
    assert_eq!(size_of::<Mark>(), 8);
    assert_eq!(size_of::<Line>(), 8);
}

#[test]
fn each_connection_gets_its_messages_in_order() {
    let mut turn = Turn::default();
    let hello = turn.say(b"hello");
    let there = turn.say_parts(&[b"th", b"", b"ere"]);
    let nothing = turn.say_parts(&[]);
    turn.mark(5, hello);
    turn.mark(2, there);
    turn.mark(5, nothing);
    turn.mark(5, there);
    turn.mark(5, hello);
    assert_eq!(turn.pending_bytes(5), 15);
    assert_eq!(turn.pending_bytes(4), 0);
    assert_eq!(turn.pending_bytes(999), 0);
    assert_eq!(
        taken(&mut turn),
        lines(&[(5, &["hello", "", "there", "hello"]), (2, &["there"])])
    );
    assert_eq!(turn.pending_bytes(5), 0);
}

#[test]
fn what_a_connection_is_told_in_a_row_is_one_message() {
    let mut turn = Turn::default();
    turn.tell(1, &[b"a", b"b"]);
    turn.tell(1, &[b"c"]);
    assert_eq!((turn.messages.len(), turn.marks.len()), (1, 1));
    let one = Marked {
        connection: 1,
        first: 0,
    };
    assert_eq!(turn.counted(one).collect::<Vec<_>>(), [(2, 3)]);
    turn.tell(2, &[b"d"]);
    turn.tell(1, &[b"e"]);
    let all = turn.say(b"f");
    turn.mark(1, all);
    turn.tell(1, &[b"g"]);
    turn.mark(1, all);
    turn.tell(1, &[b"h"]);
    turn.mark(2, all);
    let wanted = lines(&[(1, &["abc", "e", "f", "g", "f", "h"]), (2, &["d", "f"])]);
    assert_eq!(taken(&mut turn), wanted);
    // Who was taken has got his message: what comes now is another one.
    turn.tell(2, &[b"i"]);
    assert_eq!(taken(&mut turn), lines(&[(2, &["i"])]));
    turn.tell(2, &[b"j"]);
    assert!(turn.take_of(2).is_some());
    turn.tell(2, &[b"k"]);
    turn.unmark(2);
    turn.tell(2, &[b"l"]);
    assert_eq!(taken(&mut turn), lines(&[(2, &["l"])]));
    turn.tell(2, &[b"m"]);
    turn.clear();
    turn.tell(2, &[b"n"]);
    assert_eq!(taken(&mut turn), lines(&[(2, &["n"])]));
}

#[test]
fn a_shared_message_is_not_copied() {
    let mut turn = Turn::default();
    let large = Bytes::from(vec![b'x'; SHARED_MIN]);
    let message = turn.say_shared(large.clone());
    turn.mark(1, message);
    let marked = turn.take_marked().unwrap();
    match turn.pieces(marked).next() {
        Some(Piece::Shared(bytes)) => assert_eq!(bytes.as_ptr(), large.as_ptr()),
        other => panic!("{other:?}"),
    }
    turn.clear();
    assert!(large.is_unique(), "the turn let go of it");
}

#[test]
fn who_is_unmarked_is_passed_over_and_his_slot_can_be_marked_again() {
    let mut turn = Turn::default();
    let old = turn.say(b"old");
    let new = turn.say(b"new");
    for connection in [1, 2, 3] {
        turn.mark(connection, old);
    }
    turn.unmark(2);
    turn.unmark(3);
    turn.unmark(77);
    turn.mark(3, new);
    assert!(!turn.is_empty());
    assert_eq!(
        taken(&mut turn),
        lines(&[(1, &["old"]), (3, &["new"])]),
        "each connection once"
    );
    assert!(turn.is_empty());
}

#[test]
fn marking_goes_on_while_connections_are_taken() {
    let mut turn = Turn::default();
    let first = turn.say(b"first");
    turn.mark(1, first);
    turn.mark(2, first);
    let marked = turn.take_marked().unwrap();
    let second = turn.say(b"second");
    turn.mark(1, second);
    turn.mark(2, second);
    let said: Vec<_> = turn.pieces(marked).map(Piece::bytes).collect();
    assert_eq!(
        said,
        [b"first"],
        "what comes later is not part of what was taken"
    );
    assert_eq!(
        taken(&mut turn),
        lines(&[(2, &["first", "second"]), (1, &["second"])])
    );
}

#[test]
fn a_slot_marked_again_is_listed_once() {
    let mut turn = Turn::default();
    let message = turn.say(b"m");
    turn.mark(1, message);
    turn.unmark(1);
    turn.unmark(1);
    turn.mark(1, message);
    turn.mark(2, message);
    let first = turn.take_marked().unwrap();
    assert_eq!(first.connection, 1, "where the old one would have come");
    turn.mark(1, message);
    assert_eq!(taken(&mut turn), lines(&[(2, &["m"]), (1, &["m"])]));
}

#[test]
fn clearing_forgets_what_was_not_taken() {
    let mut turn = Turn::default();
    let message = turn.say(b"never sent");
    turn.mark(1, message);
    turn.mark(2, message);
    turn.take_marked();
    turn.clear();
    assert!(turn.is_empty());
    assert_eq!(turn.pending_bytes(2), 0);
    let message = turn.say(b"sent");
    turn.mark(2, message);
    assert_eq!(taken(&mut turn), lines(&[(2, &["sent"])]));
}

#[test]
fn memory_stays_for_the_next_turn_but_not_a_bursts_forever() {
    let mut turn = Turn::default();
    let burst = |turn: &mut Turn| {
        let message = turn.say(&vec![0; 8 * KEPT_BYTES]);
        (0..100_000).for_each(|connection| turn.mark(connection, message));
        turn.clear();
    };
    burst(&mut turn);
    for _ in 1..QUIET_TURNS_MAX {
        turn.say(b"little");
        turn.clear();
    }
    assert!(turn.held_bytes() > 8 * KEPT_BYTES, "not yet");
    burst(&mut turn);
    assert_eq!(turn.quiet_turns, 0, "a burst starts the count again");
    for _ in 0..QUIET_TURNS_MAX {
        turn.say(b"little");
        turn.clear();
    }
    assert!(
        turn.held_bytes() <= KEPT_BYTES,
        "{} bytes",
        turn.held_bytes()
    );
}

#[derive(Clone, Debug)]
enum Step {
    Say(Vec<Vec<u8>>),
    Share(Vec<u8>),
    /// Marks a connection with the n-th message of the turn.
    Mark(u32, usize),
    Tell(u32, Vec<Vec<u8>>),
    Unmark(u32),
    Take,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    let connection = || 0..12u32;
    let bytes = || vec(any::<u8>(), 0..6);
    prop_oneof![
        3 => vec(bytes(), 0..3).prop_map(Step::Say),
        1 => bytes().prop_map(Step::Share),
        9 => (connection(), 0..8usize).prop_map(|(connection, message)| Step::Mark(connection, message)),
        4 => (0..3u32, vec(bytes(), 0..3)).prop_map(|(connection, parts)| Step::Tell(connection, parts)),
        1 => connection().prop_map(Step::Unmark),
        2 => Just(Step::Take),
        1 => Just(Step::Clear),
    ]
}

/// The naive turn: every connection has its own copy of everything.
#[derive(Default)]
struct Model {
    messages: Vec<(MessageId, Vec<u8>)>,
    /// In the order of first marks; a connection that was unmarked keeps its place.
    told: Vec<(u32, Vec<Vec<u8>>)>,
}

impl Model {
    fn mark(&mut self, connection: u32, message: &[u8]) {
        match self.told.iter_mut().find(|(other, _)| *other == connection) {
            Some((_, said)) => said.push(message.to_vec()),
            None => self.told.push((connection, vec![message.to_vec()])),
        }
    }

    fn unmark(&mut self, connection: u32) {
        self.told
            .iter_mut()
            .filter(|(other, _)| *other == connection)
            .for_each(|(_, said)| said.clear());
    }

    fn take(&mut self) -> Option<(u32, Vec<Vec<u8>>)> {
        while !self.told.is_empty() {
            let (connection, said) = self.told.remove(0);
            if !said.is_empty() {
                return Some((connection, said));
            }
        }
        None
    }
}

#[test]
fn does_what_a_copy_for_each_would_do() {
    check(0x7012, vec(step(), 0..120), |steps| {
        let mut turn = Turn::default();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Say(parts) => {
                    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                    model
                        .messages
                        .push((turn.say_parts(&slices), parts.concat()));
                }
                Step::Share(bytes) => model
                    .messages
                    .push((turn.say_shared(bytes.clone().into()), bytes)),
                Step::Mark(connection, which) => {
                    if let Some((id, bytes)) = model.messages.get(which).cloned() {
                        turn.mark(connection, id);
                        model.mark(connection, &bytes);
                    }
                }
                Step::Tell(connection, parts) => {
                    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                    turn.tell(connection, &slices);
                    model.mark(connection, &parts.concat());
                }
                Step::Unmark(connection) => {
                    turn.unmark(connection);
                    model.unmark(connection);
                }
                Step::Take => {
                    let one = turn.take_marked();
                    let one = one.map(|one| (one.connection, joined(turn.pieces(one))));
                    let wanted = model.take().map(|(who, said)| (who, said.concat()));
                    assert_eq!(one, wanted);
                }
                Step::Clear => {
                    turn.clear();
                    model = Model::default();
                }
            }
            assert_eq!(
                turn.is_empty(),
                model.told.iter().all(|(_, said)| said.is_empty())
            );
            for connection in 0..12 {
                let said = model
                    .told
                    .iter()
                    .find(|(other, _)| *other == connection)
                    .map_or(0, |(_, said)| said.concat().len());
                assert_eq!(turn.pending_bytes(connection), said);
            }
        }
        let rest: Vec<_> = std::iter::from_fn(|| model.take())
            .map(|(who, said)| (who, said.concat()))
            .collect();
        let taken: Vec<_> = taken(&mut turn)
            .into_iter()
            .map(|(who, said)| (who, said.concat()))
            .collect();
        assert_eq!(taken, rest);
    });
}
