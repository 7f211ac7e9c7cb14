//! The certificate of one address, and what new handshakes are made with.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::SingleCertAndKey;

use super::records::{Error, Records};
use super::{Problem, Source, pem};

/// What is spoken inside (RFC 7301 §6).
const ALPN: &[u8] = b"http/1.1";

/// A certificate chain with its key, from its source, and all that is the same for each connection.
///
/// Connections keep what they began with; a change is for new ones.
pub(crate) struct Certificates {
    source: Source,
    provider: Arc<CryptoProvider>,
    /// Sessions are resumed by tickets alone (RFC 8446 §4.6.1, RFC 5077): nothing is kept for a client that has gone, and a ticket that one core
    /// gave is good on each. The keys live in here, outlive a change of the certificate, and are replaced every six hours.
    tickets: Arc<dyn ProducesTickets>,
    current: RwLock<Arc<ServerConfig>>,
    /// Counts the changes of `current`, so that nobody takes the lock for nothing.
    changes: AtomicU64,
    watched: Mutex<Watched>,
}

/// Without keys.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// What the files looked like.
#[derive(Default)]
struct Watched {
    /// When they were last loaded, or found to be no good.
    loaded: Look,
    /// When they were last looked at.
    seen: Look,
}

type Look = [Option<Face>; 2];

/// Enough of a file to tell that it is another one, or has other contents.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Face {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Face {
    fn of(path: &Path) -> Option<Face> {
        let metadata: Metadata = std::fs::metadata(path).ok()?;
        Some(Face {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Certificates {
    /// Loads and checks what `source` names.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub(crate) fn load(source: Source) -> Result<Arc<Certificates>, Problem> {
        let provider = Arc::new(default_provider());
        let tickets = Ticketer::new().map_err(|error| internal(&error))?;
        // Looked at before they are read: what changes in between is read again.
        let look = look(&source);
        let config = config(&source, &provider, &tickets)?;
        Ok(Arc::new(Certificates {
            source,
            provider,
            tickets,
            current: RwLock::new(config),
            changes: AtomicU64::new(0),
            watched: Mutex::new(Watched {
                loaded: look,
                seen: look,
            }),
        }))
    }

    /// Whether there is anything that could change.
    pub(super) fn can_change(&self) -> bool {
        matches!(self.source, Source::Files { .. })
    }

    /// Looks whether the files have changed, and loads them if they have, once they look the same as the last time: certificate and key are
    /// two files, and whoever replaces them is not done with both at once.
    ///
    /// `None`: nothing was to be done. What is no good is told once, and what was there before stays.
    pub(super) fn refresh(&self) -> Option<Result<(), Problem>> {
        let look = look(&self.source);
        {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let is_steady = watched.seen == look;
            watched.seen = look;
            if !is_steady || watched.loaded == look {
                return None;
            }
            watched.loaded = look;
        }
        Some(self.reload())
    }

    fn reload(&self) -> Result<(), Problem> {
        let config = config(&self.source, &self.provider, &self.tickets)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        // After the change: whoever sees the count finds it.
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn current(&self) -> Arc<ServerConfig> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }
}

fn look(source: &Source) -> Look {
    match source {
        Source::Files { chain, key } => [Face::of(chain), Face::of(key)],
        Source::Pem { .. } => [None, None],
    }
}

fn config(
    source: &Source,
    provider: &Arc<CryptoProvider>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, Problem> {
    let certified = pem::load(source, provider)?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| internal(&error))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = tickets.clone();
    // A store would be shared by all cores, with a lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn internal(error: &rustls::Error) -> Problem {
    Problem {
        setting: "tls_cert",
        text: format!("cannot be used: {error}"),
    }
}

/// One core's access to the certificates of one address.
pub(crate) struct Acceptor {
    certificates: Arc<Certificates>,
    /// A copy of its current one, as of so many changes.
    config: Arc<ServerConfig>,
    changes: u64,
}

impl Acceptor {
    pub(crate) fn new(certificates: Arc<Certificates>) -> Acceptor {
        // Read in this order, so that a change in between is seen the next time.
        let changes = certificates.changes.load(Ordering::Acquire);
        Acceptor {
            config: certificates.current(),
            changes,
            certificates,
        }
    }

    /// The record layer of a connection that was just accepted. Without a lock, unless the certificate has changed.
    pub(crate) fn accept(&mut self) -> Result<Records, Error> {
        let changes = self.certificates.changes.load(Ordering::Acquire);
        if changes != self.changes {
            self.config = self.certificates.current();
            self.changes = changes;
        }
        Records::accept(self.config.clone())
    }
}

#[cfg(test)]
mod tests;
