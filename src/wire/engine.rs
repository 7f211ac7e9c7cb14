//! Engine.IO protocol 4: one packet, as it travels in a WebSocket message.
//!
//! A text message is a type digit and its data; `b` and base64 stand for a binary message where binary frames are not wanted. A
//! binary WebSocket message is a message packet's bytes and nothing else, so it needs no codec.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

#[cfg(test)]
mod tests;

/// Type digits (Engine.IO protocol, "Packet encoding").
pub(crate) const OPEN: u8 = b'0';
pub(crate) const CLOSE: u8 = b'1';
pub(crate) const PING: u8 = b'2';
pub(crate) const PONG: u8 = b'3';
pub(crate) const MESSAGE: u8 = b'4';
pub(crate) const UPGRADE: u8 = b'5';
pub(crate) const NOOP: u8 = b'6';
/// What a text message begins with when the rest is the base64 of a binary message. There is no type digit then.
pub(crate) const BASE64: u8 = b'b';

/// One packet, borrowing its data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// What the server says first; a client says it on WebTransport only.
    Open(&'a [u8]),
    /// The session is over.
    Close,
    /// With data only when probing a transport.
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// Text for the layer above. May be empty.
    Message(&'a mut [u8]),
    Upgrade,
    Noop,
    /// Bytes for the layer above, still in base64: see [`decode_base64`].
    Binary(&'a mut [u8]),
}

/// Why a text message is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketError {
    /// Not even a type.
    Empty,
    /// The first byte is no type digit.
    UnknownType,
}

/// Decodes the packet of one text message.
pub(crate) fn decode_text(text: &mut [u8]) -> Result<Packet<'_>, PacketError> {
    let (kind, data) = text.split_first_mut().ok_or(PacketError::Empty)?;
    Ok(match *kind {
        OPEN => Packet::Open(data),
        CLOSE => Packet::Close,
        PING => Packet::Ping(data),
        PONG => Packet::Pong(data),
        MESSAGE => Packet::Message(data),
        UPGRADE => Packet::Upgrade,
        NOOP => Packet::Noop,
        BASE64 => Packet::Binary(data),
        _ => return Err(PacketError::UnknownType),
    })
}

/// Padding is written, and not missed when read; the unused bits of the last digit may be anything.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes that `text` stands for: the one decoder here that allocates, three bytes for every four of `text`.
///
/// It never fails, since Engine.IO for Node does not either: both alphabets are read, what belongs to neither is skipped, the text
/// ends at the first `=`, and a last digit with only six bits is dropped. `text` is used as scratch.
pub(crate) fn decode_base64(text: &mut [u8]) -> Vec<u8> {
    if let Ok(bytes) = LENIENT.decode(&*text) {
        return bytes;
    }
    let digits = keep_digits(text);
    LENIENT.decode(digits).unwrap_or_default()
}

/// Moves the base64 digits of `text` to its front, in the standard alphabet, and returns as many as make whole bytes.
fn keep_digits(text: &mut [u8]) -> &[u8] {
    let mut kept = 0;
    for at in 0..text.len() {
        let digit = match text[at] {
            b'=' => break,
            b'-' => b'+',
            b'_' => b'/',
            byte if byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/' => byte,
            _ => continue,
        };
        text[kept] = digit;
        kept += 1;
    }
    if kept % 4 == 1 {
        kept -= 1;
    }
    &text[..kept]
}

/// Appends a text packet: its type digit and `data`.
pub(crate) fn encode_text(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    debug_assert!((OPEN..=NOOP).contains(&kind), "a type digit");
    out.reserve(1 + data.len());
    out.push(kind);
    out.extend_from_slice(data);
}

/// How many base64 digits `len` bytes take: four for each three bytes begun, padding counted. Saturating: beyond the address space an
/// allocation fails anyway.
pub(crate) fn base64_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

/// Appends a binary message in its text form, for a transport or a session without binary frames (polling; `b64=1`).
pub(crate) fn encode_base64(out: &mut Vec<u8>, data: &[u8]) {
    out.push(BASE64);
    append_base64(out, data);
}

/// Appends the base64 of `data`, padded.
pub(crate) fn append_base64(out: &mut Vec<u8>, data: &[u8]) {
    let digits = base64_len(data.len());
    let start = out.len();
    out.resize(start.saturating_add(digits), b'=');
    let written = LENIENT.encode_slice(data, &mut out[start..]);
    debug_assert_eq!(
        written,
        Ok(digits),
        "the space is exactly what padded base64 takes"
    );
}
