//! Names that tell where they live: an id says its home core and its place there, so nobody shares a table of ids.
//!
//! An id is 15 bytes, written as 20 characters of URL-safe base64: 11 random bytes, the core, and the place in 24 bits.
//! It is a secret of 88 bits (Engine.IO session ids must not be guessable, CVE-2017-16031); the last four bytes only route.

use std::fmt;
use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};

const RANDOM: usize = 11;
const RAW: usize = 15;
const TEXT: usize = 20;

/// Places beyond this many on one core cannot be named by an id.
pub(crate) const PLACES: u32 = 1 << 24;

/// The name of a [`Socket`](crate::Socket): 20 characters, unique, not guessable.
///
/// It can be copied, sent to other threads and stored. Every socket is in the room of this name, so
/// `server.to(&id).emit(…)` reaches one socket from anywhere.
///
/// ```
/// # use ringhall::SocketId;
/// fn remember(id: &SocketId) -> String {
///     id.to_string()
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId([u8; TEXT]);

impl SocketId {
    /// The id as text.
    ///
    /// ```
    /// # fn f(id: ringhall::SocketId) {
    /// assert_eq!(id.as_str().len(), 20);
    /// # }
    /// ```
    pub fn as_str(&self) -> &str {
        // Built from base64 characters alone, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id that this text is, if it has the form of one.
    pub(crate) fn parse(text: &str) -> Option<SocketId> {
        SocketId::locate(text)?;
        text.as_bytes().try_into().ok().map(SocketId)
    }

    /// The home core and the place there that this text names, if it has the form of an id at all. Whether
    /// such a socket lives is for its core to say.
    pub(crate) fn locate(text: &str) -> Option<(usize, u32)> {
        if text.len() != TEXT {
            return None;
        }
        let mut raw = [0; RAW];
        let written = URL_SAFE_NO_PAD.decode_slice(text, &mut raw).ok()?;
        debug_assert_eq!(written, RAW);
        let [.., core, high, middle, low] = raw;
        Some((
            usize::from(core),
            u32::from_be_bytes([0, high, middle, low]),
        ))
    }
}

/// Between the application's part of a session's name and the part that routes.
const SEPARATOR: char = '.';

/// The name of a session. It is a secret between server and client.
pub(crate) enum Sid {
    /// Most have no other.
    Id(SocketId),
    /// What the application chose, and behind it the id, which routes and makes it unique.
    Named(Box<str>),
}

impl Sid {
    /// `name`: what the application chose.
    pub(crate) fn new(name: Option<&str>, id: SocketId) -> Self {
        match name {
            None => Sid::Id(id),
            Some(name) => Sid::Named(format!("{name}{SEPARATOR}{}", id.as_str()).into()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Sid::Id(id) => id.as_str(),
            Sid::Named(name) => name,
        }
    }
}

/// The home core of the session of this name, and its place there.
pub(crate) fn locate(sid: &str) -> Option<(usize, u32)> {
    SocketId::locate(sid.rsplit(SEPARATOR).next().unwrap_or(sid))
}

impl AsRef<str> for SocketId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Deref for SocketId {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

/// As a string, so that an id can be emitted as it is.
impl Serialize for SocketId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({})", self.as_str())
    }
}

/// Makes ids. Random bytes are taken from the operating system 186 ids at a time: one system call each would show in a connection storm.
pub(crate) struct IdSource {
    core: u8,
    pool: [u8; 2048],
    used: usize,
}

impl IdSource {
    pub(crate) fn new(core: usize) -> Self {
        debug_assert!(core < crate::room::cores::MAX_CORES);
        IdSource {
            core: u8::try_from(core).unwrap_or(u8::MAX),
            pool: [0; 2048],
            used: 2048,
        }
    }

    /// A new id for `place` on this core. `place` must be below [`PLACES`].
    pub(crate) fn next(&mut self, place: u32) -> std::io::Result<SocketId> {
        debug_assert!(place < PLACES);
        if self.used + RANDOM > self.pool.len() {
            getrandom::fill(&mut self.pool).map_err(std::io::Error::other)?;
            self.used = 0;
        }
        let mut raw = [0; RAW];
        raw[..RANDOM].copy_from_slice(&self.pool[self.used..self.used + RANDOM]);
        // What was given out is not kept: a later leak of this memory tells nothing of living ids.
        self.pool[self.used..self.used + RANDOM].fill(0);
        self.used += RANDOM;
        raw[RANDOM] = self.core;
        raw[RANDOM + 1..].copy_from_slice(&place.to_be_bytes()[1..]);
        let mut text = [b'A'; TEXT];
        let written = URL_SAFE_NO_PAD.encode_slice(raw, &mut text);
        debug_assert_eq!(written, Ok(TEXT));
        Ok(SocketId(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_place() {
        let mut ids = IdSource::new(3);
        let id = ids.next(0x01_02_03).unwrap();
        assert_eq!(id.as_str().len(), TEXT);
        assert_eq!(SocketId::locate(id.as_str()), Some((3, 0x01_02_03)));
    }

    #[test]
    fn other_texts_name_no_place() {
        for text in [
            "",
            "lobby",
            "twenty characters !!",
            "AAAAAAAAAAAAAAAAAAAAA",
            "äääääääääää",
        ] {
            assert_eq!(SocketId::locate(text), None, "{text}");
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        let mut ids = IdSource::new(0);
        let all: std::collections::HashSet<_> =
            (0..100_000).map(|_| ids.next(7).unwrap()).collect();
        assert_eq!(all.len(), 100_000);
    }
}
