//! The end of a socket.

use super::Local;
use super::line::caught;
use crate::server::DisconnectReason;
use crate::server::extract::DisconnectContext;
use crate::server::handler::Outcome;
use crate::server::socket::Socket;

impl Local {
    /// The end of a socket: its handlers run around its leaving of all rooms (as in Node: `disconnecting` still has the
    /// rooms, `disconnect` has none).
    pub(crate) fn disconnected(&self, socket: &Socket, reason: DisconnectReason) {
        if !socket.is_connected() || !self.clear_seat(socket.key()) {
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
        self.vacate(socket, reason);
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
}
