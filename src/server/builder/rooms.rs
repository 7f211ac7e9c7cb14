//! Handlers of rooms, for the main namespace.

use super::Builder;
use crate::server::SocketId;

impl Builder {
    /// [`Namespace::on_create_room`](crate::Namespace::on_create_room) of the main namespace.
    ///
    /// ```
    /// let builder = ringhall::Server::builder().on_create_room(|room| println!("{room} has been opened"));
    /// # let _ = builder;
    /// ```
    pub fn on_create_room(mut self, handler: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.root = self.root.on_create_room(handler);
        self
    }

    /// [`Namespace::on_join_room`](crate::Namespace::on_join_room) of the main namespace.
    ///
    /// ```
    /// let builder = ringhall::Server::builder().on_join_room(|room, id| println!("{id} is in {room}"));
    /// # let _ = builder;
    /// ```
    pub fn on_join_room(
        mut self,
        handler: impl Fn(&str, &SocketId) + Send + Sync + 'static,
    ) -> Self {
        self.root = self.root.on_join_room(handler);
        self
    }

    /// [`Namespace::on_leave_room`](crate::Namespace::on_leave_room) of the main namespace.
    ///
    /// ```
    /// let builder = ringhall::Server::builder().on_leave_room(|room, id| println!("{id} has left {room}"));
    /// # let _ = builder;
    /// ```
    pub fn on_leave_room(
        mut self,
        handler: impl Fn(&str, &SocketId) + Send + Sync + 'static,
    ) -> Self {
        self.root = self.root.on_leave_room(handler);
        self
    }

    /// [`Namespace::on_delete_room`](crate::Namespace::on_delete_room) of the main namespace.
    ///
    /// ```
    /// let builder = ringhall::Server::builder().on_delete_room(|room| println!("{room} is closed"));
    /// # let _ = builder;
    /// ```
    pub fn on_delete_room(mut self, handler: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.root = self.root.on_delete_room(handler);
        self
    }
}
