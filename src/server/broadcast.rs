//! Whom to tell: the operators `to`, `except`, `volatile`, … and the emitting at their end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::Serialize;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::arguments::EncodeError;
use super::binary::Payload;
use super::emit::{self, EmitError};
use super::shared::Shared;
use crate::proto::websocket::Kind;
use crate::shard::hall::{Hall, Outgoing, SocketKey, Target};
use crate::shard::mail::{Broadcast as Parcel, Mail, Tally};
use crate::shard::thread;

/// A message to many sockets of one namespace, while its receivers are being chosen.
///
/// Begin with [`Socket::to`](crate::Socket::to), [`Socket::broadcast`](crate::Socket::broadcast),
/// [`Server::to`](crate::Server::to) or [`Server::of`](crate::Server::of); end with [`emit`](Broadcast::emit).
/// Without [`to`](Broadcast::to) everybody in the namespace is meant.
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
pub struct Broadcast<'a> {
    origin: Origin<'a>,
    namespace: &'a Arc<str>,
    to: SmallVec<[&'a str; 4]>,
    except: SmallVec<[&'a str; 4]>,
    not: Option<SocketKey>,
    volatile: bool,
}

enum Origin<'a> {
    Core(&'a Hall),
    Handle(&'a Shared),
}

impl<'a> Broadcast<'a> {
    /// From a core; `not` is the sender, where it does not get its own message.
    pub(crate) fn from_core(
        hall: &'a Hall,
        namespace: &'a Arc<str>,
        not: Option<SocketKey>,
    ) -> Self {
        Self::new(Origin::Core(hall), namespace, not)
    }

    /// From anywhere.
    pub(crate) fn from_handle(shared: &'a Shared, namespace: &'a Arc<str>) -> Self {
        Self::new(Origin::Handle(shared), namespace, None)
    }

    fn new(origin: Origin<'a>, namespace: &'a Arc<str>, not: Option<SocketKey>) -> Self {
        Broadcast {
            origin,
            namespace,
            to: SmallVec::new(),
            except: SmallVec::new(),
            not,
            volatile: false,
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
    pub fn local(self) -> Self {
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
    pub fn emit(self, event: &str, args: impl Serialize) {
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
    pub fn try_emit(self, event: &str, args: impl Serialize) -> Result<(), EmitError> {
        emit::with_event(self.namespace, event, None, &args, |body, attachments| {
            self.send(Outgoing {
                kind: Kind::Text,
                body,
                attachments,
                offset: None,
            });
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
    pub fn emit_raw(self, event: &str, payload: &Payload) {
        let sent = emit::with_payload(self.namespace, event, payload, |body, attachments| {
            self.send(Outgoing {
                kind: Kind::Text,
                body,
                attachments,
                offset: None,
            });
        });
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
    pub fn emit_raw_counted(self, event: &str, payload: &Payload) -> Receivers {
        let mut count = Receivers::default();
        let sent = emit::with_payload(self.namespace, event, payload, |body, attachments| {
            count = self.send_counted(
                Outgoing {
                    kind: Kind::Text,
                    body,
                    attachments,
                    offset: None,
                },
                true,
            );
        });
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
    pub fn emit_counted(self, event: &str, args: impl Serialize) -> Receivers {
        let mut count = Receivers::default();
        let sent = emit::with_event(self.namespace, event, None, &args, |body, attachments| {
            count = self.send_counted(
                Outgoing {
                    kind: Kind::Text,
                    body,
                    attachments,
                    offset: None,
                },
                true,
            );
        });
        emit::or_log(event, sent);
        count
    }

    /// Hands an encoded message to its receivers.
    pub(crate) fn send(&self, message: Outgoing<'_>) {
        drop(self.send_counted(message, false));
    }

    fn send_counted(&self, message: Outgoing<'_>, counted: bool) -> Receivers {
        let target = Target {
            scope: self.namespace,
            to: &self.to,
            except: &self.except,
            not: self.not,
            volatile: self.volatile,
        };
        match &self.origin {
            Origin::Core(hall) => Receivers::of(hall.broadcast(&target, message, counted)),
            Origin::Handle(shared) => {
                match thread::current().filter(|hall| shared.is_home_of(hall)) {
                    Some(hall) => Receivers::of(hall.broadcast(&target, message, counted)),
                    None => post_to_all(shared, &target, message, counted),
                }
            }
        }
    }
}

/// From a thread that is no core: nobody here knows which cores have members, so each is told.
fn post_to_all(
    shared: &Shared,
    target: &Target<'_>,
    message: Outgoing<'_>,
    counted: bool,
) -> Receivers {
    let addresses = shared.addresses();
    let (tally, there) = if counted {
        Some(Tally::new(addresses.len())).unzip()
    } else {
        (None, None)
    };
    let parcel = Arc::new(Parcel::new(target, message, tally));
    for address in addresses {
        if !address.post_blocking(Mail::Broadcast(parcel.clone()))
            && let Some(tally) = &parcel.tally
        {
            tally.report(0);
        }
    }
    Receivers { here: 0, there }
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

impl Receivers {
    fn of((here, there): (usize, Option<oneshot::Receiver<usize>>)) -> Self {
        Receivers { here, there }
    }
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
