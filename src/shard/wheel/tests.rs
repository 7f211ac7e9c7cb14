use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::room::property::check;

const REVOLUTION_MS: u64 = BUCKETS as u64 * TICK_MS;
const HOUR_MS: u64 = 3_600_000;

fn expired(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
    let mut ids = Vec::new();
    wheel.expire(now_ms, &mut ids);
    ids.sort_unstable();
    ids
}

#[test]
fn an_id_costs_sixteen_bytes() {
    assert_eq!(size_of::<Node>(), 16);
}

#[test]
fn never_early_and_at_most_a_tick_late() {
    for deadline in 1_000..1_020 {
        let mut wheel = Wheel::new(1_000);
        wheel.schedule(3, deadline);
        let fired = (1_000..2_000)
            .find(|now| !expired(&mut wheel, *now).is_empty())
            .unwrap();
        assert!(
            (deadline..deadline + TICK_MS).contains(&fired),
            "{deadline} fired at {fired}"
        );
        assert!(wheel.is_empty());
    }
}

#[test]
fn what_is_overdue_when_scheduled_fires_at_once() {
    let mut wheel = Wheel::new(50_000);
    wheel.schedule(1, 0);
    wheel.schedule(2, 49_000);
    wheel.schedule(3, 50_000);
    assert_eq!(wheel.next_ms(), Some(0));
    wheel.cancel(2);
    assert_eq!(expired(&mut wheel, 50_000), [1, 3]);
    assert_eq!(wheel.next_ms(), None);
}

#[test]
fn scheduling_again_moves_and_cancelling_forgets() {
    let mut wheel = Wheel::new(0);
    wheel.schedule(0, 100);
    wheel.schedule(1, 100);
    wheel.schedule(2, 100);
    wheel.schedule(1, 200);
    wheel.cancel(0);
    wheel.cancel(0);
    wheel.cancel(99);
    assert_eq!(expired(&mut wheel, 199), [2]);
    assert_eq!(expired(&mut wheel, 200), [1]);
    assert!(wheel.is_empty());
}

#[test]
fn a_far_deadline_waits_for_its_round() {
    let mut wheel = Wheel::new(0);
    let deadline = 3 * REVOLUTION_MS + 800;
    wheel.schedule(7, deadline);
    let mut wakes = 0;
    let mut now = 0;
    while !wheel.is_empty() {
        now = wheel.next_ms().unwrap();
        assert!(now <= deadline);
        wakes += 1;
        assert_eq!(expired(&mut wheel, now).is_empty(), now < deadline);
    }
    assert_eq!((now, wakes), (deadline, 4), "woken once in each revolution");
}

#[test]
fn a_deadline_that_never_comes_does_not_overflow() {
    let mut wheel = Wheel::new(0);
    wheel.schedule(0, u64::MAX);
    assert!(wheel.next_ms().is_some());
    assert!(expired(&mut wheel, 1_000 * HOUR_MS).is_empty());
    assert!(expired(&mut wheel, u64::MAX - 2 * TICK_MS).is_empty());
    wheel.cancel(0);
    assert!(wheel.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Schedule(u32, i64),
    Cancel(u32),
    Pass(u64),
}

/// From a moment to hours, and often around one revolution.
fn span_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..40u64,
        3 => 0..2_000u64,
        2 => REVOLUTION_MS - 20..REVOLUTION_MS + 20,
        2 => 0..3 * REVOLUTION_MS,
        1 => 0..20 * HOUR_MS,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..40u32, span_ms()).prop_map(|(id, span)| Step::Schedule(id, span as i64)),
        1 => (0..40u32, span_ms()).prop_map(|(id, span)| Step::Schedule(id, -(span as i64))),
        1 => (0..40u32).prop_map(Step::Cancel),
        4 => span_ms().prop_map(Step::Pass),
    ]
}

/// What the wheel stands for: an id expires at the first tick that is not before its deadline.
#[derive(Default)]
struct Model {
    due_ms: BTreeMap<u32, u64>,
}

impl Model {
    fn expire(&mut self, now_ms: u64) -> Vec<u32> {
        let due: BTreeSet<u32> = self
            .due_ms
            .iter()
            .filter(|(_, due)| **due <= now_ms)
            .map(|(id, _)| *id)
            .collect();
        self.due_ms.retain(|id, _| !due.contains(id));
        due.into_iter().collect()
    }
}

#[test]
fn does_what_a_sorted_map_would_do() {
    let start = 0..50 * HOUR_MS;
    check(0x3EE1, (start, vec(step(), 0..150)), |(start, steps)| {
        let mut now = start;
        let mut wheel = Wheel::new(now);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Schedule(id, ahead) => {
                    let deadline = now.saturating_add_signed(ahead);
                    wheel.schedule(id, deadline);
                    model.due_ms.insert(id, deadline.next_multiple_of(TICK_MS));
                }
                Step::Cancel(id) => {
                    wheel.cancel(id);
                    model.due_ms.remove(&id);
                }
                Step::Pass(span) => {
                    now += span;
                    assert_eq!(expired(&mut wheel, now), model.expire(now), "at {now}");
                    assert!(
                        wheel.next_ms().is_none_or(|next| next > now),
                        "would be woken for nothing, forever"
                    );
                }
            }
            assert_eq!(wheel.is_empty(), model.due_ms.is_empty());
            let earliest = model.due_ms.values().min().copied();
            assert_eq!(wheel.next_ms().is_some(), earliest.is_some());
            assert!(
                wheel.next_ms() <= earliest,
                "{:?} is after {earliest:?}",
                wheel.next_ms()
            );
            let in_this_round =
                earliest.is_some_and(|due| due > now && due - now < REVOLUTION_MS - TICK_MS);
            if in_this_round
                && model
                    .due_ms
                    .values()
                    .all(|due| *due > now && due - now < REVOLUTION_MS - TICK_MS)
            {
                assert_eq!(wheel.next_ms(), earliest, "exact within one revolution");
            }
        }
    });
}
