//! Clients that come back to the session they had.

use std::rc::Rc;
use std::sync::Arc;

use super::admission::entry_of;
use super::{Local, Seat};
use crate::proto::reason::DisconnectReason;
use crate::reactor::ConnKey;
use crate::server::recovery::Asked;
use crate::server::socket::Socket;
use crate::shard::application::{Decision, Knock, Verdict};
use crate::shard::command::Command;
use crate::shard::hall::SocketKey;
use crate::shard::recovery::Refusal;

impl Local {
    /// Lets a client in to the session that it had, if it asks for one and that can be had. `None`: it is to have a new one.
    pub(super) fn recover(
        self: &Rc<Self>,
        knock: &Knock<'_>,
        scope: &Arc<str>,
        number: usize,
    ) -> Option<Verdict> {
        let recovering = self.shared.recovery.as_ref()?;
        let (pid, offset) = match Asked::read(knock.auth) {
            Asked::Nothing => return None,
            Asked::Nonsense => {
                recovering.core.count_refused(Refusal::Malformed);
                return None;
            }
            Asked::Session { pid, offset } => (pid, offset),
        };
        let claim = self.hall.claim(scope, (&pid, &offset)).ok()?;
        let key = self.hall.seat_returning(knock.connection, scope, &claim)?;
        let socket = Socket::new(
            key,
            claim.sid,
            (scope, self.tables[number].clone()),
            knock.handshake,
            knock.auth,
            self,
        );
        socket.set_recovered(claim.data.clone());
        self.set_seat(key, Seat::Socket(socket.clone()));
        if claim.moves {
            self.asked.borrow_mut().add(knock.connection, key);
            return Some(Verdict::Later);
        }
        Some(self.pass_recovered(knock.connection, socket))
    }

    /// The session is here: its middlewares may still have a say.
    fn pass_recovered(self: &Rc<Self>, connection: ConnKey, socket: Socket) -> Verdict {
        let recovering = self.shared.recovery.as_ref();
        if recovering.is_some_and(|recovering| recovering.skip_middlewares) {
            return Verdict::Enter(entry_of(&socket));
        }
        let passed = self.pass(&socket, 0);
        self.verdict(connection, socket, passed)
    }

    /// The session that a client waits for is here, or is refused: then it gets a new one.
    pub(super) fn handle_returned(self: &Rc<Self>, key: SocketKey, refused: Option<Refusal>) {
        let (Some(socket), Some(connection)) = (self.socket(key), self.hall.connection_of(key))
        else {
            return;
        };
        let (_, namespace) = socket.id_and_namespace();
        let namespace = namespace.clone();
        self.asked.borrow_mut().remove(connection, key);
        let verdict = match refused {
            None => self.pass_recovered(connection, socket),
            Some(_) => {
                self.turn_away(&socket);
                self.knock_as_new(Knock {
                    connection,
                    namespace: &namespace,
                    handshake: socket.handshake_shared(),
                    auth: socket.auth_json(),
                })
            }
        };
        let decision = match verdict {
            Verdict::Enter(entry) => {
                // The session may yet end before that is carried out.
                self.asked.borrow_mut().add(connection, entry.socket);
                Decision::Enter(entry)
            }
            Verdict::Refuse { json } => Decision::Refuse { json },
            Verdict::Later => return,
        };
        self.hall.command(Command::Decide {
            connection,
            namespace,
            decision: Box::new(decision),
        });
    }

    /// A socket's seat is given up: its session stays if its connection was lost.
    pub(super) fn vacate(&self, socket: &Socket, reason: DisconnectReason) {
        match reason {
            DisconnectReason::TransportError
            | DisconnectReason::TransportClose
            | DisconnectReason::ForcedClose
            | DisconnectReason::ForcedServerClose
            | DisconnectReason::PingTimeout
            | DisconnectReason::ServerShuttingDown
                if self.shared.recovery.is_some() =>
            {
                self.hall.depart(socket.key(), socket.data_json());
            }
            _ => self.hall.vacate(socket.key()),
        }
    }
}
