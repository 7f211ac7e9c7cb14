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
    /// The session of a socket that has just been seated can be recovered, if sessions can at all. Clients of Socket.IO 2 know nothing of it.
    pub(super) fn begin_recoverable(&self, socket: &Socket) {
        if self.shared.recovery.is_some() && socket.handshake().query("EIO").as_deref() != Some("3")
        {
            self.hall.begin_recoverable(socket.key());
        }
    }

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
        let table = self.tables[number].clone();
        let (id, handshake) = (claim.sid, knock.handshake);
        let socket = Socket::new(key, id, (scope, table), handshake, knock.auth, self);
        socket.set_recovered(claim.data.clone(), knock.granted);
        self.set_seat(key, Seat::Socket(socket.clone()));
        for room in claim.rooms.iter() {
            self.tell_joined(&socket, room, self.hall.is_alone_in(key, room));
        }
        if claim.moves {
            self.note_asked(knock.connection, &socket);
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
        let namespace = socket.id_and_namespace().1.clone();
        self.forget_question(connection, &namespace);
        let verdict = match refused {
            None => self.pass_recovered(connection, socket),
            Some(_) => {
                let granted = socket.granted();
                let knock = Knock {
                    connection,
                    namespace: &namespace,
                    handshake: socket.handshake_shared(),
                    granted: granted.as_ref(),
                    auth: socket.auth_json(),
                };
                let verdict = self.receive_again(&knock);
                self.turn_away(&socket);
                verdict
            }
        };
        self.tell(connection, &namespace, verdict);
    }

    /// Tells the shard what has become of a CONNECT that it was to hear of later.
    pub(super) fn tell(&self, connection: ConnKey, namespace: &Arc<str>, verdict: Verdict) {
        let decision = match verdict {
            Verdict::Enter(entry) => {
                // The session may yet end before that is carried out.
                if let Some(socket) = self.socket(entry.socket) {
                    self.note_asked(connection, &socket);
                }
                Decision::Enter(entry)
            }
            Verdict::Refuse { json } => {
                self.forget_question(connection, namespace);
                Decision::Refuse { json }
            }
            Verdict::Later => return,
        };
        self.hall.command(Command::Decide {
            connection,
            namespace: namespace.clone(),
            decision: Box::new(decision),
        });
    }

    /// A socket's seat is given up: its session stays if its connection was lost.
    pub(super) fn depart(&self, socket: &Socket, reason: DisconnectReason) {
        let is_lost = matches!(
            reason,
            DisconnectReason::TransportError
                | DisconnectReason::TransportClose
                | DisconnectReason::ForcedClose
                | DisconnectReason::ForcedServerClose
                | DisconnectReason::PingTimeout
                | DisconnectReason::ServerShuttingDown
        );
        if is_lost && self.shared.recovery.is_some() {
            let (key, data) = (socket.key(), socket.data_json());
            self.vacate_by(socket, || self.hall.depart(key, data));
        } else {
            self.vacate(socket);
        }
    }
}
