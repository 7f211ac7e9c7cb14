//! Pieces of requests and answers.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::wire::http::{HEADERS_MAX, list_elements};

pub(crate) fn respond(
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Bytes,
) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        insert(
            response.headers_mut(),
            "content-type",
            content_type.as_bytes(),
        );
    }
    response
}

/// What is no header line is left out: configuration and hooks were checked before.
pub(crate) fn insert(headers: &mut HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value),
    ) {
        headers.insert(name, value);
    }
}

pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|value| {
        list_elements(value.as_bytes()).any(|name| name.eq_ignore_ascii_case(b"websocket"))
    })
}

pub(crate) fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let values: Vec<&[u8]> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    (!values.is_empty()).then(|| values.join(&b","[..]))
}

pub(crate) fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// The head of a request as it may have been sent: what [`Handshake`] keeps and the handshake of a WebSocket is checked by.
pub(crate) fn head_of(parts: &http::request::Parts) -> Vec<u8> {
    write_head(&parts.method, &parts.uri, parts.version, &parts.headers)
}

pub(crate) fn head_of_request<B>(request: &http::Request<B>) -> Vec<u8> {
    write_head(
        request.method(),
        request.uri(),
        request.version(),
        request.headers(),
    )
}

fn write_head(
    method: &Method,
    uri: &http::Uri,
    version: http::Version,
    headers: &HeaderMap,
) -> Vec<u8> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let version = match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let mut head = Vec::with_capacity(512);
    for piece in [method.as_str(), " ", target, " ", version, "\r\n"] {
        head.extend_from_slice(piece.as_bytes());
    }
    for (name, value) in headers.iter().take(HEADERS_MAX) {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(piece);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
