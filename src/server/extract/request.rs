//! Extractors of what is known of the connection.

use std::fmt;
use std::rc::Rc;

use super::{
    ConnectContext, DisconnectContext, EventContext, ExtractError, FromConnect, FromDisconnect,
    FromEvent,
};
use crate::server::socket::Socket;
use crate::server::{Handshake, Transport};

/// The headers of the request that opened the connection, for any handler. It is a handle, and as cheap as one.
///
/// The extractor [`Handshake`] gives all of the request, as a copy; [`Socket::handshake`] lends it.
///
/// ```
/// use ringhall::{Headers, Server};
/// let builder = Server::builder().on("language", |headers: Headers| {
///     headers.find("accept-language").unwrap_or("en").to_owned()
/// });
/// # let _ = builder;
/// ```
#[derive(Clone)]
pub struct Headers(Rc<Handshake>);

impl Headers {
    /// The first value of this header (the name in any case), if it is there and UTF-8.
    ///
    /// ```
    /// # fn f(headers: &ringhall::Headers) {
    /// let agent = headers.find("user-agent").unwrap_or("unknown");
    /// # let _ = agent;
    /// # }
    /// ```
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    /// All headers, in order, as they were sent.
    ///
    /// ```
    /// # fn f(headers: &ringhall::Headers) {
    /// for (name, value) in headers.iter() {
    ///     println!("{name}: {value}");
    /// }
    /// # }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.headers()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The transport at the moment, or why it is not known.
fn transport_of(socket: &Socket) -> Result<Transport, ExtractError> {
    socket.transport().ok_or_else(|| {
        ExtractError::new("the socket has left, and has no transport: ask for `Option<Transport>`")
    })
}

macro_rules! extract_request {
    ($trait:ident, $method:ident, $context:ident) => {
        impl $trait for Headers {
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(Headers(context.socket().handshake_shared().clone()))
            }
        }

        /// A copy of some hundred bytes; [`Headers`] and [`Socket::handshake`] need none.
        impl $trait for Handshake {
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(context.socket().handshake().clone())
            }
        }

        impl $trait for Transport {
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                transport_of(context.socket())
            }
        }

        impl $trait for Option<Transport> {
            fn $method(context: &$context<'_>) -> Result<Self, ExtractError> {
                Ok(context.socket().transport())
            }
        }
    };
}

extract_request! { FromEvent, from_event, EventContext }
extract_request! { FromConnect, from_connect, ConnectContext }
extract_request! { FromDisconnect, from_disconnect, DisconnectContext }
