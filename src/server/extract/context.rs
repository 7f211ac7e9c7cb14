//! What extractors take their values from: an event, a client that comes, one that has gone.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::server::DisconnectReason;
use crate::server::arguments::{self, Args, DecodeError};
use crate::server::reply::Ack;
use crate::server::socket::Socket;

/// One event on its way to its handlers.
///
/// ```
/// use ringhall::{EventContext, ExtractError, FromEvent};
///
/// /// The event's name and how many bytes of JSON came with it.
/// struct Size(String, usize);
///
/// impl FromEvent for Size {
///     fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
///         Ok(Size(context.event().to_owned(), context.json().len()))
///     }
/// }
/// ```
pub struct EventContext<'a> {
    socket: &'a Socket,
    event: &'a str,
    args: Args<'a>,
    ack_id: Cell<Option<u64>>,
}

impl<'a> EventContext<'a> {
    pub(crate) fn new(
        socket: &'a Socket,
        event: &'a str,
        args: Args<'a>,
        ack_id: Option<u64>,
    ) -> Self {
        Self {
            socket,
            event,
            args,
            ack_id: Cell::new(ack_id),
        }
    }

    /// The socket that received the event.
    ///
    /// ```
    /// # fn f(context: &ringhall::EventContext<'_>) {
    /// println!("from {}", context.socket().id());
    /// # }
    /// ```
    pub fn socket(&self) -> &'a Socket {
        self.socket
    }

    /// The name of the event.
    ///
    /// ```
    /// # fn f(context: &ringhall::EventContext<'_>) {
    /// let is_for_admins = context.event().starts_with("admin:");
    /// # let _ = is_for_admins;
    /// # }
    /// ```
    pub fn event(&self) -> &'a str {
        self.event
    }

    /// The arguments as they came: the text of a JSON array, without the event's name.
    ///
    /// ```
    /// # fn f(context: &ringhall::EventContext<'_>) {
    /// // `[1,"two"]` for `socket.emit("event", 1, "two")`
    /// println!("{}", String::from_utf8_lossy(context.json()));
    /// # }
    /// ```
    pub fn json(&self) -> &'a [u8] {
        self.args.json
    }

    /// The binary values that came with the event.
    ///
    /// ```
    /// # fn f(context: &ringhall::EventContext<'_>) {
    /// let bytes: usize = context.attachments().iter().map(|binary| binary.len()).sum();
    /// # let _ = bytes;
    /// # }
    /// ```
    pub fn attachments(&self) -> &'a [Bytes] {
        self.args.attachments
    }

    /// Reads the arguments: a tuple is the list of arguments, any other type the first.
    ///
    /// # Errors
    ///
    /// If the arguments are not of this type.
    ///
    /// ```
    /// use ringhall::{EventContext, ExtractError, FromEvent};
    /// struct Age(u8);
    ///
    /// impl FromEvent for Age {
    ///     fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
    ///         Ok(Age(context.decode()?))
    ///     }
    /// }
    /// ```
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        arguments::decode(&self.args)
    }

    /// Takes the right to answer the client. An event is answered at most once: later calls, and the value that the handler
    /// returns, get an [`Ack`] that does nothing.
    ///
    /// ```
    /// # fn f(context: &ringhall::EventContext<'_>) {
    /// context.take_ack().send("taken");
    /// assert!(!context.take_ack().is_expected());
    /// # }
    /// ```
    #[inline]
    pub fn take_ack(&self) -> Ack {
        Ack::new(self.ack_id.take().map(|id| (self.socket.clone(), id)))
    }

    /// The value of type `T` that was registered with `.state(value)`.
    ///
    /// ```
    /// struct Words(Vec<String>);
    /// # fn f(context: &ringhall::EventContext<'_>) {
    /// let count = context.state::<Words>().map_or(0, |words| words.0.len());
    /// # let _ = count;
    /// # }
    /// ```
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.socket.states().find()
    }

    /// The id of the event, if an answer is expected, and nobody has taken the right to it. It is taken now.
    pub(crate) fn take_ack_id(&self) -> Option<u64> {
        self.ack_id.take()
    }

    pub(crate) fn args(&self) -> &Args<'a> {
        &self.args
    }
}

/// A client joining a namespace.
///
/// ```
/// use ringhall::{ConnectContext, ExtractError, FromConnect};
///
/// /// Whether the client gave any `auth`.
/// struct HasAuth(bool);
///
/// impl FromConnect for HasAuth {
///     fn from_connect(context: &ConnectContext<'_>) -> Result<Self, ExtractError> {
///         Ok(HasAuth(context.auth_json().is_some()))
///     }
/// }
/// ```
pub struct ConnectContext<'a> {
    socket: &'a Socket,
    auth: Option<&'a [u8]>,
}

impl<'a> ConnectContext<'a> {
    /// `auth` is the payload of the CONNECT packet: the text of a JSON object, already known to be well formed.
    pub(crate) fn new(socket: &'a Socket, auth: Option<&'a [u8]>) -> Self {
        Self { socket, auth }
    }

    /// The new socket.
    ///
    /// ```
    /// # fn f(context: &ringhall::ConnectContext<'_>) {
    /// let agent = context.socket().handshake().header("user-agent");
    /// # let _ = agent;
    /// # }
    /// ```
    pub fn socket(&self) -> &'a Socket {
        self.socket
    }

    /// What the client sent as `auth`: the text of a JSON object, or `None`.
    ///
    /// ```
    /// # fn f(context: &ringhall::ConnectContext<'_>) {
    /// let is_short = context.auth_json().is_none_or(|json| json.len() < 1024);
    /// # let _ = is_short;
    /// # }
    /// ```
    pub fn auth_json(&self) -> Option<&'a [u8]> {
        self.auth
    }

    /// The value of type `T` that was registered with `.state(value)`.
    ///
    /// ```
    /// struct Banned(Vec<std::net::IpAddr>);
    /// # fn f(context: &ringhall::ConnectContext<'_>) {
    /// let banned = context.state::<Banned>().map_or(0, |banned| banned.0.len());
    /// # let _ = banned;
    /// # }
    /// ```
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.socket.states().find()
    }
}

/// A client having left a namespace.
///
/// ```
/// use ringhall::{DisconnectContext, DisconnectReason, ExtractError, FromDisconnect};
///
/// /// Whether the client said that it goes.
/// struct Politely(bool);
///
/// impl FromDisconnect for Politely {
///     fn from_disconnect(context: &DisconnectContext<'_>) -> Result<Self, ExtractError> {
///         Ok(Politely(context.reason() == DisconnectReason::ClientNamespaceDisconnect))
///     }
/// }
/// ```
pub struct DisconnectContext<'a> {
    socket: &'a Socket,
    reason: DisconnectReason,
}

impl<'a> DisconnectContext<'a> {
    pub(crate) fn new(socket: &'a Socket, reason: DisconnectReason) -> Self {
        Self { socket, reason }
    }

    /// The socket, which is not connected any more.
    ///
    /// ```
    /// # fn f(context: &ringhall::DisconnectContext<'_>) {
    /// println!("{} is gone", context.socket().id());
    /// # }
    /// ```
    pub fn socket(&self) -> &'a Socket {
        self.socket
    }

    /// Why it left.
    ///
    /// ```
    /// # fn f(context: &ringhall::DisconnectContext<'_>) {
    /// println!("gone: {}", context.reason());
    /// # }
    /// ```
    pub fn reason(&self) -> DisconnectReason {
        self.reason
    }

    /// The value of type `T` that was registered with `.state(value)`.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// # fn f(context: &ringhall::DisconnectContext<'_>) {
    /// if let Some(online) = context.state::<AtomicUsize>() {
    ///     online.fetch_sub(1, Ordering::Relaxed);
    /// }
    /// # }
    /// ```
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.socket.states().find()
    }
}
