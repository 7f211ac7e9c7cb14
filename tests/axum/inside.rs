//! Ringhall inside of an application that owns the port.

use std::net::SocketAddr;
use std::sync::mpsc::Receiver;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use ringhall::{Server, Socket};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::client::{Client, PATIENCE, polling};
use super::{
    clients_that_vanish, describe, is_of_transport, messages_behind_the_request,
    page_then_polling_then_websocket,
};

/// An application with Ringhall in front of its routes.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) endings: Receiver<String>,
    application: Runtime,
}

impl Running {
    fn start() -> Running {
        Running::serve(async |listener, application| {
            axum::serve(listener, application).await.unwrap();
        })
    }

    /// The application is served so.
    pub(crate) fn serve<F>(serve: impl FnOnce(TcpListener, Router) -> F) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (builder, endings) = describe();
        let server = builder
            .page("/ours", "text/plain", "a page of ours")
            .start_embedded()
            .unwrap();
        assert!(server.local_addrs().is_empty());
        let application = Router::new()
            .route("/page", get(async || "a page"))
            .layer(server.layer());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, application));
        Running {
            server,
            address,
            endings,
            application: runtime,
        }
    }

    pub(crate) fn client(&self) -> Client<std::net::TcpStream> {
        Client::connect(self.address)
    }

    fn end_server(&self) {
        self.server.shutdown();
        self.server.wait().unwrap();
    }
}

#[test]
fn a_connection_asks_for_a_page_then_polls_then_upgrades() {
    let running = Running::start();
    for _ in 0..10 {
        page_then_polling_then_websocket(running.address);
    }
    messages_behind_the_request(running.address);
    running.end_server();
}

#[test]
fn clients_vanish() {
    let running = Running::start();
    clients_that_vanish(running.address, &running.endings);
    running.end_server();
}

#[test]
fn each_request_comes_to_whom_it_is_for() {
    let running = Running::start();
    let mut client = running.client();
    assert_eq!(client.get("/page").text(), "a page");
    assert_eq!(client.get("/ours").text(), "a page of ours");
    let head = client.ask("HEAD", "/ours", "");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("14"))
    );
    assert_eq!(client.ask("POST", "/ours", "").status, 405);
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.get("/socket.io/socket.io.js").status, 200);
    // A WebSocket's path without its handshake.
    assert_eq!(client.get("/echo").status, 426);
    let mut client = running.client();
    let unknown = client.get(&polling("nobody"));
    assert_eq!(
        unknown.text(),
        r#"{"code":1,"message":"Session ID unknown"}"#
    );
    // A name that is well formed, and of a core that is not there.
    let unknown = client.get(&polling("AAAAAAAAAAAAAAD_AAAA"));
    assert_eq!(
        unknown.text(),
        r#"{"code":1,"message":"Session ID unknown"}"#
    );
    running.end_server();
}

#[test]
fn a_body_that_is_too_long_or_breaks_off_is_told_of() {
    let running = Running::start();
    let mut client = running.client();
    let sid = client.open_polling();
    let long = format!("4{}", "x".repeat(1_000_000));
    assert_eq!(client.ask("POST", &polling(&sid), &long).status, 413);
    // The session goes on.
    let said = r#"42["echo",1]"#;
    let mut client = running.client();
    assert_eq!(client.ask("POST", &polling(&sid), said).text(), "ok");
    assert_eq!(client.get(&polling(&sid)).text(), said);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n42",
        polling(&sid)
    );
    client.write(head.as_bytes());
    drop(client);
    let reason = running.endings.recv_timeout(PATIENCE).unwrap();
    assert!(is_of_transport(reason));
    running.end_server();
}

#[test]
fn a_websocket_outlives_the_application() {
    let running = Running::start();
    let mut client = running.client();
    client.upgrade("/echo", &["before"]);
    assert_eq!(client.read(), "before");
    let Running {
        server,
        address,
        application,
        ..
    } = running;
    // Its descriptor has left the application for good.
    drop(application);
    assert!(std::net::TcpStream::connect(address).is_err());
    client.send("after");
    assert_eq!(client.read(), "after");
    server.shutdown();
    // It is closed as all others are: going away (RFC 6455 §7.4.1).
    let (opcode, payload) = client.read_frame();
    assert_eq!((opcode, &payload[..2]), (8, &1001_u16.to_be_bytes()[..]));
    drop(client);
    server.wait().unwrap();
}

#[test]
fn the_application_outlives_the_server() {
    let running = Running::start();
    let mut poller = running.client();
    let sid = poller.open_polling();
    let request = format!("GET {} HTTP/1.1\r\nHost: h\r\n\r\n", polling(&sid));
    poller.write(request.as_bytes());
    let mut socket = running.client();
    socket.upgrade("/echo", &["hello"]);
    assert_eq!(socket.read(), "hello");
    running.server.shutdown();
    // A poll that is held is answered, so nothing keeps the application from ending in good order; one that comes too late is told that
    // there is no such session.
    assert!([200, 400].contains(&poller.answer(true).status));
    assert_eq!(socket.read_frame().0, 8);
    drop(socket);
    running.server.wait().unwrap();
    assert_eq!(running.client().get("/page").text(), "a page");
    // Nobody is there to open a session: its connection is cut, as that of any request to a server that is shutting down.
    let mut late = running.client();
    late.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(late.is_cut());
    let mut late = running.client();
    late.upgrade("/echo", &[]);
    assert!(late.is_cut());
    assert_eq!(running.client().get("/page").text(), "a page");
}

#[test]
fn handlers_are_told_the_address_of_the_client() {
    let (told, addresses) = std::sync::mpsc::channel();
    let server = Server::builder()
        .cores(1)
        .on_connection(move |socket: Socket| {
            let _ = told.send(socket.handshake().peer_addr());
        })
        .start_embedded()
        .unwrap();
    let layer = server.layer().peer_addr(|extensions| {
        let info = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(info.0)
    });
    let told = Router::new().route("/", get(async || "")).layer(layer);
    let found_out = Router::new().fallback_service(server.service());
    let runtime = Runtime::new().unwrap();
    for (application, transport) in [(told, "polling"), (found_out, "websocket")] {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let mut client = Client::connect(listener.local_addr().unwrap());
        let application: Router = application;
        let service = application.into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        if transport == "polling" {
            client.open_polling();
        } else {
            client.upgrade("/socket.io/?EIO=4&transport=websocket", &["40"]);
        }
        let own = client.stream.get_ref().local_addr().unwrap();
        assert_eq!(addresses.recv_timeout(PATIENCE).unwrap(), Some(own));
    }
    server.shutdown();
    server.wait().unwrap();
}

#[test]
fn what_cannot_become_a_websocket_is_refused() {
    let server = describe().0.start_embedded().unwrap();
    let request = || {
        http::Request::builder()
            .uri("/echo")
            .header("host", "h")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(axum::body::Body::empty())
            .unwrap()
    };
    let runtime = Runtime::new().unwrap();
    // No connection is behind it.
    let answer = runtime
        .block_on(server.service().oneshot(request()))
        .unwrap();
    assert_eq!(answer.status(), 400);
    let mut elsewhere = request();
    *elsewhere.uri_mut() = "/nowhere".parse().unwrap();
    let answer = runtime
        .block_on(server.service().oneshot(elsewhere))
        .unwrap();
    assert_eq!(answer.status(), 404);
    server.shutdown();
    server.wait().unwrap();
}
