//! The inside, for the benches of this repository: each item here is one thing worth measuring by itself.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "not for users")]

pub use crate::server::exchange::Exchange;

use crate::proto::websocket::{Input, Limits, Output, Role, WebSocket};
use crate::room::select::Selection;
use crate::room::turn::Turn;
use crate::room::{Limits as RoomLimits, Rooms, ScopeId};
use crate::wire::frame::{self, Opcode};
use crate::wire::{handshake, mask, socket};

/// A masked text or binary frame, as a client sends it.
pub fn client_frame(text: bool, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let opcode = if text { Opcode::Text } else { Opcode::Binary };
    let mut bytes = frame::encode_masked_head(opcode, true, payload.len(), key).to_vec();
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(key, 0, &mut bytes[start..]);
    bytes
}

/// One WebSocket of a server.
pub struct ServerSide(WebSocket, Limits);

impl Default for ServerSide {
    fn default() -> Self {
        let limits = Limits {
            max_message: 1 << 24,
            close_timeout_ms: 1000,
            heartbeat: None,
        };
        ServerSide(WebSocket::new(Role::Server), limits)
    }
}

impl ServerSide {
    /// Decodes received bytes, in place; returns the bytes of the messages in them.
    pub fn receive(&mut self, bytes: &mut [u8]) -> usize {
        let (mut input, mut total) = (Input::new(bytes), 0);
        while let Some(output) = self.0.next(0, &self.1, &mut input) {
            if let Output::Message { payload, .. } = output {
                total += payload.len();
            }
        }
        total
    }
}

/// Decodes a Socket.IO event in place; returns the bytes of its arguments.
pub fn decode_event(text: &mut [u8]) -> usize {
    let packet = socket::decode(text, &socket::Limits::default());
    let parts = packet
        .ok()
        .and_then(|packet| packet.payload.zip(packet.name));
    let event = parts.and_then(|(payload, name)| socket::split_named(payload, name).ok());
    event.map_or(0, |event| event.args.len())
}

/// The answer to the key of an opening handshake.
pub fn accept_key(key: &[u8]) -> [u8; 28] {
    handshake::accept_key(key)
}

/// A room with members, each on a connection of its own, and the turn in which they are told something.
pub struct Hall {
    rooms: Rooms,
    scope: ScopeId,
    turn: Turn,
}

impl Hall {
    pub fn with_members(members: u32) -> Self {
        let mut rooms = Rooms::new(RoomLimits::default());
        let scope = rooms.scope("/");
        for member in 0..members {
            let _ = rooms.enter(scope, member, member);
            let _ = rooms.join(member, "room");
        }
        Hall {
            rooms,
            scope,
            turn: Turn::default(),
        }
    }

    /// Says `message` to the room and copies it out for each member, as a shard does at the end of a turn; returns the bytes copied.
    pub fn broadcast(&mut self, message: &[u8], out: &mut Vec<u8>) -> usize {
        let id = self.turn.say(message);
        let selection = Selection {
            scope: self.scope,
            to: &["room"],
            to_members: &[],
            except: &[],
            except_members: &[],
            not: None,
        };
        let turn = &mut self.turn;
        self.rooms
            .for_each(&selection, |_, connection| turn.mark(connection, id));
        let mut total = 0;
        while let Some(marked) = self.turn.take_marked() {
            out.clear();
            for piece in self.turn.pieces(marked) {
                match piece {
                    crate::room::turn::Piece::Small(bytes) => out.extend_from_slice(bytes),
                    crate::room::turn::Piece::Shared(bytes) => out.extend_from_slice(bytes),
                }
            }
            total += out.len();
        }
        self.turn.clear();
        total
    }
}
