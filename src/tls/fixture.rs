//! A client for tests, and certificates to go with it.

use std::sync::Arc;

use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::certificates::{Acceptor, Certificates};
use super::records::{Error, Records};
use super::{Source, State};

/// A certificate for `localhost` that signed itself, with its key.
pub(super) struct Identity {
    pub(super) chain: String,
    pub(super) key: String,
    der: CertificateDer<'static>,
}

impl Identity {
    pub(super) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Identity {
            chain: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    pub(super) fn source(&self) -> Source {
        Source::Pem {
            chain: self.chain.clone().into_bytes(),
            key: self.key.clone().into_bytes(),
        }
    }

    pub(super) fn acceptor(&self) -> Acceptor {
        Acceptor::new(Certificates::load(self.source()).unwrap())
    }

    /// The settings of clients that trust this certificate alone, and resume sessions.
    pub(super) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }
}

/// A client and the records that it talks to, with nothing in between.
pub(super) struct Pair {
    pub(super) client: ClientConnection,
    pub(super) server: Records,
    /// Where the client's bytes are cut into two deliveries, counted from its first one.
    cut: usize,
    delivered: usize,
    /// What the server understood.
    pub(super) plain: Vec<u8>,
    heard: Vec<u8>,
    pub(super) state: State,
}

impl Pair {
    pub(super) fn new(acceptor: &mut Acceptor, client: &Arc<ClientConfig>) -> Pair {
        Pair::cut_at(acceptor, client, 0)
    }

    pub(super) fn cut_at(acceptor: &mut Acceptor, client: &Arc<ClientConfig>, cut: usize) -> Pair {
        let name = "localhost".try_into().unwrap();
        Pair {
            client: ClientConnection::new(client.clone(), name).unwrap(),
            server: acceptor.accept().unwrap(),
            cut,
            delivered: 0,
            plain: Vec::new(),
            heard: Vec::new(),
            state: State::Handshaking,
        }
    }

    /// After the handshake, and what comes behind it (tickets).
    pub(super) fn open(acceptor: &mut Acceptor, client: &Arc<ClientConfig>) -> Pair {
        let mut pair = Pair::new(acceptor, client);
        pair.exchange().unwrap();
        assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
        assert_eq!(pair.state, State::Open);
        pair
    }

    /// Lets both talk until neither has anything to say. The client's errors are the caller's to ask for.
    pub(super) fn exchange(&mut self) -> Result<(), Error> {
        loop {
            let mut sent = self.take_from_client();
            if sent.is_empty() {
                return Ok(());
            }
            let at = self.cut.saturating_sub(self.delivered).min(sent.len());
            self.delivered += sent.len();
            let (first, second) = sent.split_at_mut(at);
            for part in [first, second] {
                let mut out = Vec::new();
                let state = self.server.receive(part, &mut self.plain, &mut out);
                self.give_to_client(&out);
                self.state = state?;
            }
        }
    }

    /// How many bytes came from the client.
    pub(super) fn delivered(&self) -> usize {
        self.delivered
    }

    pub(super) fn take_from_client(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sent).unwrap();
        }
        sent
    }

    pub(super) fn give_to_client(&mut self, mut bytes: &[u8]) {
        use std::io::Read;
        while !bytes.is_empty() && self.client.read_tls(&mut bytes).unwrap() > 0 {
            let _ = self.client.process_new_packets();
            // It would block at the end of what it has.
            let _ = self.client.reader().read_to_end(&mut self.heard);
        }
    }

    pub(super) fn client_says(&mut self, text: &[u8]) {
        use std::io::Write;
        self.client.writer().write_all(text).unwrap();
    }

    /// All that the client understood and has not been asked for.
    pub(super) fn client_heard(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }

    pub(super) fn server_says(&mut self, text: &[u8]) {
        let mut out = Vec::new();
        self.server.encrypt(text, &mut out).unwrap();
        self.give_to_client(&out);
    }

    /// The alert that the client was told.
    pub(super) fn alert(&mut self) -> Option<rustls::AlertDescription> {
        match self.client.process_new_packets() {
            Err(rustls::Error::AlertReceived(alert)) => Some(alert),
            _ => None,
        }
    }
}
