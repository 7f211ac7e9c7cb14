//! The opening handshake, the server's half (RFC 6455 §4.2).

#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;
use std::str;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use httparse::Header;
use sha1::{Digest, Sha1};

use super::http::{self, HttpError, Request};

/// RFC 6455 §1.3: what no server adds to a key that does not speak the protocol.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key is 16 bytes (RFC 6455 §4.1, item 7).
const KEY_LEN: usize = 16;
/// Standard alphabet with padding; bits that the padding leaves over are not looked at (RFC 4648 §3.5 allows both).
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A request that may be answered with 101.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgrade<'a> {
    /// The value of Sec-WebSocket-Accept.
    pub(crate) key_accept: [u8; 28],
    headers: &'a [Header<'a>],
}

impl<'a> Upgrade<'a> {
    /// The subprotocols that the client offers, in its order of preference.
    pub(crate) fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        protocol_tokens(self.headers).filter_map(|token| str::from_utf8(token).ok())
    }
}

/// An answer that ends the connection instead of opening a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What is wrong and what to do about it: the body of the answer.
    pub(crate) reason: &'static str,
}

impl Refusal {
    /// An answer with this status and this sentence.
    pub(crate) const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    const fn bad_request(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

impl From<HttpError> for Refusal {
    fn from(error: HttpError) -> Self {
        let reason = match error {
            HttpError::Syntax => "This is not a valid HTTP/1.1 request.",
            HttpError::LineEnd => "Every line of a request head must end in CRLF.",
            HttpError::LineTooLong => "The request line is longer than 8 KiB. Shorten the URL.",
            HttpError::HeadTooLarge => {
                "The request head is larger than 16 KiB. Send less in headers, such as cookies."
            }
            HttpError::TooManyHeaders => "The request has more than 100 header lines. Send fewer.",
            HttpError::Version => "Only HTTP/1.1 is spoken here.",
        };
        Self::new(error.status(), reason)
    }
}

/// The value of Sec-WebSocket-Accept for a value of Sec-WebSocket-Key (RFC 6455 §4.2.2, item 5.4).
pub(crate) fn accept_key(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    let written = STANDARD.encode_slice(digest, &mut accept);
    debug_assert_eq!(written, Ok(28), "20 bytes are 28 in base64");
    accept
}

/// Whether the client wants a WebSocket: such a request is answered by [`check`], any other by whoever serves HTTP.
pub(crate) fn is_upgrade(request: &Request<'_>) -> bool {
    request.header_values_contain_token("upgrade", "websocket")
}

/// Checks a request as RFC 6455 §4.2.1 asks. The origin and the path are the caller's to judge.
pub(crate) fn check<'a>(request: &Request<'a>) -> Result<Upgrade<'a>, Refusal> {
    check_request_line(request)?;
    check_host(request)?;
    check_no_body(request)?;
    check_upgrade(request)?;
    check_version(request)?;
    let key = checked_key(request)?;
    check_protocols(request)?;
    check_extensions(request)?;
    Ok(Upgrade {
        key_accept: accept_key(key),
        headers: request.headers,
    })
}

/// RFC 6455 §4.2.1, item 1. RFC 9110 §7.8 has a server ignore Upgrade in HTTP/1.0.
fn check_request_line(request: &Request<'_>) -> Result<(), Refusal> {
    if request.minor_version != 1 {
        return Err(Refusal::bad_request("A WebSocket is opened with HTTP/1.1."));
    }
    if request.method != "GET" {
        return Err(Refusal::new(
            405,
            "A WebSocket is opened with the method GET.",
        ));
    }
    if !request.path.starts_with('/') {
        return Err(Refusal::bad_request(
            "The request target must be a path, or a URL with http or https.",
        ));
    }
    Ok(())
}

/// RFC 6455 §4.2.1, item 2; RFC 9112 §3.2 demands 400 where Host is missing, repeated or invalid, also of requests that open nothing.
pub(crate) fn check_host(request: &Request<'_>) -> Result<(), Refusal> {
    check_hosts(request.headers("host"))
}

/// The same of the values of all Host lines.
pub(crate) fn check_hosts<'a>(mut hosts: impl Iterator<Item = &'a [u8]>) -> Result<(), Refusal> {
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_authority(host) => Ok(()),
        _ => Err(Refusal::bad_request(
            "Send exactly one Host header with the name of this server.",
        )),
    }
}

/// A host and perhaps a port (RFC 3986 §3.2.2, §3.2.3).
fn is_authority(value: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(value) else {
        return false;
    };
    let (host_is_valid, after) = match value.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, after))) => (address.parse::<Ipv6Addr>().is_ok(), after),
        Some(None) => return false,
        None => {
            let (host, after) = value.split_at(value.find(':').unwrap_or(value.len()));
            (is_registered_name(host.as_bytes()), after)
        }
    };
    host_is_valid && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port))
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// RFC 3986's reg-name, but not the empty one: a WebSocket's URL always has a host (RFC 6455 §3).
fn is_registered_name(mut name: &[u8]) -> bool {
    if name.is_empty() {
        return false;
    }
    while let Some((&byte, after)) = name.split_first() {
        name = match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            _ if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte) => after,
            _ => return false,
        };
    }
    true
}

/// A body's bytes would be taken for frames here and for a body by a proxy in between (RFC 9112 §6.3): two readings of one
/// stream are how requests are smuggled. So none is allowed, however it is framed.
fn check_no_body(request: &Request<'_>) -> Result<(), Refusal> {
    let mut lengths = request.headers("content-length");
    let length_is_zero = match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => !length.is_empty() && length.iter().all(|digit| *digit == b'0'),
        (Some(_), Some(_)) => false,
    };
    if length_is_zero && request.header("transfer-encoding").is_none() {
        Ok(())
    } else {
        Err(Refusal::bad_request(
            "A request for a WebSocket must not have a body: send neither Content-Length nor Transfer-Encoding.",
        ))
    }
}

/// RFC 6455 §4.2.1, items 3 and 4.
fn check_upgrade(request: &Request<'_>) -> Result<(), Refusal> {
    if !is_upgrade(request) {
        return Err(Refusal::new(
            426,
            "Only WebSockets are served here: send Upgrade: websocket.",
        ));
    }
    if !request.header_values_contain_token("connection", "upgrade") {
        return Err(Refusal::bad_request(
            "The Connection header must contain Upgrade. A proxy on the way may have removed it.",
        ));
    }
    Ok(())
}

/// RFC 6455 §4.2.1, item 6, and §4.2.2, item 4. The grammar of §4.3 knows no leading zeros or signs, so only one spelling is 13.
fn check_version(request: &Request<'_>) -> Result<(), Refusal> {
    let mut versions = request.headers("sec-websocket-version");
    match (versions.next(), versions.next()) {
        (Some(b"13"), None) => Ok(()),
        // RFC 6455 §11.3.5: at most once in a request.
        (Some(_), Some(_)) => Err(Refusal::bad_request(
            "Send exactly one Sec-WebSocket-Version header.",
        )),
        _ => Err(Refusal::new(
            426,
            "Only version 13 of the protocol is spoken here: send Sec-WebSocket-Version: 13.",
        )),
    }
}

/// RFC 6455 §4.2.1, item 5; §11.3.1: at most once in a request.
fn checked_key<'a>(request: &Request<'a>) -> Result<&'a [u8], Refusal> {
    let refusal = Refusal::bad_request(
        "Send exactly one Sec-WebSocket-Key header: 16 random bytes in base64.",
    );
    let mut keys = request.headers("sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(refusal);
    };
    // 24 characters at most make 18 bytes: room for any key that is not refused for its length.
    let mut decoded = [0; KEY_LEN + 2];
    if key.len() == 24 && KEY_BASE64.decode_slice(key, &mut decoded) == Ok(KEY_LEN) {
        Ok(key)
    } else {
        Err(refusal)
    }
}

/// RFC 6455 §4.2.1, item 8, and §11.3.4: one or more tokens, over one or more lines.
fn check_protocols(request: &Request<'_>) -> Result<(), Refusal> {
    let offered = request.header(PROTOCOL).is_some();
    let all_tokens = protocol_tokens(request.headers).all(http::is_token);
    if !all_tokens || offered && protocol_tokens(request.headers).next().is_none() {
        return Err(Refusal::bad_request(
            "Sec-WebSocket-Protocol must be a list of names separated by commas.",
        ));
    }
    Ok(())
}

const PROTOCOL: &str = "sec-websocket-protocol";

fn protocol_tokens<'a>(headers: &'a [Header<'a>]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    http::values(headers, PROTOCOL).flat_map(http::list_elements)
}

/// RFC 6455 §9.1: an offer of extensions that breaks the grammar fails the handshake; one that is merely unknown is declined.
fn check_extensions(request: &Request<'_>) -> Result<(), Refusal> {
    if request
        .headers("sec-websocket-extensions")
        .all(is_extension_list)
    {
        Ok(())
    } else {
        Err(Refusal::bad_request(
            "Sec-WebSocket-Extensions is malformed: send names with parameters, or leave it out.",
        ))
    }
}

/// `1#( token *( ";" token [ "=" ( token | quoted-string ) ] ) )`, empty elements allowed.
fn is_extension_list(value: &[u8]) -> bool {
    let mut cursor = Cursor { rest: value };
    let mut extensions = 0;
    loop {
        if cursor.take_token() {
            extensions += 1;
            while cursor.take(b';') {
                if !cursor.take_token()
                    || cursor.take(b'=') && !cursor.take_token() && !cursor.take_quoted_token()
                {
                    return false;
                }
            }
        }
        if !cursor.take(b',') {
            return extensions > 0 && cursor.at_end();
        }
    }
}

/// Walks over a header's value; white space before each piece is skipped.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(&[byte]) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_token(&mut self) -> bool {
        self.skip_space();
        let len = self
            .rest
            .iter()
            .take_while(|byte| http::is_token_byte(**byte))
            .count();
        self.rest = self.rest.get(len..).unwrap_or_default();
        len > 0
    }

    /// RFC 6455 §9.1: once unescaped, a quoted value must be a token too.
    fn take_quoted_token(&mut self) -> bool {
        if !self.take(b'"') {
            return false;
        }
        let mut len = 0;
        loop {
            self.rest = match self.rest {
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return len > 0;
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] if http::is_token_byte(*byte) => rest,
                _ => return false,
            };
            len += 1;
        }
    }
}

/// What may not be written into an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The subprotocol or a header's name is not a token.
    Name,
    /// A value has CR, LF, NUL or another control character in it.
    Value,
    /// A header that the handshake writes itself, or that would give a 101 a body.
    Reserved,
}

/// Headers that are not the application's in a 101.
const RESERVED: [&str; 8] = [
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-version",
];

/// Appends the answer that opens the WebSocket (RFC 6455 §4.2.2, item 5). On an error `out` is as it was.
pub(crate) fn encode_accept(
    out: &mut Vec<u8>,
    accept: &[u8; 28],
    protocol: Option<&str>,
    extra_headers: &[(&str, &str)],
) -> Result<(), HeaderError> {
    if protocol.is_some_and(|protocol| !http::is_token(protocol.as_bytes())) {
        return Err(HeaderError::Name);
    }
    for (name, value) in extra_headers {
        check_header(name, value)?;
    }
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
    );
    out.extend_from_slice(accept);
    out.extend_from_slice(b"\r\n");
    if let Some(protocol) = protocol {
        push_header(out, "Sec-WebSocket-Protocol", protocol);
    }
    for (name, value) in extra_headers {
        push_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// RFC 9110 §5.5: a line end inside a value would begin another header, or end the head.
fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    if !http::is_token(name.as_bytes()) {
        return Err(HeaderError::Name);
    }
    if RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(name))
    {
        return Err(HeaderError::Reserved);
    }
    if value
        .bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
    {
        return Err(HeaderError::Value);
    }
    Ok(())
}

fn push_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for piece in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Appends a whole answer that refuses: the connection ends after it.
pub(crate) fn encode_refusal(out: &mut Vec<u8>, refusal: &Refusal) {
    let status = refusal.status.to_string();
    for piece in [
        "HTTP/1.1 ",
        status.as_str(),
        " ",
        phrase(refusal.status),
        "\r\n",
    ] {
        out.extend_from_slice(piece.as_bytes());
    }
    match refusal.status {
        // RFC 9110 §15.5.22 and §7.8: a 426 names the protocol, and Connection names Upgrade.
        426 => {
            push_header(out, "Connection", "close, Upgrade");
            push_header(out, "Upgrade", "websocket");
            push_header(out, "Sec-WebSocket-Version", "13");
        }
        // RFC 9110 §15.5.6: a 405 names what is allowed.
        405 => {
            push_header(out, "Connection", "close");
            push_header(out, "Allow", "GET");
        }
        _ => push_header(out, "Connection", "close"),
    }
    push_header(out, "Content-Type", "text/plain; charset=utf-8");
    push_header(out, "Content-Length", &refusal.reason.len().to_string());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(refusal.reason.as_bytes());
}

/// The words behind a status. They may be missing (RFC 9112 §4), so an unknown status has none.
/// The reason phrase of a status that we send (RFC 9110 §15).
pub(crate) fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
