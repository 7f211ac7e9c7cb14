//! What HTTP asks of an Engine.IO session, wherever the request came in: on any core, or outside of the engine.
//!
//! A session lives on the core that its sid names. A [`Call`] is carried out there, at the end of the turn; its answer goes back through a
//! channel. So no table of sessions is shared, and a load balancer need not be sticky.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::grant::Grant;
use super::handshake::Handshake;
use super::secure::Secure;
use crate::proto::session::{Revision, Transport};
use crate::reactor::Handoff;

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Answer>;

/// Names one GET or POST, so that its end is told from that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) fn new() -> Self {
        // Shared by all cores: a request costs far more than the cache line's way between them.
        static LAST: AtomicU64 = AtomicU64::new(0);
        Ticket(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// A request to a session, or for one.
pub(crate) enum Call {
    /// Opens a session on polling, on the core that gets this.
    Open(Box<Opening>, Reply),
    /// Something for the session `sid`.
    Session {
        sid: Box<str>,
        /// Which route the request came by: to others the session is unknown.
        route: Route,
        revision: Revision,
        request: Request,
    },
    /// A GET or POST of a session was broken off.
    BrokenOff { sid: Box<str>, ticket: Ticket },
    /// A connection that is to go on here.
    Adopt(Box<Adopted>),
}

/// What a request with a sid wants.
pub(crate) enum Request {
    /// Hold this until there is something to say.
    Poll { ticket: Ticket, reply: Reply },
    /// May a POST be read?
    Push { ticket: Ticket, reply: Reply },
    /// The body of that POST.
    Pushed {
        ticket: Ticket,
        body: Vec<u8>,
        /// The content type says that it is the binary form of revision 3.
        is_binary: bool,
        reply: Reply,
    },
    /// The body of that POST is not taken; the session goes on.
    Unpushed { ticket: Ticket },
    /// May a WebSocket take the session over? Is it there at all?
    Probe { reply: Reply },
}

/// What a new session on polling starts with.
pub(crate) struct Opening {
    pub(crate) above: Above,
    pub(crate) handshake: Handshake,
    pub(crate) revision: Revision,
    /// The client takes no binary frames (`b64=1`).
    pub(crate) base64_only: bool,
    /// What the application chose as the name, before what routes.
    pub(crate) name: Option<Box<str>>,
    /// What the application gave it when it let the client in.
    pub(crate) grant: Option<Grant>,
}

/// What is spoken over a session.
#[derive(Clone)]
pub(crate) enum Above {
    SocketIo,
    /// Messages alone; `scope` names its rooms, `number` is the application's own.
    Raw {
        number: usize,
        scope: Arc<str>,
    },
}

/// Socket.IO's, or the number of one without it.
pub(crate) type Route = Option<usize>;

impl Above {
    pub(crate) fn route(&self) -> Route {
        match self {
            Above::SocketIo => None,
            Above::Raw { number, .. } => Some(*number),
        }
    }
}

/// What a connection becomes when its HTTP has ended with 101.
pub(crate) enum Takeover {
    /// A plain WebSocket.
    Plain {
        number: usize,
        scope: Arc<str>,
        handshake: Handshake,
    },
    /// A session that begins on a WebSocket.
    Engine(Box<Opening>),
    /// The WebSocket that is to take over this session.
    Probe {
        sid: Box<str>,
        /// The client takes no binary frames on it (`b64=1`), whatever it takes on polling.
        base64_only: bool,
    },
}

impl Takeover {
    /// Where HTTP was spoken the client's address may not have been known.
    pub(crate) fn learn_peer(&mut self, peer: Option<SocketAddr>) {
        match self {
            Takeover::Plain { handshake, .. } => handshake.learn_peer(peer),
            Takeover::Engine(opening) => opening.handshake.learn_peer(peer),
            Takeover::Probe { .. } => {}
        }
    }
}

/// A connection on its way to this core.
pub(crate) struct Adopted {
    pub(crate) socket: Handoff,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) secure: Option<Box<Secure>>,
    /// Received, and not handled.
    pub(crate) bytes: Vec<u8>,
    pub(crate) takeover: Takeover,
}

/// What comes back.
pub(crate) enum Answer {
    /// The session is open: its name, and the payload that says so.
    Opened {
        sid: Box<str>,
        body: Vec<u8>,
        is_binary: bool,
    },
    /// Packets for a poll.
    Packets {
        body: Vec<u8>,
        is_binary: bool,
    },
    /// Go on: read the body. The receiver ends when the session does.
    Ready(oneshot::Receiver<()>),
    /// The session is there, on this transport; the WebSocket may come.
    Welcome(Transport),
    /// The body was handled.
    Done,
    Refused(Refused),
}

/// Why a session does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such session, or no more.
    UnknownSession,
    /// It is carried by this transport, and not by polling.
    Transport(Transport),
    /// It speaks another revision of the protocol.
    Revision,
    /// A second GET or POST beside one that has not ended.
    Duplicate,
    /// Break the connection off.
    Cut,
    /// This core holds as many connections as it may.
    Full,
}

impl Call {
    /// The name of the session that this is for; without one, any core will do.
    pub(crate) fn sid(&self) -> Option<&str> {
        match self {
            Call::Session { sid, .. } | Call::BrokenOff { sid, .. } => Some(sid),
            Call::Adopt(adopted) => match &adopted.takeover {
                Takeover::Probe { sid, .. } => Some(sid),
                Takeover::Plain { .. } | Takeover::Engine(_) => None,
            },
            Call::Open(..) => None,
        }
    }
}
