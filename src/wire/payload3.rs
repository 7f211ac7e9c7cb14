//! Engine.IO protocol 3: the packets of one long-polling request or response, as Socket.IO 2 clients have them.
//!
//! A payload has one of two forms. As text, each packet is its length, a colon and itself; a length counts UTF-16 code units, as
//! JavaScript does, and binary is base64. As binary, each packet is a byte that says whether it is text, its length in bytes (one byte for
//! each decimal digit), the byte 255, and itself. Either way a binary packet has a type of its own, unlike in protocol 4.

#[cfg(test)]
mod tests;

use std::str;

use super::engine;
use super::payload::{Message, messages};

/// The type of a message packet where it is a byte and not a digit.
const MESSAGE: u8 = 4;
/// In the binary form: what a packet begins with when it is text, and when it is not.
const IS_TEXT: u8 = 0;
const IS_BINARY: u8 = 1;
/// In the binary form: what ends a length.
const LENGTH_END: u8 = 255;

/// How a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `text/plain; charset=UTF-8`.
    Text,
    /// `application/octet-stream`.
    Binary,
}

impl Form {
    /// The form for a client: binary if it did not ask for base64 (`b64=1`) and there is a binary packet.
    pub(crate) fn of<'a>(runs: impl IntoIterator<Item = &'a [u8]>, b64: bool) -> Form {
        let mut messages = runs.into_iter().flat_map(messages);
        if !b64 && messages.any(|message| matches!(message, Message::Binary(_))) {
            Form::Binary
        } else {
            Form::Text
        }
    }
}

/// Appends the packets of `frames` ([`messages`]). Packets stand next to each other, so a payload may be written in as many pieces as its
/// frames lie in.
pub(crate) fn encode(out: &mut Vec<u8>, frames: &[u8], form: Form) {
    for message in messages(frames) {
        match (message, form) {
            (Message::Text(packet), Form::Text) => {
                push_text_length(out, utf16_len(packet));
                out.extend_from_slice(packet);
            }
            (Message::Binary(payload), Form::Text) => {
                let data = payload;
                push_text_length(out, 2 + engine::base64_len(data.len()));
                out.extend_from_slice(&[engine::BASE64, engine::MESSAGE]);
                engine::append_base64(out, data);
            }
            (Message::Text(packet), Form::Binary) => {
                push_binary_length(out, IS_TEXT, packet.len());
                out.extend_from_slice(packet);
            }
            (Message::Binary(payload), Form::Binary) => {
                let data = payload;
                push_binary_length(out, IS_BINARY, 1 + data.len());
                out.push(MESSAGE);
                out.extend_from_slice(data);
            }
        }
    }
}

/// The length in bytes of the payload that [`encode`] makes of these runs of frames.
pub(crate) fn sized<'a>(runs: impl IntoIterator<Item = &'a [u8]>, form: Form) -> usize {
    let packets = runs.into_iter().flat_map(messages).map(|message| {
        // What the length says, the bytes it stands for, and the bytes around its digits.
        let (said, bytes, around) = match (message, form) {
            (Message::Text(packet), Form::Text) => (utf16_len(packet), packet.len(), 1),
            (Message::Text(packet), Form::Binary) => (packet.len(), packet.len(), 2),
            (Message::Binary(payload), Form::Text) => {
                let len = 2 + engine::base64_len(payload.len());
                (len, len, 1)
            }
            (Message::Binary(payload), Form::Binary) => {
                let len = 1 + payload.len();
                (len, len, 2)
            }
        };
        Digits::of(said).as_bytes().len() + bytes + around
    });
    packets.sum()
}

fn push_text_length(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(Digits::of(len).as_bytes());
    out.push(b':');
}

fn push_binary_length(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    out.extend(Digits::of(len).as_bytes().iter().map(|digit| digit - b'0'));
    out.push(LENGTH_END);
}

/// A number in decimal.
struct Digits {
    bytes: [u8; 20],
    from: usize,
}

impl Digits {
    fn of(mut number: usize) -> Self {
        let mut digits = Digits {
            bytes: [b'0'; 20],
            from: 20,
        };
        for (at, digit) in digits.bytes.iter_mut().enumerate().rev() {
            *digit = b'0' + (number % 10) as u8;
            digits.from = at;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        digits
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }
}

/// How many UTF-16 code units a character takes, told by the first byte of its UTF-8; its other bytes take none.
fn utf16_units(byte: u8) -> usize {
    match byte {
        0x80..=0xBF => 0,
        0xF0.. => 2,
        _ => 1,
    }
}

fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|byte| utf16_units(*byte)).sum()
}

/// One packet of a payload, borrowing its data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// A packet in its text form, for [`engine::decode_text`], where it is none that begins with `b`. Never empty.
    Text(&'a mut [u8]),
    /// A binary message, without its type.
    Binary(&'a mut [u8]),
    /// A binary message without its type, still in base64: see [`engine::decode_base64`].
    Base64(&'a mut [u8]),
}

/// Why a payload cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadError {
    /// Nothing where there must be a packet.
    Empty,
    /// A length that is no number, does not end, or is more than there is.
    Length,
    /// A packet, in the binary form, that is neither text nor binary.
    Kind,
    /// Binary data in a packet that is no message.
    NotMessage,
    /// Text that is no UTF-8.
    Utf8,
}

/// The packets of a payload, in order, and at last why it ends too early, if it does: what came before is to be delivered.
///
/// The text form is meant to have been through [`to_utf8_lossy`](super::payload::to_utf8_lossy). Each byte is looked at once or twice,
/// however many packets it is.
pub(crate) fn packets(payload: &mut [u8], form: Form) -> Packets<'_> {
    Packets {
        // An empty text is an error, and an empty binary payload has no packets: so engine.io-parser 2 has it.
        ended: payload.is_empty() && form == Form::Binary,
        rest: payload,
        form,
    }
}

/// See [`packets`].
#[derive(Debug)]
pub(crate) struct Packets<'a> {
    rest: &'a mut [u8],
    form: Form,
    ended: bool,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.form {
            Form::Text => self.next_of_text(),
            Form::Binary => self.next_of_binary().map(Some),
        };
        self.ended = self.rest.is_empty() || !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl<'a> Packets<'a> {
    /// The next packet of the text form that is not empty: engine.io-parser 2 writes `0:` for no packets at all.
    fn next_of_text(&mut self) -> Result<Option<Packet<'a>>, PayloadError> {
        if self.rest.is_empty() {
            return Err(PayloadError::Empty);
        }
        while !self.rest.is_empty() {
            let units = self.take_length(b':', b'0')?;
            if units > 0 {
                let len = self.bytes_of(units).ok_or(PayloadError::Length)?;
                return packet_of_text(self.take(len)?).map(Some);
            }
        }
        Ok(None)
    }

    fn next_of_binary(&mut self) -> Result<Packet<'a>, PayloadError> {
        let kind = self.take(1)?;
        let len = self.take_length(LENGTH_END, 0)?;
        let packet = self.take(len)?;
        match *kind {
            [IS_TEXT] if str::from_utf8(packet).is_err() => Err(PayloadError::Utf8),
            [IS_TEXT] => packet_of_text(packet),
            [IS_BINARY] => match packet.split_first_mut() {
                Some((&mut MESSAGE, data)) => Ok(Packet::Binary(data)),
                Some(_) => Err(PayloadError::NotMessage),
                None => Err(PayloadError::Empty),
            },
            _ => Err(PayloadError::Kind),
        }
    }

    /// Takes a length and the byte `end` behind it. Its digits count from `zero`. A length that is more than the bytes left is an error as
    /// soon as it is; none takes fewer bytes than it says.
    fn take_length(&mut self, end: u8, zero: u8) -> Result<usize, PayloadError> {
        let mut len = 0_usize;
        for at in 0..self.rest.len() {
            let byte = self.rest.get(at).copied().unwrap_or(end);
            if byte == end && at > 0 {
                self.take(at + 1)?;
                return Ok(len);
            }
            let digit = byte.wrapping_sub(zero);
            if digit > 9 {
                return Err(PayloadError::Length);
            }
            len = len.saturating_mul(10).saturating_add(usize::from(digit));
            if len > self.rest.len() {
                return Err(PayloadError::Length);
            }
        }
        Err(PayloadError::Length)
    }

    /// How many of the bytes left make so many UTF-16 code units: none if there are too few, or if half a character would be left.
    fn bytes_of(&self, units: usize) -> Option<usize> {
        if self.rest.get(..units)?.is_ascii() {
            return Some(units);
        }
        let mut left = units;
        for (at, byte) in self.rest.iter().enumerate() {
            let needed = utf16_units(*byte);
            if left == 0 && needed > 0 {
                return Some(at);
            }
            left = left.checked_sub(needed)?;
        }
        (left == 0).then_some(self.rest.len())
    }

    fn take(&mut self, len: usize) -> Result<&'a mut [u8], PayloadError> {
        let rest = std::mem::take(&mut self.rest);
        let (taken, after) = rest.split_at_mut_checked(len).ok_or(PayloadError::Length)?;
        self.rest = after;
        Ok(taken)
    }
}

/// A packet that came as text.
fn packet_of_text(packet: &mut [u8]) -> Result<Packet<'_>, PayloadError> {
    match packet {
        [] => Err(PayloadError::Empty),
        [engine::BASE64, engine::MESSAGE, base64 @ ..] => Ok(Packet::Base64(base64)),
        [engine::BASE64, ..] => Err(PayloadError::NotMessage),
        packet => Ok(Packet::Text(packet)),
    }
}
