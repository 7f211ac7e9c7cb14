//! Plain WebSockets, as handlers see them.

use std::fmt;
use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;

use super::broadcast::Broadcast;
use super::handler::{Outcome, start};
use super::local::Local;
use super::{Handshake, Server, SocketId};
use crate::CloseCode;
use crate::proto::websocket::Kind;
use crate::room::JoinError;
use crate::shard::command::Command;
use crate::shard::hall::{Outgoing, SocketKey};

/// One WebSocket message, lent for as long as its handler runs.
///
/// ```
/// # use ringhall::{Message, WebSocket};
/// fn echo(socket: &WebSocket, message: Message<'_>) {
///     match message {
///         Message::Text(text) => println!("{text}"),
///         Message::Binary(bytes) => println!("{} bytes", bytes.len()),
///     }
///     socket.send(message);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    pub(crate) fn new(kind: Kind, payload: &'a [u8]) -> Self {
        match kind {
            // The machine below delivers text only if it is UTF-8 (RFC 6455 §8.1), and checked it piece by piece as it
            // came in, so this second look is paid in fast ASCII steps.
            Kind::Text => {
                std::str::from_utf8(payload).map_or(Message::Binary(payload), Message::Text)
            }
            Kind::Binary => Message::Binary(payload),
        }
    }

    /// The bytes of either kind.
    ///
    /// ```
    /// assert_eq!(ringhall::Message::Text("hi").as_bytes(), b"hi");
    /// ```
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// A copy that can be kept.
    ///
    /// ```
    /// let kept = ringhall::Message::Text("hi").to_owned();
    /// assert_eq!(kept.borrow(), ringhall::Message::Text("hi"));
    /// ```
    pub fn to_owned(&self) -> OwnedMessage {
        match self {
            Message::Text(text) => OwnedMessage::Text((*text).to_owned()),
            Message::Binary(bytes) => OwnedMessage::Binary(Bytes::copy_from_slice(bytes)),
        }
    }

    fn outgoing(&self) -> Outgoing<'a> {
        let kind = match self {
            Message::Text(_) => Kind::Text,
            Message::Binary(_) => Kind::Binary,
        };
        Outgoing {
            kind,
            body: self.as_bytes(),
            attachments: &[],
            offset: None,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    fn from(message: &'a OwnedMessage) -> Self {
        message.borrow()
    }
}

/// One WebSocket message, owned: what async handlers are given.
///
/// ```
/// use ringhall::OwnedMessage;
/// assert_eq!(OwnedMessage::Text("hi".into()).borrow().as_bytes(), b"hi");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedMessage {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

impl OwnedMessage {
    /// The message, lent.
    ///
    /// ```
    /// assert_eq!(ringhall::OwnedMessage::Text("hi".into()).borrow(), ringhall::Message::Text("hi"));
    /// ```
    pub fn borrow(&self) -> Message<'_> {
        match self {
            OwnedMessage::Text(text) => Message::Text(text),
            OwnedMessage::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// How a WebSocket ended.
///
/// `code` is what the other side sent (RFC 6455 §7.4), or [`CloseCode::NO_STATUS`] if its Close frame had none,
/// or [`CloseCode::ABNORMAL`] if there was no Close frame at all; after a violation it is the code that this side closed with.
///
/// ```
/// # use ringhall::{CloseCode, CloseFrame};
/// fn was_polite(close: &CloseFrame<'_>) -> bool {
///     close.code != CloseCode::ABNORMAL
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CloseFrame<'a> {
    /// The close code.
    pub code: CloseCode,
    /// The reason in words, at most 123 bytes; often empty.
    pub reason: &'a str,
}

/// A plain WebSocket: what its handlers are given, and what they act on.
///
/// A handle is cheap to clone and belongs to the core on which its connection lives, so it is not `Send`. To reach
/// WebSockets from elsewhere use rooms, with [`Server::websockets`].
///
/// After the WebSocket has closed every call is still allowed and does nothing.
///
/// ```
/// use ringhall::{Message, Server, WebSocket};
///
/// let server = Server::builder().websocket("/echo", |socket: &WebSocket, message: Message<'_>| socket.send(message));
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct WebSocket {
    local: Rc<Local>,
    route: usize,
    key: SocketKey,
    id: SocketId,
}

impl WebSocket {
    pub(crate) fn new(local: Rc<Local>, key: SocketKey, id: SocketId, route: usize) -> Self {
        WebSocket {
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

    /// The id of this WebSocket: 20 characters, unique. It is also the name of a room with this one member.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// assert_eq!(socket.id().len(), 20);
    /// # }
    /// ```
    pub fn id(&self) -> &SocketId {
        &self.id
    }

    /// A handle of the server.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.server().emit("news", "from a WebSocket to Socket.IO");
    /// # }
    /// ```
    pub fn server(&self) -> Server {
        self.local.server()
    }

    /// False once it has closed.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// if socket.is_open() {
    ///     socket.send("still here");
    /// }
    /// # }
    /// ```
    pub fn is_open(&self) -> bool {
        self.local.hall().is_seated(self.key)
    }

    /// Sends a message. It leaves at the end of the turn, together with everything else for this connection.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.send("text");
    /// socket.send(&[1_u8, 2, 3][..]);
    /// # }
    /// ```
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) {
        self.local
            .hall()
            .deliver(self.key, message.into().outgoing(), false);
    }

    /// Sends a message only if the connection has nothing waiting behind the send in flight. Returns whether it did.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// let sent = socket.send_volatile("42");
    /// # let _ = sent;
    /// # }
    /// ```
    pub fn send_volatile<'a>(&self, message: impl Into<Message<'a>>) -> bool {
        self.local
            .hall()
            .deliver(self.key, message.into().outgoing(), true)
    }

    /// Starts the closing handshake (RFC 6455 §7.1.2). What was sent before still goes out; what comes in is
    /// thrown away. At the end of this turn it leaves all its rooms, and gets nothing more. A reason longer than 123 bytes is cut.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.close(ringhall::CloseCode::NORMAL, "done");
    /// # }
    /// ```
    pub fn close(&self, code: CloseCode, reason: &str) {
        if let Some(connection) = self.local.hall().connection_of(self.key) {
            let (code, reason) = (code.as_u16(), reason.to_owned());
            self.local.hall().command(Command::Close {
                connection,
                code,
                reason,
            });
        }
    }

    /// Joins a room of this route. Fails, with a logged warning, as [`Socket::join`](crate::Socket::join) does.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.join("lobby");
    /// # }
    /// ```
    pub fn join(&self, room: impl AsRef<str>) {
        if let Err(error) = self.try_join(room) {
            log::warn!("websocket {} did not join a room: {error}", self.id);
        }
    }

    /// As [`join`](WebSocket::join).
    ///
    /// # Errors
    /// The name is too long, or this WebSocket is in as many rooms as it may.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket, room: &str) {
    /// if let Err(error) = socket.try_join(room) {
    ///     socket.send(error.to_string().as_str());
    /// }
    /// # }
    /// ```
    pub fn try_join(&self, room: impl AsRef<str>) -> Result<(), JoinError> {
        let joined = self.local.hall().join(self.key, room.as_ref());
        joined.map(|_| ())
    }

    /// Leaves a room.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.leave("lobby");
    /// # }
    /// ```
    pub fn leave(&self, room: impl AsRef<str>) {
        self.local.hall().leave(self.key, room.as_ref());
    }

    /// The rooms that were joined.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// for room in socket.rooms() {
    ///     socket.to(&room).send("hello");
    /// }
    /// # }
    /// ```
    pub fn rooms(&self) -> Vec<String> {
        let mut rooms = self.local.hall().rooms_of(self.key);
        rooms.retain(|room| room != self.id.as_str());
        rooms
    }

    /// All WebSockets of this route, this one included.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.everyone().send("to all, me too");
    /// # }
    /// ```
    pub fn everyone(&self) -> WebSocketBroadcast<'_> {
        self.all_but(None)
    }

    /// All WebSockets of this route but this one.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.broadcast().send("to all others");
    /// # }
    /// ```
    pub fn broadcast(&self) -> WebSocketBroadcast<'_> {
        self.all_but(Some(self.key))
    }

    /// The members of a room of this route, this one included if it is a member.
    ///
    /// ```
    /// # use ringhall::{Message, WebSocket};
    /// # fn f(socket: &WebSocket, message: Message<'_>) {
    /// socket.to("lobby").send(message);
    /// # }
    /// ```
    pub fn to<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> WebSocketBroadcast<'a> {
        self.everyone().to(room)
    }

    fn all_but(&self, sender: Option<SocketKey>) -> WebSocketBroadcast<'_> {
        let scope = self.local.routes().scope(self.route);
        let (shared, hall) = (self.local.shared(), self.local.hall());
        WebSocketBroadcast(Broadcast::from_core(shared, hall, scope, sender).local())
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A message to many WebSockets of one route, while its receivers are being chosen.
///
/// ```
/// # fn f(socket: &ringhall::WebSocket) {
/// socket.broadcast().to("lobby").except("muted").send("hello");
/// # }
/// ```
#[must_use = "nothing is sent until send is called"]
pub struct WebSocketBroadcast<'a>(pub(crate) Broadcast<'a>);

impl<'a> WebSocketBroadcast<'a> {
    /// Adds the members of a room to the receivers.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.broadcast().to("lobby").to("kitchen").send("dinner");
    /// # }
    /// ```
    pub fn to(self, room: &'a (impl AsRef<str> + ?Sized)) -> Self {
        Self(self.0.to(room))
    }

    /// Takes the members of a room out of the receivers.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.broadcast().except("muted").send("dinner");
    /// # }
    /// ```
    pub fn except(self, room: &'a (impl AsRef<str> + ?Sized)) -> Self {
        Self(self.0.except(room))
    }

    /// Receivers whose connection has something waiting behind the send in flight are left out.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.broadcast().volatile().send("3.5 4.5");
    /// # }
    /// ```
    pub fn volatile(self) -> Self {
        Self(self.0.volatile())
    }

    /// Sends the message to all receivers, encoded once.
    ///
    /// ```
    /// # fn f(socket: &ringhall::WebSocket) {
    /// socket.broadcast().send("text");
    /// socket.broadcast().send(&[1_u8, 2, 3][..]);
    /// # }
    /// ```
    pub fn send<'m>(self, message: impl Into<Message<'m>>) {
        self.0.send(message.into().outgoing());
    }
}

// ---- handlers ----

pub(crate) type BoxedOpenHandler = Box<dyn Fn(&WebSocket, &Handshake) -> Outcome + Send + Sync>;
pub(crate) type BoxedMessageHandler = Box<dyn Fn(&WebSocket, Message<'_>) -> Outcome + Send + Sync>;
pub(crate) type BoxedCloseHandler =
    Box<dyn Fn(&WebSocket, CloseFrame<'_>) -> Outcome + Send + Sync>;

/// Marks handlers that run to their end at once.
#[derive(Debug)]
pub enum Sync_ {}
/// Marks async handlers.
#[derive(Debug)]
pub enum Async {}

/// A function that handles the messages of a WebSocket: `Fn(&WebSocket, Message<'_>)`, or async:
/// `async |socket: WebSocket, message: OwnedMessage| …`.
///
/// Messages of one WebSocket are handled one after the other: while an async handler runs, the next message waits.
///
/// ```
/// use ringhall::{Message, OwnedMessage, Server, WebSocket};
/// let builder = Server::builder()
///     .websocket("/echo", |socket: &WebSocket, message: Message<'_>| socket.send(message))
///     .websocket("/later", async |socket: WebSocket, message: OwnedMessage| socket.send(&message));
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a handler of WebSocket messages",
    note = "write `|socket: &WebSocket, message: Message<'_>| …`, or `async |socket: WebSocket, message: OwnedMessage| …`"
)]
pub trait MessageHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_boxed(self) -> BoxedMessageHandler;
}

impl<F> MessageHandler<Sync_> for F
where
    F: for<'a, 'm> Fn(&'a WebSocket, Message<'m>) + Send + Sync + 'static,
{
    fn into_boxed(self) -> BoxedMessageHandler {
        Box::new(move |socket, message| {
            self(socket, message);
            Outcome::Done
        })
    }
}

impl<F, Fut> MessageHandler<Async> for F
where
    F: Fn(WebSocket, OwnedMessage) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    fn into_boxed(self) -> BoxedMessageHandler {
        Box::new(move |socket, message| start(self(socket.clone(), message.to_owned())))
    }
}

/// A function that runs when a WebSocket has opened: `Fn(&WebSocket, &Handshake)`, or async: `async |socket: WebSocket| …`.
///
/// ```
/// use ringhall::{Handshake, WebSocket, WebSocketRoute};
/// let route = WebSocketRoute::new().on_open(|socket: &WebSocket, _: &Handshake| socket.send("welcome"));
/// # let _ = route;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a handler of opened WebSockets",
    note = "write `|socket: &WebSocket, handshake: &Handshake| …`, or `async |socket: WebSocket| …`"
)]
pub trait OpenHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_boxed(self) -> BoxedOpenHandler;
}

impl<F> OpenHandler<Sync_> for F
where
    F: for<'a, 'h> Fn(&'a WebSocket, &'h Handshake) + Send + Sync + 'static,
{
    fn into_boxed(self) -> BoxedOpenHandler {
        Box::new(move |socket, handshake| {
            self(socket, handshake);
            Outcome::Done
        })
    }
}

impl<F, Fut> OpenHandler<Async> for F
where
    F: Fn(WebSocket) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    fn into_boxed(self) -> BoxedOpenHandler {
        Box::new(move |socket, _| start(self(socket.clone())))
    }
}

/// A function that runs when a WebSocket has closed: `Fn(&WebSocket, CloseFrame<'_>)`.
///
/// ```
/// use ringhall::{CloseFrame, WebSocket, WebSocketRoute};
/// let route = WebSocketRoute::new()
///     .on_close(|socket: &WebSocket, close: CloseFrame<'_>| println!("{}: {}", socket.id(), close.code));
/// # let _ = route;
/// ```
#[diagnostic::on_unimplemented(
    message = "this is not a handler of closed WebSockets",
    note = "write `|socket: &WebSocket, close: CloseFrame<'_>| …`"
)]
pub trait CloseHandler<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_boxed(self) -> BoxedCloseHandler;
}

impl<F> CloseHandler<Sync_> for F
where
    F: for<'a, 'c> Fn(&'a WebSocket, CloseFrame<'c>) + Send + Sync + 'static,
{
    fn into_boxed(self) -> BoxedCloseHandler {
        Box::new(move |socket, close| {
            self(socket, close);
            Outcome::Done
        })
    }
}
