//! A value that the application gives a session when it lets the client in. It is made wherever the request is answered, goes with the session to
//! its core, and stays there: all sockets of the session have it.

use std::any::{Any, TypeId};
use std::rc::Rc;

/// The value on its way.
pub(crate) struct Grant(Box<dyn FnOnce() -> Granted + Send>);

/// The value on its core.
pub(crate) struct Granted {
    pub(crate) type_id: TypeId,
    pub(crate) value: Rc<dyn Any>,
}

impl Grant {
    /// `None` for `()`, which says nothing.
    pub(crate) fn new<T: Send + 'static>(value: T) -> Option<Self> {
        let type_id = TypeId::of::<T>();
        let settle = move || Granted {
            type_id,
            value: Rc::new(value),
        };
        (type_id != TypeId::of::<()>()).then(|| Grant(Box::new(settle)))
    }

    /// It has arrived.
    pub(crate) fn settle(self) -> Rc<Granted> {
        Rc::new((self.0)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_arrives_as_what_it_was() {
        let grant = Grant::new("seven".to_owned()).unwrap();
        let granted = std::thread::spawn(move || grant).join().unwrap().settle();
        assert_eq!(granted.type_id, TypeId::of::<String>());
        let value = granted.value.clone().downcast::<String>();
        assert_eq!(*value.unwrap(), "seven");
        assert!(Grant::new(()).is_none());
    }
}
