//! Control frames: one to send, encoded; one that comes in pieces, kept.

use std::ops::Deref;

use super::Role;
use crate::wire::close::{self, CloseCode};
use crate::wire::frame::{self, CONTROL_MAX, Opcode};
use crate::wire::mask;

/// The longest control frame: a head of two bytes, a mask, 125 bytes.
const FRAME_MAX: usize = 2 + 4 + CONTROL_MAX;

/// An encoded control frame: dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    bytes: [u8; FRAME_MAX],
    len: u8,
}

impl Control {
    /// A control frame with this payload, of which no more than 125 bytes are sent.
    pub(super) fn new(role: Role, opcode: Opcode, payload: &[u8]) -> Self {
        debug_assert!(opcode.is_control());
        let payload = payload.get(..CONTROL_MAX).unwrap_or(payload);
        let head = match role {
            Role::Server => frame::encode_head(opcode, true, payload.len()),
            Role::Client { mask } => frame::encode_masked_head(opcode, true, payload.len(), mask),
        };
        let len = head.len() + payload.len();
        let mut bytes = [0; FRAME_MAX];
        bytes[..head.len()].copy_from_slice(&head);
        bytes[head.len()..len].copy_from_slice(payload);
        if let Role::Client { mask } = role {
            mask::apply(mask, 0, &mut bytes[head.len()..len]);
        }
        Self {
            bytes,
            len: len as u8,
        }
    }

    /// A Close frame; without code and reason where the code must not be sent.
    pub(super) fn close(role: Role, code: CloseCode, reason: &str) -> Self {
        let mut payload = [0; CONTROL_MAX];
        let len = close::encode_payload(code, reason, &mut payload);
        Self::new(role, Opcode::Close, &payload[..len])
    }
}

impl Deref for Control {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The payload of a control frame that the input cut in two.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: [u8; CONTROL_MAX],
    len: u8,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            bytes: [0; CONTROL_MAX],
            len: 0,
        }
    }
}

impl Kept {
    /// The next piece. The frame's head was checked, so all pieces together fit.
    pub(super) fn push(&mut self, piece: &[u8]) {
        debug_assert!(usize::from(self.len) + piece.len() <= CONTROL_MAX);
        for (slot, byte) in self.bytes.iter_mut().skip(usize::from(self.len)).zip(piece) {
            *slot = *byte;
            self.len += 1;
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
