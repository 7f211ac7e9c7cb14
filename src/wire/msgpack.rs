//! Packets of `socket.io-msgpack-parser`: one MessagePack map for each, in one binary Engine.IO message.
//!
//! ```text
//! { type: 0..4, data: …, nsp: "/…", id: … }
//! ```
//!
//! Everything above knows packets as JSON with attachments. So a packet is put over into that when it comes ([`decode`]), and out of it when
//! it leaves ([`encode`]). There are two dialects of MessagePack to know: the format itself, and what notepack.io 2, which the parser is made
//! of, has for JavaScript's own values in extensions of type 0.

mod decode;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use smallvec::SmallVec;

use super::json::{JsonError, MAX_DEPTH, Reader, Token, Unescaped};
use super::socket::PacketType;
pub(crate) use decode::{Unpacked, decode};

/// A packet on its way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    /// The binary types count as the plain ones: here they are the same.
    pub(crate) kind: PacketType,
    pub(crate) namespace: &'a str,
    pub(crate) id: Option<u64>,
    /// The data, or nothing for a packet without.
    pub(crate) json: &'a [u8],
    /// What the placeholders in the JSON stand for. Without attachments there are no placeholders, only objects that look like them.
    pub(crate) attachments: &'a [Bytes],
}

/// Appends a packet. The error is the JSON's, deeper than [`MAX_DEPTH`] for example; then what was appended is not whole.
pub(crate) fn encode(out: &mut Vec<u8>, packet: &Packed<'_>) -> Result<(), JsonError> {
    let kind = match packet.kind {
        PacketType::BinaryEvent => PacketType::Event,
        PacketType::BinaryAck => PacketType::Ack,
        kind => kind,
    };
    let has_data = !packet.json.is_empty();
    let members = 2 + usize::from(has_data) + usize::from(packet.id.is_some());
    write_length(out, members, &MAP);
    write_text(out, "type");
    write_uint(out, kind as u64);
    if has_data {
        write_text(out, "data");
        write_json(out, packet.json, packet.attachments)?;
    }
    write_text(out, "nsp");
    write_text(out, packet.namespace);
    if let Some(id) = packet.id {
        write_text(out, "id");
        write_uint(out, id);
    }
    Ok(())
}

/// Appends one JSON value.
fn write_json(out: &mut Vec<u8>, json: &[u8], attachments: &[Bytes]) -> Result<(), JsonError> {
    // A container says first how many it holds, so the text is read twice.
    let lengths = lengths(json, attachments.len())?;
    let mut lengths = lengths.into_iter();
    let mut items = Items::new(json, attachments.len());
    while let Some(item) = items.next()? {
        match item {
            Item::Attachment(index) => {
                let bytes = attachments.get(index).map(|bytes| &bytes[..]);
                write_binary(out, bytes.unwrap_or_default());
            }
            Item::Token(Token::ArrayStart) => {
                write_length(out, lengths.next().unwrap_or_default(), &ARRAY);
            }
            Item::Token(Token::ObjectStart) => {
                write_length(out, lengths.next().unwrap_or_default(), &MAP);
            }
            Item::Token(Token::ArrayEnd | Token::ObjectEnd) => {}
            Item::Token(Token::Key(text) | Token::String(text)) => {
                // A message was checked to be UTF-8, and what we write ourselves is.
                let raw = str::from_utf8(text.raw).unwrap_or_default();
                if text.escaped {
                    write_unescaped(out, raw);
                } else {
                    write_text(out, raw);
                }
            }
            Item::Token(Token::Number(digits)) => write_number(out, digits),
            Item::Token(Token::True) => out.push(TRUE),
            Item::Token(Token::False) => out.push(FALSE),
            Item::Token(Token::Null) => out.push(NIL),
        }
    }
    Ok(())
}

/// How many members each container has, in the order in which they begin.
fn lengths(json: &[u8], attachments: usize) -> Result<SmallVec<[usize; 16]>, JsonError> {
    let mut lengths = SmallVec::new();
    // Of the containers that are open: which one, and is it an object.
    let mut open: SmallVec<[(usize, bool); 16]> = SmallVec::new();
    let mut items = Items::new(json, attachments);
    while let Some(item) = items.next()? {
        let is_end = matches!(item, Item::Token(Token::ArrayEnd | Token::ObjectEnd));
        if is_end {
            open.pop();
            continue;
        }
        let is_key = matches!(item, Item::Token(Token::Key(_)));
        if let Some(&(index, is_object)) = open.last()
            && is_key == is_object
            && let Some(length) = lengths.get_mut(index)
        {
            *length += 1;
        }
        if let Item::Token(start @ (Token::ArrayStart | Token::ObjectStart)) = item {
            open.push((lengths.len(), start == Token::ObjectStart));
            lengths.push(0);
        }
    }
    Ok(lengths)
}

/// What JSON is made of, where placeholders are one thing.
enum Item<'t> {
    Token(Token<'t>),
    Attachment(usize),
}

struct Items<'t> {
    reader: Reader<'t>,
    attachments: usize,
}

impl<'t> Items<'t> {
    fn new(json: &'t [u8], attachments: usize) -> Self {
        Self {
            reader: Reader::new(json, MAX_DEPTH),
            attachments,
        }
    }

    fn next(&mut self) -> Result<Option<Item<'t>>, JsonError> {
        let Some(token) = self.reader.token()? else {
            return Ok(None);
        };
        if token == Token::ObjectStart && self.attachments > 0 {
            let mut ahead = self.reader.clone();
            if let Some(index) = placeholder(&mut ahead).filter(|index| *index < self.attachments) {
                self.reader = ahead;
                return Ok(Some(Item::Attachment(index)));
            }
        }
        Ok(Some(Item::Token(token)))
    }
}

/// The rest of an object `{"_placeholder":true,"num":k}`, in either order.
fn placeholder(reader: &mut Reader<'_>) -> Option<usize> {
    let (mut is_marked, mut index) = (false, None);
    for _ in 0..2 {
        match (reader.token().ok()??, reader.token().ok()??) {
            (Token::Key(key), Token::True) if key.is("_placeholder") => is_marked = true,
            (Token::Key(key), Token::Number(digits)) if key.is("num") => {
                index = str::from_utf8(digits).ok()?.parse().ok();
            }
            _ => return None,
        }
    }
    let ends = reader.token().ok()?? == Token::ObjectEnd;
    index.filter(|_| is_marked && ends)
}

const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;

/// The bytes that begin a length: with up to so many items in the byte itself, in one byte (if there is such a form), in two, in four.
struct Lengths {
    short: u8,
    short_max: usize,
    one: Option<u8>,
    two: u8,
    four: u8,
}

const MAP: Lengths = Lengths {
    short: 0x80,
    short_max: 15,
    one: None,
    two: 0xde,
    four: 0xdf,
};
const ARRAY: Lengths = Lengths {
    short: 0x90,
    short_max: 15,
    one: None,
    two: 0xdc,
    four: 0xdd,
};
const TEXT: Lengths = Lengths {
    short: 0xa0,
    short_max: 31,
    one: Some(0xd9),
    two: 0xda,
    four: 0xdb,
};

fn write_length(out: &mut Vec<u8>, length: usize, form: &Lengths) {
    match (length, form.one) {
        (short, _) if short <= form.short_max => out.push(form.short | short as u8),
        (length @ ..=0xff, Some(one)) => out.extend_from_slice(&[one, length as u8]),
        (length @ ..=0xffff, _) => {
            out.push(form.two);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        (length, _) => {
            out.push(form.four);
            // A value of more than 4 GiB: no client takes a message of that length.
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_length(out, text.len(), &TEXT);
    out.extend_from_slice(text.as_bytes());
}

/// The same of a JSON string with escapes.
fn write_unescaped(out: &mut Vec<u8>, raw: &str) {
    let length = Unescaped::new(raw).map(char::len_utf8).sum();
    write_length(out, length, &TEXT);
    for character in Unescaped::new(raw) {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    /// No form of it has the length in its first byte.
    const BINARY: Lengths = Lengths {
        short: 0,
        short_max: 0,
        one: Some(0xc4),
        two: 0xc5,
        four: 0xc6,
    };
    if bytes.is_empty() {
        out.extend_from_slice(&[0xc4, 0]);
        return;
    }
    write_length(out, bytes.len(), &BINARY);
    out.extend_from_slice(bytes);
}

/// Appends the number written in `digits`: in as few bytes as an integer takes, else in eight. JavaScript has one type for both, so `1.0` is the
/// integer 1.
fn write_number(out: &mut Vec<u8>, digits: &[u8]) {
    /// 2^64: from here on notepack.io's integers are garbage, and a float says it as exactly.
    const UINT_END: f64 = 18_446_744_073_709_551_616.0;
    let digits = str::from_utf8(digits).unwrap_or_default();
    if let Ok(number) = digits.parse::<u64>() {
        return write_uint(out, number);
    }
    if let Ok(number) = digits.parse::<i64>() {
        return write_int(out, number);
    }
    let number = digits.parse::<f64>().unwrap_or_default();
    if number.fract() == 0.0 && (0.0..UINT_END).contains(&number) {
        write_uint(out, number as u64);
    } else if number.fract() == 0.0 && (-UINT_END / 2.0..0.0).contains(&number) {
        write_int(out, number as i64);
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_uint(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn write_int(out: &mut Vec<u8>, number: i64) {
    match number {
        0.. => write_uint(out, number.unsigned_abs()),
        -0x20..0 => out.push(number as u8),
        -0x80..-0x20 => out.extend_from_slice(&[0xd0, number as u8]),
        -0x8000..-0x80 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}
