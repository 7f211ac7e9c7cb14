//! Values that every handler can reach by their type.

#![forbid(unsafe_code)]

use std::any::{Any, TypeId};
use std::sync::Arc;

/// One shared value per type. Filled by the builder and never changed afterwards, so every core reads it without a lock.
#[derive(Clone, Default)]
pub(crate) struct StateMap {
    /// A list, not a hash map: a server registers a handful of values, and comparing a handful of ids is cheaper than one
    /// hash.
    values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
}

impl StateMap {
    /// Registers `value`, in place of an earlier value of the same type.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        let id = TypeId::of::<T>();
        self.values.retain(|(known, _)| *known != id);
        self.values.push((id, Arc::new(value)));
    }

    /// The value registered for `T`.
    pub(crate) fn find<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let id = TypeId::of::<T>();
        let (_, value) = self.values.iter().find(|(known, _)| *known == id)?;
        value.clone().downcast().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_type_alone() {
        let mut states = StateMap::default();
        states.insert(7_u32);
        states.insert("seven".to_owned());
        assert_eq!(states.find::<u32>().as_deref(), Some(&7));
        assert_eq!(
            states.find::<String>().as_deref(),
            Some(&"seven".to_owned())
        );
        assert!(states.find::<u64>().is_none());
    }

    #[test]
    fn the_last_value_of_a_type_wins() {
        let mut states = StateMap::default();
        states.insert(1_u8);
        states.insert(2_u8);
        assert_eq!(states.find::<u8>().as_deref(), Some(&2));
    }

    #[test]
    fn copies_share_the_values() {
        let mut states = StateMap::default();
        states.insert(String::from("one"));
        let copy = states.clone();
        let (a, b) = (
            states.find::<String>().unwrap(),
            copy.find::<String>().unwrap(),
        );
        assert!(Arc::ptr_eq(&a, &b));
    }
}
