//! Sockets of other cores and servers: what is done with many at once, and how a single one is seen from afar.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::asking::BroadcastAcks;
use super::broadcast::Broadcast;
use super::details::HandshakeDetails;
use super::emit::{self, EmitError};
use super::shared::Shared;
use super::socket::{AckError, data_of};
use crate::SocketId;
use crate::shard::hall::operation::{Deed, Handshaken, View};

/// Names of rooms: one, or several.
///
/// ```
/// # fn f(server: &ringhall::Server, id: &ringhall::SocketId, rooms: Vec<String>) {
/// server.to(id).sockets_join("lobby");
/// server.to(id).sockets_join(["lobby", "kitchen"]);
/// server.to(id).sockets_join(rooms);
/// # }
/// ```
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> Vec<Box<str>>;
}

impl IntoRooms for &str {
    fn into_rooms(self) -> Vec<Box<str>> {
        vec![self.into()]
    }
}

impl IntoRooms for String {
    fn into_rooms(self) -> Vec<Box<str>> {
        vec![self.into()]
    }
}

impl IntoRooms for &String {
    fn into_rooms(self) -> Vec<Box<str>> {
        vec![self.as_str().into()]
    }
}

impl IntoRooms for &SocketId {
    fn into_rooms(self) -> Vec<Box<str>> {
        vec![self.as_str().into()]
    }
}

impl<R: AsRef<str>> IntoRooms for &[R] {
    fn into_rooms(self) -> Vec<Box<str>> {
        self.iter().map(|room| room.as_ref().into()).collect()
    }
}

impl<R: AsRef<str>> IntoRooms for Vec<R> {
    fn into_rooms(self) -> Vec<Box<str>> {
        self.as_slice().into_rooms()
    }
}

impl<R: AsRef<str>> IntoRooms for &Vec<R> {
    fn into_rooms(self) -> Vec<Box<str>> {
        self.as_slice().into_rooms()
    }
}

impl<R: AsRef<str>, const N: usize> IntoRooms for [R; N] {
    fn into_rooms(self) -> Vec<Box<str>> {
        self.as_slice().into_rooms()
    }
}

impl<R: AsRef<str>, const N: usize> IntoRooms for &[R; N] {
    fn into_rooms(self) -> Vec<Box<str>> {
        self.as_slice().into_rooms()
    }
}

impl Broadcast<'_> {
    /// Makes all sockets that are meant join rooms, wherever they live. What the same socket, task or thread emits afterwards reaches them
    /// there.
    ///
    /// A socket that is in as many rooms as it may be ([`Config::max_rooms`](crate::Config::max_rooms)), or a name of more than 1,024 bytes,
    /// is logged and passed over.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.to("waiting room").sockets_join("game 7");
    /// server.to("game 7").emit("begin", ());
    /// # }
    /// ```
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        self.operate(Deed::Join(rooms.into_rooms().into()));
    }

    /// Makes all sockets that are meant leave rooms, wherever they live.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.to("game 7").sockets_leave(["game 7", "spectators"]);
    /// # }
    /// ```
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        self.operate(Deed::Leave(rooms.into_rooms().into()));
    }

    /// Disconnects all sockets that are meant from the namespace, wherever they live; with `close`, their clients from all namespaces, and
    /// their connections are closed. See [`Socket::disconnect`](crate::Socket::disconnect).
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.to("cheaters").disconnect_sockets(true);
    /// # }
    /// ```
    pub fn disconnect_sockets(&self, close: bool) {
        self.operate(Deed::Disconnect { close });
    }

    /// All sockets that are meant, with their rooms, handshakes and data, wherever they live: as they are when their core is asked. In no
    /// particular order.
    ///
    /// A socket that connects or leaves meanwhile may be there or not. For a namespace of many sockets this copies a lot: some 1 KB for each.
    ///
    /// ```
    /// # async fn f(server: ringhall::Server) {
    /// for socket in server.to("lobby").fetch_sockets().await {
    ///     println!("{} is in {:?}", socket.id(), socket.rooms());
    ///     socket.emit("hello", ());
    /// }
    /// # }
    /// ```
    pub fn fetch_sockets(&self) -> FetchSockets {
        FetchSockets {
            shared: self.shared.clone(),
            namespace: self.namespace.clone(),
            views: self.views(true),
            found: Vec::new(),
        }
    }

    fn views(&self, whole: bool) -> UnboundedReceiver<Vec<View>> {
        let (reply, views) = unbounded_channel();
        self.operate(Deed::Fetch { whole, reply });
        views
    }

    /// Who is in which room.
    pub(super) fn rooms(&self) -> Rooms {
        Rooms {
            views: self.views(false),
            turned: true,
            found: BTreeMap::new(),
        }
    }

    /// Which rooms each socket is in.
    pub(super) fn sids(&self) -> Rooms {
        Rooms {
            turned: false,
            ..self.rooms()
        }
    }

    fn operate(&self, deed: Deed) {
        let target = self.target();
        if let Some(elsewhere) = self.elsewhere() {
            elsewhere.operate(&target, &deed);
        }
        match self.hall {
            Some(hall) => hall.operate(&target, deed),
            None => self.shared.operate(&target, deed),
        }
    }
}

/// The sockets that were asked for, once their cores have told of them; see [`Broadcast::fetch_sockets`]. A future.
///
/// ```
/// # async fn f(server: ringhall::Server) {
/// let sockets: Vec<ringhall::RemoteSocket> = server.fetch_sockets().await;
/// println!("{} are here", sockets.len());
/// # }
/// ```
#[must_use = "the sockets were asked for; await this to get them"]
pub struct FetchSockets {
    shared: Arc<Shared>,
    namespace: Arc<str>,
    views: UnboundedReceiver<Vec<View>>,
    found: Vec<RemoteSocket>,
}

impl Future for FetchSockets {
    type Output = Vec<RemoteSocket>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(views) = ready!(this.views.poll_recv(cx)) {
            this.found
                .extend(views.into_iter().map(|view| RemoteSocket {
                    shared: this.shared.clone(),
                    namespace: this.namespace.clone(),
                    view: Arc::new(view),
                }));
        }
        Poll::Ready(std::mem::take(&mut this.found))
    }
}

impl fmt::Debug for FetchSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchSockets").finish_non_exhaustive()
    }
}

/// Who is in which room, once the cores have told; see [`NamespaceHandle::rooms`](crate::NamespaceHandle::rooms) and
/// [`NamespaceHandle::sids`](crate::NamespaceHandle::sids). A future.
///
/// ```
/// # async fn f(server: ringhall::Server) {
/// let rooms: std::collections::BTreeMap<String, std::collections::BTreeSet<String>> = server.of("/").rooms().await;
/// # let _ = rooms;
/// # }
/// ```
#[must_use = "await this for the rooms"]
#[derive(Debug)]
pub struct Rooms {
    views: UnboundedReceiver<Vec<View>>,
    /// By room, and not by socket.
    turned: bool,
    found: BTreeMap<String, BTreeSet<String>>,
}

impl Future for Rooms {
    type Output = BTreeMap<String, BTreeSet<String>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(views) = ready!(self.views.poll_recv(cx)) {
            for View { id, rooms, .. } in views {
                if !self.turned {
                    self.found.entry(id).or_default().extend(rooms);
                    continue;
                }
                for room in rooms {
                    self.found.entry(room).or_default().insert(id.clone());
                }
            }
        }
        Poll::Ready(std::mem::take(&mut self.found))
    }
}

/// A socket as it was when it was fetched, on whatever core or server it lives; see [`Broadcast::fetch_sockets`].
///
/// It can be kept and sent to other threads. What is done with it is done where the socket lives, if it still does.
///
/// ```
/// # async fn f(server: ringhall::Server) {
/// for socket in server.fetch_sockets().await {
///     let name: String = socket.data().unwrap_or_default();
///     if name == "eve" {
///         socket.emit("goodbye", ());
///         socket.disconnect(true);
///     }
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteSocket {
    shared: Arc<Shared>,
    namespace: Arc<str>,
    view: Arc<View>,
}

impl RemoteSocket {
    pub(super) fn new(shared: Arc<Shared>, namespace: Arc<str>, view: View) -> Self {
        RemoteSocket {
            shared,
            namespace,
            view: Arc::new(view),
        }
    }

    /// The socket's id, which is the name of a room with that one member.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server, socket: &ringhall::RemoteSocket) {
    /// server.to(socket.id()).emit("hello", "to this one");
    /// # }
    /// ```
    pub fn id(&self) -> &str {
        &self.view.id
    }

    /// The name of its namespace.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// let is_in_chat = socket.namespace() == "/chat";
    /// # let _ = is_in_chat;
    /// # }
    /// ```
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its rooms, the room of its own id among them.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// let joined = socket.rooms().iter().filter(|room| *room != socket.id());
    /// println!("{} in {} rooms", socket.id(), joined.count());
    /// # }
    /// ```
    pub fn rooms(&self) -> &[String] {
        &self.view.rooms
    }

    /// Its handshake.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// println!("{} from {}", socket.id(), socket.handshake_details().address);
    /// # }
    /// ```
    pub fn handshake_details(&self) -> HandshakeDetails {
        match self.view.whole.as_ref().map(|whole| &whole.handshake) {
            Some(Handshaken::Here { handshake, auth }) => {
                let issued = self.shared.unix_ms(handshake.issued_ms());
                let auth = match auth.is_empty() {
                    true => serde_json::json!({}),
                    false => serde_json::from_slice(auth).unwrap_or_default(),
                };
                HandshakeDetails::new(handshake, issued, auth)
            }
            Some(Handshaken::Elsewhere { json }) => serde_json::from_str(json).unwrap_or_default(),
            None => HandshakeDetails::default(),
        }
    }

    /// Its data; see [`Socket::data`](crate::Socket::data).
    ///
    /// # Errors
    /// The data is not of this type.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// let name: Option<String> = socket.data().unwrap_or_default();
    /// # let _ = name;
    /// # }
    /// ```
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let whole = self.view.whole.as_ref();
        data_of(whole.and_then(|whole| whole.data.as_deref()))
    }

    /// Emits an event to it; see [`Socket::emit`](crate::Socket::emit).
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// socket.emit("hello", "from afar");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        emit::or_log(event, self.try_emit(event, args));
    }

    /// As [`emit`](RemoteSocket::emit).
    ///
    /// # Errors
    /// The event name is reserved by Socket.IO, or the arguments cannot be written as JSON.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// assert!(socket.try_emit("connect", ()).is_err()); // a reserved name
    /// # }
    /// ```
    pub fn try_emit(&self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        self.it().try_emit(event, args)
    }

    /// Emits an event to it and waits for its acknowledgement, for 10 s at most.
    ///
    /// ```
    /// # async fn f(socket: ringhall::RemoteSocket) -> Result<(), ringhall::AckError> {
    /// let age: u32 = socket.emit_with_ack("how old", ()).await?;
    /// # let _ = age;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> RemoteAck<T> {
        RemoteAck(self.it().emit_with_ack(event, args))
    }

    /// Sets how long the following [`emit_with_ack`](RemoteWithTimeout::emit_with_ack) waits.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn f(socket: ringhall::RemoteSocket) {
    /// let age = socket.timeout(Duration::from_secs(1)).emit_with_ack::<u32>("how old", ()).await;
    /// # let _ = age;
    /// # }
    /// ```
    pub fn timeout(&self, timeout: Duration) -> RemoteWithTimeout<'_> {
        RemoteWithTimeout {
            socket: self,
            timeout,
        }
    }

    /// Makes it join rooms.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// socket.join(["lobby", "game 7"]);
    /// # }
    /// ```
    pub fn join(&self, rooms: impl IntoRooms) {
        self.it().sockets_join(rooms);
    }

    /// Makes it leave rooms.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// socket.leave("game 7");
    /// # }
    /// ```
    pub fn leave(&self, rooms: impl IntoRooms) {
        self.it().sockets_leave(rooms);
    }

    /// Disconnects it from the namespace; with `close`, its client from all namespaces, and its connection is closed.
    ///
    /// ```
    /// # fn f(socket: &ringhall::RemoteSocket) {
    /// socket.disconnect(true);
    /// # }
    /// ```
    pub fn disconnect(&self, close: bool) {
        self.it().disconnect_sockets(close);
    }

    fn it(&self) -> Broadcast<'_> {
        let it = Broadcast::from_handle(&self.shared, &self.namespace).to(&self.view.id);
        // What is for one socket of this server is no other's business.
        match self.view.whole.as_ref().map(|whole| &whole.handshake) {
            Some(Handshaken::Here { .. }) => it.local(),
            _ => it,
        }
    }
}

impl fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("id", &self.id())
            .field("namespace", &self.namespace)
            .field("rooms", &self.rooms())
            .finish_non_exhaustive()
    }
}

/// A [`RemoteSocket`] with a limit on how long an acknowledgement may take; see [`RemoteSocket::timeout`].
///
/// ```
/// # use std::time::Duration;
/// # async fn f(socket: ringhall::RemoteSocket) {
/// let patient = socket.timeout(Duration::from_secs(60));
/// let answer = patient.emit_with_ack::<bool>("still there?", ()).await;
/// # let _ = answer;
/// # }
/// ```
#[derive(Debug)]
pub struct RemoteWithTimeout<'a> {
    socket: &'a RemoteSocket,
    timeout: Duration,
}

impl RemoteWithTimeout<'_> {
    /// As [`RemoteSocket::emit_with_ack`], with another timeout.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn f(socket: ringhall::RemoteSocket) {
    /// let age = socket.timeout(Duration::from_secs(1)).emit_with_ack::<u32>("how old", ()).await;
    /// # let _ = age;
    /// # }
    /// ```
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: impl Serialize,
    ) -> RemoteAck<T> {
        let it = self.socket.it().timeout(self.timeout);
        RemoteAck(it.emit_with_ack(event, args))
    }
}

/// The acknowledgement of a socket that may live anywhere; see [`RemoteSocket::emit_with_ack`]. A future. Dropping it stops waiting.
///
/// It resolves to an error if the socket does not answer in time, answers something else, or was gone already ([`AckError::Disconnected`]).
///
/// ```
/// # async fn f(socket: ringhall::RemoteSocket) {
/// println!("{:?}", socket.emit_with_ack::<u32>("how old", ()).await);
/// # }
/// ```
#[must_use = "the event was sent; await this for the acknowledgement"]
#[derive(Debug)]
pub struct RemoteAck<T>(BroadcastAcks<T>);

impl<T: DeserializeOwned> Future for RemoteAck<T> {
    type Output = Result<T, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(answer.unwrap_or(Err(AckError::Disconnected)))
    }
}
