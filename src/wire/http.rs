//! The head of an HTTP/1.1 request, and the query of its target.
//!
//! [`find_head_end`] says when a head is whole, looking at each byte once however it drips in; only then is it parsed.

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::str;

use httparse::Header;

use super::Status;

/// The longest head that is taken, with its empty line: 16 KiB. Beyond: 431.
pub(crate) const HEAD_MAX: usize = 16 * 1024;
/// The longest request line that is taken, without its CRLF: 8 KiB. Beyond: 414.
pub(crate) const REQUEST_LINE_MAX: usize = 8 * 1024;
/// How many header lines are taken. Beyond: 431.
pub(crate) const HEADERS_MAX: usize = 100;
/// Room for the header lines of one request, for [`Request::parse`].
pub(crate) const NO_HEADERS: [Header<'static>; HEADERS_MAX] = [httparse::EMPTY_HEADER; HEADERS_MAX];

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpError {
    /// Not a request of HTTP/1.
    Syntax,
    /// A line that does not end in CRLF.
    LineEnd,
    /// The request line is longer than [`REQUEST_LINE_MAX`].
    LineTooLong,
    /// The head is longer than [`HEAD_MAX`].
    HeadTooLarge,
    /// More header lines than [`HEADERS_MAX`].
    TooManyHeaders,
    /// A version other than 1.0 and 1.1.
    Version,
}

impl HttpError {
    /// The status of the answer.
    pub(crate) fn status(self) -> u16 {
        match self {
            HttpError::Syntax | HttpError::LineEnd => 400,
            HttpError::LineTooLong => 414,
            HttpError::HeadTooLarge | HttpError::TooManyHeaders => 431,
            HttpError::Version => 505,
        }
    }
}

/// Where the head at the beginning of `buf` ends (just behind its empty line), if it is whole.
///
/// `scanned` is how long `buf` was when this was last asked about it (0 at first): those bytes are not looked at again.
/// A head that can no longer become acceptable is refused without waiting for its end.
pub(crate) fn find_head_end(buf: &[u8], scanned: usize) -> Result<Status<usize>, HttpError> {
    check_request_line(buf, scanned)?;
    let within = buf.get(..HEAD_MAX).unwrap_or(buf);
    // The empty line may have begun in the bytes already scanned, with "\n\r" as their last.
    let from = scanned.saturating_sub(2);
    for (at, _) in within
        .iter()
        .enumerate()
        .skip(from)
        .filter(|(_, byte)| **byte == b'\n')
    {
        // A bare LF also ends the head, so that such a request is refused by `Request::parse` rather than waited for.
        match within.get(at + 1..).unwrap_or_default() {
            [b'\n', ..] => return Ok(Status::Complete(at + 2)),
            [b'\r', b'\n', ..] => return Ok(Status::Complete(at + 3)),
            _ => {}
        }
    }
    if buf.len() >= HEAD_MAX {
        Err(HttpError::HeadTooLarge)
    } else {
        Ok(Status::Partial)
    }
}

/// Refuses a request line without an end in sight. Once that much was scanned, it was checked.
fn check_request_line(buf: &[u8], scanned: usize) -> Result<(), HttpError> {
    // RFC 9112 §2.2: an empty line before the request line is skipped.
    let line = buf.strip_prefix(b"\r\n").unwrap_or(buf);
    let longest = REQUEST_LINE_MAX + 2;
    match line.get(..longest) {
        Some(begin) if scanned < longest + 2 && !begin.contains(&b'\n') => {
            Err(HttpError::LineTooLong)
        }
        _ => Ok(()),
    }
}

/// The head of a request: all of it lies in the bytes it was parsed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The method, as sent: methods are case-sensitive.
    pub(crate) method: &'a str,
    /// The path of the target, not decoded. Begins with `/`, but for `*` and the target of CONNECT.
    pub(crate) path: &'a str,
    /// The query of the target, without its `?` and not decoded; empty when there is none.
    pub(crate) query: &'a str,
    /// 0 or 1: the version is 1.x.
    pub(crate) minor_version: u8,
    /// The header lines in their order; values without the white space around them.
    pub(crate) headers: &'a [Header<'a>],
}

impl<'a> Request<'a> {
    /// Parses a whole head: `head` ends where [`find_head_end`] said. `headers` is where the lines go ([`NO_HEADERS`]).
    pub(crate) fn parse(
        head: &'a [u8],
        headers: &'a mut [Header<'a>; HEADERS_MAX],
    ) -> Result<Request<'a>, HttpError> {
        check_line_ends(head)?;
        let mut parsed = httparse::Request::new(headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {}
            Ok(_) => return Err(HttpError::Syntax),
            Err(httparse::Error::TooManyHeaders) => return Err(HttpError::TooManyHeaders),
            Err(httparse::Error::Version) => return Err(HttpError::Version),
            Err(_) => return Err(HttpError::Syntax),
        }
        let (Some(method), Some(target), Some(minor_version)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(HttpError::Syntax);
        };
        // RFC 9112 §3.2: no form of a request target has a fragment.
        if target.contains('#') {
            return Err(HttpError::Syntax);
        }
        let (path, query) = split_target(target);
        Ok(Request {
            method,
            path,
            query,
            minor_version,
            headers: parsed.headers,
        })
    }

    /// The value of the first header line of this name, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers(name).next()
    }

    /// The values of all header lines of this name, whatever its case.
    pub(crate) fn headers<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        values(self.headers, name)
    }

    /// Whether the comma-separated lists in all lines of this name contain `token`, whatever its case.
    pub(crate) fn header_values_contain_token(&self, name: &str, token: &str) -> bool {
        self.headers(name)
            .flat_map(list_elements)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// The values of all lines of one name.
pub(super) fn values<'a, 'n>(
    headers: &'a [Header<'a>],
    name: &'n str,
) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// The elements of a comma-separated list, without white space around them; empty ones are skipped (RFC 9110 §5.6.1.2).
pub(crate) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9112 §2.2 lets a recipient take a bare LF for a line end; proxies disagree on it, and so requests can be smuggled.
fn check_line_ends(head: &[u8]) -> Result<(), HttpError> {
    let mut previous = 0;
    for byte in head {
        if *byte == b'\n' && previous != b'\r' {
            return Err(HttpError::LineEnd);
        }
        previous = *byte;
    }
    Ok(())
}

/// Path and query of a request target in origin form, absolute form or any other (RFC 9112 §3.2).
fn split_target(target: &str) -> (&str, &str) {
    let resource = match target.split_once("://") {
        // An authority ends where path or query begins, and `http://host` means `/`.
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    let (path, query) = resource.split_once('?').unwrap_or((resource, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

/// The parameters of a query in their order, decoded as forms encode them: `%41` is `A`, `+` is a space. A percent sign without two
/// hexadecimal digits stands for itself; what is not UTF-8 becomes U+FFFD.
pub(crate) fn query_pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(name), percent_decode(value))
        })
}

/// The value of one parameter of a query; of several of the same name, the last.
pub(crate) fn query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query_pairs(query)
        .filter(|(key, _)| key == name)
        .last()
        .map(|(_, value)| value)
}

fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, hex_pair(after)) {
            (b'%', Some((value, after))) => {
                decoded.push(value);
                rest = after;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], after) = bytes.split_first_chunk()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some(((digit(*high)? << 4 | digit(*low)?) as u8, after))
}
