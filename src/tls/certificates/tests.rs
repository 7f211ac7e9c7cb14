use std::path::PathBuf;
use std::sync::atomic::AtomicU32;

use rustls::HandshakeKind;
use rustls::version::TLS13;

use super::super::fixture::{Identity, Pair};
use super::*;

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringhall-certificates-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn source(&self) -> Source {
        Source::Files {
            chain: self.0.join("chain.pem"),
            key: self.0.join("key.pem"),
        }
    }

    /// By a new file in the old one's place, as renewing programs do it.
    fn put(&self, name: &str, text: &str) {
        let new = self.0.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.0.join(name)).unwrap();
    }

    fn put_both(&self, identity: &Identity) {
        self.put("chain.pem", &identity.chain);
        self.put("key.pem", &identity.key);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn problem(chain: &str, key: &str) -> (&'static str, String) {
    let problem = Certificates::load(Source::Pem {
        chain: chain.into(),
        key: key.into(),
    })
    .unwrap_err();
    (problem.setting, problem.text)
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let (one, other) = (Identity::new(), Identity::new());
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let cut_off = &one.chain[..100];
    let reversed = format!("{}{}", other.chain, one.chain);
    let two_keys = format!("{}{}", one.key, other.key);
    let cases = [
        (&*one.key, &*one.key, "tls_cert", "exchanged"),
        (&one.chain, &one.chain, "tls_key", "exchanged"),
        (&one.chain, &other.key, "tls_key", "does not belong"),
        (&reversed, &one.key, "tls_cert", "wrong order"),
        (&one.chain, locked, "tls_key", "password"),
        (&one.chain, &two_keys, "tls_key", "several"),
        (&one.chain, bad_key, "tls_key", "no usable kind"),
        (&one.chain, "", "tls_key", "not in PEM"),
        ("\u{30}\u{1}", &one.key, "tls_cert", "not in PEM"),
        (broken, &one.key, "tls_cert", "cannot be read"),
        (cut_off, &one.key, "tls_cert", "cut off"),
    ];
    for (chain, key, setting, words) in cases {
        let (named, text) = problem(chain, key);
        assert!(
            named == setting && text.contains(words),
            "{words}: {named} {text}"
        );
    }
}

#[test]
fn a_file_is_named() {
    let folder = Folder::new();
    let problem = Certificates::load(folder.source()).unwrap_err();
    assert_eq!(problem.setting, "tls_cert");
    assert!(
        problem.text.contains("chain.pem") && problem.text.contains("No such file"),
        "{}",
        problem.text
    );
    folder.put("chain.pem", &Identity::new().chain);
    let problem = Certificates::load(folder.source()).unwrap_err();
    assert_eq!(problem.setting, "tls_key");
    assert!(problem.text.contains("key.pem"), "{}", problem.text);
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let (old, new) = (Identity::new(), Identity::new());
    let folder = Folder::new();
    folder.put_both(&old);
    let certificates = Certificates::load(folder.source()).unwrap();
    let mut acceptor = Acceptor::new(certificates.clone());
    let clients = [&old, &new].map(|identity| Arc::new(identity.client(&TLS13)));
    let mut living = Pair::open(&mut acceptor, &clients[0]);
    assert!(certificates.refresh().is_none());

    // Half of it: seen, and not yet believed.
    folder.put("chain.pem", &new.chain);
    assert!(certificates.refresh().is_none());
    folder.put("key.pem", &new.key);
    assert!(certificates.refresh().is_none());
    assert_eq!(certificates.refresh(), Some(Ok(())));
    assert!(certificates.refresh().is_none());

    let fresh = Pair::open(&mut acceptor, &clients[1]);
    assert_eq!(
        fresh.server.connection().handshake_kind(),
        Some(HandshakeKind::Full)
    );
    living.client_says(b"still here");
    living.exchange().unwrap();
    assert_eq!(living.plain, b"still here");
    // Tickets outlive the certificate.
    let resumed = Pair::open(&mut acceptor, &clients[0]);
    assert_eq!(
        resumed.server.connection().handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
}

#[test]
fn a_change_for_the_worse_is_told_once_and_changes_nothing() {
    let identity = Identity::new();
    let folder = Folder::new();
    folder.put_both(&identity);
    let certificates = Certificates::load(folder.source()).unwrap();
    let mut acceptor = Acceptor::new(certificates.clone());
    folder.put("key.pem", &Identity::new().key);
    assert!(certificates.refresh().is_none());
    let told = certificates.refresh().unwrap().unwrap_err();
    assert!(told.text.contains("does not belong"), "{}", told.text);
    assert!(certificates.refresh().is_none());
    std::fs::remove_file(folder.0.join("chain.pem")).unwrap();
    assert!(certificates.refresh().is_none());
    assert!(certificates.refresh().unwrap().is_err());
    assert!(certificates.refresh().is_none());
    Pair::open(&mut acceptor, &Arc::new(identity.client(&TLS13)));

    folder.put_both(&identity);
    assert!(certificates.refresh().is_none());
    assert_eq!(certificates.refresh(), Some(Ok(())));
}
