//! What a program keeps with a socket: data that other cores and servers can fetch, and session values that stay on the core.

use std::any::{Any, TypeId};
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Socket;
use crate::server::task;
use crate::shard::grant::Granted;

/// Values kept by their types. A list, not a map: there are one or two.
#[derive(Default)]
pub(super) struct Session(Vec<(TypeId, Rc<dyn Any>)>);

/// The last handle of a socket may be dropped anywhere, and what the values' destructors do must harm nobody there.
impl Drop for Session {
    fn drop(&mut self) {
        task::discard_each(std::mem::take(&mut self.0));
    }
}

impl Session {
    /// Returns the value whose place it took, for the caller to drop when nothing is borrowed any more.
    fn insert(&mut self, id: TypeId, value: Rc<dyn Any>) -> Option<Rc<dyn Any>> {
        match self.0.iter_mut().find(|(known, _)| *known == id) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push((id, value));
                None
            }
        }
    }

    fn find<T: 'static>(&self) -> Option<Rc<T>> {
        let id = TypeId::of::<T>();
        let (_, value) = self.0.iter().find(|(known, _)| *known == id)?;
        value.clone().downcast().ok()
    }
}

impl Socket {
    /// Sets the socket's data: one value of any type that is written as JSON. It replaces what was there. A socket that has none
    /// costs nothing for it.
    ///
    /// Data is what others see of a socket: `fetch_sockets` brings it to other cores and servers, and a recovered session has it
    /// again. For values that only this program's handlers need, of any type and without a copy, use
    /// [`set_session`](Socket::set_session).
    ///
    /// A value that cannot be written as JSON is logged and not set; [`try_set_data`](Socket::try_set_data) returns the error.
    ///
    /// ```
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Player { name: String, score: u32 }
    ///
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.set_data(&Player { name: "Ada".into(), score: 0 });
    /// let player: Player = socket.data().unwrap();
    /// # let _ = player;
    /// # }
    /// ```
    pub fn set_data(&self, data: &impl Serialize) {
        if let Err(error) = self.try_set_data(data) {
            log::error!(
                "{}: the data of socket {} was not set: {error}",
                self.namespace(),
                self.id()
            );
        }
    }

    /// As [`set_data`](Socket::set_data).
    ///
    /// # Errors
    /// The value cannot be written as JSON. The data is as it was.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// assert!(socket.try_set_data(&serde_json::json!({ "name": "Ada" })).is_ok());
    /// # }
    /// ```
    pub fn try_set_data(&self, data: &impl Serialize) -> Result<(), serde_json::Error> {
        let json = serde_json::to_string(data)?;
        self.set_data_json(Some(json.into()));
        Ok(())
    }

    /// The socket's data. A socket whose data was never set has `{}`, as in Node; for an `Option` that does not fit `{}` it has `None`.
    ///
    /// # Errors
    /// The data is not of this type.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// let name: Option<String> = socket.data().unwrap_or_default();
    /// # let _ = name;
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        data_of(self.data_json().as_deref())
    }

    /// Changes the socket's data in place; data that was never set begins as `T::default()`. Returns what `change` returns.
    ///
    /// # Errors
    /// The data is not of this type, or cannot be written as JSON after the change. It is as it was then.
    ///
    /// ```
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// struct Player { name: String, score: u32 }
    ///
    /// # fn f(socket: &ringhall::Socket) {
    /// let score = socket.update_data(|player: &mut Player| { player.score += 10; player.score });
    /// # let _ = score;
    /// # }
    /// ```
    pub fn update_data<T, R>(
        &self,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, serde_json::Error>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        // Nothing is borrowed while the program's code runs.
        let mut data = match self.data_json() {
            Some(json) => serde_json::from_str(&json)?,
            None => T::default(),
        };
        let result = change(&mut data);
        self.try_set_data(&data)?;
        Ok(result)
    }

    /// Keeps a value with the socket, one for each type; a second of the same type replaces the first. Handlers get it by the
    /// extractor [`Session`](crate::Session), or by [`session`](Socket::session).
    ///
    /// It stays on the socket's core and is dropped with the socket, so it may be of any type; it should not hold the socket itself,
    /// which would then never be dropped.
    ///
    /// ```
    /// use ringhall::{Server, Session, Socket};
    ///
    /// struct User { name: String }
    ///
    /// let server = Server::builder()
    ///     .on_connection(|socket: Socket| socket.set_session(User { name: "Ada".into() }))
    ///     .on("whoami", |Session(user): Session<User>| user.name.clone());
    /// # let _ = server;
    /// ```
    pub fn set_session<T: 'static>(&self, value: T) {
        self.keep_session(Rc::new(value));
    }

    /// The same for a value that has other owners.
    pub(crate) fn keep_session<T: 'static>(&self, value: Rc<T>) {
        self.keep(TypeId::of::<T>(), value);
    }

    /// The same for what the whole client has.
    pub(crate) fn keep_granted(&self, granted: &Granted) {
        if let Some(value) = granted.value() {
            self.keep(granted.type_id, value.clone());
        }
    }

    fn keep(&self, id: TypeId, value: Rc<dyn Any>) {
        let old = {
            let mut own = self.0.own.borrow_mut();
            let session = &mut own.get_or_insert_default().session;
            session.insert(id, value)
        };
        drop(old);
    }

    /// The session value of this type, if one was set.
    ///
    /// ```
    /// # struct User { name: String }
    /// # fn f(socket: &ringhall::Socket) {
    /// if let Some(user) = socket.session::<User>() {
    ///     println!("{} is {}", socket.id(), user.name);
    /// }
    /// # }
    /// ```
    pub fn session<T: 'static>(&self) -> Option<Rc<T>> {
        self.0.own.borrow().as_ref()?.session.find()
    }

    // ---- for the server's side ----

    /// The data as it is kept: JSON text, or `None` if it was never set.
    pub(crate) fn data_json(&self) -> Option<Arc<str>> {
        self.0.own.borrow().as_ref()?.data.clone()
    }

    /// Sets the data as it is kept. The text is valid JSON.
    pub(crate) fn set_data_json(&self, json: Option<Arc<str>>) {
        let mut own = self.0.own.borrow_mut();
        if json.is_some() || own.is_some() {
            own.get_or_insert_default().data = json;
        }
        drop(own);
        if self.is_connected() {
            self.table().watching.tell_data(self);
        }
    }
}

/// Reads data as it is kept: `None` stands for data that was never set.
pub(crate) fn data_of<T: DeserializeOwned>(json: Option<&str>) -> Result<T, serde_json::Error> {
    match json {
        Some(json) => serde_json::from_str(json),
        None => serde_json::from_str("{}")
            .or_else(|error| serde_json::from_str("null").map_err(|_| error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use crate::server::fixture;

    #[derive(Default, Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Player {
        name: String,
        score: u32,
    }

    #[test]
    fn data_is_kept_as_json_and_read_as_any_type_that_fits() {
        let socket = fixture::socket();
        assert_eq!(socket.data_json(), None);
        assert_eq!(
            socket.data::<BTreeMap<String, u8>>().unwrap(),
            BTreeMap::new()
        );
        assert_eq!(socket.data::<Option<Player>>().unwrap(), None);
        assert!(socket.data::<Player>().is_err());
        let ada = Player {
            name: "Ada".into(),
            score: 3,
        };
        socket.set_data(&ada);
        assert_eq!(
            socket.data_json().as_deref(),
            Some(r#"{"name":"Ada","score":3}"#)
        );
        assert_eq!(socket.data::<Player>().unwrap(), ada);
    }

    #[test]
    fn an_update_that_fails_changes_nothing() {
        let socket = fixture::socket();
        let add = |player: &mut Player| {
            player.score += 2;
            player.score
        };
        assert_eq!(socket.update_data(add).unwrap(), 2);
        assert_eq!(socket.update_data(add).unwrap(), 4);
        assert!(
            socket
                .update_data(|name: &mut String| name.clear())
                .is_err()
        );
        let keyed_by_pair = BTreeMap::from([((1, 2), "x")]);
        assert!(socket.try_set_data(&keyed_by_pair).is_err());
        socket.set_data(&keyed_by_pair);
        assert_eq!(socket.data::<Player>().unwrap().score, 4);
    }

    #[test]
    fn session_values_are_found_by_their_type() {
        let socket = fixture::socket();
        assert!(socket.session::<u32>().is_none());
        socket.set_session(1_u32);
        socket.set_session("one");
        socket.set_session(2_u32);
        assert_eq!(socket.session::<u32>().as_deref(), Some(&2));
        assert_eq!(socket.session::<&str>().as_deref(), Some(&"one"));
    }

    #[test]
    fn a_session_value_may_look_at_the_socket_when_it_is_replaced() {
        struct Looks(crate::Socket, std::rc::Rc<std::cell::Cell<u32>>);
        impl Drop for Looks {
            fn drop(&mut self) {
                let found = self.0.session::<u32>().map_or(0, |value| *value);
                self.1.set(self.1.get() + found);
            }
        }
        let (socket, seen) = (fixture::socket(), std::rc::Rc::default());
        socket.set_session(7_u32);
        socket.set_session(Looks(socket.clone(), std::rc::Rc::clone(&seen)));
        socket.set_session(Looks(fixture::socket(), std::rc::Rc::clone(&seen)));
        assert_eq!(seen.get(), 7);
    }
}
