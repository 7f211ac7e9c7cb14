//! Socket.IO protocol 5: one packet in the text form of the default parser.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]
//! ```
//!
//! The JSON is checked and then left alone: a broadcast passes it on as it came, so a client must not be able to send others something
//! that breaks their parsers. What depends on who has joined what is the business of `proto::client`.

use std::borrow::Cow;
use std::ops::Range;

pub(crate) use super::json::write_string as write_json_string;
use super::json::{
    self, JsonError, Quoted, Reader, Token, Unescaped, is_whitespace, write_decimal,
};

mod plain;
mod reserved;
#[cfg(test)]
mod tests;

pub(crate) use plain::find_plain;
pub(crate) use reserved::is_reserved;
use reserved::is_reserved_name;

/// The namespace that a packet without one belongs to. It is never written.
pub(crate) const MAIN_NAMESPACE: &str = "/";

/// The longest namespace read, in bytes: a path, and a query that may carry a token. Node has no such limit, but a name is
/// kept as long as the client is in it, so we need one.
pub(crate) const NAMESPACE_BYTES_MAX: usize = 4096;

/// The highest ack id: ids are JavaScript numbers, and beyond this they are not exact.
pub(crate) const ACK_ID_MAX: u64 = (1 << 53) - 1;

/// Packet types (Socket.IO protocol, "Packet format").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketType {
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

impl PacketType {
    fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// The type digit.
    pub(crate) const fn digit(self) -> u8 {
        b'0' + self as u8
    }

    /// True when attachments follow the packet.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }

    fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::BinaryEvent)
    }

    fn is_ack(self) -> bool {
        matches!(self, Self::Ack | Self::BinaryAck)
    }
}

/// What a packet may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most attachments of one packet. 10 by default, as in Socket.IO's own parser on either side.
    pub max_attachments: usize,
    /// The deepest nesting of the JSON, the outer array counted. By default, and at most, 127 ([`json::MAX_DEPTH`]).
    pub max_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attachments: 10,
            max_depth: json::MAX_DEPTH,
        }
    }
}

/// One packet, borrowing its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub kind: PacketType,
    /// How many binary messages follow. At least one for the binary types, none for the others.
    pub attachments: usize,
    /// With its leading slash, and with the query if it has one: in protocol 5 that is a part of the name.
    pub namespace: &'a str,
    pub id: Option<u64>,
    /// The JSON, well formed and of the shape that `kind` asks for, without whitespace around it. An event always has
    /// one. An ack with an id has one too: `[]` when it came with none.
    pub payload: Option<&'a mut [u8]>,
    /// Of an event: where its name stands in `payload`.
    pub name: Option<NameAt>,
}

/// Where the name of an event stands in its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameAt {
    /// Between its quotes, if it has any.
    start: usize,
    end: usize,
    /// Where its token ends: behind the quote.
    behind: usize,
    escaped: bool,
}

/// Why a text is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketError {
    /// Not even a type.
    Empty,
    /// The first byte is no type digit.
    UnknownType,
    /// The attachment count is missing, is zero, or does not end in `-`.
    AttachmentCount,
    /// More attachments than [`Limits::max_attachments`].
    TooManyAttachments,
    /// Longer than [`NAMESPACE_BYTES_MAX`].
    NamespaceTooLong,
    /// A namespace or an event name that is no UTF-8.
    NotUtf8,
    /// An ack id beyond what JavaScript counts exactly.
    AckIdTooLarge,
    /// An event without a payload: nobody could handle it.
    MissingPayload,
    /// A payload of the wrong shape for the type.
    PayloadShape,
    /// The payload is not JSON.
    Json,
    /// The payload is nested deeper than [`Limits::max_depth`].
    TooDeep,
    /// An event whose first element is neither a string nor a number, or is missing.
    EventName,
    /// An event with a name that the libraries keep for themselves.
    ReservedEvent,
    /// A placeholder that does not name one of the packet's attachments.
    Placeholder,
    /// Not MessagePack, or not the map that a packet is (the other parser).
    MessagePack,
}

impl From<JsonError> for PacketError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Syntax => Self::Json,
            JsonError::TooDeep => Self::TooDeep,
        }
    }
}

/// Decodes the text of one packet, which is a whole Engine.IO message. Any bytes are safe to give; what is in the JSON's strings counts
/// as UTF-8, for the transport has checked the message.
pub(crate) fn decode<'a>(text: &'a mut [u8], limits: &Limits) -> Result<Packet<'a>, PacketError> {
    let head = Head::decode(text, limits)?;
    let payload = trimmed(text, head.end);
    let name = check_payload(&head, text.get(payload.clone()).unwrap_or_default(), limits)?;

    let (before, after) = text.split_at_mut(head.end);
    let (before, payload) = if !payload.is_empty() {
        (
            before,
            after.get_mut(payload.start - head.end..payload.end - head.end),
        )
    } else if head.kind.is_ack() && head.id.is_some() {
        let (before, room) = before.split_at_mut(head.end.saturating_sub(2));
        (before, Some(empty_array(room)))
    } else {
        (before, None)
    };
    let namespace = match head.namespace {
        Some(range) => before
            .get(range)
            .and_then(|name| str::from_utf8(name).ok())
            .ok_or(PacketError::NotUtf8)?,
        None => MAIN_NAMESPACE,
    };
    Ok(Packet {
        kind: head.kind,
        attachments: head.attachments,
        namespace,
        id: head.id,
        payload,
        name,
    })
}

/// Makes `[]` of the two bytes of an ack's head that nobody needs any more: the last digit of its id, and the digit, comma, dash or
/// type before it.
fn empty_array(room: &mut [u8]) -> &mut [u8] {
    debug_assert_eq!(room.len(), 2, "an id has a digit, and a type before it");
    room.copy_from_slice(b"[]");
    room
}

/// What stands before the JSON.
struct Head {
    kind: PacketType,
    attachments: usize,
    namespace: Option<Range<usize>>,
    id: Option<u64>,
    /// Where the head ends.
    end: usize,
}

impl Head {
    fn decode(text: &[u8], limits: &Limits) -> Result<Self, PacketError> {
        let digit = *text.first().ok_or(PacketError::Empty)?;
        let kind = PacketType::from_digit(digit).ok_or(PacketError::UnknownType)?;
        let mut end = 1;
        let attachments = if kind.is_binary() {
            attachments(text, &mut end, limits.max_attachments)?
        } else {
            0
        };
        let namespace = namespace(text, &mut end)?;
        let id = digits(text, &mut end, ACK_ID_MAX, PacketError::AckIdTooLarge)?;
        Ok(Self {
            kind,
            attachments,
            namespace,
            id,
            end,
        })
    }
}

/// The number written in the digits at `at`, or `None` when there are none; `error` as soon as it is above `max`. `at` moves behind
/// the digits.
#[inline(always)]
fn digits(
    text: &[u8],
    at: &mut usize,
    max: u64,
    error: PacketError,
) -> Result<Option<u64>, PacketError> {
    let mut number = None;
    while let Some(digit) = text.get(*at).filter(|byte| byte.is_ascii_digit()) {
        let value = number
            .unwrap_or(0_u64)
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'));
        if value > max {
            return Err(error);
        }
        number = Some(value);
        *at += 1;
    }
    Ok(number)
}

/// `<count>-`, from 1 to `max`. A count of 0 was once written by some encoders; Node refuses it since 4.2.7.
fn attachments(text: &[u8], at: &mut usize, max: usize) -> Result<usize, PacketError> {
    let count = digits(text, at, max as u64, PacketError::TooManyAttachments)?;
    match (count, text.get(*at)) {
        (Some(count @ 1..), Some(b'-')) => {
            *at += 1;
            usize::try_from(count).map_err(|_| PacketError::TooManyAttachments)
        }
        _ => Err(PacketError::AttachmentCount),
    }
}

/// From a slash to the next comma, or to the end of the text: `0/chat` is a packet too.
fn namespace(text: &[u8], at: &mut usize) -> Result<Option<Range<usize>>, PacketError> {
    let rest = text.get(*at..).unwrap_or_default();
    if rest.first() != Some(&b'/') {
        return Ok(None);
    }
    let length = rest
        .iter()
        .take(NAMESPACE_BYTES_MAX + 1)
        .take_while(|&&byte| byte != b',')
        .count();
    if length > NAMESPACE_BYTES_MAX {
        return Err(PacketError::NamespaceTooLong);
    }
    let range = *at..*at + length;
    let comma = usize::from(length < rest.len());
    *at = range.end + comma;
    Ok(Some(range))
}

/// The part of `text` from `start` on, without the whitespace around it.
fn trimmed(text: &[u8], start: usize) -> Range<usize> {
    let rest = text.get(start..).unwrap_or_default();
    let leading = rest.iter().take_while(|&&byte| is_whitespace(byte)).count();
    let trailing = rest
        .iter()
        .rev()
        .take_while(|&&byte| is_whitespace(byte))
        .count();
    let start = start + leading;
    start..start.max(text.len() - trailing)
}

/// Checks that `payload` is JSON, and of the shape that the packet's type asks for. Returns where an event's name is.
#[inline]
fn check_payload(
    head: &Head,
    payload: &[u8],
    limits: &Limits,
) -> Result<Option<NameAt>, PacketError> {
    if payload.is_empty() {
        // Node's decoder lets any type come without; only an event cannot do without its name.
        return if head.kind.is_event() {
            Err(PacketError::MissingPayload)
        } else {
            Ok(None)
        };
    }
    if head.kind == PacketType::Event
        && let Some(name) = plain::find_plain_name(payload)
    {
        plain::check_behind(payload, &name, limits)?;
        return Ok(Some(name));
    }
    let mut reader = Reader::new(payload, limits.max_depth);
    let mut name = None;
    match (head.kind, reader.token()?) {
        (PacketType::Connect | PacketType::ConnectError, Some(Token::ObjectStart)) => {}
        (PacketType::ConnectError, Some(Token::String(_))) => {}
        (PacketType::Ack | PacketType::BinaryAck, Some(Token::ArrayStart)) => {}
        (PacketType::Event | PacketType::BinaryEvent, Some(Token::ArrayStart)) => {
            name = Some(event_name(&mut reader)?);
        }
        _ => return Err(PacketError::PayloadShape),
    }
    if head.kind.is_binary() {
        check_placeholders(reader, head.attachments)?;
    } else {
        reader.finish()?;
    }
    Ok(name)
}

/// Reads the first element of an event's array and refuses what cannot be a name. A number is one: in JavaScript `emit(1)` means `"1"`.
fn event_name(reader: &mut Reader<'_>) -> Result<NameAt, PacketError> {
    let (name, quotes) = match reader.token()? {
        Some(Token::String(name)) => (name, 1),
        Some(Token::Number(raw)) => {
            let escaped = false;
            (Quoted { raw, escaped }, 0)
        }
        _ => return Err(PacketError::EventName),
    };
    if is_reserved_name(&name) {
        return Err(PacketError::ReservedEvent);
    }
    if str::from_utf8(name.raw).is_err() {
        return Err(PacketError::NotUtf8);
    }
    let behind = reader.position();
    let end = behind - quotes;
    Ok(NameAt {
        start: end - name.raw.len(),
        end,
        behind,
        escaped: name.escaped,
    })
}

/// Checks that `payload`, well formed JSON, begins as an event does, and says where its name is.
pub(crate) fn find_name(payload: &[u8]) -> Result<NameAt, PacketError> {
    let mut reader = Reader::new(payload, json::MAX_DEPTH);
    match reader.token()? {
        Some(Token::ArrayStart) => event_name(&mut reader),
        _ => Err(PacketError::PayloadShape),
    }
}

/// What the key before a value makes of it.
#[derive(Clone, Copy, Default)]
enum Role {
    #[default]
    Plain,
    /// `_placeholder`: `true` makes the object a placeholder.
    Marker,
    /// `num`: which attachment.
    Index,
}

/// Reads the rest of `reader` and checks that every object marked as a placeholder names one of `count` attachments. Any order is fine, and
/// any of them may be named twice or not at all. Of a key that is repeated the last counts, as in JavaScript.
fn check_placeholders(mut reader: Reader<'_>, count: usize) -> Result<(), PacketError> {
    // One bit for each depth, of the object that is open there: is it marked, does it hold a valid index.
    let (mut marked, mut indexed) = (0_u128, 0_u128);
    let mut role = Role::Plain;
    loop {
        let depth = reader.depth();
        let Some(token) = reader.token()? else {
            return Ok(());
        };
        let here = 1_u128 << depth;
        if token == Token::ObjectEnd && marked & here != 0 && indexed & here == 0 {
            return Err(PacketError::Placeholder);
        }
        match std::mem::take(&mut role) {
            Role::Plain => {}
            Role::Marker => put(&mut marked, here, token == Token::True),
            Role::Index => put(&mut indexed, here, is_index(token, count)),
        }
        match token {
            Token::Key(key) if key.is("_placeholder") => role = Role::Marker,
            Token::Key(key) if key.is("num") => role = Role::Index,
            Token::ObjectStart => {
                let inside = 1_u128 << reader.depth();
                put(&mut marked, inside, false);
                put(&mut indexed, inside, false);
            }
            _ => {}
        }
    }
}

fn put(bits: &mut u128, bit: u128, on: bool) {
    *bits = if on { *bits | bit } else { *bits & !bit };
}

/// True for an integer from 0 to `count`, exclusive, written in digits alone.
fn is_index(token: Token<'_>, count: usize) -> bool {
    let Token::Number(digits) = token else {
        return false;
    };
    str::from_utf8(digits)
        .is_ok_and(|digits| digits.parse().is_ok_and(|index: usize| index < count))
}

/// The name of an event, as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventName<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> EventName<'a> {
    /// The name itself: unescaped if there is anything to unescape, which is rare. A lone surrogate becomes U+FFFD. Of a number it
    /// is the text as written, so `1.0` is not the name `1`.
    pub(crate) fn to_str(self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(Unescaped::new(self.raw).collect())
        } else {
            Cow::Borrowed(self.raw)
        }
    }
}

/// An event's payload, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EventParts<'a> {
    pub name: EventName<'a>,
    /// A JSON array of the arguments after the name.
    pub args: &'a mut [u8],
}

/// Splits the payload of an event, `["name",a,b]`, into the name and `[a,b]`. The second is made in place, by overwriting what no longer
/// is of use, so the payload cannot be split twice.
///
/// `name` and `payload` are of the same [`Packet`]. Of another text this sees the beginning only, and may or may not find it wrong.
#[inline(always)]
pub(crate) fn split_named(payload: &mut [u8], name: NameAt) -> Result<EventParts<'_>, PacketError> {
    let (mut start, mut end) = (name.start, name.end);
    let next = match payload.get(name.behind) {
        Some(b',') => name.behind,
        _ => trimmed(payload, name.behind).start,
    };
    let args_start = match payload.get(next) {
        Some(b',') => next,
        Some(b']') => {
            if next == end {
                // `[1]`: a number leaves no byte between itself and the end, so it moves over the bracket before it.
                payload.copy_within(start..end, start - 1);
                (start, end) = (start - 1, end - 1);
            }
            next - 1
        }
        _ => return Err(PacketError::Json),
    };
    let (before, args) = payload.split_at_mut(args_start);
    if let Some(bracket) = args.first_mut() {
        *bracket = b'[';
    }
    let raw = before
        .get(start..end)
        .and_then(|name| str::from_utf8(name).ok())
        .ok_or(PacketError::NotUtf8)?;
    Ok(EventParts {
        name: EventName {
            raw,
            escaped: name.escaped,
        },
        args,
    })
}

/// As [`split_named`], of a payload whose name has to be found first.
pub(crate) fn split_event(payload: &mut [u8]) -> Result<EventParts<'_>, PacketError> {
    let name = find_name(payload)?;
    split_named(payload, name)
}

/// Appends everything before the JSON, which the caller appends next. `namespace` begins with a slash and holds no comma.
pub(crate) fn encode_head(
    out: &mut Vec<u8>,
    kind: PacketType,
    attachments: usize,
    namespace: &str,
    id: Option<u64>,
) {
    debug_assert!(
        namespace.starts_with('/') && !namespace.contains(','),
        "a namespace as decoded"
    );
    debug_assert_eq!(
        kind.is_binary(),
        attachments > 0,
        "exactly the binary types have attachments"
    );
    out.push(kind.digit());
    if kind.is_binary() {
        write_decimal(out, attachments as u64);
        out.push(b'-');
    }
    if namespace != MAIN_NAMESPACE {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
    if let Some(id) = id {
        write_decimal(out, id);
    }
}

/// Appends the data of the answer to a CONNECT that succeeded. `pid` only where connection state recovery is on: without it the object has
/// exactly one key.
pub(crate) fn write_connect(out: &mut Vec<u8>, sid: &str, pid: Option<&str>) {
    out.extend_from_slice(b"{\"sid\":");
    write_json_string(out, sid);
    if let Some(pid) = pid {
        out.extend_from_slice(b",\"pid\":");
        write_json_string(out, pid);
    }
    out.push(b'}');
}
