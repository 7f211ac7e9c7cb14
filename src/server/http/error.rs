//! Why Engine.IO refuses a request, and how that is told.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::answer::{insert, respond};

/// Errors of Engine.IO: the code and its message, as every client knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    TransportUnknown,
    SessionUnknown,
    BadMethod,
    BadRequest,
    Forbidden(Option<String>),
    UnsupportedVersion,
}

impl Error {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Error::TransportUnknown => 0,
            Error::SessionUnknown => 1,
            Error::BadMethod => 2,
            Error::BadRequest => 3,
            Error::Forbidden(_) => 4,
            Error::UnsupportedVersion => 5,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Error::TransportUnknown => "Transport unknown",
            Error::SessionUnknown => "Session ID unknown",
            Error::BadMethod => "Bad handshake method",
            Error::BadRequest => "Bad request",
            Error::Forbidden(Some(message)) => message,
            Error::Forbidden(None) => "Forbidden",
            Error::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The answer that an error is. Node answers 400 to every upgrade that it refuses.
pub(crate) fn refuse(error: &Error, is_upgrade: bool) -> Response<Bytes> {
    if is_upgrade {
        let body = Bytes::copy_from_slice(error.message().as_bytes());
        let mut response = respond(StatusCode::BAD_REQUEST, Some("text/html"), body);
        insert(response.headers_mut(), "connection", b"close");
        return response;
    }
    let body = serde_json::json!({ "code": error.code(), "message": error.message() });
    let body = Bytes::from(body.to_string());
    respond(error.status(), Some("application/json"), body)
}
