//! Typed values to Socket.IO arguments and back.
//!
//! A packet carries an *argument list*: `socket.emit("sum", 1, 2)` in JavaScript sends `["sum",1,2]`. Here one value stands
//! for the list: a tuple is the list itself, `()` is the empty list, and anything else is a list of one.
//!
//! | value | arguments |
//! |---|---|
//! | `"hello"` | `"hello"` |
//! | `(1, "a")` | `1,"a"` |
//! | `()` | none |
//! | `vec![1, 2]`, `[1, 2]`, a struct, a tuple struct | one |
//! | `((1, 2),)` | one, the array `[1,2]` |

#![forbid(unsafe_code)]

use std::any::type_name;
use std::fmt;
use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::Serialize;
use serde_json::ser::Formatter;

use super::binary;
use super::shape::{self, Shape};

#[cfg(test)]
mod tests;

/// The longest reason that an error prints, in bytes. serde quotes the offending value whole, and the value is the peer's.
const REASON_BYTES_MAX: usize = 256;

/// An encoded argument list: the JSON of the arguments, separated by commas and *without* brackets, and the binary values
/// its placeholders stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    pub json: Vec<u8>,
    pub attachments: Vec<Bytes>,
}

impl Arguments {
    /// Encodes `value` as a list of its own.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut arguments = Self::default();
        encode(value, &mut arguments.json, &mut arguments.attachments)?;
        Ok(arguments)
    }
}

/// A received argument list, borrowed from the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Args<'a> {
    /// A JSON array, brackets included, already known to be well formed.
    pub json: &'a [u8],
    pub attachments: &'a [Bytes],
}

/// A value could not be written as JSON: a map with keys that are no strings, or a `Serialize` implementation that failed.
///
/// ```
/// use ringhall::Payload;
/// use std::collections::BTreeMap;
///
/// let keyed_by_pair = BTreeMap::from([((1, 2), "x")]);
/// let error = Payload::encode(&keyed_by_pair).unwrap_err();
/// assert!(error.to_string().contains("key must be a string"));
/// ```
#[derive(Debug)]
pub struct EncodeError(serde_json::Error);

impl EncodeError {
    pub(super) fn custom(reason: impl fmt::Display) -> Self {
        Self(serde::ser::Error::custom(reason))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arguments cannot be encoded: {}", self.0)
    }
}

impl std::error::Error for EncodeError {}

/// The arguments that came are not of the type that was asked for.
///
/// Printed, it is at most about 300 bytes long, whatever the peer sent.
///
/// ```
/// use ringhall::Payload;
/// let error = Payload::encode(&"text").unwrap().decode::<u32>().unwrap_err();
/// assert!(error.to_string().contains("u32"));
/// ```
#[derive(Debug)]
pub struct DecodeError(serde_json::Error);

impl DecodeError {
    pub(super) fn custom(reason: impl fmt::Display) -> Self {
        Self(de::Error::custom(reason))
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "arguments do not match: {}",
            clipped(&self.0.to_string(), REASON_BYTES_MAX)
        )
    }
}

impl std::error::Error for DecodeError {}

/// The beginning of `text`, at most `bytes_max` long: what a peer sent must not decide how long a line of the log is.
pub(crate) fn clipped(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max))
        .unwrap_or(text)
}

/// Appends `value` as an argument list, without brackets, to `json`, and the binary values in it to `attachments`.
///
/// Anything that serialises as bytes, at any depth, becomes an attachment. Placeholders are numbered from the present
/// length of `attachments`. After an error both buffers are as they were.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    json: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
) -> Result<(), EncodeError> {
    let (json_len, attachments_len) = (json.len(), attachments.len());
    let shape = if is_array::<T>() {
        Shape::One
    } else {
        shape::of_value(value)
    };
    if shape == Shape::Empty {
        return Ok(());
    }
    let formatter = ArgumentFormatter {
        attachments,
        bare_arrays: shape == Shape::List,
        array_depth: 0,
    };
    let mut serializer = serde_json::Serializer::with_formatter(&mut *json, formatter);
    let result = value.serialize(&mut serializer);
    if let Err(error) = result {
        json.truncate(json_len);
        attachments.truncate(attachments_len);
        return Err(EncodeError(error));
    }
    Ok(())
}

/// Reads an argument list as `T`.
///
/// A tuple is filled from the list: surplus arguments are ignored, missing ones read as `null`, so that they are an error
/// unless the element accepts `null` as an `Option` does. `()` accepts any list. Every other type is the first argument.
pub(crate) fn decode<T: DeserializeOwned>(args: &Args<'_>) -> Result<T, DecodeError> {
    let _scope = binary::Scope::enter(args.attachments);
    let mut json = serde_json::Deserializer::from_slice(args.json);
    let shape = if is_array::<T>() {
        Shape::One
    } else {
        shape::of_type::<T>()
    };
    let result = match shape {
        Shape::One => json.deserialize_seq(First(PhantomData)),
        Shape::List | Shape::Empty => T::deserialize(List { json: &mut json }),
    };
    result.map_err(DecodeError)
}

/// Whether `T` is `[U; N]`, or a reference to one. serde presents an array as a tuple, yet to JavaScript `[1, 2]` is one
/// argument. The standard library does not promise the form of a type's name; were it to change, an array would be spread
/// like a tuple, and `an_array_is_one_argument` would fail.
fn is_array<T: ?Sized>() -> bool {
    type_name::<T>()
        .trim_start_matches('&')
        .trim_start_matches("mut ")
        .starts_with('[')
}

/// Writes JSON as serde_json's compact form does, but for two things: bytes become placeholders, and the outermost array
/// loses its brackets when it is the argument list.
struct ArgumentFormatter<'a> {
    attachments: &'a mut Vec<Bytes>,
    bare_arrays: bool,
    array_depth: usize,
}

impl Formatter for ArgumentFormatter<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.array_depth += 1;
        if self.bare_arrays && self.array_depth == 1 {
            return Ok(());
        }
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.array_depth -= 1;
        if self.bare_arrays && self.array_depth == 0 {
            return Ok(());
        }
        writer.write_all(b"]")
    }

    /// Socket.IO protocol, "Packet encoding": each binary value is replaced by a placeholder and sent after the packet,
    /// numbered in depth-first order, which is the order serde visits a value in.
    fn write_byte_array<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        write!(
            writer,
            r#"{{"_placeholder":true,"num":{}}}"#,
            self.attachments.len()
        )?;
        // Copied, because serde lends the bytes for this call only and does not say who owns them. A broadcast is encoded
        // once, so this is one copy per message, not per receiver.
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

/// Reads the first argument and skips the others.
struct First<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for First<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an argument list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut arguments: A) -> Result<T, A::Error> {
        let value = match arguments.next_element()? {
            Some(value) => value,
            None => missing(0, PhantomData)?,
        };
        skip_rest(arguments)?;
        Ok(value)
    }
}

/// Presents the whole list as a tuple. Reached only by types which asked for a tuple or a unit.
struct List<'a, 'de> {
    json: &'a mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>,
}

impl<'de> Deserializer<'de> for List<'_, 'de> {
    type Error = serde_json::Error;

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.json.deserialize_seq(Tuple { visitor, len })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.json.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

/// The length that an [`ArgList`](super::ArgList) asks for: whatever the list has.
pub(super) const ANY_LEN: usize = usize::MAX;

/// Hands a visitor exactly `len` elements, whatever the length of the list; all that there are for [`ANY_LEN`].
struct Tuple<V> {
    visitor: V,
    len: usize,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Tuple<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut arguments: A) -> Result<V::Value, A::Error> {
        let padded = Padded {
            arguments: &mut arguments,
            next: 0,
            len: self.len,
        };
        let value = self.visitor.visit_seq(padded)?;
        skip_rest(arguments)?;
        Ok(value)
    }
}

/// A list that reads as `null` where it has ended before `len`.
struct Padded<'a, A> {
    arguments: &'a mut A,
    next: usize,
    len: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Padded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: de::DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if self.next == self.len {
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        let mut seed = Some(seed);
        if let Some(value) = self.arguments.next_element_seed(Lent(&mut seed))? {
            return Ok(Some(value));
        }
        if self.len == ANY_LEN {
            return Ok(None);
        }
        seed.map(|seed| missing(index, seed)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        (self.len != ANY_LEN).then(|| self.len - self.next)
    }
}

/// A seed that comes back when the list turns out to have ended.
struct Lent<'a, S>(&'a mut Option<S>);

impl<'de, S: de::DeserializeSeed<'de>> de::DeserializeSeed<'de> for Lent<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let seed = self
            .0
            .take()
            .ok_or_else(|| de::Error::custom("an element was asked for twice"))?;
        seed.deserialize(deserializer)
    }
}

/// Reads argument `index`, which did not come, as `null`.
fn missing<'de, S: de::DeserializeSeed<'de>, E: de::Error>(
    index: usize,
    seed: S,
) -> Result<S::Value, E> {
    seed.deserialize(serde_json::Value::Null)
        .map_err(|error| E::custom(format_args!("argument {} is missing ({error})", index + 1)))
}

/// serde_json takes an unread element for an error; surplus arguments are none (JavaScript's functions ignore them).
fn skip_rest<'de, A: SeqAccess<'de>>(mut arguments: A) -> Result<(), A::Error> {
    while arguments.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}
