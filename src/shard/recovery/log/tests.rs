use bytes::Bytes;
use proptest::collection::vec;

use super::*;
use crate::proto::websocket::Kind;
use crate::room::property::check;
use crate::shard::recovery::offset::Tag;

fn name(number: u64) -> Offset {
    Offset::new(Tag::new([0; 3]), number, 0, 1)
}

fn message(number: u64, to: &[&str], except: &[&str]) -> Arc<Broadcast> {
    Arc::new(Broadcast {
        scope: "/".into(),
        to: to.iter().map(|name| (*name).into()).collect(),
        except: except.iter().map(|name| (*name).into()).collect(),
        volatile: false,
        kind: Kind::Text,
        body: Bytes::from(number.to_string()),
        attachments: Vec::new(),
        tally: None,
        asking: None,
        offset: Some(name(number)),
    })
}

fn numbers(log: &Log, position: u64) -> Result<Vec<u64>, Refusal> {
    let text = |message: &Arc<Broadcast>| String::from_utf8(message.body.to_vec()).unwrap();
    let found = log.since(position)?;
    Ok(found
        .map(|message| text(message).parse().unwrap())
        .collect())
}

#[test]
fn what_was_dropped_is_said_to_be_and_why() {
    let one = cost_of(&message(1, &[], &[]));
    let mut log = Log::new(3 * one, 1000);
    for number in 0..4 {
        log.push(number, message(number, &[], &[]));
    }
    assert_eq!(log.bytes(), 3 * one);
    assert_eq!(log.position(name(0)), None);
    assert_eq!(numbers(&log, 0).unwrap_err(), Refusal::LogFull);
    assert_eq!(numbers(&log, 1), Ok(vec![1, 2, 3]));
    log.forget_old(1002);
    assert_eq!(numbers(&log, 1).unwrap_err(), Refusal::OffsetTooOld);
    assert_eq!(numbers(&log, 3), Ok(vec![3]));
    assert_eq!(log.next_deadline_ms(), Some(1003));
    assert_eq!(numbers(&log, 4), Ok(vec![]));
    assert_eq!(numbers(&log, 5), Ok(vec![]));
}

#[test]
fn one_that_is_larger_than_the_log_leaves_it_empty() {
    let mut log = Log::new(10, 1000);
    log.push(0, message(0, &[], &[]));
    assert_eq!((log.bytes(), log.head()), (0, 1));
    assert_eq!(numbers(&log, 0).unwrap_err(), Refusal::LogFull);
    assert_eq!(log.next_deadline_ms(), None);
}

/// Against a list that forgets nothing.
#[test]
fn it_has_all_or_says_that_it_has_not() {
    let steps = vec((0..400_u64, 0..4_usize), 0..60);
    check(0x106, steps, |steps| {
        let mut log = Log::new(4 * cost_of(&message(1, &[], &[])) + 80, 1000);
        let (mut all, mut now): (Vec<(u64, u64)>, u64) = (Vec::new(), 0);
        for (number, (wait, names)) in steps.into_iter().enumerate() {
            now += wait;
            let number = number as u64;
            log.push(
                now,
                message(number, &["twenty-characters-room"; 4][..names], &[]),
            );
            all.push((now, number));
            assert_eq!(log.head(), all.len() as u64);
            for from in 0..=all.len() {
                let expected: Vec<u64> = all[from..].iter().map(|(_, number)| *number).collect();
                match numbers(&log, from as u64) {
                    Ok(found) => assert_eq!(found, expected),
                    Err(Refusal::LogFull) => assert!(expected.len() > 1),
                    Err(_) => assert!(all[from].0 + 1000 <= now),
                }
                let known = log.position(name(from as u64));
                let there = from < all.len() && numbers(&log, from as u64).is_ok();
                assert_eq!(known, there.then_some(from as u64));
            }
        }
    });
}

#[test]
fn a_session_hears_what_its_rooms_do() {
    let rooms = [Arc::from("a"), Arc::from("b")];
    let ears = Ears::new("/", "me", &rooms);
    let heard = |to: &[&str], except: &[&str]| ears.hear(&message(0, to, except));
    assert!(heard(&[], &[]) && heard(&["me"], &[]) && heard(&["x", "b"], &["c"]));
    assert!(!heard(&["x"], &[]) && !heard(&["a"], &["b"]) && !heard(&[], &["me"]));
    assert!(!Ears::new("/chat", "me", &rooms).hear(&message(0, &[], &[])));
}
