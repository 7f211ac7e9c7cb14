//! Broadcasts, as those see them who watch what goes out.

use super::Local;
use crate::proto::websocket::Kind;
use crate::server::arguments::Args;
use crate::server::binary::Payload;
use crate::shard::hall::{Outgoing, SocketKey};
use crate::shard::recovery::offset::Offset;
use crate::wire::engine;
use crate::wire::json::MAX_DEPTH;
use crate::wire::msgpack::{self, Unpacked};
use crate::wire::socket::{self, Limits, PacketError};

/// What the server says itself is not limited.
const LIMITS: Limits = Limits {
    max_attachments: usize::MAX,
    max_depth: MAX_DEPTH,
};

impl Local {
    /// Tells the handlers of outgoing events of a broadcast that reached these sockets. It is read once for all of them.
    pub(super) fn tell_of_broadcast(&self, message: Outgoing<'_>, sockets: &[SocketKey]) {
        let Ok(Some((event, payload))) = read(message) else {
            return;
        };
        for socket in sockets.iter().filter_map(|key| self.socket(*key)) {
            socket.tell_outgoing(&event, &payload);
        }
    }
}

/// The event in a message. `None`: it is none.
fn read(message: Outgoing<'_>) -> Result<Option<(String, Payload)>, PacketError> {
    match message.kind {
        Kind::Text => {
            let mut text = match message.body {
                [engine::MESSAGE, text @ ..] => text.to_vec(),
                _ => return Ok(None),
            };
            let packet = socket::decode(&mut text, &LIMITS)?;
            let payload = packet.payload.unwrap_or_default();
            event(payload, message.attachments, message.offset).map(Some)
        }
        Kind::Binary => {
            let mut unpacked = Unpacked::default();
            let (packet, attachments) = msgpack::decode(message.body, &LIMITS, &mut unpacked)?;
            let payload = packet.payload.unwrap_or_default();
            event(payload, attachments, message.offset).map(Some)
        }
    }
}

fn event(
    payload: &mut [u8],
    attachments: &[bytes::Bytes],
    offset: Option<Offset>,
) -> Result<(String, Payload), PacketError> {
    // The program knows nothing of names for recovery.
    let payload = match offset {
        Some(offset) => offset.taken_off(payload),
        None => payload,
    };
    let parts = socket::split_event(payload)?;
    let name = parts.name.to_str().into_owned();
    let args = Args {
        json: parts.args,
        attachments,
    };
    let payload = Payload::of(&args).map_err(|_| PacketError::NotUtf8)?;
    Ok((name, payload))
}
