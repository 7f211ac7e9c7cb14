//! Certificates, and a client that blocks: rustls over a TCP stream, with WebSocket written by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use ringhall::Tls;
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::PATIENCE;

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A certificate for `localhost` that signed itself.
pub(crate) struct Identity {
    pub(crate) cert: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Identity {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Identity {
            cert: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            der: made.cert.der().clone(),
        }
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::pem(self.cert.clone(), self.key.clone())
    }

    /// What a client trusts that trusts this certificate alone. Copies resume each other's sessions.
    pub(crate) fn trust(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(64);
        config
    }
}

pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A TLS stream; the handshake is done with what is first said or heard.
pub(crate) struct Client {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr, config: &ClientConfig) -> Client {
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        Client {
            stream: StreamOwned::new(connection, tcp(address)),
        }
    }

    /// A WebSocket at this path, open.
    pub(crate) fn open(address: SocketAddr, config: &ClientConfig, path: &str) -> Client {
        let mut client = Client::connect(address, config);
        client.upgrade(path).expect("the handshakes are done");
        client
    }

    pub(crate) fn upgrade(&mut self, path: &str) -> std::io::Result<()> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let mut byte = [0];
        while !answer.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Ok(())
    }

    /// A request for `/` on a connection of its own, with the whole answer, up to the server's `close_notify`.
    pub(crate) fn get(&mut self) -> std::io::Result<String> {
        self.stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        // A FIN without `close_notify` would be an error here.
        self.stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends a binary message, with the mask that changes nothing.
    pub(crate) fn send(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = vec![0x82];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame)
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut long = [0; 8];
        let length = match head[1] {
            126 => {
                self.stream.read_exact(&mut long[6..])?;
                u64::from_be_bytes(long)
            }
            127 => {
                self.stream.read_exact(&mut long)?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload)?;
        Ok(payload)
    }

    pub(crate) fn echoes(&mut self, payload: &[u8]) {
        self.send(payload).unwrap();
        assert!(self.receive().unwrap() == payload, "another echo");
    }
}
