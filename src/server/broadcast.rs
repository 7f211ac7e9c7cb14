//! Whom to tell: the operators `to`, `except`, `volatile`, … and the emitting at their end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Serialize;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::arguments::EncodeError;
use super::binary::Payload;
use super::emit::{self, EmitError, Form};
use super::operators::Elsewhere;
use super::shared::Shared;
use crate::shard::hall::broadcast::Wanted;
use crate::shard::hall::{Hall, Outgoing, SocketKey, Target};

/// A message to many sockets of one namespace, while its receivers are being chosen.
///
/// Begin with [`Socket::to`](crate::Socket::to), [`Socket::broadcast`](crate::Socket::broadcast),
/// [`Server::to`](crate::Server::to) or [`Server::of`](crate::Server::of); end with [`emit`](Broadcast::emit).
/// Without [`to`](Broadcast::to) everybody in the namespace is meant.
///
/// It is a value: each of its methods but those at the end gives a new one, and it may be kept, cloned and used again.
///
/// What one socket or one thread emits arrives in that order at every receiver. Emitting never waits on a core; on a
/// thread that is no core of the server it waits while a core's mailbox (4,096 entries) is full.
///
/// ```
/// # fn f(socket: &ringhall::Socket) {
/// socket.to("lobby").to("kitchen").except("muted").emit("news", ("dinner", 3));
/// # }
/// ```
#[must_use = "nothing is sent until emit is called"]
#[derive(Clone)]
pub struct Broadcast<'a> {
    pub(super) shared: &'a Arc<Shared>,
    /// Where it comes from, if that is known already.
    pub(super) hall: Option<&'a Hall>,
    pub(super) namespace: &'a Arc<str>,
    to: SmallVec<[&'a str; 4]>,
    except: SmallVec<[&'a str; 4]>,
    not: Option<SocketKey>,
    volatile: bool,
    local: bool,
    pub(super) timeout: Option<Duration>,
}

impl<'a> Broadcast<'a> {
    /// From a core; `not` is the sender, where it does not get its own message.
    pub(crate) fn from_core(
        shared: &'a Arc<Shared>,
        hall: &'a Hall,
        namespace: &'a Arc<str>,
        not: Option<SocketKey>,
    ) -> Self {
        Broadcast {
            hall: Some(hall),
            not,
            ..Self::from_handle(shared, namespace)
        }
    }

    /// From anywhere.
    pub(crate) fn from_handle(shared: &'a Arc<Shared>, namespace: &'a Arc<str>) -> Self {
        Broadcast {
            shared,
            hall: None,
            namespace,
            to: SmallVec::new(),
            except: SmallVec::new(),
            not: None,
            volatile: false,
            local: false,
            timeout: None,
        }
    }

    /// Adds the members of a room to the receivers. Each receiver gets the message once, however many of the rooms it is in.
    /// A socket's id is the name of a room, too.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server, id: &ringhall::SocketId) {
    /// server.to("lobby").to(id).emit("hello", ());
    /// # }
    /// ```
    pub fn to(mut self, room: &'a (impl AsRef<str> + ?Sized)) -> Self {
        self.to.push(room.as_ref());
        self
    }

    /// The same as [`to`](Broadcast::to): reads better in `server.in_("room")`.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.in_("lobby").emit("hello", ());
    /// # }
    /// ```
    pub fn in_(self, room: &'a (impl AsRef<str> + ?Sized)) -> Self {
        self.to(room)
    }

    /// Takes the members of a room out of the receivers.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.broadcast().except("muted").emit("typing", ());
    /// # }
    /// ```
    pub fn except(mut self, room: &'a (impl AsRef<str> + ?Sized)) -> Self {
        self.except.push(room.as_ref());
        self
    }

    /// Only sockets of this server process. As long as a server is not part of a cluster, that is everybody.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.local().emit("reload", ());
    /// # }
    /// ```
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Receivers whose connection has something waiting behind the send in flight are left out: for what is soon outdated, such as positions.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.broadcast().volatile().emit("position", (3.5, 4.5));
    /// # }
    /// ```
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Whether the message may be compressed (it may, where nothing is said). As long as nothing is compressed on WebSockets, and HTTP answers
    /// are by their size alone ([`Config::http_compression`](crate::Config::http_compression)), this changes nothing.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// server.to("lobby").compress(false).emit("picture", ringhall::Binary::from(vec![1, 2, 3]));
    /// # }
    /// ```
    pub fn compress(self, compress: bool) -> Self {
        let _ = compress;
        self
    }

    /// Emits an event with its arguments: a tuple is the list of arguments, any other value the only one.
    ///
    /// A value that cannot be encoded is logged and not sent; [`try_emit`](Broadcast::try_emit) returns the error instead.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// socket.broadcast().emit("joined", "ada");            // one argument
    /// socket.broadcast().emit("moved", ("ada", 3, 4));     // three arguments
    /// socket.broadcast().emit("tick", ());                 // none
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        emit::or_log(event, self.try_emit(event, args));
    }

    /// As [`emit`](Broadcast::emit).
    ///
    /// # Errors
    /// The event name is reserved by Socket.IO, or the arguments cannot be written as JSON.
    ///
    /// ```
    /// # fn f(socket: &ringhall::Socket) {
    /// assert!(socket.broadcast().try_emit("disconnect", ()).is_err());
    /// # }
    /// ```
    pub fn try_emit(&self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        emit::with_event(self.form(), self.namespace, event, None, &args, |message| {
            self.send(message)
        })
    }

    /// Emits an event with arguments that came in and were never parsed.
    ///
    /// ```
    /// # use ringhall::{Payload, Socket};
    /// fn relay(socket: Socket, payload: Payload) {
    ///     socket.broadcast().emit_raw("relayed", &payload);
    /// }
    /// ```
    pub fn emit_raw(&self, event: &str, payload: &Payload) {
        let sent = emit::with_payload(
            self.form(),
            self.namespace,
            event,
            None,
            payload,
            |message| self.send(message),
        );
        emit::or_log(event, sent);
    }

    /// As [`emit_raw`](Broadcast::emit_raw); resolves to the number of sockets that it was handed to, on all cores of this server.
    ///
    /// ```
    /// # use ringhall::{Payload, Socket};
    /// async fn relay(socket: Socket, payload: Payload) -> usize {
    ///     socket.broadcast().emit_raw_counted("relayed", &payload).await
    /// }
    /// ```
    pub fn emit_raw_counted(&self, event: &str, payload: &Payload) -> Receivers {
        let mut count = Receivers::default();
        let sent = emit::with_payload(
            self.form(),
            self.namespace,
            event,
            None,
            payload,
            |message| count = self.send_counted(message, true),
        );
        emit::or_log(event, sent);
        count
    }

    /// As [`emit`](Broadcast::emit); resolves to the number of sockets that it was handed to, on all cores of this server.
    ///
    /// ```
    /// # use ringhall::Socket;
    /// async fn announce(socket: Socket) {
    ///     let told = socket.to("lobby").emit_counted("news", "dinner").await;
    ///     println!("{told} sockets were told");
    /// }
    /// ```
    pub fn emit_counted(&self, event: &str, args: impl Serialize) -> Receivers {
        let mut count = Receivers::default();
        let sent = emit::with_event(self.form(), self.namespace, event, None, &args, |message| {
            count = self.send_counted(message, true)
        });
        emit::or_log(event, sent);
        count
    }

    /// How an event is written.
    fn form(&self) -> Form {
        let offset = match self.hall {
            _ if self.volatile => None,
            Some(hall) => hall.next_offset(),
            None => self.shared.next_offset(),
        };
        Form {
            parser: self.shared.settings.parser,
            offset,
        }
    }

    /// Hands an encoded message to its receivers.
    pub(crate) fn send(&self, message: Outgoing<'_>) {
        drop(self.send_counted(message, false));
    }

    fn send_counted(&self, message: Outgoing<'_>, count: bool) -> Receivers {
        let wanted = Wanted {
            count,
            ..Wanted::default()
        };
        let target = self.target();
        if let Some(elsewhere) = self.elsewhere()
            && elsewhere.broadcast(&target, message)
        {
            return Receivers::default();
        }
        let spread = match self.hall {
            Some(hall) => hall.broadcast(&target, message, wanted),
            None => self.shared.deliver(&target, message, wanted),
        };
        Receivers {
            here: spread.here,
            there: spread.there,
        }
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target {
            scope: self.namespace,
            to: &self.to,
            except: &self.except,
            not: self.not,
            volatile: self.volatile,
        }
    }

    /// The other servers of the cluster, if they are meant, too.
    pub(super) fn elsewhere(&self) -> Option<&dyn Elsewhere> {
        self.shared.elsewhere().filter(|_| !self.local)
    }
}

/// How many sockets a broadcast was handed to: known at once for this core, later for the others. A future.
///
/// ```
/// # async fn f(socket: &ringhall::Socket) {
/// let receivers: usize = socket.broadcast().emit_counted("news", "dinner").await;
/// # let _ = receivers;
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "the broadcast was sent; await this for the number of receivers"]
pub struct Receivers {
    here: usize,
    there: Option<oneshot::Receiver<usize>>,
}

impl Future for Receivers {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let there = match &mut self.there {
            None => 0,
            // A server that ends meanwhile does not count any more.
            Some(there) => ready!(Pin::new(there).poll(cx)).unwrap_or(0),
        };
        self.there = None;
        Poll::Ready(self.here + there)
    }
}

impl From<EncodeError> for EmitError {
    fn from(error: EncodeError) -> Self {
        EmitError::Encode(error)
    }
}
