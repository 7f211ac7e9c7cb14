//! What a shard asks of whoever uses it: where requests go, who may connect, what happens with messages.
//!
//! There is one application per core. Its methods run in the middle of a turn, while the shard holds the connection, and
//! act through the [`Hall`](super::hall::Hall) alone.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::hall::SocketKey;
use super::handshake::Handshake;
use super::home::SocketId;
use crate::proto::reason::DisconnectReason;
use crate::proto::websocket::Kind;
use crate::wire::close::CloseCode;
use crate::wire::http::Request;

/// Where a request goes.
pub(crate) enum Route<'a> {
    /// A plain WebSocket; `scope` names its rooms, `number` is the application's own.
    WebSocket {
        number: usize,
        scope: Arc<str>,
        /// The subprotocols that are spoken (RFC 6455 §1.9).
        protocols: &'a [Box<str>],
        /// The origins whose pages may connect; without a list all may.
        origins: Option<&'a [Box<str>]>,
    },
    /// An Engine.IO session.
    SocketIo,
    /// A fixed answer to GET and HEAD.
    Page {
        content_type: &'static str,
        body: Bytes,
    },
    /// Nothing of ours.
    NotFound,
}

/// What becomes of a CONNECT.
pub(crate) enum Verdict {
    /// `number` is the application's own, and comes back with the [`Arrival`].
    Accept { scope: Arc<str>, number: usize },
    /// The JSON of the CONNECT_ERROR packet.
    Refuse { json: String },
}

/// A new socket, handed to the application.
pub(crate) struct Arrival<'a> {
    pub(crate) socket: SocketKey,
    pub(crate) id: SocketId,
    pub(crate) namespace: &'a Arc<str>,
    /// As [`Verdict::Accept`] gave it.
    pub(crate) number: usize,
    pub(crate) handshake: &'a Rc<Handshake>,
    /// The JSON object of the CONNECT packet, or nothing.
    pub(crate) auth: &'a [u8],
}

/// An event as it came in. The JSON is valid, and otherwise unread.
pub(crate) struct Incoming<'a> {
    pub(crate) name: &'a str,
    pub(crate) ack: Option<u64>,
    /// The argument list as a JSON array.
    pub(crate) args: &'a [u8],
    pub(crate) attachments: &'a [Bytes],
}

/// See the module's text.
pub(crate) trait Application {
    fn route(&self, request: &Request<'_>) -> Route<'_>;

    fn websocket_opened(
        &self,
        number: usize,
        socket: SocketKey,
        id: SocketId,
        handshake: &Handshake,
    );
    fn websocket_message(&self, socket: SocketKey, kind: Kind, payload: &mut [u8]);
    /// Runs the user's handlers, then vacates the seat.
    fn websocket_closed(&self, socket: SocketKey, code: CloseCode, reason: &str);

    fn admit(&self, namespace: &str) -> Verdict;
    /// The CONNECT reply is marked; nothing of this socket was handled yet.
    fn connected(&self, arrival: Arrival<'_>);
    fn event(&self, socket: SocketKey, event: Incoming<'_>);
    fn acknowledged(&self, socket: SocketKey, id: u64, args: &[u8], attachments: &[Bytes]);
    /// Runs the user's handlers around vacating the seat. A key that is vacated already is ignored.
    fn disconnected(&self, socket: SocketKey, reason: DisconnectReason);
}
