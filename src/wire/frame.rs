//! The head of a frame (RFC 6455 §5.2).

#[cfg(test)]
mod tests;

use std::ops::Deref;

use super::Status;

/// The longest head: two bytes, an eight-byte length, a mask.
pub(crate) const HEAD_MAX: usize = 14;
/// The longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const CONTROL_MAX: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_RSV3: u8 = 0x30;
const MASKED: u8 = 0x80;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    /// The next part of a fragmented message.
    Continuation = 0x0,
    /// A text message, or its first part.
    Text = 0x1,
    /// A binary message, or its first part.
    Binary = 0x2,
    /// The end of the conversation.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer.
    Pong = 0xA,
}

impl Opcode {
    /// Close, Ping and Pong: short, never fragmented, and allowed between the parts of a message.
    pub(crate) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// A decoded frame head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The frame is the last of its message.
    pub(crate) fin: bool,
    /// What the frame is for.
    pub(crate) opcode: Opcode,
    /// What the payload is masked with, when it is.
    pub(crate) mask: Option<[u8; 4]>,
    /// Length of the payload in bytes; below 2^63.
    pub(crate) payload_len: u64,
    /// How many bytes the head takes: where the payload begins.
    pub(crate) head_len: usize,
    /// RSV1, on the first frame of a message only: it means what an extension says it means, and is an error without one.
    pub(crate) rsv1: bool,
}

/// Which rule of RFC 6455 §5.2 and §5.5 a head breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// RSV2 or RSV3 is set, or RSV1 where no extension gives it a meaning.
    ReservedBits,
    /// Opcode 0x3 to 0x7 or 0xB to 0xF.
    ReservedOpcode,
    /// A control frame of more than 125 bytes.
    ControlTooLong,
    /// A control frame without FIN.
    ControlFragmented,
    /// A length that would have fitted into fewer bytes.
    LengthNotMinimal,
    /// A length of 2^63 or more.
    LengthTooLarge,
}

/// Reads a frame's head from the beginning of `bytes`. An error is found with the first byte that settles it.
#[inline]
pub(crate) fn decode_head(bytes: &[u8]) -> Result<Status<Head>, FrameError> {
    let Some(&first) = bytes.first() else {
        return Ok(Status::Partial);
    };
    let opcode = decode_first_byte(first)?;
    let Some(&second) = bytes.get(1) else {
        return Ok(Status::Partial);
    };
    let short_len = second & !MASKED;
    // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
    if opcode.is_control() && usize::from(short_len) > CONTROL_MAX {
        return Err(FrameError::ControlTooLong);
    }
    let after = bytes.get(2..).unwrap_or_default();
    let (payload_len, len_len) = match short_len {
        LEN_16 => (decode_len_16(after)?, 2),
        LEN_64 => (decode_len_64(after)?, 8),
        len => (Status::Complete(u64::from(len)), 0),
    };
    let Status::Complete(payload_len) = payload_len else {
        return Ok(Status::Partial);
    };

    let (mask, mask_len) = if second & MASKED == 0 {
        (None, 0)
    } else {
        match after.get(len_len..).and_then(|bytes| bytes.first_chunk()) {
            Some(mask) => (Some(*mask), 4),
            None => return Ok(Status::Partial),
        }
    };
    Ok(Status::Complete(Head {
        fin: first & FIN != 0,
        opcode,
        mask,
        payload_len,
        head_len: 2 + len_len + mask_len,
        rsv1: first & RSV1 != 0,
    }))
}

#[inline]
fn decode_first_byte(first: u8) -> Result<Opcode, FrameError> {
    if first & RSV2_RSV3 != 0 {
        return Err(FrameError::ReservedBits);
    }
    let opcode = match first & 0x0F {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        _ => return Err(FrameError::ReservedOpcode),
    };
    // RFC 7692 §6.1: compression marks the first frame of a message, never a control frame.
    if first & RSV1 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(FrameError::ReservedBits);
    }
    // RFC 6455 §5.5: control frames "MUST NOT be fragmented".
    if opcode.is_control() && first & FIN == 0 {
        return Err(FrameError::ControlFragmented);
    }
    Ok(opcode)
}

#[inline]
fn decode_len_16(bytes: &[u8]) -> Result<Status<u64>, FrameError> {
    let Some(len) = bytes.first_chunk() else {
        return Ok(Status::Partial);
    };
    let len = u16::from_be_bytes(*len);
    // RFC 6455 §5.2: "the minimal number of bytes MUST be used to encode the length".
    if len < u16::from(LEN_16) {
        return Err(FrameError::LengthNotMinimal);
    }
    Ok(Status::Complete(u64::from(len)))
}

#[inline]
fn decode_len_64(bytes: &[u8]) -> Result<Status<u64>, FrameError> {
    // RFC 6455 §5.2: "the most significant bit MUST be 0". The first byte already tells.
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        return Err(FrameError::LengthTooLarge);
    }
    // Six zero bytes leave what a 16-bit length could have said.
    if bytes.first_chunk() == Some(&[0; 6]) {
        return Err(FrameError::LengthNotMinimal);
    }
    match bytes.first_chunk() {
        Some(len) => Ok(Status::Complete(u64::from_be_bytes(*len))),
        None => Ok(Status::Partial),
    }
}

/// An encoded head: dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedHead {
    bytes: [u8; HEAD_MAX],
    len: u8,
}

impl EncodedHead {
    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }
}

impl Deref for EncodedHead {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The head of a frame as a server sends it: unmasked (RFC 6455 §5.1), at most ten bytes.
#[inline]
pub(crate) fn encode_head(opcode: Opcode, fin: bool, payload_len: usize) -> EncodedHead {
    encode(opcode, fin, payload_len, None)
}

/// Appends the head of a whole message as a server sends it; the same as [`encode_head`] with FIN. The short forms are written in one piece each, as
/// nearly all messages have one of them.
#[inline]
pub(crate) fn append_head(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    let first = opcode as u8 | FIN;
    match payload_len {
        0..126 => out.extend_from_slice(&[first, payload_len as u8]),
        126..=0xFFFF => {
            let [high, low] = (payload_len as u16).to_be_bytes();
            out.extend_from_slice(&[first, LEN_16, high, low]);
        }
        _ => out.extend_from_slice(&encode_head(opcode, true, payload_len)),
    }
}

/// The head of a frame as a client sends it. The caller masks the payload.
#[inline]
pub(crate) fn encode_masked_head(
    opcode: Opcode,
    fin: bool,
    payload_len: usize,
    mask: [u8; 4],
) -> EncodedHead {
    encode(opcode, fin, payload_len, Some(mask))
}

#[inline]
fn encode(opcode: Opcode, fin: bool, payload_len: usize, mask: Option<[u8; 4]>) -> EncodedHead {
    let first = opcode as u8 | if fin { FIN } else { 0 };
    let masked = if mask.is_some() { MASKED } else { 0 };
    let mut head = EncodedHead {
        bytes: [0; HEAD_MAX],
        len: 0,
    };
    if payload_len < usize::from(LEN_16) {
        head.push(&[first, masked | payload_len as u8]);
    } else if let Ok(len) = u16::try_from(payload_len) {
        head.push(&[first, masked | LEN_16]);
        head.push(&len.to_be_bytes());
    } else {
        head.push(&[first, masked | LEN_64]);
        head.push(&(payload_len as u64).to_be_bytes());
    }
    if let Some(mask) = mask {
        head.push(&mask);
    }
    head
}
