//! Listeners of the main namespace.

use super::Builder;
use crate::server::handler::EventHandler;
use crate::server::listeners::{EventError, PacketMiddleware};
use crate::server::socket::Socket;

impl Builder {
    /// [`Namespace::on_any`](crate::Namespace::on_any) of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_any(|EventName(event): EventName| println!("{event} came in"));
    /// # let _ = builder;
    /// ```
    pub fn on_any<M>(mut self, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.root = self.root.on_any(handler);
        self
    }

    /// [`Namespace::on_any_outgoing`](crate::Namespace::on_any_outgoing) of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_any_outgoing(|EventName(event): EventName| println!("{event} goes out"));
    /// # let _ = builder;
    /// ```
    pub fn on_any_outgoing<M>(mut self, handler: impl EventHandler<M> + Send + Sync) -> Self {
        self.root = self.root.on_any_outgoing(handler);
        self
    }

    /// [`Namespace::packet_middleware`](crate::Namespace::packet_middleware) of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().packet_middleware(|payload: Payload| {
    ///     if payload.json().len() > 1000 { Err("too long") } else { Ok(()) }
    /// });
    /// # let _ = builder;
    /// ```
    pub fn packet_middleware<M>(
        mut self,
        middleware: impl PacketMiddleware<M> + Send + Sync,
    ) -> Self {
        self.root = self.root.packet_middleware(middleware);
        self
    }

    /// [`Namespace::on_error`](crate::Namespace::on_error) of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_error(|socket: &Socket, error: &EventError| println!("{}: {error}", socket.id()));
    /// # let _ = builder;
    /// ```
    pub fn on_error(
        mut self,
        handler: impl Fn(&Socket, &EventError) + Send + Sync + 'static,
    ) -> Self {
        self.root = self.root.on_error(handler);
        self
    }

    /// [`Namespace::on_upgrade`](crate::Namespace::on_upgrade) of the main namespace.
    ///
    /// ```
    /// use ringhall::*;
    /// let builder = Server::builder().on_upgrade(|socket: &Socket| println!("{} is on a WebSocket", socket.id()));
    /// # let _ = builder;
    /// ```
    pub fn on_upgrade(mut self, watcher: impl Fn(&Socket) + Send + Sync + 'static) -> Self {
        self.root = self.root.on_upgrade(watcher);
        self
    }

    /// Opens the server to the Socket.IO Admin UI. It needs the feature `admin`, which is on by default.
    ///
    /// ```
    /// use ringhall::{AdminUi, Server};
    /// let builder = Server::builder().admin(AdminUi::without_auth().readonly());
    /// # let _ = builder;
    /// ```
    #[cfg(feature = "admin")]
    pub fn admin(mut self, admin: crate::AdminUi) -> Self {
        self.admin = Some(admin);
        self
    }
}
