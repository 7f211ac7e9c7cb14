//! A client's presence in one namespace, as handlers see it.

mod data;
mod listening;

pub(crate) use data::data_of;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::arguments::{Args, DecodeError};
use super::binary::Payload;
use super::broadcast::Broadcast;
use super::counters::Count;
use super::emit::{self, EmitError, Form, PlainAck};
use super::extract::ConnectContext;
use super::handler::Outcome;
use super::local::Local;
use super::namespace::Table;
use super::state::StateMap;
use super::task::{self, LocalFuture};
use super::{DisconnectReason, Handshake, HandshakeDetails, Server, SocketId, Transport};
use crate::proto::websocket::Kind;
use crate::room::JoinError;
use crate::shard::command::Command;
use crate::shard::grant::Granted;
use crate::shard::hall::{Outgoing, SocketKey, Standing};
use crate::shard::recovery::Pid;
use crate::wire::parser::Parser;
use crate::wire::socket::PacketType;
use crate::wire::socket::is_reserved;

/// A client's presence in one namespace: what handlers are given, and what they act on.
///
/// A handle is cheap to clone and belongs to the core on which its connection lives, so it is not `Send`; handlers
/// and their async parts run on that core, too. To reach a socket from elsewhere keep its [`id`](Socket::id) and use
/// [`Server::to`].
///
/// After the socket is gone every call is still allowed and does nothing.
///
/// ```
/// use ringhall::{Data, Server, Socket};
///
/// let server = Server::builder().on_connection(|socket: Socket| {
///     socket.join("lobby");
///     socket.emit("welcome", socket.id());
///     socket.on("say", |socket: Socket, Data(text): Data<String>| {
///         socket.to("lobby").emit("said", (socket.id(), text));
///     });
/// });
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct Socket(Rc<Inner>);

struct Inner {
    key: SocketKey,
    id: SocketId,
    table: Rc<Table>,
    namespace: Arc<str>,
    handshake: Rc<Handshake>,
    auth: Box<[u8]>,
    local: Rc<Local>,
    /// What only some sockets have: nothing is allocated for those that have none of it.
    own: RefCell<Option<Box<Own>>>,
}

#[derive(Default)]
struct Own {
    listening: listening::Listening,
    /// JSON.
    data: Option<Arc<str>>,
    session: data::Session,
    recovered: bool,
    /// What the application gave the session; kept for one that may yet have to ask anew.
    granted: Option<Rc<Granted>>,
    /// Held by each concurrent handler that runs, so that they are counted.
    beside: Option<Rc<()>>,
}

impl Socket {
    pub(crate) fn new(
        key: SocketKey,
        id: SocketId,
        (namespace, table): (&Arc<str>, Rc<Table>),
        handshake: &Rc<Handshake>,
        auth: &[u8],
        local: &Rc<Local>,
    ) -> Self {
        let socket = Socket(Rc::new(Inner {
            key,
            id,
            table,
            namespace: namespace.clone(),
            handshake: handshake.clone(),
            auth: auth.into(),
            local: local.clone(),
            own: RefCell::new(None),
        }));
        if socket.is_watched() {
            socket.watch();
        }
        socket
    }

    /// The socket's id: 20 characters, unique, not guessable, another for each connection and namespace.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// println!("{} connected", socket.id());
    /// # }
    /// ```
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// The name of the socket's namespace, such as `/` or `/chat`.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// assert!(socket.namespace().starts_with('/'));
    /// # }
    /// ```
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The request that opened the connection.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// let room = socket.handshake().query("room");
    /// # let _ = room;
    /// # }
    /// ```
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// The same as a value that can be kept and serialised, together with the client's `auth`: `socket.handshake` in Node.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.emit("handshake", socket.handshake_details());
    /// # }
    /// ```
    pub fn handshake_details(&self) -> HandshakeDetails {
        let handshake = self.handshake();
        let issued = self.0.local.shared().unix_ms(handshake.issued_ms());
        HandshakeDetails::new(handshake, issued, self.auth().unwrap_or_default())
    }

    /// What carries the connection at the moment: a session that begins on polling is commonly upgraded to a WebSocket a moment
    /// later. `None` once the socket has left.
    ///
    /// ```
    /// use ringhall::Transport;
    /// # fn f(socket: &ringhall::Socket) {
    /// let is_fast = socket.transport() == Some(Transport::WebSocket);
    /// # let _ = is_fast;
    /// # }
    /// ```
    pub fn transport(&self) -> Option<Transport> {
        let hall = self.0.local.hall();
        let connection = hall.connection_of(self.0.key)?;
        Some(if hall.is_polling(connection) {
            Transport::Polling
        } else {
            Transport::WebSocket
        })
    }

    /// The `auth` object that the client gave when it connected to this namespace.
    ///
    /// # Errors
    /// It does not fit `T`. A client that gave none is read as an empty object.
    ///
    /// ```
    /// #[derive(serde::Deserialize)]
    /// struct Auth { token: String }
    /// # fn f(socket: &ringhall::Socket) {
    /// let allowed = socket.auth::<Auth>().is_ok_and(|auth| auth.token == "secret");
    /// # let _ = allowed;
    /// # }
    /// ```
    pub fn auth<T: DeserializeOwned + 'static>(&self) -> Result<T, serde_json::Error> {
        let json: &[u8] = if self.0.auth.is_empty() {
            b"{}"
        } else {
            &self.0.auth
        };
        serde_json::from_slice(json)
    }

    /// A handle of the server.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.server().emit("someone arrived", ());
    /// # }
    /// ```
    pub fn server(&self) -> Server {
        self.0.local.server()
    }

    /// False once the socket has left its namespace, and while a middleware is deciding whether it may come in.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// if socket.is_connected() {
    ///     println!("{} is still here", socket.id());
    /// }
    /// # }
    /// ```
    pub fn is_connected(&self) -> bool {
        self.0.local.hall().standing_of(self.0.key) == Some(Standing::Here)
    }

    /// Whether the client has got back the session that it had before its connection was lost: its id, its rooms, its data, and what it
    /// missed. Always false where [`Builder::recovery`](crate::Builder::recovery) is not asked for.
    ///
    /// ```
    /// # use ringhall::Socket;
    /// fn connected(socket: Socket) {
    ///     if !socket.recovered() {
    ///         socket.join("lobby"); // a new session, or one of which something is lost
    ///     }
    /// }
    /// ```
    pub fn recovered(&self) -> bool {
        let own = self.0.own.borrow();
        own.as_ref().is_some_and(|own| own.recovered)
    }

    /// The number of the core on which this socket lives, counted from 0.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// assert!(socket.core() < socket.server().cores());
    /// # }
    /// ```
    pub fn core(&self) -> usize {
        self.0.local.hall().core()
    }

    // ---- sending ----

    /// Emits an event to this client: a tuple is the list of arguments, any other value the only one.
    ///
    /// A value that cannot be encoded is logged and not sent; [`try_emit`](Socket::try_emit) returns the error instead.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.emit("hello", "world");
    /// socket.emit("position", (3.5, 4.5));
    /// socket.emit("file", ("a.bin", ringhall::Binary::from(vec![1, 2, 3])));
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        emit::or_log(event, self.try_emit(event, args));
    }

    /// As [`emit`](Socket::emit).
    ///
    /// # Errors
    /// The event name is reserved by Socket.IO, or the arguments cannot be written as JSON.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// assert!(socket.try_emit("connect", ()).is_err());
    /// # }
    /// ```
    pub fn try_emit(&self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        self.emit_with(event, None, &args, false)
    }

    /// Emits an event only if the connection has nothing waiting behind the send in flight.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.emit_volatile("position", (3.5, 4.5));
    /// # }
    /// ```
    pub fn emit_volatile(&self, event: &str, args: impl Serialize) {
        emit::or_log(event, self.emit_with(event, None, &args, true));
    }

    /// Emits an event with arguments that came in and were never parsed.
    ///
    /// ```
    /// # use ringhall::{Payload, Socket};
    /// fn echo(socket: Socket, payload: Payload) {
    ///     socket.emit_raw("echo", &payload);
    /// }
    /// ```
    pub fn emit_raw(&self, event: &str, payload: &Payload) {
        emit::or_log(event, self.emit_payload(event, None, payload, false));
    }

    /// Emits an event and waits for the client's acknowledgement. Without [`timeout`](Socket::timeout) it
    /// waits as long as the socket lives.
    ///
    /// The event is sent at once, whether or not the future is awaited. `T` is read like [`Data`](crate::Data):
    /// a tuple is the list of values that the client answered, any other type the first of them.
    ///
    /// ```
    /// # use ringhall::Socket;
    /// async fn ask(socket: Socket) -> Result<(), ringhall::AckError> {
    ///     let age: u32 = socket.emit_with_ack("how old", ()).await?;
    ///     println!("{age}");
    ///     Ok(())
    /// }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> AckFuture<T> {
        self.ask(event, &args, None)
    }

    /// Sets how long the following [`emit_with_ack`](WithTimeout::emit_with_ack) waits.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ringhall::{AckError, Socket};
    /// async fn ask(socket: Socket) {
    ///     match socket.timeout(Duration::from_secs(5)).emit_with_ack::<String>("name", ()).await {
    ///         Ok(name) => println!("{name}"),
    ///         Err(AckError::TimedOut) => println!("no answer"),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// ```
    pub fn timeout(&self, timeout: Duration) -> WithTimeout<'_> {
        WithTimeout {
            socket: self,
            timeout,
        }
    }

    /// Everybody else in the namespace.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.broadcast().emit("joined", socket.id());
    /// # }
    /// ```
    pub fn broadcast(&self) -> Broadcast<'_> {
        let (local, namespace) = (&self.0.local, &self.0.namespace);
        Broadcast::from_core(local.shared(), local.hall(), namespace, Some(self.0.key))
    }

    /// Everybody in the namespace, this socket included.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.everyone().to("lobby").emit("said", "hello"); // to the sender, too, if it is in the lobby
    /// # }
    /// ```
    pub fn everyone(&self) -> Broadcast<'_> {
        let (local, namespace) = (&self.0.local, &self.0.namespace);
        Broadcast::from_core(local.shared(), local.hall(), namespace, None)
    }

    /// Everybody else in a room.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.to("lobby").emit("said", "hello");
    /// # }
    /// ```
    pub fn to<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.broadcast().to(room)
    }

    /// The same as [`to`](Socket::to).
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.in_("lobby").emit("said", "hello");
    /// # }
    /// ```
    pub fn in_<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.broadcast().to(room)
    }

    /// Everybody else in the namespace but the members of a room.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.except("muted").emit("typing", ());
    /// # }
    /// ```
    pub fn except<'a>(&'a self, room: &'a (impl AsRef<str> + ?Sized)) -> Broadcast<'a> {
        self.broadcast().except(room)
    }

    // ---- rooms ----

    /// Joins a room. A room exists while it has members. A name longer than 1,024 bytes, or more rooms than
    /// [`Config::max_rooms`](crate::Config::max_rooms), is logged and not joined; [`try_join`](Socket::try_join) returns the error.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.join("lobby");
    /// assert!(socket.rooms().contains(&"lobby".to_owned()));
    /// # }
    /// ```
    pub fn join(&self, room: impl AsRef<str>) {
        if let Err(error) = self.try_join(room) {
            log::warn!("socket {} did not join a room: {error}", self.0.id);
        }
    }

    /// As [`join`](Socket::join).
    ///
    /// # Errors
    /// The name is too long, or the socket is in as many rooms as it may.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// assert!(socket.try_join("x".repeat(2000)).is_err());
    /// # }
    /// ```
    pub fn try_join(&self, room: impl AsRef<str>) -> Result<(), JoinError> {
        self.0.local.join(self, room.as_ref())
    }

    /// Leaves a room.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.leave("lobby");
    /// # }
    /// ```
    pub fn leave(&self, room: impl AsRef<str>) {
        self.0.local.leave(self, room.as_ref());
    }

    /// The rooms of this socket, the room of its own id among them. Empty once it is disconnected.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// for room in socket.rooms() {
    ///     println!("{} is in {room}", socket.id());
    /// }
    /// # }
    /// ```
    pub fn rooms(&self) -> Vec<String> {
        self.0.local.hall().rooms_of(self.0.key)
    }

    /// Disconnects from the namespace; with `close`, from all namespaces, and closes the connection. What was emitted
    /// before is still sent. The client sees "io server disconnect" and does not reconnect by itself. In a middleware, where the socket
    /// is not connected yet, this does nothing: refuse it instead.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.emit("goodbye", ());
    /// socket.disconnect(true);
    /// # }
    /// ```
    pub fn disconnect(&self, close: bool) {
        let hall = self.0.local.hall();
        let Some(connection) = hall
            .connection_of(self.0.key)
            .filter(|_| self.is_connected())
        else {
            return;
        };
        self.0
            .local
            .disconnected(self, DisconnectReason::ServerNamespaceDisconnect);
        if close {
            hall.command(Command::EndClient { connection });
        }
    }

    // ---- for the server's side ----

    /// Names its client among those of this server, in twelve characters.
    #[cfg(feature = "admin")]
    pub(crate) fn client_number(&self) -> Option<String> {
        let hall = self.0.local.hall();
        let key = hall.connection_of(self.0.key)?;
        Some(format!(
            "{:02x}{:05x}{:05x}",
            hall.core(),
            key.generation & 0xf_ffff,
            key.slot & 0xf_ffff
        ))
    }

    pub(crate) fn key(&self) -> SocketKey {
        self.0.key
    }

    /// The client's `auth` object, if it gave one.
    pub(crate) fn auth_json(&self) -> &[u8] {
        &self.0.auth
    }

    #[cfg(test)]
    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.0.local
    }

    pub(crate) fn handshake_shared(&self) -> &Rc<Handshake> {
        &self.0.handshake
    }

    /// Runs the rest of a handler beside the events that follow, if fewer than `at_most` do so.
    pub(crate) fn run_beside(&self, future: LocalFuture, at_most: usize) -> Outcome {
        let beside = {
            let mut own = self.0.own.borrow_mut();
            let own = own.get_or_insert_default();
            own.beside.get_or_insert_default().clone()
        };
        // One is here, one is with the socket, and each that runs has one.
        if Rc::strong_count(&beside) - 2 >= at_most {
            return Outcome::Pending(future);
        }
        let run = async move {
            task::guarded(future).await;
            drop(beside);
        };
        task::spawn_on(self.0.local.hall_of().clone(), Box::pin(run));
        Outcome::Done
    }

    /// What connect handlers and middlewares are called with.
    pub(crate) fn connect_context(&self) -> ConnectContext<'_> {
        let auth = Some(&*self.0.auth).filter(|json| !json.is_empty());
        ConnectContext::new(self, auth)
    }

    /// The secret by which the client gets its session back, where that can be.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.0.local.hall().pid_of(self.0.key)
    }

    /// It goes on with a session that had this data.
    pub(crate) fn set_recovered(&self, data: Option<Arc<str>>, granted: Option<&Rc<Granted>>) {
        if let Some(granted) = granted {
            self.keep_granted(granted);
        }
        let mut own = self.0.own.borrow_mut();
        let own = own.get_or_insert_default();
        own.recovered = true;
        own.data = data;
        own.granted = granted.cloned();
    }

    pub(crate) fn granted(&self) -> Option<Rc<Granted>> {
        let own = self.0.own.borrow();
        own.as_ref().and_then(|own| own.granted.clone())
    }

    pub(crate) fn id_and_namespace(&self) -> (SocketId, &Arc<str>) {
        (self.0.id, &self.0.namespace)
    }

    pub(crate) fn table(&self) -> &Rc<Table> {
        &self.0.table
    }

    pub(crate) fn states(&self) -> &StateMap {
        self.0.local.states()
    }

    /// Adds one to a number of this core.
    pub(crate) fn count(&self, count: Count) {
        self.0.local.count(count);
    }

    /// The DISCONNECT packet.
    pub(crate) fn say_disconnect(&self) {
        let parser = self.parser();
        let mut packet = Vec::new();
        let encoded = parser.encode(&mut packet, PacketType::Disconnect, &self.0.namespace, b"");
        debug_assert!(encoded.is_ok(), "it has no data");
        let message = Outgoing {
            kind: Kind::of(parser),
            body: &packet,
            attachments: &[],
            offset: None,
        };
        self.deliver(message, false);
    }

    /// Answers event `id`. `list` is an argument list without brackets.
    pub(crate) fn acknowledge(&self, id: u64, list: &[u8], attachments: &[Bytes]) {
        let (parser, namespace) = (self.parser(), &self.0.namespace);
        if let Some(ack) = PlainAck::new(parser, namespace, id, list, attachments) {
            let hall = self.0.local.hall();
            return hall.deliver_written(self.0.key, ack.len(), |out| ack.write(out));
        }
        let sent = emit::with_ack(
            self.parser(),
            &self.0.namespace,
            id,
            list,
            attachments,
            |message| _ = self.deliver(message, false),
        );
        if let Err(error) = sent {
            log::error!("the answer to event {id} was not sent: {error}");
        }
    }

    /// The client answered. `false`: this socket alone was asked nothing under this id.
    pub(crate) fn answered(&self, id: u64, args: &[u8], attachments: &[Bytes]) -> bool {
        let waiting = self
            .0
            .own
            .borrow_mut()
            .as_mut()
            .and_then(|own| own.listening.acks.remove(&id));
        let Some(waiting) = waiting else {
            return false;
        };
        // The asker may have stopped waiting.
        if let Ok(payload) = Payload::of(&Args {
            json: args,
            attachments,
        }) {
            let _ = waiting.send(payload);
        }
        true
    }

    fn parser(&self) -> Parser {
        self.0.local.hall().parser()
    }

    /// How an event is written; `passing`: it is not to be recovered.
    fn form(&self, passing: bool) -> Form {
        let hall = self.0.local.hall();
        Form {
            parser: hall.parser(),
            offset: if passing { None } else { hall.next_offset() },
        }
    }

    fn deliver(&self, message: Outgoing<'_>, volatile: bool) -> bool {
        let hall = self.0.local.hall();
        hall.deliver(self.0.key, message, volatile)
            || message.offset.is_some()
                && hall.deliver_later(&self.0.namespace, &self.0.id, message)
    }

    fn emit_with<T: Serialize>(
        &self,
        event: &str,
        ack: Option<u64>,
        args: &T,
        volatile: bool,
    ) -> Result<(), EmitError> {
        if self.is_watched() {
            return self.emit_payload(event, ack, &Payload::encode(args)?, volatile);
        }
        emit::with_event(
            self.form(volatile || ack.is_some()),
            &self.0.namespace,
            event,
            ack,
            args,
            |message| _ = self.deliver(message, volatile),
        )
    }

    fn emit_payload(
        &self,
        event: &str,
        ack: Option<u64>,
        payload: &Payload,
        volatile: bool,
    ) -> Result<(), EmitError> {
        if self.is_watched() && self.0.local.hall().is_seated(self.0.key) && !is_reserved(event) {
            self.tell_outgoing(event, payload);
        }
        emit::with_payload(
            self.form(volatile || ack.is_some()),
            &self.0.namespace,
            event,
            ack,
            payload,
            |message| _ = self.deliver(message, volatile),
        )
    }

    fn ask<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: &impl Serialize,
        timeout: Option<Duration>,
    ) -> AckFuture<T> {
        let id = self.0.local.next_ack();
        let (sender, receiver) = oneshot::channel();
        let mut refused = None;
        if self.0.local.hall().is_seated(self.0.key) {
            self.listen(|own| drop(own.acks.insert(id, sender)));
            refused = self.emit_with(event, Some(id), args, false).err();
        }
        let pending = Pending {
            socket: self.clone(),
            id,
        };
        AckFuture(Box::pin(async move {
            let _pending = pending;
            if let Some(error) = refused {
                return Err(AckError::NotSent(error));
            }
            let answer = match timeout {
                None => receiver.await,
                Some(timeout) => tokio::time::timeout(timeout, receiver)
                    .await
                    .map_err(|_| AckError::TimedOut)?,
            };
            let payload = answer.map_err(|_| AckError::Disconnected)?;
            payload.decode().map_err(AckError::Decode)
        }))
    }
}

/// A client's acknowledgement, once it is there; see [`Socket::emit_with_ack`]. Dropping it stops waiting.
///
/// ```
/// # async fn f(socket: ringhall::Socket) {
/// let answer = socket.emit_with_ack::<u32>("how old", ()); // sent already
/// println!("{:?}", answer.await);
/// # }
/// ```
#[must_use = "the event was sent; await this for the acknowledgement"]
pub struct AckFuture<T>(Pin<Box<dyn Future<Output = Result<T, AckError>>>>);

impl<T> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.0.namespace)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

/// Takes an answer that nobody waits for any more out of the socket's table.
struct Pending {
    socket: Socket,
    id: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(own) = self.socket.0.own.borrow_mut().as_mut() {
            own.listening.acks.remove(&self.id);
        }
    }
}

/// A [`Socket`] with a limit on how long an acknowledgement may take; see [`Socket::timeout`].
///
/// ```
/// # use std::time::Duration;
/// # async fn f(socket: ringhall::Socket) {
/// let patient = socket.timeout(Duration::from_secs(60));
/// let answer = patient.emit_with_ack::<bool>("still there?", ()).await;
/// # let _ = answer;
/// # }
/// ```
pub struct WithTimeout<'a> {
    socket: &'a Socket,
    timeout: Duration,
}

impl WithTimeout<'_> {
    /// As [`Socket::emit_with_ack`], but gives up after the timeout: then the answer is [`AckError::TimedOut`], and
    /// a late acknowledgement is ignored.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn f(socket: ringhall::Socket) -> Result<(), ringhall::AckError> {
    /// let (a, b): (u32, String) = socket.timeout(Duration::from_secs(1)).emit_with_ack("ask", ()).await?;
    /// # let _ = (a, b);
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned + 'static>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> AckFuture<T> {
        self.socket.ask(event, &args, Some(self.timeout))
    }
}

/// Why there is no acknowledgement.
///
/// ```
/// assert_eq!(ringhall::AckError::TimedOut.to_string(), "operation has timed out");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AckError {
    /// The client did not answer in time.
    TimedOut,
    /// The socket left before the client answered.
    Disconnected,
    /// The client's answer does not have the type that was asked for.
    Decode(DecodeError),
    /// The event could not be sent.
    NotSent(EmitError),
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AckError::TimedOut => f.write_str("operation has timed out"),
            AckError::Disconnected => f.write_str("the socket was disconnected before it answered"),
            AckError::Decode(error) => write!(f, "the answer has another form: {error}"),
            AckError::NotSent(error) => write!(f, "the event was not sent: {error}"),
        }
    }
}

impl std::error::Error for AckError {}

impl From<AckError> for io::Error {
    fn from(error: AckError) -> Self {
        io::Error::other(error)
    }
}
