//! What can go wrong when a server is built and started.

#![forbid(unsafe_code)]

use std::{fmt, io};

/// Why a server could not be started, or stopped running.
///
/// The text says what happened, which setting is concerned, and what to do.
///
/// ```
/// let error = ringhall::Server::builder().check().err().expect("nothing to listen on");
/// assert!(error.to_string().contains("listen"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that cannot be meant.
    Setting {
        /// Its name.
        name: &'static str,
        /// What is wrong with it, and what it must be.
        problem: String,
    },
    /// An address could not be listened on; the text names it.
    Listen(io::Error),
    /// This kernel, or the container it is used from, does not offer what Ringhall needs.
    Unsupported(String),
    /// Something else that the system refused.
    System {
        /// What was attempted.
        attempted: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn setting(name: &'static str, problem: impl Into<String>) -> Self {
        Error::Setting {
            name,
            problem: problem.into(),
        }
    }

    pub(crate) fn system(attempted: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Error::System { attempted, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Setting { name, problem } => write!(f, "setting `{name}` {problem}"),
            Error::Listen(error) => error.fmt(f),
            Error::Unsupported(text) => f.write_str(text),
            Error::System { attempted, source } => write!(f, "cannot {attempted}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen(source) | Error::System { source, .. } => Some(source),
            Error::Setting { .. } | Error::Unsupported(_) => None,
        }
    }
}

/// A result with Ringhall's [`Error`].
///
/// ```
/// fn start() -> ringhall::Result<()> {
///     let server = ringhall::Server::builder().listen("127.0.0.1:0").start()?;
///     server.shutdown();
///     server.wait()
/// }
/// # start().unwrap();
/// ```
pub type Result<T> = std::result::Result<T, Error>;
