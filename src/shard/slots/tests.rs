use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::room::property::check;

#[test]
fn an_entry_costs_eight_bytes_more_than_its_value() {
    assert_eq!(size_of::<Slot<u64>>(), 8 + 8);
    assert_eq!(size_of::<Slot<u32>>(), 4 + 8);
    assert!(size_of::<Slot<[u64; 16]>>() <= 128 + 8);
    assert!(size_of::<Slot<Vec<u8>>>() <= 24 + 8);
}

#[test]
fn a_freed_slot_comes_back_first_under_the_next_generation() {
    let mut slots = Slots::with_limit(8);
    let [a, b, c] = ["a", "b", "c"].map(|value| slots.insert(value).unwrap());
    assert_eq!((a.slot, b.slot, c.slot), (0, 1, 2));
    assert_eq!(slots.remove(a), Some("a"));
    assert_eq!(slots.remove(b), Some("b"));
    assert_eq!(slots.remove(b), None, "removed already");

    assert_eq!(
        slots.next_key(),
        Some(ConnKey {
            slot: 1,
            generation: 1
        })
    );
    assert_eq!(
        slots.insert("d").unwrap(),
        ConnKey {
            slot: 1,
            generation: 1
        }
    );
    assert_eq!(
        slots.insert("e").unwrap(),
        ConnKey {
            slot: 0,
            generation: 1
        }
    );
    assert_eq!(
        slots.insert("f").unwrap(),
        ConnKey {
            slot: 3,
            generation: 0
        }
    );
    assert_eq!(
        slots.get(b),
        None,
        "an old key does not find the slot's next value"
    );
    assert_eq!(slots.get_mut(a), None);
    assert_eq!(
        slots.at(1),
        Some((
            ConnKey {
                slot: 1,
                generation: 1
            },
            &"d"
        ))
    );
    assert_eq!(slots.at(4), None);
    assert_eq!(slots.len(), 4);
}

#[test]
fn the_limit_gives_the_value_back() {
    let mut slots = Slots::with_limit(1);
    let key = slots.insert(String::from("first")).unwrap();
    assert_eq!(slots.next_key(), None);
    assert_eq!(
        slots.insert(String::from("second")),
        Err(String::from("second"))
    );
    slots.remove(key);
    assert!(slots.is_empty());
    assert!(slots.insert(String::from("third")).is_ok());
}

#[test]
fn generations_wrap_at_their_width() {
    let mut slots = Slots::with_limit(1);
    let first = slots.insert(0).unwrap();
    slots.slots[0] = Slot::Taken {
        generation: ConnKey::GENERATIONS - 1,
        value: 0,
    };
    let last = ConnKey {
        slot: 0,
        generation: ConnKey::GENERATIONS - 1,
    };
    assert_eq!(slots.get(first), None);
    assert_eq!(slots.remove(last), Some(0));
    assert_eq!(
        slots.insert(1).unwrap(),
        ConnKey {
            slot: 0,
            generation: 0
        }
    );
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u16),
    /// Removes the key given out n-th, be it still good or not.
    Remove(usize),
    Change(usize, u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<u16>().prop_map(Step::Insert),
        3 => (0..64usize).prop_map(Step::Remove),
        1 => (0..64usize, any::<u16>()).prop_map(|(which, value)| Step::Change(which, value)),
    ]
}

#[test]
fn does_what_a_map_would_do() {
    const LIMIT: u32 = 6;
    check(0x51075, vec(step(), 0..200), |steps| {
        let mut slots = Slots::with_limit(LIMIT);
        let mut model = BTreeMap::new();
        let mut given: Vec<ConnKey> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(value) if model.len() == LIMIT as usize => {
                    assert_eq!(slots.insert(value), Err(value))
                }
                Step::Insert(value) => {
                    let foretold = slots.next_key();
                    let key = slots.insert(value).unwrap();
                    assert_eq!(foretold, Some(key));
                    assert!(!given.contains(&key), "{key:?} was given before");
                    given.push(key);
                    model.insert(key, value);
                }
                Step::Remove(which) => {
                    if let Some(key) = given.get(which) {
                        assert_eq!(slots.remove(*key), model.remove(key));
                    }
                }
                Step::Change(which, value) => {
                    if let Some(key) = given.get(which) {
                        assert_eq!(
                            slots.get_mut(*key).map(|old| *old = value),
                            model.get_mut(key).map(|old| *old = value)
                        );
                    }
                }
            }
            assert_eq!(slots.len(), model.len());
            assert!(given.iter().all(|key| slots.get(*key) == model.get(key)));
            assert_eq!(
                slots.iter().collect::<BTreeMap<_, _>>(),
                model.iter().map(|(key, value)| (*key, value)).collect()
            );
            for (key, value) in &model {
                assert_eq!(slots.at(key.slot), Some((*key, value)));
                assert_eq!(slots.at_mut(key.slot).map(|(key, _)| key), Some(*key));
            }
        }
    });
}
