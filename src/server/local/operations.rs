//! What is done with several sockets at once, and what several were told at once.

use super::Local;
use crate::server::socket::Socket;
use crate::shard::hall::operation::{Deed, Handshaken, View, Whole};
use crate::shard::hall::{Outgoing, SocketKey, Usher};

impl Usher for Local {
    fn reached(&self, message: Outgoing<'_>, sockets: &[SocketKey]) {
        self.tell_of_broadcast(message, sockets);
    }

    fn operate(&self, deed: &Deed, sockets: &[SocketKey]) {
        // One that is gone by now was disconnected by what was done with those before it.
        let sockets = sockets.iter().filter_map(|key| self.socket(*key));
        match deed {
            Deed::Join(rooms) => sockets.for_each(|socket| {
                rooms.iter().for_each(|room| socket.join(room));
            }),
            Deed::Leave(rooms) => sockets.for_each(|socket| {
                rooms.iter().for_each(|room| socket.leave(room));
            }),
            Deed::Disconnect { close } => sockets.for_each(|socket| socket.disconnect(*close)),
            Deed::Fetch { whole, reply } => {
                let views = sockets.map(|socket| view(&socket, *whole)).collect();
                // Whoever asked may have stopped waiting.
                let _ = reply.send(views);
            }
        }
    }
}

fn view(socket: &Socket, whole: bool) -> View {
    View {
        id: socket.id().to_string(),
        rooms: socket.rooms(),
        whole: whole.then(|| {
            Box::new(Whole {
                handshake: Handshaken::Here {
                    handshake: socket.handshake().clone(),
                    auth: socket.auth_json().into(),
                },
                data: socket.data_json(),
            })
        }),
    }
}
