//! TLS: the records of one connection, and the certificates of one address.
//!
//! It stands between the reactor and a connection and knows neither: bytes go in, bytes come out. Without the feature `tls` the same names
//! are there, and nothing can be made of them (`absent.rs`); so whoever uses them need not ask for the feature.

#![forbid(unsafe_code)]

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(test)]
#[cfg(feature = "tls")]
mod fixture;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod records;
#[cfg(feature = "tls")]
mod watch;

use std::fmt;
use std::path::PathBuf;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Acceptor, Certificates, Error, Records, watch};
#[cfg(feature = "tls")]
pub(crate) use certificates::{Acceptor, Certificates};
#[cfg(feature = "tls")]
pub(crate) use records::{Error, Records};
#[cfg(feature = "tls")]
pub(crate) use watch::watch;

/// Where a certificate chain and its private key come from, both in PEM.
#[derive(Clone)]
pub(crate) enum Source {
    /// Files, which are read again when they change.
    Files { chain: PathBuf, key: PathBuf },
    /// What the program was given, for good.
    Pem { chain: Vec<u8>, key: Vec<u8> },
}

/// Without the key.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Files { chain, key } => f
                .debug_struct("Files")
                .field("chain", chain)
                .field("key", key)
                .finish(),
            Source::Pem { .. } => f.write_str("Pem"),
        }
    }
}

/// What is wrong with a certificate or a key, for the eyes of whoever set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The setting that is to be looked at.
    pub(crate) setting: &'static str,
    /// Continues "setting `…`": what it is, what is wrong with that, what to do.
    pub(crate) text: String,
}

/// Where a connection stands after it received something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The peer cannot be spoken to yet.
    Handshaking,
    Open,
    /// The peer said `close_notify`: it sends no more, as after a FIN. What is still to be said to it may be said.
    Closed,
}
