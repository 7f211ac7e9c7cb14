//! Engine.IO by itself: sessions that exchange messages, without Socket.IO on top.

use std::fmt;
use std::rc::Rc;

use smallvec::SmallVec;

use super::local::Local;
use super::websocket::Message;
use super::{DisconnectReason, Handshake, Server, SocketId};
use crate::proto::websocket::Kind;
use crate::shard::command::Command;
use crate::shard::hall::{Outgoing, SocketKey};
use crate::wire::engine as packet;

type OnOpen = Box<dyn Fn(&EngineSocket, &Handshake) + Send + Sync>;
type OnMessage = Box<dyn Fn(&EngineSocket, Message<'_>) + Send + Sync>;
type OnClose = Box<dyn Fn(&EngineSocket, DisconnectReason) + Send + Sync>;

/// What is done with the sessions at a path that speaks Engine.IO without Socket.IO, as Node's package `engine.io` does; see
/// [`Builder::engine_io`](crate::Builder::engine_io).
///
/// Its clients are those of the npm package `engine.io-client`. They may use both transports; handlers see no difference.
///
/// ```
/// use ringhall::{EngineRoute, EngineSocket, Message, Server};
///
/// let echo = EngineRoute::new()
///     .on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
/// let server = Server::builder().engine_io("/engine.io", echo);
/// # let _ = server;
/// ```
#[derive(Default)]
pub struct EngineRoute {
    pub(crate) open: Option<OnOpen>,
    pub(crate) message: Option<OnMessage>,
    pub(crate) close: Option<OnClose>,
}

impl EngineRoute {
    /// A route that accepts sessions and reads their messages into nothing.
    ///
    /// ```
    /// let route = ringhall::EngineRoute::new();
    /// # let _ = route;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs when a session has opened, before any of its messages. Replaces an earlier handler. What takes long belongs into
    /// [`spawn`](crate::spawn), here and below: a handler that blocks holds up its core.
    ///
    /// ```
    /// use ringhall::{EngineRoute, EngineSocket, Handshake};
    /// let route = EngineRoute::new().on_open(|socket: &EngineSocket, _: &Handshake| socket.send("welcome"));
    /// # let _ = route;
    /// ```
    pub fn on_open(
        mut self,
        handler: impl Fn(&EngineSocket, &Handshake) + Send + Sync + 'static,
    ) -> Self {
        self.open = Some(Box::new(handler));
        self
    }

    /// Runs for each message, in order. Replaces an earlier handler.
    ///
    /// ```
    /// use ringhall::{EngineRoute, EngineSocket, Message};
    /// let echo = EngineRoute::new()
    ///     .on_message(|socket: &EngineSocket, message: Message<'_>| socket.send(message));
    /// # let _ = echo;
    /// ```
    pub fn on_message(
        mut self,
        handler: impl Fn(&EngineSocket, Message<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.message = Some(Box::new(handler));
        self
    }

    /// Runs when a session has ended, in whatever way. Replaces an earlier handler.
    ///
    /// ```
    /// use ringhall::{DisconnectReason, EngineRoute, EngineSocket};
    /// let route = EngineRoute::new()
    ///     .on_close(|socket: &EngineSocket, reason: DisconnectReason| println!("{} left: {reason}", socket.id()));
    /// # let _ = route;
    /// ```
    pub fn on_close(
        mut self,
        handler: impl Fn(&EngineSocket, DisconnectReason) + Send + Sync + 'static,
    ) -> Self {
        self.close = Some(Box::new(handler));
        self
    }
}

/// An Engine.IO session without Socket.IO: what its handlers are given, and what they act on.
///
/// A handle is cheap to clone and belongs to the core on which its session lives, so it is not `Send`. After the session has ended every
/// call is still allowed and does nothing.
///
/// ```
/// # use ringhall::{EngineSocket, Message};
/// fn echo(socket: &EngineSocket, message: Message<'_>) {
///     socket.send(message);
/// }
/// ```
#[derive(Clone)]
pub struct EngineSocket {
    local: Rc<Local>,
    route: usize,
    key: SocketKey,
    id: SocketId,
}

/// A message is copied once more, behind its type; up to this length without an allocation.
const INLINE: usize = 512;

impl EngineSocket {
    pub(crate) fn new(local: Rc<Local>, key: SocketKey, id: SocketId, route: usize) -> Self {
        EngineSocket {
            local,
            route,
            key,
            id,
        }
    }

    /// The number of its route.
    pub(crate) fn route(&self) -> usize {
        self.route
    }

    /// The id of this socket: 20 characters, unique. It is not the session's own name (`sid`), which is a secret.
    ///
    /// ```
    /// # fn f(socket: &ringhall::EngineSocket) {
    /// assert_eq!(socket.id().len(), 20);
    /// # }
    /// ```
    pub fn id(&self) -> &SocketId {
        &self.id
    }

    /// A handle of the server.
    ///
    /// ```
    /// # fn f(socket: &ringhall::EngineSocket) {
    /// socket.server().emit("news", "from Engine.IO to Socket.IO");
    /// # }
    /// ```
    pub fn server(&self) -> Server {
        self.local.server()
    }

    /// False once the session has ended.
    ///
    /// ```
    /// # fn f(socket: &ringhall::EngineSocket) {
    /// if socket.is_open() {
    ///     socket.send("still here");
    /// }
    /// # }
    /// ```
    pub fn is_open(&self) -> bool {
        self.local.hall().is_seated(self.key)
    }

    /// Sends a message. On a WebSocket it leaves at the end of the turn; on polling it waits for the client's next poll, if none is held.
    /// A client that does not take what waits is cut ([`Config::max_unsent_cut`](crate::Config::max_unsent_cut)).
    ///
    /// ```
    /// # fn f(socket: &ringhall::EngineSocket) {
    /// socket.send("text");
    /// socket.send(&[1_u8, 2, 3][..]);
    /// # }
    /// ```
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) {
        self.deliver(message.into(), false);
    }

    /// Sends a message only if it can leave at once: nothing waits to be sent, and on polling a poll is held. Returns whether it did.
    ///
    /// ```
    /// # fn f(socket: &ringhall::EngineSocket) {
    /// let sent = socket.send_volatile("42");
    /// # let _ = sent;
    /// # }
    /// ```
    pub fn send_volatile<'a>(&self, message: impl Into<Message<'a>>) -> bool {
        self.deliver(message.into(), true)
    }

    fn deliver(&self, message: Message<'_>, volatile: bool) -> bool {
        let mut text: SmallVec<[u8; INLINE]> = SmallVec::new();
        let outgoing = match message {
            Message::Text(data) => {
                text.push(packet::MESSAGE);
                text.extend_from_slice(data.as_bytes());
                Outgoing {
                    kind: Kind::Text,
                    body: &text,
                    attachments: &[],
                    offset: None,
                }
            }
            Message::Binary(data) => Outgoing {
                kind: Kind::Binary,
                body: data,
                attachments: &[],
                offset: None,
            },
        };
        self.local.hall().deliver(self.key, outgoing, volatile)
    }

    /// Ends the session once what was sent before is taken: on polling by a poll, which may come up to 30 s later.
    ///
    /// ```
    /// # fn f(socket: &ringhall::EngineSocket) {
    /// socket.close();
    /// # }
    /// ```
    pub fn close(&self) {
        if let Some(connection) = self.local.hall().connection_of(self.key) {
            self.local.hall().command(Command::EndClient { connection });
        }
    }
}

impl fmt::Debug for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSocket")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
