//! A certificate that changes under load.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringhall::Tls;
use rustls::version::TLS13;

use crate::client::{Client, Identity};
use crate::{base, start, until};

/// A folder that is removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringhall-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn put(&self, identity: &Identity) {
        for (name, text) in [("cert.pem", &identity.cert), ("key.pem", &identity.key)] {
            let new = self.0.join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.0.join(name)).unwrap();
        }
    }

    fn tls(&self) -> Tls {
        Tls::files(self.file("cert.pem"), self.file("key.pem"))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.0).join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_certificate_harms_no_connection() {
    const CONNECTIONS: usize = 8;
    let folder = Folder::new("reload");
    let identities = [Identity::new(), Identity::new(), Identity::new()];
    folder.put(&identities[0]);
    let server = start(base(), folder.tls());
    let address = server.address();
    let trusts = identities.each_ref().map(|identity| identity.trust(&TLS13));
    let (over, echoes) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let mut client = Client::open(address, &trusts[0], "/echo");
            let (over, echoes) = (&over, &echoes);
            scope.spawn(move || {
                // If one is lost, its thread panics, and the scope with it.
                while !over.load(Ordering::Relaxed) {
                    client.echoes(&vec![number as u8; 1000]);
                    echoes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The load stops also if what follows fails.
        let _stop = Stop(&over);
        for (identity, trust) in identities.iter().zip(&trusts).skip(1) {
            folder.put(identity);
            until("the new certificate is shown", || {
                let mut client = Client::connect(address, trust);
                client.upgrade("/echo").is_ok()
            });
            let at = echoes.load(Ordering::Relaxed);
            until("the old connections go on", || {
                echoes.load(Ordering::Relaxed) > at + 100
            });
        }
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
