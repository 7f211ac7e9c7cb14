//! Connections that cannot be handed over are bridged: here those of TLS, which the application terminates.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use axum::Router;
use axum::serve::Listener;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
};
use tokio_rustls::server::TlsStream;

use super::client::{Client, PATIENCE, tcp};
use super::inside::Running;

type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

struct Secure {
    running: Running,
    client: Arc<ClientConfig>,
}

impl Secure {
    fn start() -> Secure {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = cert.der().clone();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let running = Running::serve(async move |listener, application: Router| {
            axum::serve(TlsListener(listener, acceptor), application)
                .await
                .unwrap();
        });
        Secure {
            running,
            client: Arc::new(client),
        }
    }

    fn client(&self) -> TlsClient {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.client.clone(), name).unwrap();
        Client::over(StreamOwned::new(connection, tcp(self.running.address)))
    }

    fn end(self) {
        self.running.server.shutdown();
        self.running.server.wait().unwrap();
    }
}

struct TlsListener(TcpListener, TlsAcceptor);

impl Listener for TlsListener {
    type Io = TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.0).await;
            // One handshake after the other is enough here.
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[test]
fn a_connection_asks_for_a_page_then_polls_then_upgrades() {
    let secure = Secure::start();
    for _ in 0..3 {
        let mut client = secure.client();
        assert_eq!(client.get("/page").text(), "a page");
        let sid = client.open_polling();
        let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
        client.upgrade(&path, &["2probe"]);
        assert_eq!(client.read(), "3probe");
        client.send("5");
        for number in 0..100 {
            client.send(&format!(r#"42["echo",{number}]"#));
        }
        for number in 0..100 {
            assert_eq!(client.read(), format!(r#"42["echo",{number}]"#));
        }
    }
    secure.end();
}

#[test]
fn long_messages_pass_and_the_end_is_that_of_a_websocket() {
    let secure = Secure::start();
    let mut client = secure.client();
    client.upgrade("/echo", &["behind", "the request"]);
    assert_eq!([client.read(), client.read()], ["behind", "the request"]);
    for length in [1, 125, 126, 16_384, 65_536, 3_000_000] {
        let message = "x".repeat(length);
        client.send(&message);
        assert_eq!(client.read(), message);
    }
    client.close();
    // Not just cut: TLS ends with its own word (RFC 8446 §6.1), without which this would be an error.
    let rest = io::Read::read_to_end(&mut client.stream, &mut Vec::new());
    assert_eq!(rest.unwrap(), 0);
    drop(client);
    secure.end();
}

#[test]
fn clients_vanish() {
    let secure = Secure::start();
    for says_goodbye in [false, true] {
        let mut client = secure.client();
        client.upgrade("/socket.io/?EIO=4&transport=websocket", &["40"]);
        assert!(client.read().starts_with('0'));
        assert!(client.read().starts_with("40"));
        if says_goodbye {
            let stream = client.stream.get_mut();
            stream.conn.send_close_notify();
            stream.conn.write_tls(&mut stream.sock).unwrap();
        }
        drop(client);
        let reason = secure.running.endings.recv_timeout(PATIENCE).unwrap();
        assert_eq!(reason, "transport close");
    }
    secure.end();
}

#[test]
fn the_server_ends_what_is_bridged() {
    let secure = Secure::start();
    let mut client = secure.client();
    client.upgrade("/echo", &["hello"]);
    assert_eq!(client.read(), "hello");
    secure.running.server.shutdown();
    let (opcode, payload) = client.read_frame();
    assert_eq!((opcode, &payload[..2]), (8, &1001_u16.to_be_bytes()[..]));
    drop(client);
    secure.running.server.wait().unwrap();
}
