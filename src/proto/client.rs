//! One Socket.IO client: every namespace it is in, over one session.
//!
//! The machine knows which packet is allowed when (Socket.IO protocol, "Connection to a namespace" and "Sending and receiving data") and
//! puts binary packets together. What a namespace is, and whom to let in, is the caller's business: a CONNECT is put to it, and
//! it answers with [`Client::joined`] or [`Client::refused`].
//!
//! A client that breaks a rule loses the whole session, not one namespace: its state and ours have parted, and no packet after that
//! can be trusted to mean what it says.

use std::sync::Arc;

use bytes::Bytes;

use crate::wire::msgpack::{self, Unpacked};
use crate::wire::socket::{self, EventName, NameAt, Packet, PacketError, PacketType};

#[cfg(test)]
mod tests;

/// What one client may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub packet: socket::Limits,
    /// The most namespaces of one client, those still being decided included. Each costs 24 bytes, and while it is being
    /// decided also its name (at most [`socket::NAMESPACE_BYTES_MAX`]).
    pub max_namespaces: usize,
    /// From the opening until a namespace must have been joined. 45,000 by default in Socket.IO.
    pub connect_timeout_ms: u64,
    /// The most bytes of a binary packet whose attachments are still arriving: its JSON, the attachments, and their overhead.
    pub max_pending_bytes: usize,
}

/// What came of an input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a> {
    /// Nothing for the caller to do.
    Nothing,
    /// The client asks to join. To be answered with [`Client::joined`] or [`Client::refused`], at once or later.
    Connect {
        namespace: &'a str,
        /// The text of a JSON object, or empty.
        auth: &'a [u8],
        /// What a client of Socket.IO 2 says instead: a query behind the name, without its `?`; else empty.
        query: &'a str,
    },
    /// The client asks to join, and it is already in as many namespaces as allowed. To be answered with a CONNECT_ERROR only.
    ConnectRefused {
        namespace: &'a str,
        /// The `message` for the client.
        why: &'static str,
    },
    /// An event for `socket`.
    Event {
        socket: u32,
        name: EventName<'a>,
        /// Present when the client wants an ack.
        id: Option<u64>,
        /// A JSON array of the arguments. For the placeholders in it, which are valid, see `attachments`.
        args: &'a mut [u8],
        attachments: &'a [Bytes],
    },
    /// The answer to an event of ours. Whether there was one with this id is not known here.
    Ack {
        socket: u32,
        id: u64,
        /// A JSON array of the arguments.
        args: &'a mut [u8],
        attachments: &'a [Bytes],
    },
    /// The client has left the namespace of `socket`, which is no longer one of [`Client::sockets`].
    Disconnect { socket: u32 },
    /// A rule was broken: the whole session is to be closed, with reason "forced close". Every later input is ignored.
    Violation(Violation),
}

/// The rule that a client broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A text message that is no packet.
    Packet(PacketError),
    /// CONNECT to a namespace that it is in, or has asked to join.
    ConnectedTwice,
    /// Anything but CONNECT to a namespace that it is not in.
    NotConnected,
    /// CONNECT_ERROR, which only a server sends.
    ConnectError,
    /// A text message where an attachment was due.
    AttachmentDue,
    /// A binary message where no attachment was due.
    UnexpectedBinary,
    /// A binary packet above [`Limits::max_pending_bytes`].
    PendingBytes,
}

/// Where a client stands with one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The caller is deciding on a CONNECT.
    Pending,
    /// In it, as this socket.
    Joined(u32),
    /// The server has put it out, and the client may not know yet. What it has sent in the meantime is dropped: Node closes the
    /// session for it, which punishes the other namespaces for a race that the client cannot avoid.
    PutOut,
}

#[derive(Debug)]
struct Presence {
    namespace: Arc<str>,
    state: State,
}

/// A binary packet, from its text to the call after its last attachment.
#[derive(Debug)]
struct BinaryPacket {
    /// `None` when the packet is dropped as it arrives: its socket was put out.
    socket: Option<u32>,
    /// Of an event; `None` for an ack.
    name: Option<NameAt>,
    id: Option<u64>,
    /// Copied, since the receive buffer is needed again before the attachments are here.
    payload: Vec<u8>,
    /// Each a copy of its own: an attachment goes on to other clients and cores, and outlives the receive buffer that it came in.
    attachments: Vec<Bytes>,
    /// Attachments still to come.
    due: usize,
    /// What counts against [`Limits::max_pending_bytes`].
    bytes: usize,
}

/// What an attachment costs beside its bytes: the handle in the vector (which may have twice the room it needs), and the allocations
/// behind it.
const ATTACHMENT_OVERHEAD: usize = 2 * size_of::<Bytes>() + 64;

/// One client. Small, since most clients are idle; one in a single namespace has one allocation of 24 bytes beside it.
#[derive(Debug)]
pub(crate) struct Client {
    /// Few: they are searched from front to back.
    presences: Vec<Presence>,
    /// `u64::MAX` once a namespace was joined.
    connect_deadline_ms: u64,
    binary: Option<Box<BinaryPacket>>,
    ended: bool,
    /// Names of namespaces may have a query behind them, as in Socket.IO 2. (In later revisions it is part of the name.)
    names_have_queries: bool,
}

impl Client {
    /// The client of a session that opens now.
    pub(crate) fn new(now_ms: u64, limits: &Limits, names_have_queries: bool) -> Self {
        Self {
            names_have_queries,
            presences: Vec::new(),
            connect_deadline_ms: now_ms.saturating_add(limits.connect_timeout_ms),
            binary: None,
            ended: false,
        }
    }

    /// A text message of the session.
    #[inline]
    pub(crate) fn handle_text<'a>(&'a mut self, limits: &Limits, text: &'a mut [u8]) -> Output<'a> {
        if self.ended {
            return Output::Nothing;
        }
        if self.attachment_due() {
            return self.violate(Violation::AttachmentDue);
        }
        self.release();
        if let Some(event) = socket::find_plain(text, &limits.packet)
            && let Some(State::Joined(socket)) = self.state_in_main()
        {
            let payload = text.get_mut(event.payload..).unwrap_or_default();
            return deliver(socket, Some(event.name), event.id, payload, &[]);
        }
        self.handle_any_text(limits, text)
    }

    /// The same of whatever is no plain event. Apart, so that it does not weigh on those.
    #[inline(never)]
    fn handle_any_text<'a>(&'a mut self, limits: &Limits, text: &'a mut [u8]) -> Output<'a> {
        match socket::decode(text, &limits.packet) {
            Ok(packet) => self.handle_packet(limits, packet, &[]),
            Err(error) => self.violate(Violation::Packet(error)),
        }
    }

    /// A binary message of the session where packets are MessagePack: a packet, whole.
    pub(crate) fn handle_packed<'a>(
        &'a mut self,
        limits: &Limits,
        bytes: &'a [u8],
        unpacked: &'a mut Unpacked,
    ) -> Output<'a> {
        if self.ended {
            return Output::Nothing;
        }
        match msgpack::decode(bytes, &limits.packet, unpacked) {
            Ok((packet, attachments)) => self.handle_packet(limits, packet, attachments),
            Err(error) => self.violate(Violation::Packet(error)),
        }
    }

    #[inline]
    fn handle_packet<'a>(
        &'a mut self,
        limits: &Limits,
        mut packet: Packet<'a>,
        attachments: &'a [Bytes],
    ) -> Output<'a> {
        let mut query = "";
        if self.names_have_queries
            && let Some((name, behind)) = packet.namespace.split_once('?')
        {
            (packet.namespace, query) = (name, behind);
        }
        let state = self.state_of(packet.namespace);
        match (packet.kind, state) {
            (PacketType::ConnectError, _) => self.violate(Violation::ConnectError),
            (PacketType::Connect, None | Some(State::PutOut)) => self.ask(limits, packet, query),
            (PacketType::Connect, Some(_)) => self.violate(Violation::ConnectedTwice),
            (_, None | Some(State::Pending)) => self.violate(Violation::NotConnected),
            (_, Some(State::Joined(socket))) => {
                self.dispatch(limits, Some(socket), packet, attachments)
            }
            (_, Some(State::PutOut)) => self.dispatch(limits, None, packet, attachments),
        }
    }

    /// A binary message of the session: the next attachment of the packet before it.
    pub(crate) fn handle_binary<'a>(&'a mut self, limits: &Limits, bytes: &[u8]) -> Output<'a> {
        if self.ended {
            return Output::Nothing;
        }
        let Some(packet) = self.binary.as_deref_mut().filter(|packet| packet.due > 0) else {
            return self.violate(Violation::UnexpectedBinary);
        };
        if !packet.take(bytes, limits) {
            return self.violate(Violation::PendingBytes);
        }
        if packet.due > 0 {
            return Output::Nothing;
        }
        // It may have been put out since the packet began.
        let Some(socket) = packet.socket.filter(|socket| self.is_joined(*socket)) else {
            self.release();
            return Output::Nothing;
        };
        self.binary
            .as_deref_mut()
            .map_or(Output::Nothing, |packet| packet.lend(socket))
    }

    /// The client of a session that opens now is to be in `namespace` without asking (Engine.IO 3): answered as [`Output::Connect`] is.
    pub(crate) fn begin_connect(&mut self, namespace: &str) {
        debug_assert!(self.presences.is_empty(), "it is the first");
        self.presences.reserve_exact(1);
        self.presences.push(Presence {
            namespace: Arc::from(namespace),
            state: State::Pending,
        });
    }

    /// The answer to [`Output::Connect`]: the client is in, as `socket`, a number that the caller gives each presence and that is not
    /// in use. False when the answer comes too late because the client has ended; then there is no socket.
    #[must_use]
    pub(crate) fn joined(&mut self, namespace: &Arc<str>, socket: u32) -> bool {
        if self.ended {
            return false;
        }
        debug_assert!(!self.is_joined(socket), "one presence per socket number");
        let Some(presence) = self
            .find_mut(namespace)
            .filter(|presence| presence.state == State::Pending)
        else {
            return false;
        };
        // From here on the name is shared with the namespace itself.
        *presence = Presence {
            namespace: Arc::clone(namespace),
            state: State::Joined(socket),
        };
        // Only a join counts, and one is enough: a client that leaves again may stay idle (Node does the same).
        self.connect_deadline_ms = u64::MAX;
        true
    }

    /// The other answer to [`Output::Connect`]. The client may ask again. False when it comes too late because the client has ended.
    #[must_use]
    pub(crate) fn refused(&mut self, namespace: &str) -> bool {
        let before = self.presences.len();
        self.presences.retain(|presence| {
            presence.state != State::Pending || *presence.namespace != *namespace
        });
        !self.ended && self.presences.len() < before
    }

    /// The session has ended: later inputs are ignored, later answers come too late. True when the client has asked for something that was
    /// not answered.
    pub(crate) fn give_up(&mut self) -> bool {
        self.end();
        let before = self.presences.len();
        self.presences
            .retain(|presence| presence.state != State::Pending);
        self.presences.len() < before
    }

    /// The server puts `socket` out of its namespace; the caller sends the DISCONNECT.
    pub(crate) fn left(&mut self, socket: u32) {
        if let Some(presence) = self
            .presences
            .iter_mut()
            .find(|presence| presence.state == State::Joined(socket))
        {
            presence.state = State::PutOut;
        }
    }

    /// The sockets of the namespaces that the client is in. Still answers after the end, so that they can be told.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = u32> {
        self.presences
            .iter()
            .filter_map(|presence| match presence.state {
                State::Joined(socket) => Some(socket),
                State::Pending | State::PutOut => None,
            })
    }

    /// Time has passed. True, once, when no namespace was joined in time: the session is to be closed, with reason "forced close".
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) -> bool {
        let late = self
            .next_deadline_ms()
            .is_some_and(|deadline_ms| now_ms >= deadline_ms);
        if late {
            self.end();
        }
        late
    }

    /// When [`Client::handle_timeout`] is due, if ever.
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        (!self.ended && self.connect_deadline_ms != u64::MAX).then_some(self.connect_deadline_ms)
    }

    /// Frees the binary packet that the last output lent. The next input does it too; but the client may be silent for long.
    pub(crate) fn release(&mut self) {
        if !self.attachment_due() {
            self.binary = None;
        }
    }

    /// Bytes of heap held for this client: its table of namespaces (without the names, which are shared) and its binary packet.
    #[cfg(test)]
    pub(crate) fn pinned_bytes(&self) -> usize {
        let table = self.presences.capacity() * size_of::<Presence>();
        table + self.binary.as_ref().map_or(0, |packet| packet.bytes)
    }

    /// The same as of any other, but comparing with a name that the compiler knows is no call.
    #[inline]
    fn state_in_main(&self) -> Option<State> {
        let mut presences = self.presences.iter();
        presences
            .find(|presence| *presence.namespace == *socket::MAIN_NAMESPACE)
            .map(|presence| presence.state)
    }

    fn state_of(&self, namespace: &str) -> Option<State> {
        self.find(namespace).map(|presence| presence.state)
    }

    fn find(&self, namespace: &str) -> Option<&Presence> {
        self.presences
            .iter()
            .find(|presence| *presence.namespace == *namespace)
    }

    fn find_mut(&mut self, namespace: &str) -> Option<&mut Presence> {
        self.presences
            .iter_mut()
            .find(|presence| *presence.namespace == *namespace)
    }

    fn is_joined(&self, socket: u32) -> bool {
        self.sockets().any(|joined| joined == socket)
    }

    fn attachment_due(&self) -> bool {
        self.binary.as_ref().is_some_and(|packet| packet.due > 0)
    }

    fn violate(&mut self, violation: Violation) -> Output<'static> {
        self.end();
        Output::Violation(violation)
    }

    fn end(&mut self) {
        self.ended = true;
        // Nobody will see the rest of it.
        self.binary = None;
    }

    /// A CONNECT to a namespace that the client is not in.
    fn ask<'a>(&mut self, limits: &Limits, packet: Packet<'a>, query: &'a str) -> Output<'a> {
        let namespace = packet.namespace;
        if let Some(presence) = self.find_mut(namespace) {
            presence.state = State::Pending;
        } else if self.has_room(limits.max_namespaces) {
            if self.presences.is_empty() {
                // Most clients are in one namespace: no room is kept for others.
                self.presences.reserve_exact(1);
            }
            self.presences.push(Presence {
                namespace: Arc::from(namespace),
                state: State::Pending,
            });
        } else {
            return Output::ConnectRefused {
                namespace,
                why: "Too many namespaces",
            };
        }
        Output::Connect {
            namespace,
            auth: packet.payload.unwrap_or_default(),
            query,
        }
    }

    /// True when one more namespace fits. One that the client was put out of, and is remembered only for stray packets, makes way.
    fn has_room(&mut self, max_namespaces: usize) -> bool {
        if self.presences.len() < max_namespaces {
            return true;
        }
        let put_out = self
            .presences
            .iter()
            .position(|presence| presence.state == State::PutOut);
        put_out
            .map(|index| self.presences.swap_remove(index))
            .is_some()
    }

    /// A packet other than CONNECT for `socket`, or for one that was put out.
    #[inline]
    fn dispatch<'a>(
        &mut self,
        limits: &Limits,
        socket: Option<u32>,
        packet: Packet<'a>,
        attachments: &'a [Bytes],
    ) -> Output<'a> {
        match packet.kind {
            PacketType::Disconnect => {
                let namespace = packet.namespace;
                self.presences
                    .retain(|presence| *presence.namespace != *namespace);
                socket.map_or(Output::Nothing, |socket| Output::Disconnect { socket })
            }
            PacketType::BinaryEvent | PacketType::BinaryAck => {
                self.begin_binary(limits, socket, packet)
            }
            PacketType::Event | PacketType::Ack => match (socket, packet.payload) {
                (Some(socket), Some(payload)) => {
                    deliver(socket, packet.name, packet.id, payload, attachments)
                }
                _ => Output::Nothing,
            },
            PacketType::Connect | PacketType::ConnectError => Output::Nothing,
        }
    }

    fn begin_binary(
        &mut self,
        limits: &Limits,
        socket: Option<u32>,
        packet: Packet<'_>,
    ) -> Output<'static> {
        let payload = packet
            .payload
            .filter(|_| socket.is_some())
            .unwrap_or_default();
        let bytes = size_of::<BinaryPacket>().saturating_add(payload.len());
        if bytes > limits.max_pending_bytes {
            return self.violate(Violation::PendingBytes);
        }
        self.binary = Some(Box::new(BinaryPacket {
            socket,
            name: packet.name,
            id: packet.id,
            payload: payload.to_vec(),
            attachments: Vec::new(),
            due: packet.attachments,
            bytes,
        }));
        Output::Nothing
    }
}

impl BinaryPacket {
    /// Takes the next attachment. False when the packet costs too much with it.
    fn take(&mut self, bytes: &[u8], limits: &Limits) -> bool {
        self.due -= 1;
        if self.socket.is_none() {
            return true;
        }
        self.bytes = self
            .bytes
            .saturating_add(bytes.len())
            .saturating_add(ATTACHMENT_OVERHEAD);
        if self.bytes > limits.max_pending_bytes {
            return false;
        }
        self.attachments.push(Bytes::copy_from_slice(bytes));
        true
    }

    fn lend(&mut self, socket: u32) -> Output<'_> {
        deliver(
            socket,
            self.name,
            self.id,
            &mut self.payload,
            &self.attachments,
        )
    }
}

/// An event (which has a name) or an ack, whole, on its way to `socket`.
#[inline(always)]
fn deliver<'a>(
    socket: u32,
    name: Option<NameAt>,
    id: Option<u64>,
    payload: &'a mut [u8],
    attachments: &'a [Bytes],
) -> Output<'a> {
    if let Some(name) = name {
        let parts = socket::split_named(payload, name);
        debug_assert!(parts.is_ok(), "the payload was checked when it was decoded");
        return match parts {
            Ok(parts) => Output::Event {
                socket,
                name: parts.name,
                id,
                args: parts.args,
                attachments,
            },
            Err(_) => Output::Nothing,
        };
    }
    // An ack without an id answers nothing.
    id.map_or(Output::Nothing, |id| Output::Ack {
        socket,
        id,
        args: payload,
        attachments,
    })
}
