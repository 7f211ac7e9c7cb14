//! WebSockets, and sessions without Socket.IO.

use std::rc::Rc;

use super::line::{WAITING_OVERHEAD, caught};
use super::{Local, Seat};
use crate::proto::websocket::Kind;
use crate::server::engine::EngineSocket;
use crate::server::handler::Outcome;
use crate::server::websocket::{CloseFrame, Message, WebSocket};
use crate::server::{DisconnectReason, Handshake, SocketId};
use crate::shard::hall::SocketKey;
use crate::wire::close::CloseCode;

impl Local {
    pub(super) fn websocket(&self, key: SocketKey) -> Option<WebSocket> {
        match self.seats.borrow().get(key.slot as usize)? {
            Seat::WebSocket {
                key: seated,
                id,
                route,
            } if *seated == key => self.websocket_handle(key, *id, *route),
            _ => None,
        }
    }

    pub(super) fn engine(&self, key: SocketKey) -> Option<EngineSocket> {
        match self.seats.borrow().get(key.slot as usize)? {
            Seat::Engine {
                key: seated,
                id,
                route,
            } if *seated == key => Some(EngineSocket::new(self.this.upgrade()?, key, *id, *route)),
            _ => None,
        }
    }

    pub(super) fn websocket_handle(
        &self,
        key: SocketKey,
        id: SocketId,
        route: usize,
    ) -> Option<WebSocket> {
        Some(WebSocket::new(self.this.upgrade()?, key, id, route))
    }

    pub(super) fn handle_websocket_opened(
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

    pub(super) fn handle_websocket_message(
        &self,
        socket: SocketKey,
        kind: Kind,
        payload: &mut [u8],
    ) {
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

    pub(super) fn handle_websocket_closed(&self, socket: SocketKey, code: CloseCode, reason: &str) {
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

    pub(super) fn handle_engine_opened(
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

    pub(super) fn handle_engine_message(&self, socket: SocketKey, kind: Kind, payload: &[u8]) {
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

    pub(super) fn handle_engine_closed(&self, socket: SocketKey, reason: DisconnectReason) {
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
}
