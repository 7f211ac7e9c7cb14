//! The 101 that opens a WebSocket, where hyper writes it or where it is written at once.

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};

use super::answer::insert;
use crate::wire::handshake::{self, Refusal, Upgrade};
use crate::wire::http::{NO_HEADERS, Request};

/// The answer to a proper opening handshake (RFC 6455 §4.2).
pub(crate) fn accept(head: &[u8], protocols: &[Box<str>]) -> Result<Response<Bytes>, Refusal> {
    let mut lines = NO_HEADERS;
    let request = Request::parse(head, &mut lines)?;
    let upgrade = handshake::check(&request)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    insert(headers, "upgrade", b"websocket");
    insert(headers, "connection", b"Upgrade");
    insert(headers, "sec-websocket-accept", &upgrade.key_accept);
    if let Some(chosen) = choose(&upgrade, protocols) {
        insert(headers, "sec-websocket-protocol", chosen.as_bytes());
    }
    Ok(response)
}

/// The same as bytes, with further headers.
pub(crate) fn encode(
    request: &Request<'_>,
    protocols: &[Box<str>],
    headers: &HeaderMap,
) -> Result<Vec<u8>, Refusal> {
    let upgrade = handshake::check(request)?;
    let extra: Vec<(&str, &str)> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let mut answer = Vec::with_capacity(160);
    let chosen = choose(&upgrade, protocols);
    handshake::encode_accept(&mut answer, &upgrade.key_accept, chosen, &extra)
        .map_err(|_| Refusal::new(500, "The server's own headers are not valid."))?;
    Ok(answer)
}

/// Of the subprotocols that the client offers, the first that is spoken here (RFC 6455 §4.2.2); if none is, the answer names none, and it is
/// the client's to go on or not.
fn choose<'a>(upgrade: &Upgrade<'a>, protocols: &[Box<str>]) -> Option<&'a str> {
    upgrade
        .protocols()
        .find(|offered| protocols.iter().any(|spoken| **spoken == **offered))
}

/// RFC 6455 §10.2: browsers say which page a connection comes from. Programs that are no browsers need not, and are not stopped by this.
pub(crate) fn is_from<'a>(
    mut origins_of_request: impl Iterator<Item = &'a [u8]>,
    origins: Option<&[Box<str>]>,
) -> bool {
    let Some(origins) = origins else { return true };
    origins_of_request.all(|origin| origins.iter().any(|allowed| allowed.as_bytes() == origin))
}
