//! What makes an address one of https and wss.

use std::path::PathBuf;
use std::sync::Arc;

use crate::tls::{Certificates, Problem, Source};
use crate::{Error, Result};

/// A certificate with its private key, for [`Builder::listen_tls`](crate::Builder::listen_tls). It needs the feature `tls`.
///
/// TLS 1.3 and 1.2 are spoken, and inside of it HTTP/1.1 (ALPN `http/1.1`) and WebSocket. Sessions are resumed by tickets, whose keys are
/// the same on all cores and change every six hours. A client that closes its connection without `close_notify` is taken as one that says
/// it: messages have their own ends.
///
/// Everything is checked when the server starts, see [`Builder::start`](crate::Builder::start): the files are there, they are PEM, the key is
/// the certificate's. Whether the certificate is expired, or anybody trusts it, is for clients to say.
///
/// Copies are the same certificate, loaded once: addresses that are given copies resume each other's sessions.
///
/// ```
/// use ringhall::{Server, Tls};
/// let tls = Tls::files("/etc/ssl/example.org/fullchain.pem", "/etc/ssl/example.org/privkey.pem");
/// let builder = Server::builder()
///     .listen_tls("0.0.0.0:443", tls.clone())
///     .listen_tls("[::1]:8443", tls); // the same certificate: sessions are resumed at either
/// # let _ = builder;
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    source: Arc<Source>,
}

impl Tls {
    /// A certificate in files, in PEM: `cert` holds the server's own certificate and behind it those of the authorities in between
    /// (a "full chain"), `key` the private key (PKCS #8, PKCS #1 or SEC 1; no password).
    ///
    /// When the files change, they are loaded again within three seconds, once they have stood still for one. New connections get the new certificate, those
    /// that are there are not touched. Files that cannot be used are logged once, and the old certificate stays until they can.
    ///
    /// ```no_run
    /// use ringhall::{Server, Tls};
    ///
    /// fn main() -> ringhall::Result<()> {
    ///     let tls = Tls::files("/etc/ssl/example.org/fullchain.pem", "/etc/ssl/example.org/privkey.pem");
    ///     Server::builder().listen("[::]:80").listen_tls("[::]:443", tls).run()
    /// }
    /// ```
    pub fn files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Tls {
        Tls::new(Source::Files {
            chain: cert.into(),
            key: key.into(),
        })
    }

    /// The same from memory: what the files would hold. It stays as it is for as long as the server runs.
    ///
    /// ```
    /// use ringhall::{Server, Tls};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    /// let tls = Tls::pem(made.cert.pem(), made.signing_key.serialize_pem());
    /// let server = Server::builder().listen_tls("localhost:0", tls).start()?;
    /// println!("listening on {}", server.local_urls()[0]);
    /// # server.shutdown();
    /// # Ok(server.wait()?)
    /// # }
    /// ```
    pub fn pem(cert: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Tls {
        Tls::new(Source::Pem {
            chain: cert.into(),
            key: key.into(),
        })
    }

    fn new(source: Source) -> Tls {
        Tls {
            source: Arc::new(source),
        }
    }
}

/// Certificates, each loaded once.
#[derive(Default)]
pub(super) struct Wardrobe {
    loaded: Vec<(Tls, Arc<Certificates>)>,
}

impl Wardrobe {
    /// The index of this certificate, which is loaded and checked if it is a new one.
    pub(super) fn index_of(&mut self, tls: &Tls) -> Result<usize> {
        let known = |(one, _): &(Tls, _)| Arc::ptr_eq(&one.source, &tls.source);
        if let Some(index) = self.loaded.iter().position(known) {
            return Ok(index);
        }
        let load = Certificates::load(Source::clone(&tls.source));
        let certificates =
            load.map_err(|Problem { setting, text }| Error::setting(setting, text))?;
        self.loaded.push((tls.clone(), certificates));
        Ok(self.loaded.len() - 1)
    }

    /// The certificate of this index.
    pub(super) fn get(&self, index: usize) -> Option<Arc<Certificates>> {
        self.loaded
            .get(index)
            .map(|(_, certificates)| certificates.clone())
    }

    pub(super) fn into_all(self) -> Vec<Arc<Certificates>> {
        self.loaded
            .into_iter()
            .map(|(_, certificates)| certificates)
            .collect()
    }
}
