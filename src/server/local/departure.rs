//! The end of a socket.

use super::Local;
use crate::server::DisconnectReason;
use crate::server::extract::DisconnectContext;
use crate::server::socket::Socket;
use crate::server::task;

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
            task::discard(handler);
        }
        if reason == DisconnectReason::ServerNamespaceDisconnect {
            socket.say_disconnect();
        }
        self.depart(socket, reason);
        for handler in &socket.table().disconnect {
            self.run_detached(|| handler(&context));
        }
        for handler in socket.own_disconnect() {
            self.run_detached(|| handler(&context));
            task::discard(handler);
        }
        if socket.table().is_family {
            self.child_left(socket.id_and_namespace().1);
        }
        socket.forget();
    }
}
