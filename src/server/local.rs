//! One core's share of a server: which handler goes with which seat, and in what order handlers run.

mod admission;
mod children;
mod departure;
mod events;
mod line;
mod operations;
mod outgoing;
mod plain;
mod recovery;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;

use admission::Admissions;
use line::Line;

use super::counters::{CoreCounters, Count};
use super::http;
use super::listeners::{EventErrorKind, Listener};
use super::namespace::Table;
use super::route::Routes;
use super::shared::Shared;
use super::socket::Socket;
use super::state::StateMap;
use super::{DisconnectReason, Handshake, Server, SocketId};
use crate::pages::Pages;
use crate::proto::websocket::Kind;
use crate::reactor::ConnKey;
use crate::shard::application::{Application, Door, Event, Knock, Verdict};
use crate::shard::hall::{Hall, SocketKey, Usher};
use crate::shard::http::{Answering, Peer};
use crate::shard::recovery::Refusal;
use crate::wire::close::CloseCode;
use crate::wire::http::Request;

/// See the module's text.
pub(crate) struct Local {
    hall: Rc<Hall>,
    shared: Arc<Shared>,
    seats: RefCell<Pages<Seat>>,
    /// The sockets whose handler has not ended yet, and what waits for it.
    lines: RefCell<HashMap<SocketKey, Line>>,
    admissions: Admissions,
    listeners: Cell<u64>,
    /// By the index of the namespace's table.
    tables: Vec<Rc<Table>>,
    counters: Arc<CoreCounters>,
    this: Weak<Local>,
}

/// What sits in a seat, by the slot of its key.
enum Seat {
    Empty,
    WebSocket {
        key: SocketKey,
        id: SocketId,
        route: usize,
    },
    Socket(Socket),
    Engine {
        key: SocketKey,
        id: SocketId,
        route: usize,
    },
}

impl Local {
    pub(crate) fn new(hall: Rc<Hall>, shared: Arc<Shared>) -> Rc<Self> {
        let tables = shared.namespaces.on_this_core();
        let admissions = Admissions::new(&shared.namespaces);
        shared.add_traffic(hall.traffic().clone());
        hall.set_parser(shared.settings.parser);
        hall.set_recovery(shared.recovery.as_ref().map(|recovering| &recovering.core));
        let local = Rc::new_cyclic(|this| Local {
            hall,
            counters: shared.counters.enter(),
            shared,
            seats: RefCell::default(),
            lines: RefCell::default(),
            admissions,
            listeners: Cell::new(0),
            tables,
            this: this.clone(),
        });
        let usher: Weak<dyn Usher> = local.this.clone();
        local.hall.set_usher(usher);
        local
    }

    pub(crate) fn hall(&self) -> &Hall {
        &self.hall
    }

    pub(crate) fn hall_of(&self) -> &Rc<Hall> {
        &self.hall
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn server(&self) -> Server {
        Server::of_shared(&self.shared)
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.shared.routes
    }

    pub(crate) fn states(&self) -> &StateMap {
        &self.shared.states
    }

    /// Adds one to a number of this core.
    pub(crate) fn count(&self, count: Count) {
        self.counters.add(count);
    }

    #[cfg(test)]
    pub(crate) fn table(&self, index: usize) -> &Rc<Table> {
        &self.tables[index]
    }

    #[cfg(test)]
    pub(crate) fn counted(&self, count: Count) -> u64 {
        self.counters.of(count)
    }

    /// How many seats are taken, and how many sockets have a handler that has not ended.
    #[cfg(test)]
    pub(crate) fn census(&self) -> (usize, usize) {
        let seats = self.seats.borrow();
        let taken = seats.iter().filter(|seat| seat.key().is_some()).count();
        (taken, self.lines.borrow().len())
    }

    /// Ids are unique on the server, so they are within a namespace's sockets here (Socket.IO protocol: unique per sender).
    pub(crate) fn next_ack(&self) -> u64 {
        self.shared.next_packet_id(self.hall.core())
    }

    /// A name for a handler that is attached to a socket.
    pub(crate) fn next_listener(&self) -> Listener {
        let number = self.listeners.get();
        self.listeners.set(number + 1);
        Listener::new(self.hall.core(), number)
    }

    // ---- seats ----

    fn set_seat(&self, key: SocketKey, seat: Seat) {
        let mut seats = self.seats.borrow_mut();
        let index = key.slot as usize;
        seats.grow_with(index + 1, || Seat::Empty);
        seats[index] = seat;
    }

    /// `false`: the seat is another's, or empty already.
    fn clear_seat(&self, key: SocketKey) -> bool {
        let mut seats = self.seats.borrow_mut();
        match seats.get_mut(key.slot as usize) {
            Some(seat) if seat.key() == Some(key) => {
                *seat = Seat::Empty;
                true
            }
            _ => false,
        }
    }

    fn socket(&self, key: SocketKey) -> Option<Socket> {
        match self.seats.borrow().get(key.slot as usize)? {
            Seat::Socket(socket) if socket.key() == key => Some(socket.clone()),
            _ => None,
        }
    }
}

impl Seat {
    fn key(&self) -> Option<SocketKey> {
        match self {
            Seat::Empty => None,
            Seat::WebSocket { key, .. } | Seat::Engine { key, .. } => Some(*key),
            Seat::Socket(socket) => Some(socket.key()),
        }
    }
}

impl Application for Rc<Local> {
    fn door(&self, request: &Request<'_>, handshake: impl Fn() -> Handshake) -> Door {
        http::door(self, request, handshake)
    }

    fn respond(&self, request: ::http::Request<Incoming>, from: &Peer) -> Answering {
        http::serve(self, request, from)
    }

    fn websocket_opened(
        &self,
        number: usize,
        socket: SocketKey,
        id: SocketId,
        handshake: &Handshake,
    ) {
        self.handle_websocket_opened(number, socket, id, handshake);
    }

    fn websocket_message(&self, socket: SocketKey, kind: Kind, payload: &mut [u8]) {
        self.handle_websocket_message(socket, kind, payload);
    }

    fn websocket_closed(&self, socket: SocketKey, code: CloseCode, reason: &str) {
        self.handle_websocket_closed(socket, code, reason);
    }

    fn engine_opened(
        &self,
        number: usize,
        socket: SocketKey,
        id: SocketId,
        handshake: &Rc<Handshake>,
    ) {
        self.handle_engine_opened(number, socket, id, handshake);
    }

    fn engine_message(&self, socket: SocketKey, kind: Kind, payload: &[u8]) {
        self.handle_engine_message(socket, kind, payload);
    }

    fn engine_closed(&self, socket: SocketKey, reason: DisconnectReason) {
        self.handle_engine_closed(socket, reason);
    }

    fn knock(&self, knock: Knock<'_>) -> Verdict {
        self.handle_knock(knock)
    }

    fn connected(&self, socket: SocketKey) {
        self.welcome(socket);
    }

    fn forsaken(&self, connection: ConnKey) {
        self.forget_asked(connection);
    }

    fn returned(&self, socket: SocketKey, refused: Option<Refusal>) {
        self.handle_returned(socket, refused);
    }

    fn upgraded(&self, socket: SocketKey) {
        if let Some(socket) = self.socket(socket) {
            socket.table().watching.tell_upgrade(&socket);
        }
    }

    fn event(&self, socket: SocketKey, event: Event<'_>) {
        self.handle_event(socket, event);
    }

    fn acknowledged(&self, socket: SocketKey, id: u64, args: &[u8], attachments: &[Bytes]) {
        if let Some(seated) = self.socket(socket)
            && !seated.answered(id, args, attachments)
        {
            // Answers that nobody waits for are ignored (Socket.IO protocol: late and double ones).
            self.hall.answered(socket, id, args, attachments);
        }
    }

    fn violated(&self, socket: SocketKey, rule: &str) {
        if let Some(socket) = self.socket(socket) {
            socket.raise("", EventErrorKind::Protocol, &rule);
        }
    }

    fn disconnected(&self, socket: SocketKey, reason: DisconnectReason) {
        if let Some(socket) = self.socket(socket) {
            Local::disconnected(self, &socket, reason);
        }
    }
}
