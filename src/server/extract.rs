//! What a handler may ask for: each parameter of a handler is taken from the event by its type.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::arguments::DecodeError;
use super::binary::Payload;
use super::reply::Ack;
use super::socket::Socket;
use super::state::StateMap;
use super::{DisconnectReason, Server};

mod context;
mod request;
#[cfg(test)]
mod tests;

pub use context::{ConnectContext, DisconnectContext, EventContext};
pub use request::Headers;

/// A type that can be a parameter of an event handler.
///
/// Implement it to give handlers parameters of your own:
///
/// ```
/// use ringhall::{EventContext, ExtractError, FromEvent};
///
/// /// How many bytes of JSON came with the event.
/// struct JsonLen(usize);
///
/// impl FromEvent for JsonLen {
///     fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
///         let len = context.json().len();
///         if len > 4096 {
///             return Err(ExtractError::new("more than this server cares to read"));
///         }
///         Ok(JsonLen(len))
///     }
/// }
/// ```
///
/// A tuple of extractors is an extractor too, so that parameters which always go together can be asked for as one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of an event handler",
    label = "not an extractor",
    note = "parameters may be `Socket`, `Data<T>`, `TryData<T>`, `Payload`, `Ack`, `State<T>`, `Server`, `Session<T>`, `EventName`, `Headers`, `Handshake`, `Transport`",
    note = "to receive the client's arguments as `{Self}`, write `Data(value): Data<{Self}>`; it must implement `Deserialize`"
)]
pub trait FromEvent: Sized {
    /// Takes `Self` from the event.
    ///
    /// # Errors
    ///
    /// An error keeps the handler from running. It is logged at debug level, since the peer decides how often it happens,
    /// and counted; the connection lives on, and the client gets no acknowledgement.
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError>;
}

/// A type that can be a parameter of a connect handler or a middleware: [`Socket`], [`Auth`], [`State`], [`Server`], or one of your own.
///
/// ```
/// use ringhall::{ConnectContext, ExtractError, FromConnect};
/// /// The language that the client speaks.
/// struct Language(String);
///
/// impl FromConnect for Language {
///     fn from_connect(context: &ConnectContext<'_>) -> Result<Self, ExtractError> {
///         let language = context.socket().handshake().query("lang");
///         Ok(Language(language.ok_or(ExtractError::new("no language"))?.into_owned()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a connect handler or a middleware",
    label = "not to be had when a client connects",
    note = "parameters may be `Socket`, `Auth<T>`, `State<T>`, `Session<T>`, `Server`, `Headers`, `Handshake`, `Transport`; there are no event arguments yet"
)]
pub trait FromConnect: Sized {
    /// Takes `Self` from the request to connect.
    ///
    /// # Errors
    ///
    /// An error keeps the handler from running.
    fn from_connect(context: &ConnectContext<'_>) -> Result<Self, ExtractError>;
}

/// A type that can be a parameter of a disconnect handler: [`Socket`], [`DisconnectReason`], [`State`], [`Server`], or one of
/// your own.
///
/// ```
/// use ringhall::{DisconnectContext, ExtractError, FromDisconnect};
/// struct Rooms(Vec<String>);
///
/// impl FromDisconnect for Rooms {
///     fn from_disconnect(context: &DisconnectContext<'_>) -> Result<Self, ExtractError> {
///         Ok(Rooms(context.socket().rooms()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a disconnect handler",
    label = "not to be had when a client has gone",
    note = "parameters may be `Socket`, `DisconnectReason`, `State<T>`, `Session<T>`, `Server`, `Headers`, `Handshake`"
)]
pub trait FromDisconnect: Sized {
    /// Takes `Self` from what is known of the disconnection.
    ///
    /// # Errors
    ///
    /// An error keeps the handler from running.
    fn from_disconnect(context: &DisconnectContext<'_>) -> Result<Self, ExtractError>;
}

/// Why a handler's parameter could not be had. The handler has not run.
///
/// ```
/// use ringhall::{EventContext, ExtractError, FromEvent};
///
/// fn or_zero(context: &EventContext<'_>) -> Result<u32, ExtractError> {
///     match context.decode() {
///         Err(error) if context.json() != b"[]" => Err(ExtractError::Decode(error)),
///         number => Ok(number.unwrap_or(0)),
///     }
/// }
/// # let _ = or_zero;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtractError {
    /// The client's arguments are not of the type that the handler asks for.
    Decode(DecodeError),
    /// No value of this type was registered: a mistake in the program, therefore logged at error level.
    MissingState {
        /// The type, as the compiler names it.
        type_name: &'static str,
    },
    /// The socket has no session value of this type.
    MissingSession {
        /// The type, as the compiler names it.
        type_name: &'static str,
    },
    /// An extractor outside this crate gave this reason.
    Custom(String),
}

impl ExtractError {
    /// The error of an extractor of your own.
    ///
    /// ```
    /// assert_eq!(ringhall::ExtractError::new("too long").to_string(), "too long");
    /// ```
    pub fn new(reason: impl Into<String>) -> Self {
        Self::Custom(reason.into())
    }

    /// What the peer can cause at any rate is for the debug level; what only the program can cause is an error.
    pub(super) fn log_level(&self) -> log::Level {
        match self {
            Self::MissingState { .. } => log::Level::Error,
            Self::Decode(_) | Self::MissingSession { .. } | Self::Custom(_) => log::Level::Debug,
        }
    }
}

impl From<DecodeError> for ExtractError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::MissingState { type_name } => {
                write!(
                    f,
                    "no state of type {type_name}: register it with `.state(value)` on the server's builder"
                )
            }
            Self::MissingSession { type_name } => {
                write!(
                    f,
                    "the socket has no session of type {type_name}: set it with `socket.set_session(value)` in a middleware or connect \
                     handler, or ask for `Option<Session<…>>`"
                )
            }
            Self::Custom(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ExtractError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Decode(error) => Some(error),
            Self::MissingState { .. } | Self::MissingSession { .. } | Self::Custom(_) => None,
        }
    }
}

/// The client's arguments as a Rust value.
///
/// A tuple is the whole list of arguments: surplus ones are ignored, and one that did not come is read as `null`, so make it an
/// `Option` if it may be left out. Any other type is the first argument. If the arguments do not match, the handler does not run;
/// see [`TryData`] for a handler that wants to know.
///
/// | `socket.emit(…)` in JavaScript | parameter |
/// |---|---|
/// | `("say", "hello")` | `Data(text): Data<String>` |
/// | `("sum", 1, 2)` | `Data((a, b)): Data<(i64, i64)>` |
/// | `("move", {x: 1, y: 2})` | `Data(point): Data<Point>` with `#[derive(Deserialize)] struct Point` |
/// | `("tags", ["a", "b"])` | `Data(tags): Data<Vec<String>>` |
///
/// As the return value of a handler it is the acknowledgement: the same rules, the other way round.
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().on("say", |Data(text): Data<String>| println!("{text}"));
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data<T>(pub T);

/// The client's arguments as a Rust value, or the reason why they are none. See [`Data`].
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().on("age", |TryData(age): TryData<u8>| age.is_ok());
/// # let _ = builder;
/// ```
#[derive(Debug)]
pub struct TryData<T>(pub Result<T, DecodeError>);

/// The name of the event, for a handler of several events.
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().fallback(|EventName(event): EventName| println!("nobody wants {event}"));
/// # let _ = builder;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(pub String);

/// What the client sent as `auth` when it joined the namespace. A client that sent nothing counts as having sent `{}`; for an
/// `Auth<Option<T>>` that does not match `{}` this is `None`.
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().on_connection(|Auth(user): Auth<Option<String>>| println!("{user:?}"));
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<T>(pub T);

/// A value shared by all handlers on all cores, registered once with `.state(value)` on the server's builder.
///
/// It dereferences to the value.
///
/// ```
/// use ringhall::*;
/// let builder = Server::builder().state(7_u64).on("seven", |State(n): State<u64>| *n);
/// # let _ = builder;
/// ```
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

/// A session value of the socket: what a middleware or a handler gave to [`Socket::set_session`], or a middleware returned. For a
/// handler that does without, `Option<Session<T>>`.
///
/// It dereferences to the value.
///
/// ```
/// use ringhall::*;
/// struct User { name: String }
/// let builder = Server::builder()
///     .on_connection(|socket: Socket| socket.set_session(User { name: "Ada".into() }))
///     .on("whoami", |user: Session<User>| user.name.clone());
/// # let _ = builder;
/// ```
#[derive(Debug)]
pub struct Session<T>(pub Rc<T>);

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Session<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: 'static> Session<T> {
    /// A value for a middleware to return: the socket's session from then on.
    ///
    /// ```
    /// use ringhall::{Auth, Server, Session};
    ///
    /// struct User { name: String }
    ///
    /// let server = Server::builder()
    ///     .middleware(|Auth(name): Auth<Option<String>>| match name {
    ///         Some(name) => Ok(Session::new(User { name })),
    ///         None => Err("who are you?"),
    ///     })
    ///     .on("whoami", |user: Session<User>| user.name.clone());
    /// # let _ = server;
    /// ```
    pub fn new(value: T) -> Self {
        Self(Rc::new(value))
    }

    fn find(socket: &Socket) -> Result<Self, ExtractError> {
        let value = socket.session().map(Self);
        value.ok_or(ExtractError::MissingSession {
            type_name: type_name::<T>(),
        })
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> State<T> {
    fn find(states: &StateMap) -> Result<Self, ExtractError> {
        states.find().map(Self).ok_or(ExtractError::MissingState {
            type_name: type_name::<T>(),
        })
    }
}

impl<T: DeserializeOwned> FromEvent for Data<T> {
    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
        Ok(Self(context.decode()?))
    }
}

impl<T: DeserializeOwned> FromEvent for TryData<T> {
    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
        Ok(Self(context.decode()))
    }
}

impl FromEvent for Payload {
    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
        Ok(Self::received(context.args()))
    }
}

impl FromEvent for EventName {
    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
        Ok(Self(context.event().to_owned()))
    }
}

impl FromEvent for Ack {
    #[inline]
    fn from_event(context: &EventContext<'_>) -> Result<Self, ExtractError> {
        Ok(context.take_ack())
    }
}

impl<T: DeserializeOwned> FromConnect for Auth<T> {
    /// Socket.IO protocol, "Connection to a namespace": the payload is optional. Node then gives the handlers `{}`.
    fn from_connect(context: &ConnectContext<'_>) -> Result<Self, ExtractError> {
        let auth = match context.auth_json() {
            Some(json) => serde_json::from_slice(json),
            None => serde_json::from_str("{}")
                .or_else(|error| serde_json::from_str("null").map_err(|_| error)),
        };
        Ok(Self(auth.map_err(DecodeError::from)?))
    }
}

impl FromDisconnect for DisconnectReason {
    fn from_disconnect(context: &DisconnectContext<'_>) -> Result<Self, ExtractError> {
        Ok(context.reason())
    }
}

/// The extractors that need nothing but the socket, and the tuples, are the same for all three kinds of handler.
macro_rules! extract_from {
    ($trait:ident, $method:ident, $context:ident) => {
        impl $trait for Socket {
            #[inline]
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(context.socket().clone())
            }
        }

        impl $trait for Server {
            #[inline]
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(context.socket().server())
            }
        }

        impl<T: Send + Sync + 'static> $trait for State<T> {
            #[inline]
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Self::find(context.socket().states())
            }
        }

        impl<T: 'static> $trait for Session<T> {
            #[inline]
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Self::find(context.socket())
            }
        }

        impl<T: 'static> $trait for Option<Session<T>> {
            #[inline]
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(context.socket().session().map(Session))
            }
        }

        extract_tuples! { $trait, $method, $context;
            () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
        }
    };
}

macro_rules! extract_tuples {
    ($trait:ident, $method:ident, $context:ident; $(($($element:ident)*))*) => {
        $(impl<$($element: $trait),*> $trait for ($($element,)*) {
            #[inline]
            fn $method(_context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(($($element::$method(_context)?,)*))
            }
        })*
    };
}

extract_from! { FromEvent, from_event, EventContext }
extract_from! { FromConnect, from_connect, ConnectContext }
extract_from! { FromDisconnect, from_disconnect, DisconnectContext }
