//! A value that the application gives a session when it lets the client in. It is made wherever the request is answered, goes with the session to
//! its core, and stays there: all sockets of the session have it.

use std::any::{Any, TypeId};
use std::rc::Rc;

/// Calls what it is given where a panic harms nobody: the value is the program's, and its destructor may do anything.
pub(crate) type Guard = fn(&mut dyn FnMut());

/// The value on its way.
pub(crate) struct Grant {
    settle: Option<Box<dyn FnOnce() -> Granted + Send>>,
    guard: Guard,
}

/// The value on its core.
pub(crate) struct Granted {
    pub(crate) type_id: TypeId,
    value: Option<Rc<dyn Any>>,
    guard: Guard,
}

impl Grant {
    /// `None` for `()`, which says nothing.
    pub(crate) fn new<T: Send + 'static>(value: T, guard: Guard) -> Option<Self> {
        let type_id = TypeId::of::<T>();
        let settle = move || Granted {
            type_id,
            value: Some(Rc::new(value)),
            guard,
        };
        (type_id != TypeId::of::<()>()).then(|| Grant {
            settle: Some(Box::new(settle)),
            guard,
        })
    }

    /// It has arrived.
    pub(crate) fn settle(mut self) -> Option<Rc<Granted>> {
        self.settle.take().map(|settle| Rc::new(settle()))
    }
}

/// Nobody is let in with it.
impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            discard(settle, self.guard);
        }
    }
}

impl Granted {
    pub(crate) fn value(&self) -> Option<&Rc<dyn Any>> {
        self.value.as_ref()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        discard(self.value.take(), self.guard);
    }
}

fn discard<T>(value: T, guard: Guard) {
    let mut value = Some(value);
    guard(&mut || drop(value.take()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_arrives_as_what_it_was() {
        let grant = Grant::new("seven".to_owned(), |act| act()).unwrap();
        let grant = std::thread::spawn(move || grant).join().unwrap();
        let granted = grant.settle().unwrap();
        assert_eq!(granted.type_id, TypeId::of::<String>());
        let value = granted.value().unwrap().clone().downcast::<String>();
        assert_eq!(*value.unwrap(), "seven");
        assert!(Grant::new((), |act| act()).is_none());
    }

    #[test]
    fn a_value_that_panics_when_it_is_dropped_harms_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        fn caught(act: &mut dyn FnMut()) {
            let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
            assert!(panic.is_err());
        }
        drop(Grant::new(Bomb, caught));
        drop(Grant::new(Bomb, caught).unwrap().settle());
    }
}
