//! Binary values inside arguments, and arguments that nobody has parsed.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::arguments::{self, Args, DecodeError, EncodeError};

#[cfg(test)]
mod tests;

/// A binary value: what JavaScript calls a `Buffer`, an `ArrayBuffer` or a `Uint8Array`.
///
/// It may stand anywhere in a value that is emitted, acknowledged or received. On the wire it is an attachment beside the
/// JSON. Received binary values share the memory of the packet; cloning is cheap.
///
/// It serialises as bytes. To be *de*serialised it needs the attachments of an event at hand, so it can be read by
/// [`Data`](crate::Data), [`TryData`](crate::TryData) and [`Payload::decode`], and from formats that know bytes, but not by
/// `serde_json::from_str`.
///
/// ```
/// use ringhall::{Binary, Payload};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Upload {
///     name: String,
///     content: Binary,
/// }
///
/// let upload = Upload { name: "cat.png".into(), content: Binary::from(vec![1, 2, 3]) };
/// let payload = Payload::encode(&upload)?;
/// assert_eq!(payload.json(), r#"[{"name":"cat.png","content":{"_placeholder":true,"num":0}}]"#);
/// assert_eq!(payload.decode::<Upload>()?.content[..], [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({} bytes)", self.0.len())
    }
}

impl Deref for Binary {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Binary {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Binary {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Binary {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(BinaryVisitor)
        } else {
            deserializer.deserialize_byte_buf(BinaryVisitor)
        }
    }
}

struct BinaryVisitor;

impl<'de> Visitor<'de> for BinaryVisitor {
    type Value = Binary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a binary value")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Binary, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Binary, E> {
        Ok(bytes.into())
    }

    /// Socket.IO protocol, "Packet decoding": `_placeholder` must be `true` and `num` the index of an attachment. The order
    /// is free, and an attachment may be named twice. Other members are ignored, as in the reference parser.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Binary, A::Error> {
        let (mut is_placeholder, mut num) = (false, None);
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "_placeholder" => is_placeholder = members.next_value()?,
                "num" => num = Some(members.next_value::<usize>()?),
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        match num {
            Some(num) if is_placeholder => attachment(num).map(Binary).map_err(de::Error::custom),
            _ => Err(de::Error::custom(
                "invalid type: an object, expected a binary value",
            )),
        }
    }
}

thread_local! {
    /// The attachments of the argument list being decoded on this thread. serde has no way to hand them down to a value.
    static ATTACHMENTS: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Lends attachments to the [`Binary`] values that are deserialised while it lives. Scopes nest; the outer one is back when
/// the inner one is dropped, which a panic does too.
pub(super) struct Scope {
    outer: Option<Vec<Bytes>>,
}

impl Scope {
    pub(super) fn enter(attachments: &[Bytes]) -> Self {
        Self {
            outer: ATTACHMENTS.replace(Some(attachments.to_vec())),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        ATTACHMENTS.set(self.outer.take());
    }
}

fn attachment(num: usize) -> Result<Bytes, String> {
    ATTACHMENTS.with_borrow(|attachments| {
        let Some(attachments) = attachments else {
            return Err(
                "a binary value can only be read from an event, by an extractor or Payload::decode"
                    .to_owned(),
            );
        };
        let found = attachments.get(num).cloned();
        found.ok_or_else(|| format!("binary value {num} of only {} that came", attachments.len()))
    })
}

/// The arguments of an event as they came: not parsed, and cheap to clone, keep or send to another thread.
///
/// A relay passes it on without caring what is inside. As an extractor it never fails, and it carries what Rust's types
/// cannot, such as a string with half a surrogate pair.
///
/// ```
/// use ringhall::Payload;
///
/// let payload = Payload::encode(&("hello", 7))?;
/// assert_eq!(payload.json(), r#"["hello",7]"#);
/// assert_eq!(payload.decode::<(String, u8)>()?, ("hello".to_owned(), 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// A JSON array without whitespace around it, and UTF-8. It is checked when somebody asks for a text, since most payloads are passed on
    /// without. `Bytes`, not `Arc`: one that is never cloned is dropped without an atomic operation.
    json: Bytes,
    /// `None` when there are none, for an empty slice would be allocated, too.
    attachments: Option<Arc<[Bytes]>>,
}

impl Payload {
    /// Encodes `value` once, to be sent as often as one likes. A tuple is a list of arguments, `()` the empty list, and any
    /// other value one argument.
    ///
    /// # Errors
    ///
    /// If `value` cannot be written as JSON.
    ///
    /// ```
    /// let payload = ringhall::Payload::encode(&("a", 1)).unwrap();
    /// assert_eq!(payload.json(), r#"["a",1]"#);
    /// ```
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        let mut json = vec![b'['];
        let mut attachments = Vec::new();
        arguments::encode(value, &mut json, &mut attachments)?;
        json.push(b']');
        // serde_json writes nothing but UTF-8.
        Ok(Self {
            json: json.into(),
            attachments: shared(&attachments),
        })
    }

    /// Copies received arguments.
    pub(crate) fn of(args: &Args<'_>) -> Result<Self, DecodeError> {
        std::str::from_utf8(args.json).map_err(DecodeError::custom)?;
        Ok(Self::received(&Args {
            json: args.json.trim_ascii(),
            ..*args
        }))
    }

    /// The same of what came in a packet, which is UTF-8 as a whole: the transport has checked it (RFC 6455 §8.1), or made it so.
    #[inline]
    pub(crate) fn received(args: &Args<'_>) -> Self {
        debug_assert!(
            args.json.starts_with(b"[") && args.json.ends_with(b"]"),
            "decoding a packet leaves no whitespace around its payload"
        );
        Self {
            json: Bytes::copy_from_slice(args.json),
            attachments: shared(args.attachments),
        }
    }

    /// The arguments, as the text of a JSON array. A binary value is an object `{"_placeholder":true,"num":k}` that stands
    /// for number `k` of [`attachments`](Self::attachments).
    ///
    /// ```
    /// use ringhall::{Binary, Payload};
    /// let payload = Payload::encode(&("image", Binary::from(vec![1, 2]))).unwrap();
    /// assert_eq!(payload.json(), r#"["image",{"_placeholder":true,"num":0}]"#);
    /// ```
    pub fn json(&self) -> &str {
        std::str::from_utf8(&self.json).unwrap_or_default()
    }

    /// The binary values among the arguments.
    ///
    /// ```
    /// use ringhall::{Binary, Payload};
    /// let payload = Payload::encode(&Binary::from(vec![1, 2])).unwrap();
    /// assert_eq!(payload.attachments()[0][..], [1, 2]);
    /// ```
    pub fn attachments(&self) -> &[Bytes] {
        self.attachments.as_deref().unwrap_or_default()
    }

    /// Reads the arguments as [`Data`](crate::Data) does: a tuple is the list of arguments, any other type the first.
    ///
    /// # Errors
    ///
    /// If the arguments are not of this type.
    ///
    /// ```
    /// let payload = ringhall::Payload::encode(&("a", 1)).unwrap();
    /// assert_eq!(payload.decode::<(String, u8)>().unwrap(), ("a".to_owned(), 1));
    /// ```
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        arguments::decode(&self.as_args())
    }

    /// The arguments without the first `count`, for relays that read some themselves.
    ///
    /// ```
    /// # use ringhall::Payload;
    /// let payload = Payload::encode(&("lobby", "say", 1, [2, 3]))?;
    /// assert_eq!(payload.skip(2).json(), "[1,[2,3]]");
    /// assert_eq!(payload.skip(9).json(), "[]");
    /// # Ok::<(), ringhall::EncodeError>(())
    /// ```
    pub fn skip(&self, count: usize) -> Payload {
        let list: Vec<&serde_json::value::RawValue> =
            serde_json::from_slice(&self.json).unwrap_or_default();
        let rest: Vec<&str> = list
            .iter()
            .skip(count)
            .map(|argument| argument.get())
            .collect();
        Payload {
            json: format!("[{}]", rest.join(",")).into_bytes().into(),
            attachments: self.attachments.clone(),
        }
    }

    /// Of a list that was put together from others, with their binary values.
    #[cfg(feature = "admin")]
    pub(crate) fn from_parts(json: String, attachments: &[Bytes]) -> Self {
        Self {
            json: json.into_bytes().into(),
            attachments: (!attachments.is_empty()).then(|| attachments.into()),
        }
    }

    /// Lends the arguments.
    pub(crate) fn as_args(&self) -> Args<'_> {
        Args {
            json: &self.json,
            attachments: self.attachments(),
        }
    }

    /// The argument list without its brackets, as it is written into a packet.
    #[inline]
    pub(crate) fn list(&self) -> &[u8] {
        let inside = 1..self.json.len().saturating_sub(1);
        self.json.get(inside).unwrap_or_default()
    }
}

fn shared(attachments: &[Bytes]) -> Option<Arc<[Bytes]>> {
    (!attachments.is_empty()).then(|| attachments.into())
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Payload({} bytes, {} attachments)",
            self.json.len(),
            self.attachments().len()
        )
    }
}
