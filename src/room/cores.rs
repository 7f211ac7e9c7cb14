//! A set of cores, a bit each.

/// The most cores that one server uses.
pub(crate) const MAX_CORES: usize = 256;

const WORDS: usize = MAX_CORES / u64::BITS as usize;

/// Some of a server's cores, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreSet {
    words: [u64; WORDS],
}

impl CoreSet {
    /// No core.
    pub(crate) const EMPTY: CoreSet = CoreSet { words: [0; WORDS] };

    /// Adds a core; one that cannot exist is ignored.
    pub(crate) fn insert(&mut self, core: usize) {
        debug_assert!(core < MAX_CORES);
        if let Some(word) = self.words.get_mut(core / 64) {
            *word |= 1 << (core % 64);
        }
    }

    /// Takes a core out, if it is in.
    pub(crate) fn remove(&mut self, core: usize) {
        if let Some(word) = self.words.get_mut(core / 64) {
            *word &= !(1 << (core % 64));
        }
    }

    /// Whether the core is in.
    #[cfg(test)]
    pub(crate) fn contains(&self, core: usize) -> bool {
        self.words
            .get(core / 64)
            .is_some_and(|word| word & (1 << (core % 64)) != 0)
    }

    /// Whether no core is in.
    pub(crate) fn is_empty(&self) -> bool {
        self.words == [0; WORDS]
    }

    /// The cores of both.
    #[must_use]
    pub(crate) fn union(mut self, other: CoreSet) -> CoreSet {
        for (word, more) in self.words.iter_mut().zip(other.words) {
            *word |= more;
        }
        self
    }

    /// The cores, ascending. The iterator owns its copy of the set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let mut words = self.words;
        let mut at = 0;
        std::iter::from_fn(move || {
            while let Some(word) = words.get_mut(at) {
                if *word != 0 {
                    let bit = word.trailing_zeros() as usize;
                    *word &= *word - 1;
                    return Some(at * 64 + bit);
                }
                at += 1;
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;

    use super::*;
    use crate::room::property::check;

    fn set_of(cores: &[usize]) -> CoreSet {
        let mut set = CoreSet::EMPTY;
        cores.iter().for_each(|core| set.insert(*core));
        set
    }

    #[test]
    fn does_what_a_set_would_do() {
        let cores = || vec(0..MAX_CORES, 0..40);
        check(
            0xC02E5,
            (cores(), cores(), cores()),
            |(first, gone, other)| {
                let mut set = set_of(&first);
                let mut model: BTreeSet<usize> = first.iter().copied().collect();
                for core in &gone {
                    set.remove(*core);
                    model.remove(core);
                }
                assert!(set.iter().eq(model.iter().copied()));
                assert_eq!(set.is_empty(), model.is_empty());
                assert!((0..MAX_CORES).all(|core| set.contains(core) == model.contains(&core)));

                model.extend(&other);
                assert!(set.union(set_of(&other)).iter().eq(model));
            },
        );
    }

    #[test]
    fn cores_that_cannot_exist_are_not_in() {
        let mut set = set_of(&[0, 255]);
        set.remove(256);
        assert!(!set.contains(256) && !set.contains(usize::MAX));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 255]);
    }
}
