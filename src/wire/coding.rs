//! What a response may be: compressed for who asked for it, and left out for who has it (RFC 9110 §12.5.3, §13.1.2).

#[cfg(test)]
mod tests;

use super::http::list_elements;

/// A content coding that can be answered with (RFC 9110 §8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// RFC 1952.
    Gzip,
    /// The zlib format, RFC 1950, not bare deflate.
    Deflate,
    /// As it is.
    Identity,
}

impl Coding {
    /// The value of `Content-Encoding`; none when there is to be no such header.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Coding::Gzip => Some("gzip"),
            Coding::Deflate => Some("deflate"),
            Coding::Identity => None,
        }
    }
}

/// How much a coding is wanted, in thousandths; 0 is "not acceptable" (RFC 9110 §12.4.2).
type Quality = u16;

const QUALITY_MAX: Quality = 1000;

/// The coding to answer with, by the values of all `Accept-Encoding` lines: the one of the highest quality; of equal ones gzip before
/// deflate before identity.
///
/// Identity is also the answer to a request without the header, and to one that accepts nothing else (RFC 9110 §12.5.3 leaves that to the
/// server, and a response that can be read is worth more than a 406).
pub(crate) fn negotiate<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Coding {
    let (mut gzip, mut deflate, mut identity, mut others) = (None, None, None, None);
    for element in values.into_iter().flat_map(list_elements) {
        let (name, quality) = split_quality(element);
        let named = |known: &[&str]| {
            known
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        };
        let slot = match name {
            // RFC 9110 §8.4.1.3: "x-gzip" is equivalent to "gzip".
            _ if named(&["gzip", "x-gzip"]) => &mut gzip,
            _ if named(&["deflate"]) => &mut deflate,
            _ if named(&["identity"]) => &mut identity,
            b"*" => &mut others,
            _ => continue,
        };
        // Of a coding named twice, what is said first counts.
        slot.get_or_insert(quality);
    }
    let gzip = gzip.or(others).unwrap_or(0);
    let deflate = deflate.or(others).unwrap_or(0);
    // Who says nothing of identity accepts it, but less than anything named.
    let identity = identity.or(others).unwrap_or(0);
    if gzip > 0 && gzip >= deflate && gzip >= identity {
        Coding::Gzip
    } else if deflate > 0 && deflate >= identity {
        Coding::Deflate
    } else {
        Coding::Identity
    }
}

/// A coding's name and its quality: all of it if there is no weight, none if the weight is not one.
fn split_quality(element: &[u8]) -> (&[u8], Quality) {
    let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (None, _) => (name, QUALITY_MAX),
        (Some([b'q' | b'Q', b'=', value @ ..]), None) => (name, quality(value).unwrap_or(0)),
        _ => (name, 0),
    }
}

/// `qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`.
fn quality(value: &[u8]) -> Option<Quality> {
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut quality = match whole {
        b'0' => 0,
        b'1' => QUALITY_MAX,
        _ => return None,
    };
    let mut weight = QUALITY_MAX;
    for digit in decimals {
        weight /= 10;
        quality += match digit {
            b'0'..=b'9' => Quality::from(digit - b'0') * weight,
            _ => return None,
        };
    }
    (quality <= QUALITY_MAX).then_some(quality)
}

/// Whether the values of all `If-None-Match` lines match `etag` (in its quotes, with or without `W/`), so that the answer is 304.
///
/// The comparison is the weak one (RFC 9110 §13.1.2). `*` matches whatever there is. What is no entity tag ends its line: what stands before
/// it counts.
pub(crate) fn none_match<'a>(values: impl IntoIterator<Item = &'a [u8]>, etag: &[u8]) -> bool {
    let opaque = strip_weak(etag);
    values.into_iter().any(|value| {
        value.trim_ascii() == b"*" || entity_tags(value).any(|listed| listed == opaque)
    })
}

fn strip_weak(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// The entity tags of a list, in their quotes and without `W/`. A comma may stand within a tag, so the list cannot be split at commas.
fn entity_tags(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let start = rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let tag = strip_weak(rest.get(start..)?);
        let inside = tag.strip_prefix(b"\"")?;
        let len = inside.iter().position(|byte| *byte == b'"')? + 2;
        let (tag, after) = tag.split_at_checked(len)?;
        rest = after;
        Some(tag)
    })
}
