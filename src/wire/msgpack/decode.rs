//! From MessagePack to a packet of JSON and attachments.
//!
//! Nothing is allocated or looped over for having been declared: each item takes a byte at least, and a container that says that it has more
//! than bytes are left is refused at once. The JSON is at most six times as long as the message (a `false` of one byte, a control character).

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::wire::iso;
use crate::wire::json::write_string;
use crate::wire::socket::{
    self, ACK_ID_MAX, Limits, NAMESPACE_BYTES_MAX, Packet, PacketError, PacketType,
};

/// Where a packet's data is put.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    json: Vec<u8>,
    attachments: Vec<Bytes>,
}

/// Decodes one packet, which is a whole binary Engine.IO message. Any bytes are safe to give.
///
/// The packet is never of a binary type: its attachments are there already.
pub(crate) fn decode<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    into: &'a mut Unpacked,
) -> Result<(Packet<'a>, &'a [Bytes]), PacketError> {
    let mut members = Members::default();
    let mut cursor = Cursor { rest: bytes };
    let Head::Map(count) = cursor.head()? else {
        return Err(PacketError::MessagePack);
    };
    for _ in 0..count {
        members.read(&mut cursor, limits, into)?;
    }
    if !cursor.rest.is_empty() {
        return Err(PacketError::MessagePack);
    }
    members.packet(into)
}

/// What stands in a packet's map.
#[derive(Default)]
struct Members<'a> {
    kind: Option<PacketType>,
    namespace: Option<&'a [u8]>,
    id: Option<u64>,
    data: Data,
}

/// What kind of value the data is.
#[derive(Clone, Copy, Default, PartialEq)]
enum Data {
    #[default]
    Absent,
    Map,
    Array,
    Text,
    Other,
}

impl<'a> Members<'a> {
    /// Reads the next member. Of one that is repeated the last counts, as in JavaScript.
    fn read(
        &mut self,
        cursor: &mut Cursor<'a>,
        limits: &Limits,
        into: &mut Unpacked,
    ) -> Result<(), PacketError> {
        let key = cursor.head()?;
        match key {
            Head::Text(b"type") => {
                self.kind = Some(kind_of(cursor.head()?).ok_or(PacketError::UnknownType)?);
            }
            Head::Text(b"nsp") => match cursor.head()? {
                Head::Text(name) if name.len() > NAMESPACE_BYTES_MAX => {
                    return Err(PacketError::NamespaceTooLong);
                }
                Head::Text(name) => self.namespace = Some(name),
                _ => return Err(PacketError::MessagePack),
            },
            Head::Text(b"id") => {
                self.id = match cursor.head()? {
                    Head::Undefined => None,
                    id => Some(
                        integer(id)
                            .filter(|id| *id <= ACK_ID_MAX)
                            .ok_or(PacketError::AckIdTooLarge)?,
                    ),
                };
            }
            Head::Text(b"data") => {
                into.json.clear();
                into.attachments.clear();
                self.data = cursor.data();
                if self.data == Data::Absent {
                    cursor.head()?;
                } else {
                    Writer::new(cursor, limits, into).value()?;
                }
            }
            // `options`, and whatever other versions may add.
            key => {
                cursor.skip_rest_of(key)?;
                let value = cursor.head()?;
                cursor.skip_rest_of(value)?;
            }
        }
        Ok(())
    }

    /// The same rules as the reference's, and of events those of the other parser: theirs has none, and lets a client call the handler of
    /// `disconnect`.
    fn packet(self, into: &'a mut Unpacked) -> Result<(Packet<'a>, &'a [Bytes]), PacketError> {
        let kind = self.kind.ok_or(PacketError::UnknownType)?;
        let fits = match kind {
            PacketType::Connect => matches!(self.data, Data::Absent | Data::Map),
            PacketType::ConnectError => matches!(self.data, Data::Text | Data::Map),
            PacketType::Disconnect => self.data == Data::Absent,
            _ => self.data == Data::Array,
        };
        if !fits {
            return Err(PacketError::PayloadShape);
        }
        let event = match kind {
            PacketType::Event => Some(socket::find_name(&into.json)?),
            _ => None,
        };
        let name = self.namespace.ok_or(PacketError::MessagePack)?;
        let packet = Packet {
            kind,
            attachments: 0,
            namespace: str::from_utf8(name).map_err(|_| PacketError::NotUtf8)?,
            id: self.id,
            payload: (self.data != Data::Absent).then_some(&mut into.json[..]),
            name: event,
        };
        Ok((packet, &into.attachments))
    }
}

fn kind_of(value: Head<'_>) -> Option<PacketType> {
    Some(match integer(value)? {
        0 => PacketType::Connect,
        1 => PacketType::Disconnect,
        2 => PacketType::Event,
        3 => PacketType::Ack,
        4 => PacketType::ConnectError,
        _ => return None,
    })
}

/// A whole number from 0 on, in whatever form.
fn integer(value: Head<'_>) -> Option<u64> {
    match value {
        Head::Uint(number) => Some(number),
        Head::Int(number) => u64::try_from(number).ok(),
        Head::Float(number) if number.fract() == 0.0 && number >= 0.0 => Some(number as u64),
        _ => None,
    }
}

/// The beginning of a value; all of it, unless it is a container.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Head<'a> {
    Nil,
    Undefined,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// Milliseconds since 1970.
    Time(i64),
    Extension(i8, &'a [u8]),
    Array(usize),
    Map(usize),
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], PacketError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(PacketError::MessagePack)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `width` bytes (at most eight) as a number.
    fn uint(&mut self, width: usize) -> Result<u64, PacketError> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The same with a sign.
    fn int(&mut self, width: usize) -> Result<i64, PacketError> {
        let unused = 64 - 8 * width as u32;
        let number = self.uint(width)?;
        Ok(((number << unused) as i64) >> unused)
    }

    /// A length in so many bytes. What is declared longer than all that is left is refused where it is used.
    fn length(&mut self, width: usize) -> Result<usize, PacketError> {
        usize::try_from(self.uint(width)?).map_err(|_| PacketError::MessagePack)
    }

    fn head(&mut self) -> Result<Head<'a>, PacketError> {
        let first = self.uint(1)? as u8;
        let short = usize::from(first);
        Ok(match first {
            0x00..=0x7f => Head::Uint(u64::from(first)),
            0x80..=0x8f => self.map(short & 0x0f)?,
            0x90..=0x9f => self.array(short & 0x0f)?,
            0xa0..=0xbf => Head::Text(self.take(short & 0x1f)?),
            0xc0 => Head::Nil,
            // The one byte without a meaning.
            0xc1 => return Err(PacketError::MessagePack),
            0xc2 | 0xc3 => Head::Bool(first == 0xc3),
            0xc4..=0xc6 => {
                let length = self.length(1 << (first - 0xc4))?;
                Head::Binary(self.take(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (first - 0xc7))?;
                self.extension(length, false)?
            }
            0xca => Head::Float(f64::from(f32::from_bits(self.uint(4)? as u32))),
            0xcb => Head::Float(f64::from_bits(self.uint(8)?)),
            0xcc..=0xcf => Head::Uint(self.uint(1 << (first - 0xcc))?),
            0xd0..=0xd3 => Head::Int(self.int(1 << (first - 0xd0))?),
            0xd4..=0xd8 => self.extension(1 << (first - 0xd4), true)?,
            0xd9..=0xdb => {
                let length = self.length(1 << (first - 0xd9))?;
                Head::Text(self.take(length)?)
            }
            0xdc | 0xdd => {
                let length = self.length(2 << (first - 0xdc))?;
                self.array(length)?
            }
            0xde | 0xdf => {
                let length = self.length(2 << (first - 0xde))?;
                self.map(length)?
            }
            0xe0..=0xff => Head::Int(i64::from(first as i8)),
        })
    }

    fn array(&self, length: usize) -> Result<Head<'a>, PacketError> {
        if length > self.rest.len() {
            return Err(PacketError::MessagePack);
        }
        Ok(Head::Array(length))
    }

    fn map(&self, length: usize) -> Result<Head<'a>, PacketError> {
        if length > self.rest.len() / 2 {
            return Err(PacketError::MessagePack);
        }
        Ok(Head::Map(length))
    }

    /// Type 0 is notepack.io's: of one byte `undefined`, of eight (in the form that is no longer than that) a `Date`, else an `ArrayBuffer`.
    /// Type -1 is MessagePack's own, a point in time in one of three forms.
    fn extension(&mut self, length: usize, is_fixed: bool) -> Result<Head<'a>, PacketError> {
        let kind = self.int(1)? as i8;
        let data = self.take(length)?;
        let mut cursor = Cursor { rest: data };
        Ok(match (kind, length) {
            (0, 1) if is_fixed => Head::Undefined,
            (0, 8) if is_fixed => Head::Time(cursor.int(8)?),
            (0, _) if !is_fixed => Head::Binary(data),
            (-1, 4) => Head::Time(time(cursor.int(4)? & 0xffff_ffff, 0)),
            (-1, 8) => {
                let both = cursor.uint(8)?;
                Head::Time(time((both & 0x3_ffff_ffff) as i64, both >> 34))
            }
            (-1, 12) => {
                let nanoseconds = cursor.uint(4)?;
                Head::Time(time(cursor.int(8)?, nanoseconds))
            }
            _ => Head::Extension(kind, data),
        })
    }

    /// What kind of value comes next.
    fn data(&self) -> Data {
        match self.rest {
            [0x80..=0x8f | 0xde | 0xdf, ..] => Data::Map,
            [0x90..=0x9f | 0xdc | 0xdd, ..] => Data::Array,
            [0xa0..=0xbf | 0xd9..=0xdb, ..] => Data::Text,
            [0xd4, 0, ..] => Data::Absent,
            _ => Data::Other,
        }
    }

    /// Passes over what belongs to a value whose head was read.
    fn skip_rest_of(&mut self, head: Head<'a>) -> Result<(), PacketError> {
        let members = |head| match head {
            Head::Array(length) => length,
            Head::Map(length) => 2 * length,
            _ => 0,
        };
        // No sum of lengths can overflow: each was at most as many as there are bytes, and has taken two of them.
        let mut left = members(head);
        while left > 0 {
            left += members(self.head()?);
            left -= 1;
        }
        Ok(())
    }
}

/// Milliseconds, of which fractions are cut off as in JavaScript.
fn time(seconds: i64, nanoseconds: u64) -> i64 {
    let ms = i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX);
    seconds.saturating_mul(1000).saturating_add(ms)
}

/// A container that is not at its end.
struct Open {
    /// Members to come.
    left: usize,
    is_map: bool,
    is_empty: bool,
}

/// Writes a value as JSON.
struct Writer<'a, 'w> {
    cursor: &'w mut Cursor<'a>,
    max_depth: usize,
    max_attachments: usize,
    into: &'w mut Unpacked,
    open: SmallVec<[Open; 8]>,
}

impl<'a, 'w> Writer<'a, 'w> {
    fn new(cursor: &'w mut Cursor<'a>, limits: &Limits, into: &'w mut Unpacked) -> Self {
        Self {
            cursor,
            max_depth: limits.max_depth,
            max_attachments: limits.max_attachments,
            into,
            open: SmallVec::new(),
        }
    }

    /// The next value with everything in it.
    fn value(mut self) -> Result<(), PacketError> {
        loop {
            let head = self.cursor.head()?;
            self.write(head)?;
            if !self.go_on()? {
                return Ok(());
            }
        }
    }

    fn write(&mut self, head: Head<'a>) -> Result<(), PacketError> {
        let json = &mut self.into.json;
        match head {
            Head::Nil | Head::Undefined => json.extend_from_slice(b"null"),
            Head::Bool(true) => json.extend_from_slice(b"true"),
            Head::Bool(false) => json.extend_from_slice(b"false"),
            Head::Time(ms) => iso::write(json, ms),
            Head::Text(text) => write_string(json, &String::from_utf8_lossy(text)),
            Head::Uint(_) | Head::Int(_) | Head::Float(_) => {
                json.extend_from_slice(number(head).as_bytes());
            }
            Head::Binary(bytes) => {
                self.check_depth(1)?;
                self.attach(bytes)?;
            }
            Head::Extension(kind, bytes) => {
                self.check_depth(2)?;
                self.into.json.push(b'[');
                self.into
                    .json
                    .extend_from_slice(kind.to_string().as_bytes());
                self.into.json.push(b',');
                self.attach(bytes)?;
                self.into.json.push(b']');
            }
            Head::Array(left) => self.begin(left, false)?,
            Head::Map(left) => self.begin(left, true)?,
        }
        Ok(())
    }

    fn begin(&mut self, left: usize, is_map: bool) -> Result<(), PacketError> {
        self.check_depth(1)?;
        self.into.json.push(if is_map { b'{' } else { b'[' });
        self.open.push(Open {
            left,
            is_map,
            is_empty: true,
        });
        Ok(())
    }

    /// May so many more begin inside of each other?
    fn check_depth(&self, more: usize) -> Result<(), PacketError> {
        if self.open.len() + more > self.max_depth {
            return Err(PacketError::TooDeep);
        }
        Ok(())
    }

    fn attach(&mut self, bytes: &[u8]) -> Result<(), PacketError> {
        let Unpacked { json, attachments } = &mut *self.into;
        if attachments.len() >= self.max_attachments {
            return Err(PacketError::TooManyAttachments);
        }
        json.extend_from_slice(b"{\"_placeholder\":true,\"num\":");
        crate::wire::json::write_decimal(json, attachments.len() as u64);
        json.push(b'}');
        attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    /// Ends what is full, and writes what stands before the next value. False when there is none.
    fn go_on(&mut self) -> Result<bool, PacketError> {
        while let Some(open) = self.open.last_mut() {
            let json = &mut self.into.json;
            if open.left == 0 {
                json.push(if open.is_map { b'}' } else { b']' });
                self.open.pop();
                continue;
            }
            open.left -= 1;
            let key = match open.is_map {
                true => Some(key(self.cursor.head()?)?),
                false => None,
            };
            // JSON has no `undefined`: such a member is left out, as by `JSON.stringify`.
            if key.is_some() && self.cursor.data() == Data::Absent {
                self.cursor.head()?;
                continue;
            }
            if !std::mem::take(&mut open.is_empty) {
                json.push(b',');
            }
            if let Some(key) = key {
                write_string(json, &key);
                json.push(b':');
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// What becomes of a key in JavaScript: a string. Only containers cannot be one here.
fn key(head: Head<'_>) -> Result<Cow<'_, str>, PacketError> {
    Ok(match head {
        Head::Text(text) | Head::Binary(text) => String::from_utf8_lossy(text),
        Head::Nil => "null".into(),
        Head::Undefined => "undefined".into(),
        Head::Bool(true) => "true".into(),
        Head::Bool(false) => "false".into(),
        Head::Uint(_) | Head::Int(_) | Head::Float(_) => number(head),
        Head::Time(_) | Head::Extension(..) | Head::Array(_) | Head::Map(_) => {
            return Err(PacketError::MessagePack);
        }
    })
}

/// A number's text in JSON.
fn number(head: Head<'_>) -> Cow<'static, str> {
    /// 2^53: below it each whole number is exact, and is written as one.
    const EXACT_END: f64 = 9_007_199_254_740_992.0;
    match head {
        Head::Uint(number) => number.to_string().into(),
        Head::Int(number) => number.to_string().into(),
        Head::Float(number) if number.fract() == 0.0 && number.abs() < EXACT_END => {
            (number as i64).to_string().into()
        }
        // Not what `f64` displays, which has no exponents; and `null` for what is no number to JSON.
        Head::Float(number) => serde_json::to_string(&number).unwrap_or_default().into(),
        _ => "null".into(),
    }
}
