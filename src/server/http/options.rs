//! What a server was told about Engine.IO over HTTP, checked.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::header::HeaderMap;

use crate::server::task;
use crate::shard::grant::Grant;
use crate::shard::handshake::Handshake;
use crate::wire::cookie::Cookie;
use crate::wire::cors::Cors;

/// Why [`Builder::allow_request`](crate::Builder::allow_request) refuses a client: the message that it is answered with, by default "Forbidden".
///
/// ```
/// use ringhall::Forbidden;
/// let refused = Forbidden::new("come back tomorrow");
/// assert_eq!(refused.to_string(), "come back tomorrow");
/// assert_eq!(Forbidden::default().to_string(), "Forbidden");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forbidden(pub(crate) Option<String>);

impl Forbidden {
    /// With this message.
    ///
    /// ```
    /// let refused = ringhall::Forbidden::new("not from there");
    /// assert_eq!(refused.to_string(), "not from there");
    /// ```
    pub fn new(message: impl Into<String>) -> Self {
        Forbidden(Some(message.into()))
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("Forbidden"))
    }
}

impl std::error::Error for Forbidden {}

/// A request for Engine.IO that was refused; see [`Builder::on_connection_error`](crate::Builder::on_connection_error).
///
/// ```
/// use ringhall::{ConnectionError, Server};
/// let server = Server::builder().on_connection_error(|error: &ConnectionError<'_>| {
///     println!("{} {} at {}", error.code, error.message, error.request.url());
/// });
/// # let _ = server;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectionError<'a> {
    /// Engine.IO's code: 0 transport unknown, 1 session unknown, 2 bad method, 3 bad request, 4 forbidden, 5 unsupported version.
    pub code: u8,
    /// What the client is told.
    pub message: &'a str,
    /// The request.
    pub request: &'a Handshake,
}

/// The future of a gate.
pub(crate) type Asked = Pin<Box<dyn Future<Output = Result<Option<Grant>, Forbidden>> + Send>>;
/// Lets clients in or refuses them.
pub(crate) type Gate = Box<dyn Fn(Handshake) -> Asked + Send + Sync>;
/// Adds headers to answers.
pub(crate) type Hook = Box<dyn Fn(&Handshake, &mut HeaderMap) + Send + Sync>;
/// Hears of refusals.
pub(crate) type Refusals = Box<dyn Fn(&ConnectionError<'_>) + Send + Sync>;
/// Chooses names for sessions.
pub(crate) type Namer = Box<dyn Fn(&Handshake) -> Option<String> + Send + Sync>;

/// See the module's text.
pub(crate) struct Options {
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) allow_eio3: bool,
    /// The longest body of a POST, in bytes.
    pub(crate) payload_max: usize,
    pub(crate) cors: Option<Cors>,
    pub(crate) cookie: Option<Cookie>,
    /// Answers of so many bytes are compressed.
    pub(crate) compression: Option<usize>,
    pub(crate) hooks: Hooks,
}

/// The user's code.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) gate: Option<Gate>,
    pub(crate) initial_headers: Option<Hook>,
    pub(crate) headers: Option<Hook>,
    pub(crate) namer: Option<Namer>,
    pub(crate) connection_error: Option<Refusals>,
}

impl Options {
    pub(crate) fn has_gate(&self) -> bool {
        self.hooks.gate.is_some()
    }

    /// Asks the gate, if there is one. A gate that panics lets nobody in.
    pub(crate) async fn ask_gate(&self, handshake: &Handshake) -> Result<Option<Grant>, Forbidden> {
        let Some(gate) = &self.hooks.gate else {
            return Ok(None);
        };
        let asked = task::caught(async { gate(handshake.clone()).await }).await;
        asked.unwrap_or_else(|| Err(Forbidden::default()))
    }

    pub(crate) fn has_hooks(&self) -> bool {
        self.hooks.initial_headers.is_some() || self.hooks.headers.is_some()
    }

    /// `opens`: this is the first answer of a session.
    pub(crate) fn run_hooks(&self, handshake: &Handshake, opens: bool, headers: &mut HeaderMap) {
        if let Some(hook) = self.hooks.initial_headers.as_ref().filter(|_| opens) {
            task::guard(|| hook(handshake, headers));
        }
        if let Some(hook) = &self.hooks.headers {
            task::guard(|| hook(handshake, headers));
        }
    }

    /// Tells the application why a request was refused.
    pub(crate) fn tell_refusal(&self, error: &ConnectionError<'_>) {
        if let Some(hook) = &self.hooks.connection_error {
            task::guard(|| hook(error));
        }
    }

    /// The application's part of a session's name.
    pub(crate) fn name(&self, handshake: &Handshake) -> Option<Box<str>> {
        let name = self
            .hooks
            .namer
            .as_ref()
            .and_then(|namer| task::guard(|| namer(handshake)).flatten())?;
        // It goes into URLs, cookies and JSON.
        let is_plain = name.len() <= NAME_MAX
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte));
        if !is_plain {
            log::warn!(
                "a session was given the name {name:?} (`session_name`): names are of at most {NAME_MAX} letters, digits and -_~; it goes without"
            );
        }
        is_plain.then(|| name.into())
    }
}

/// The longest name that an application may give a session, in bytes.
const NAME_MAX: usize = 64;
