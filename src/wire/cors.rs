//! Cross-origin resource sharing (Fetch standard, "HTTP extensions"): which response headers a request gets, as the npm package `cors` gives
//! them, which Socket.IO for Node uses.
//!
//! It keeps browsers from handing responses to pages of other origins. It refuses no request, and a WebSocket knows nothing of it.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::{self, Debug, Display};
use std::str;
use std::sync::Arc;

use super::http;

/// Which origins may read responses.
///
/// ```
/// use std::sync::Arc;
/// use ringhall::{Cors, Origin};
/// let ours = Origin::Predicate(Arc::new(|origin: &str| origin.ends_with(".example.org")));
/// let cors = Cors { origin: ours, ..Cors::default() };
/// # let _ = cors;
/// ```
#[derive(Clone, Default)]
pub enum Origin {
    /// All of them, told by `*`, which browsers do not take together with [`Cors::credentials`].
    #[default]
    Any,
    /// All of them, told by their own name.
    Reflect,
    /// This one, told to whoever asks.
    Fixed(String),
    /// These, compared as they are written: `https://example.com`, and `:port` if it is not the usual one.
    List(Vec<String>),
    /// Those that this is true of. A request without an origin, or with one that is no UTF-8, is not asked about.
    Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Any => f.write_str("Any"),
            Origin::Reflect => f.write_str("Reflect"),
            Origin::Fixed(origin) => f.debug_tuple("Fixed").field(origin).finish(),
            Origin::List(origins) => f.debug_tuple("List").field(origins).finish(),
            Origin::Predicate(_) => f.write_str("Predicate"),
        }
    }
}

/// What is allowed across origins. The defaults are those of the package.
///
/// ```
/// use ringhall::{Config, Cors, Origin, Server};
/// let cors = Cors {
///     origin: Origin::Fixed("https://example.org".to_owned()),
///     credentials: true,
///     ..Cors::default()
/// };
/// assert_eq!(cors.options_status, 204);
/// let builder = Server::builder().config(Config { cors: Some(cors), ..Config::default() });
/// # let _ = builder;
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// Default: any.
    pub origin: Origin,
    /// Methods that a preflight allows. Default: GET, HEAD, PUT, PATCH, POST, DELETE. Empty: no such header.
    pub methods: Vec<String>,
    /// Request headers that a preflight allows. Default: none, which is whatever the preflight asks for. Empty: no such header.
    pub allowed_headers: Option<Vec<String>>,
    /// Response headers that pages may read. Default: only those that they always may.
    pub exposed_headers: Vec<String>,
    /// Pages may read the response to a request that came with cookies. Default: they may not.
    pub credentials: bool,
    /// For how many seconds browsers remember the answer to a preflight. Default: none, which is five seconds in the Fetch standard.
    pub max_age_s: Option<u64>,
    /// A preflight gets its headers and is then handled as any other request. Default: false.
    pub preflight_continue: bool,
    /// The status of the answer to a preflight. Default: 204.
    pub options_status: u16,
}

impl Default for Cors {
    fn default() -> Self {
        let methods = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"];
        Cors {
            origin: Origin::Any,
            methods: methods.map(str::to_owned).to_vec(),
            allowed_headers: None,
            exposed_headers: Vec::new(),
            credentials: false,
            max_age_s: None,
            preflight_continue: false,
            options_status: 204,
        }
    }
}

/// Which field of [`Cors`] cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CorsError {
    Origin,
    Methods,
    AllowedHeaders,
    ExposedHeaders,
    OptionsStatus,
}

impl Display for CorsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CorsError::Origin => "CORS: an origin is empty or not what can stand in a header",
            CorsError::Methods => "CORS: a method is not a token",
            CorsError::AllowedHeaders => "CORS: an allowed header is not a token",
            CorsError::ExposedHeaders => "CORS: an exposed header is not a token",
            CorsError::OptionsStatus => "CORS: the status for a preflight is not within 200..=299",
        })
    }
}

/// What a request says that matters here. Values are as they were sent, without the white space around them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    /// The method.
    pub(crate) method: &'a str,
    /// `Origin`.
    pub(crate) origin: Option<&'a [u8]>,
    /// `Access-Control-Request-Headers`; of several lines, joined by `, `.
    pub(crate) request_headers: Option<&'a [u8]>,
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// Header lines for the response, whatever it is, errors included. No name comes twice; there may be another `Vary` to join.
    pub(crate) headers: Vec<(&'static str, Cow<'a, [u8]>)>,
    /// The status of the response, which has no body, when the request was a preflight and ends here.
    pub(crate) ends_with: Option<u16>,
}

impl Cors {
    /// To be asked once, when this is configured: [`answer`](Self::answer) writes the fields as they are.
    pub(crate) fn check(&self) -> Result<(), CorsError> {
        let is_origin = |origin: &String| !origin.is_empty() && is_value(origin.as_bytes());
        let origins = match &self.origin {
            Origin::Fixed(origin) => is_origin(origin),
            Origin::List(origins) => origins.iter().all(is_origin),
            Origin::Any | Origin::Reflect | Origin::Predicate(_) => true,
        };
        let tokens = |names: &[String]| names.iter().all(|name| http::is_token(name.as_bytes()));
        let allowed = self.allowed_headers.as_deref().unwrap_or_default();
        for (fits, error) in [
            (origins, CorsError::Origin),
            (tokens(&self.methods), CorsError::Methods),
            (tokens(allowed), CorsError::AllowedHeaders),
            (tokens(&self.exposed_headers), CorsError::ExposedHeaders),
            // Fetch standard, CORS-preflight fetch: the status has to be an "ok status".
            (
                (200..=299).contains(&self.options_status),
                CorsError::OptionsStatus,
            ),
        ] {
            if !fits {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The headers for a request, and whether it is answered by them. Each OPTIONS request is taken for a preflight.
    pub(crate) fn answer<'a>(&'a self, asked: &Asked<'a>) -> Answer<'a> {
        let preflight = asked.method.eq_ignore_ascii_case("OPTIONS");
        let mut lines = Lines::default();
        lines.push(
            "Access-Control-Allow-Origin",
            self.allow_origin(asked.origin),
        );
        // Whatever the preflight asks for is in the answer, so the answer is for that question alone.
        let reflects_headers = preflight && self.allowed_headers.is_none();
        lines.push("Vary", self.vary(reflects_headers).as_bytes());
        if self.credentials {
            lines.push("Access-Control-Allow-Credentials", b"true".as_slice());
        }
        if preflight {
            lines.push_owned("Access-Control-Allow-Methods", self.methods.join(","));
            let allowed = self.allow_headers(asked.request_headers);
            lines.push("Access-Control-Allow-Headers", allowed);
            if let Some(seconds) = self.max_age_s {
                lines.push_owned("Access-Control-Max-Age", seconds.to_string());
            }
        }
        let exposed = self.exposed_headers.join(",");
        lines.push_owned("Access-Control-Expose-Headers", exposed);
        let ends_with = (preflight && !self.preflight_continue).then_some(self.options_status);
        if ends_with.is_some() {
            // Some browsers wait for a body otherwise, even with a 204.
            lines.push("Content-Length", b"0".as_slice());
        }
        Answer {
            headers: lines.0,
            ends_with,
        }
    }

    /// The origin that is told; empty for none.
    fn allow_origin<'a>(&'a self, asked: Option<&'a [u8]>) -> &'a [u8] {
        let asked = asked.filter(|origin| is_value(origin)).unwrap_or_default();
        let allowed = match &self.origin {
            Origin::Any => return b"*",
            Origin::Fixed(origin) => return origin.as_bytes(),
            Origin::Reflect => true,
            Origin::List(origins) => origins.iter().any(|origin| origin.as_bytes() == asked),
            Origin::Predicate(allows) => {
                !asked.is_empty() && str::from_utf8(asked).is_ok_and(|origin| allows(origin))
            }
        };
        if allowed { asked } else { b"" }
    }

    /// What the answer depends on, besides the configuration; empty for nothing.
    fn vary(&self, reflects_headers: bool) -> &'static str {
        let any = match &self.origin {
            Origin::Any => true,
            Origin::Fixed(origin) => origin == "*",
            Origin::Reflect | Origin::List(_) | Origin::Predicate(_) => false,
        };
        match (any, reflects_headers) {
            (true, false) => "",
            (true, true) => "Access-Control-Request-Headers",
            (false, false) => "Origin",
            (false, true) => "Origin, Access-Control-Request-Headers",
        }
    }

    fn allow_headers<'a>(&self, asked: Option<&'a [u8]>) -> Cow<'a, [u8]> {
        match &self.allowed_headers {
            Some(names) => Cow::Owned(names.join(",").into_bytes()),
            None => Cow::Borrowed(asked.filter(|names| is_value(names)).unwrap_or_default()),
        }
    }
}

/// Header lines with a value.
#[derive(Default)]
struct Lines<'a>(Vec<(&'static str, Cow<'a, [u8]>)>);

impl<'a> Lines<'a> {
    /// A line without a value is left out.
    fn push(&mut self, name: &'static str, value: impl Into<Cow<'a, [u8]>>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.push((name, value));
        }
    }

    fn push_owned(&mut self, name: &'static str, value: String) {
        self.push(name, value.into_bytes());
    }
}

/// RFC 9110 §5.5: what may stand in a header line. A parser has seen to that, and here it would become a line of ours.
fn is_value(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
}
