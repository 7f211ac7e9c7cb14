//! One core's share of a server: which handler goes with which seat, and in what order handlers run.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;

use super::arguments::Args;
use super::binary::Payload;
use super::engine::EngineSocket;
use super::extract::{ConnectContext, DisconnectContext, EventContext, Fault};
use super::handler::{self, Outcome};
use super::http;
use super::namespace::Table;
use super::route::Routes;
use super::shared::Shared;
use super::socket::Socket;
use super::state::StateMap;
use super::task::{self, LocalFuture};
use super::websocket::{CloseFrame, Message, WebSocket};
use super::{DisconnectReason, Handshake, Server, SocketId};
use crate::pages::Pages;
use crate::proto::websocket::Kind;
use crate::reactor::ConnKey;
use crate::shard::application::{Application, Arrival, Door, Event, Verdict};
use crate::shard::command::Command;
use crate::shard::hall::{Hall, SocketKey};
use crate::shard::http::{Answering, Peer};
use crate::wire::close::CloseCode;
use crate::wire::http::Request;

/// See the module's text.
pub(crate) struct Local {
    hall: Rc<Hall>,
    shared: Arc<Shared>,
    seats: RefCell<Pages<Seat>>,
    /// The sockets whose handler has not ended yet, and what waits for it.
    lines: RefCell<HashMap<SocketKey, Line>>,
    acks: Cell<u64>,
    /// By the index of the namespace's table.
    tables: Vec<Rc<Table>>,
    faults: Cell<[u64; 2]>,
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

/// Work that waits until the handler before it has ended.
type Waiting = Box<dyn FnOnce() -> Outcome>;

#[derive(Default)]
struct Line {
    waiting: VecDeque<(usize, Waiting)>,
    bytes: usize,
    /// The connection from which nothing is read until the line is shorter.
    paused: Option<ConnKey>,
}

impl Local {
    pub(crate) fn new(hall: Rc<Hall>, shared: Arc<Shared>) -> Rc<Self> {
        let tables = shared.namespaces.on_this_core();
        hall.set_parser(shared.settings.parser);
        Rc::new_cyclic(|this| Local {
            hall,
            shared,
            seats: RefCell::default(),
            lines: RefCell::default(),
            acks: Cell::new(0),
            tables,
            faults: Cell::default(),
            this: this.clone(),
        })
    }

    pub(crate) fn hall(&self) -> &Hall {
        &self.hall
    }

    pub(crate) fn hall_of(&self) -> &Rc<Hall> {
        &self.hall
    }

    pub(crate) fn shared(&self) -> &Shared {
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

    /// Counts what went wrong with events.
    pub(crate) fn count(&self, fault: Fault) {
        let mut faults = self.faults.get();
        faults[fault as usize] += 1;
        self.faults.set(faults);
    }

    #[cfg(test)]
    pub(crate) fn table(&self, index: usize) -> &Rc<Table> {
        &self.tables[index]
    }

    #[cfg(test)]
    pub(crate) fn faults(&self, fault: Fault) -> u64 {
        self.faults.get()[fault as usize]
    }

    /// How many seats are taken, and how many sockets have a handler that has not ended.
    #[cfg(test)]
    pub(crate) fn census(&self) -> (usize, usize) {
        let seats = self.seats.borrow();
        let taken = seats.iter().filter(|seat| seat.key().is_some()).count();
        (taken, self.lines.borrow().len())
    }

    /// Ids are unique on a core, so they are within a namespace's sockets here (Socket.IO protocol: unique per sender).
    pub(crate) fn next_ack(&self) -> u64 {
        let id = self.acks.get();
        self.acks.set((id + 1) & ((1 << 53) - 1));
        id
    }

    /// The end of a socket: its handlers run around its leaving of all rooms (as in Node: `disconnecting` still has the
    /// rooms, `disconnect` has none).
    pub(crate) fn disconnected(&self, socket: &Socket, reason: DisconnectReason) {
        if !self.hall.is_seated(socket.key()) || !self.clear_seat(socket.key()) {
            return;
        }
        self.abandon_line(socket.key());
        let context = DisconnectContext::new(socket, reason);
        for handler in &socket.table().disconnecting {
            self.run_detached(|| handler(&context));
        }
        for handler in socket.own_disconnecting() {
            self.run_detached(|| handler(&context));
        }
        if reason == DisconnectReason::ServerNamespaceDisconnect {
            socket.say_disconnect();
        }
        self.hall.vacate(socket.key());
        for handler in &socket.table().disconnect {
            self.run_detached(|| handler(&context));
        }
        for handler in socket.own_disconnect() {
            self.run_detached(|| handler(&context));
        }
        // The user's closures are dropped here, and may panic in it.
        caught(|| {
            socket.forget();
            Outcome::Done
        });
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

    fn websocket(&self, key: SocketKey) -> Option<WebSocket> {
        match self.seats.borrow().get(key.slot as usize)? {
            Seat::WebSocket {
                key: seated,
                id,
                route,
            } if *seated == key => self.websocket_handle(key, *id, *route),
            _ => None,
        }
    }

    fn engine(&self, key: SocketKey) -> Option<EngineSocket> {
        match self.seats.borrow().get(key.slot as usize)? {
            Seat::Engine {
                key: seated,
                id,
                route,
            } if *seated == key => Some(EngineSocket::new(self.this.upgrade()?, key, *id, *route)),
            _ => None,
        }
    }

    fn websocket_handle(&self, key: SocketKey, id: SocketId, route: usize) -> Option<WebSocket> {
        Some(WebSocket::new(self.this.upgrade()?, key, id, route))
    }

    // ---- order ----

    /// Runs `now`, unless a handler of this socket has not ended: then `later` is asked for an owned form, which waits in line.
    fn run_in_order(
        &self,
        key: SocketKey,
        now: impl FnOnce() -> Outcome,
        later: impl FnOnce() -> (usize, Waiting),
    ) {
        let busy = !self.lines.borrow().is_empty() && self.lines.borrow().contains_key(&key);
        if busy {
            let (bytes, waiting) = later();
            return self.queue(key, bytes, waiting);
        }
        if let Outcome::Pending(future) = caught(now) {
            self.lines.borrow_mut().insert(key, Line::default());
            self.follow(key, future);
        }
    }

    fn queue(&self, key: SocketKey, bytes: usize, waiting: Waiting) {
        let mut lines = self.lines.borrow_mut();
        let Some(line) = lines.get_mut(&key) else {
            return;
        };
        line.waiting.push_back((bytes, waiting));
        line.bytes += bytes;
        if line.bytes > self.shared.settings.backlog_max && line.paused.is_none() {
            line.paused = self.hall.connection_of(key);
            if let Some(connection) = line.paused {
                self.hall.command(Command::Pause { connection });
            }
        }
    }

    /// Waits for a handler, then for each that waits in line behind it.
    fn follow(&self, key: SocketKey, first: LocalFuture) {
        let Some(this) = self.this.upgrade() else {
            return;
        };
        task::spawn_on(
            self.hall.clone(),
            Box::pin(async move {
                task::guarded(first).await;
                while let Some(next) = this.next_in_line(key) {
                    if let Outcome::Pending(future) = caught(next) {
                        task::guarded(future).await;
                    }
                }
            }),
        );
    }

    fn next_in_line(&self, key: SocketKey) -> Option<Waiting> {
        let mut lines = self.lines.borrow_mut();
        let line = lines.get_mut(&key)?;
        let next = line.waiting.pop_front();
        line.bytes -= next.as_ref().map_or(0, |(bytes, _)| *bytes);
        // The socket may have left meanwhile, and its connection live on: so it is not asked for its connection again.
        if line.bytes <= self.shared.settings.backlog_max / 2
            && let Some(connection) = line.paused.take()
        {
            self.hall.command(Command::Resume { connection });
        }
        if next.is_none() {
            lines.remove(&key);
        }
        next.map(|(_, waiting)| waiting)
    }

    /// What waits for a socket that has left is not handled any more; its connection, if it lives on, is read from again at once, however
    /// long the handler takes that is still at work.
    fn abandon_line(&self, key: SocketKey) {
        let (waiting, paused) = match self.lines.borrow_mut().get_mut(&key) {
            None => return,
            Some(line) => {
                line.bytes = 0;
                (std::mem::take(&mut line.waiting), line.paused.take())
            }
        };
        if let Some(connection) = paused {
            self.hall.command(Command::Resume { connection });
        }
        drop(waiting);
    }

    /// Runs a handler for whose end nothing waits.
    fn run_detached(&self, handler: impl FnOnce() -> Outcome) {
        if let Outcome::Pending(future) = caught(handler) {
            task::spawn_on(self.hall.clone(), future);
        }
    }
}

/// Runs handlers of the user; a panic in them is logged.
fn caught(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        task::log_panic(&*panic);
        Outcome::Done
    })
}

/// Several handlers of one event: all are begun in order; the event has ended when all have.
fn all(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let mut pending: Vec<LocalFuture> = outcomes
        .filter_map(|outcome| match outcome {
            Outcome::Done => None,
            Outcome::Pending(future) => Some(future),
        })
        .collect();
    match pending.len() {
        0 => Outcome::Done,
        1 => pending.pop().map_or(Outcome::Done, Outcome::Pending),
        _ => Outcome::Pending(Box::pin(async move {
            for future in pending {
                task::guarded(future).await;
            }
        })),
    }
}

/// Calls the handlers of one event: the namespace's, then the socket's own, or the namespace's fallback if there is neither.
fn dispatch(socket: &Socket, name: &str, args: Args<'_>, ack: Option<u64>) -> Outcome {
    let context = EventContext::new(socket, name, args, ack);
    let table = socket.table();
    let shared = table.events.get(name).map_or(&[][..], |handlers| handlers);
    let own = socket.own_handlers(name);
    if shared.is_empty() && own.is_empty() {
        return all(table
            .fallback
            .iter()
            .map(|handler| caught(|| handler(&context))));
    }
    let shared = shared.iter().map(|handler| caught(|| handler(&context)));
    all(shared.chain(own.iter().map(|handler| caught(|| handler(&context)))))
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
        self.set_seat(
            socket,
            Seat::WebSocket {
                key: socket,
                id,
                route: number,
            },
        );
        let Some(handle) = self.websocket_handle(socket, id, number) else {
            return;
        };
        if let Some(handler) = self.shared.routes.on_open(number) {
            self.run_in_order(
                socket,
                || handler(&handle, handshake),
                || (0, Box::new(|| Outcome::Done)),
            );
        }
    }

    fn websocket_message(&self, socket: SocketKey, kind: Kind, payload: &mut [u8]) {
        let Some(handle) = self.websocket(socket) else {
            return;
        };
        let route = handle.route();
        let Some(handler) = self.shared.routes.on_message(route) else {
            return;
        };
        let message = Message::new(kind, payload);
        self.run_in_order(
            socket,
            || handler(&handle, message),
            || {
                let (handle, owned, shared) =
                    (handle.clone(), message.to_owned(), self.shared.clone());
                let run = move || match shared.routes.on_message(route) {
                    Some(handler) if handle.is_open() => handler(&handle, owned.borrow()),
                    _ => Outcome::Done,
                };
                (payload.len() + WAITING_OVERHEAD, Box::new(run))
            },
        );
    }

    fn websocket_closed(&self, socket: SocketKey, code: CloseCode, reason: &str) {
        let handle = self.websocket(socket);
        self.clear_seat(socket);
        self.abandon_line(socket);
        if let Some(handle) = handle
            && let Some(handler) = self.shared.routes.on_close(handle.route())
        {
            self.run_detached(|| handler(&handle, CloseFrame { code, reason }));
        }
        self.hall.vacate(socket);
    }

    fn engine_opened(
        &self,
        number: usize,
        socket: SocketKey,
        id: SocketId,
        handshake: &Rc<Handshake>,
    ) {
        let seat = Seat::Engine {
            key: socket,
            id,
            route: number,
        };
        self.set_seat(socket, seat);
        let route = self.shared.routes.raw(number);
        if let (Some(handle), Some(open)) = (
            self.engine(socket),
            route.and_then(|route| route.open.as_ref()),
        ) {
            caught(|| {
                open(&handle, handshake);
                Outcome::Done
            });
        }
    }

    fn engine_message(&self, socket: SocketKey, kind: Kind, payload: &[u8]) {
        let Some(handle) = self.engine(socket) else {
            return;
        };
        let route = self.shared.routes.raw(handle.route());
        if let Some(message) = route.and_then(|route| route.message.as_ref()) {
            caught(|| {
                message(&handle, Message::new(kind, payload));
                Outcome::Done
            });
        }
    }

    fn engine_closed(&self, socket: SocketKey, reason: DisconnectReason) {
        let handle = self.engine(socket);
        self.clear_seat(socket);
        self.hall.vacate(socket);
        let Some(handle) = handle else {
            return;
        };
        let route = self.shared.routes.raw(handle.route());
        if let Some(close) = route.and_then(|route| route.close.as_ref()) {
            caught(|| {
                close(&handle, reason);
                Outcome::Done
            });
        }
    }

    fn admit(&self, namespace: &str) -> Verdict {
        // Whether a family takes a name is said by the user's code, and the name is the peer's.
        let find = AssertUnwindSafe(|| self.shared.namespaces.find(namespace));
        let found = catch_unwind(find).unwrap_or_else(|panic| {
            task::log_panic(&*panic);
            None
        });
        match found {
            Some((scope, number)) => Verdict::Accept { scope, number },
            None => Verdict::Refuse {
                json: r#"{"message":"Invalid namespace"}"#.to_owned(),
            },
        }
    }

    fn connected(&self, arrival: Arrival<'_>) {
        let Arrival {
            socket,
            id,
            namespace,
            number,
            handshake,
            auth,
        } = arrival;
        let table = &self.tables[number];
        let socket = Socket::new(
            socket,
            id,
            (namespace, table.clone()),
            handshake,
            auth,
            self,
        );
        self.set_seat(socket.key(), Seat::Socket(socket.clone()));
        let auth = (!auth.is_empty()).then_some(auth);
        let run = || {
            let context = ConnectContext::new(&socket, auth);
            all(table
                .connection
                .iter()
                .map(|handler| caught(|| handler::connect(handler, &context))))
        };
        self.run_in_order(socket.key(), run, || (0, Box::new(|| Outcome::Done)));
    }

    fn event(&self, socket: SocketKey, event: Event<'_>) {
        let Some(socket) = self.socket(socket) else {
            return;
        };
        let Event {
            name,
            ack,
            args,
            attachments,
        } = event;
        self.run_in_order(
            socket.key(),
            || {
                dispatch(
                    &socket,
                    name,
                    Args {
                        json: args,
                        attachments,
                    },
                    ack,
                )
            },
            || {
                let (socket, name) = (socket.clone(), name.to_owned());
                let payload = Payload::of(&Args {
                    json: args,
                    attachments,
                });
                let run = move || {
                    let Ok(payload) = payload else {
                        return Outcome::Done;
                    };
                    // As in Node: events to a socket that disconnected meanwhile are dropped.
                    if !socket.is_connected() {
                        return Outcome::Done;
                    }
                    dispatch(&socket, &name, payload.as_args(), ack)
                };
                let bytes: usize = attachments.iter().map(Bytes::len).sum();
                (bytes + args.len() + WAITING_OVERHEAD, Box::new(run))
            },
        );
    }

    fn acknowledged(&self, socket: SocketKey, id: u64, args: &[u8], attachments: &[Bytes]) {
        if let Some(socket) = self.socket(socket) {
            socket.answered(id, args, attachments);
        }
    }

    fn disconnected(&self, socket: SocketKey, reason: DisconnectReason) {
        if let Some(socket) = self.socket(socket) {
            Local::disconnected(self, &socket, reason);
        }
    }
}

/// What a waiting event costs beside its bytes, so that a flood of empty events is bounded, too.
const WAITING_OVERHEAD: usize = 256;
