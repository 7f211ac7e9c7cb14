//! Tables by the names of events.
//!
//! What is looked up is the peer's, but what is in the table is the program's, and never more than that: a peer that knows two names
//! which collide makes its own events a comparison dearer. So no keyed hash is needed, and a short one is enough.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by names.
pub(crate) type ByName<T> = HashMap<Box<str>, T, BuildHasherDefault<NameHasher>>;

/// See the module's text.
#[derive(Default)]
pub(crate) struct NameHasher(u64);

impl NameHasher {
    #[inline]
    fn add(&mut self, word: u64) {
        // 2^64 divided by the golden ratio, odd: it spreads every bit to those above, where the table looks first.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    }
}

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        let last = rest.iter().fold(bytes.len() as u64, |word, byte| {
            word << 8 | u64::from(*byte)
        });
        self.add(last);
    }

    /// What ends a text: its length is in the hash already.
    #[inline]
    fn write_u8(&mut self, _: u8) {}

    /// A product's low bits, which choose the place, depend on the low bits of its factors alone; the high ones depend on all.
    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    fn hash(name: &str) -> u64 {
        BuildHasherDefault::<NameHasher>::default().hash_one(name)
    }

    #[test]
    fn names_are_found_by_what_they_are() {
        let mut table: ByName<usize> = ByName::default();
        let names: Vec<String> = (0..1000).map(|n| format!("event:{n}")).collect();
        for (n, name) in names.iter().enumerate() {
            table.insert(name.as_str().into(), n);
        }
        for (n, name) in names.iter().enumerate() {
            assert_eq!(table.get(name.as_str()), Some(&n));
        }
        assert_eq!(table.get("event:"), None);
    }

    /// Both ends of the hash matter to the table: no two thousand similar names may share a few places.
    #[test]
    fn similar_names_are_spread() {
        let names: HashSet<String> = (0..1000)
            .flat_map(|n| [format!("{n}"), format!("a-rather-long-event-{n}")])
            .chain([
                "".into(),
                "\0".into(),
                "\0\0".into(),
                "\0\0\0\0\0\0\0\0".into(),
            ])
            .collect();
        let hashes: HashSet<u64> = names.iter().map(|name| hash(name)).collect();
        assert_eq!(hashes.len(), names.len());
        for part in [|hash| hash & 0x3FF, |hash: u64| hash >> 54] {
            let places: HashSet<u64> = hashes.iter().map(|&hash| part(hash)).collect();
            // Of random ones 2,004 would take 879 of 1,024 places.
            assert!(places.len() > 800, "{}", places.len());
        }
    }
}
