//! What a shard asks of whoever uses it: where requests go, who may connect, what happens with messages.
//!
//! There is one application per core. Its methods run in the middle of a turn, while the shard holds the connection, and
//! act through the [`Hall`](super::hall::Hall) alone.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;

use super::call::Opening;
use super::grant::Granted;
use super::hall::SocketKey;
use super::handshake::Handshake;
use super::home::SocketId;
use super::http::{Answering, Peer};
use super::recovery;
use crate::proto::reason::DisconnectReason;
use crate::proto::websocket::Kind;
use crate::reactor::ConnKey;
use crate::wire::close::CloseCode;
use crate::wire::handshake::Refusal;
use crate::wire::http::Request;

/// Where the first request of a connection leads, if it asks for a WebSocket and that can be decided at once.
pub(crate) enum Door {
    /// A plain WebSocket; `scope` names its rooms, `number` is the application's own.
    Plain {
        number: usize,
        scope: Arc<str>,
        /// The 101.
        answer: Vec<u8>,
    },
    /// A session that begins on a WebSocket.
    Engine {
        opening: Box<Opening>,
        /// The 101.
        answer: Vec<u8>,
    },
    Refused(Refusal),
    /// Anything else: [`Application::respond`] has the say.
    Http,
}

/// A client asks to be let into a namespace.
#[derive(Clone, Copy)]
pub(crate) struct Knock<'a> {
    pub(crate) connection: ConnKey,
    pub(crate) namespace: &'a str,
    pub(crate) handshake: &'a Rc<Handshake>,
    /// What the application gave the session when it let the client in.
    pub(crate) granted: Option<&'a Rc<Granted>>,
    /// The JSON object of the CONNECT packet, or nothing.
    pub(crate) auth: &'a [u8],
}

/// The socket that a client gets: it has been seated by the application.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) socket: SocketKey,
    /// What the client is told.
    pub(crate) id: SocketId,
    /// The name by which recovery knows the socket, if that is on; as secret as the id.
    pub(crate) pid: Option<Box<str>>,
    /// The namespace.
    pub(crate) scope: Arc<str>,
}

/// What becomes of a CONNECT.
pub(crate) enum Verdict {
    Enter(Entry),
    /// The JSON of the CONNECT_ERROR packet.
    Refuse {
        json: String,
    },
    /// That is not known yet. Unless [`Application::forsaken`] comes first, a [`Command::Decide`](super::command::Command::Decide) will say it.
    Later,
}

/// What becomes of it in the end.
#[derive(Debug)]
pub(crate) enum Decision {
    Enter(Entry),
    /// As [`Verdict::Refuse`].
    Refuse {
        json: String,
    },
}

/// An event as it came in. The JSON is valid, and otherwise unread.
pub(crate) struct Event<'a> {
    pub(crate) name: &'a str,
    pub(crate) ack: Option<u64>,
    /// The argument list as a JSON array.
    pub(crate) args: &'a [u8],
    pub(crate) attachments: &'a [Bytes],
}

/// See the module's text.
pub(crate) trait Application: Clone + Unpin + 'static {
    /// `handshake` makes what handlers are told of the request.
    fn door(&self, request: &Request<'_>, handshake: impl Fn() -> Handshake) -> Door;
    /// Answers a request. An answer of 101 must have been prepared with [`Peer::take_over`].
    fn respond(&self, request: http::Request<Incoming>, from: &Peer) -> Answering;

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

    /// A session without Socket.IO is open.
    fn engine_opened(
        &self,
        number: usize,
        socket: SocketKey,
        id: SocketId,
        handshake: &Rc<Handshake>,
    );
    fn engine_message(&self, socket: SocketKey, kind: Kind, payload: &[u8]);
    /// Runs the user's handlers, then vacates the seat.
    fn engine_closed(&self, socket: SocketKey, reason: DisconnectReason);

    /// A client asks to be let in.
    fn knock(&self, knock: Knock<'_>) -> Verdict;
    /// This socket, which a verdict or a decision let in, is in: the CONNECT reply is marked, and nothing of it was handled yet.
    fn connected(&self, socket: SocketKey);
    /// The socket's client is on a WebSocket from now on.
    fn upgraded(&self, socket: SocketKey);
    /// The session has ended, and with it all that it asked for and that is not decided yet, or was decided and not carried out: seats
    /// that were taken for it are to be vacated.
    fn forsaken(&self, connection: ConnKey);
    /// The session that this pending socket has claimed is here, or is refused.
    fn returned(&self, socket: SocketKey, refused: Option<recovery::Refusal>);
    fn event(&self, socket: SocketKey, event: Event<'_>);
    fn acknowledged(&self, socket: SocketKey, id: u64, args: &[u8], attachments: &[Bytes]);
    /// The client broke Socket.IO's protocol, and its session ends next.
    fn violated(&self, socket: SocketKey, rule: &str);
    /// Runs the user's handlers around vacating the seat. A key that is vacated already is ignored.
    fn disconnected(&self, socket: SocketKey, reason: DisconnectReason);
}
