//! The application is given what is not Ringhall's.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Query, Request};
use axum::middleware::map_request;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use ringhall::Server;
use tokio::sync::Notify;
use tokio::time::{Interval, interval};

use super::client::{Client, PATIENCE, tcp};
use super::{
    clients_that_vanish, describe, messages_behind_the_request, page_then_polling_then_websocket,
};

struct Running {
    server: Server,
    address: SocketAddr,
}

impl Running {
    fn beside(application: Router) -> Running {
        Running::of(describe().0.fallback_service(application))
    }

    fn of(builder: ringhall::Builder) -> Running {
        let server = builder.listen("127.0.0.1:0").start().unwrap();
        let address = server.local_addrs()[0];
        Running { server, address }
    }

    fn client(&self) -> Client<std::net::TcpStream> {
        Client::connect(self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.shutdown();
        self.server.wait().unwrap();
    }
}

fn page() -> Router {
    Router::new().route("/page", get(async || "a page"))
}

#[test]
fn a_connection_asks_for_a_page_then_polls_then_upgrades() {
    let running = Running::beside(page());
    for _ in 0..10 {
        page_then_polling_then_websocket(running.address);
    }
    messages_behind_the_request(running.address);
}

#[test]
fn clients_vanish() {
    let (builder, endings) = describe();
    let running = Running::of(builder.fallback_service(page()));
    clients_that_vanish(running.address, &endings);
}

#[test]
fn extractors_find_what_they_look_for() {
    async fn all(
        Path(name): Path<String>,
        Query(query): Query<Vec<(String, u32)>>,
        Extension(client): Extension<SocketAddr>,
        ConnectInfo(same): ConnectInfo<SocketAddr>,
        Extension(server): Extension<Server>,
        Json(numbers): Json<Vec<i64>>,
    ) -> Json<(String, u32, bool, usize, i64)> {
        let sum = numbers.iter().sum();
        Json((name, query[0].1, client == same, server.cores(), sum))
    }
    async fn know_client(mut request: Request) -> Request {
        let client = request.extensions().get::<SocketAddr>().copied();
        request
            .extensions_mut()
            .insert(ConnectInfo(client.unwrap()));
        request
    }
    let address = get(async |ConnectInfo(client): ConnectInfo<SocketAddr>| client.to_string());
    let application = page()
        .route("/all/{name}", post(all))
        .route("/address", address)
        .layer(map_request(know_client));
    let running = Running::beside(application);
    let mut client = running.client();
    let body = "[1, 2, 39]";
    client.write(
        format!(
            "POST /all/it?n=7 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        )
        .as_bytes(),
    );
    assert_eq!(client.answer(true).text(), r#"["it",7,true,2,42]"#);
    let own = client.stream.get_ref().local_addr().unwrap();
    assert_eq!(client.get("/address").text(), own.to_string());

    // The connection is still of use after each of these.
    let head = client.ask("HEAD", "/page", "");
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("6"))
    );
    assert_eq!(client.get("/nowhere").status, 404);
    assert_eq!(client.ask("DELETE", "/page", "").status, 405);
    assert_eq!(client.ask("POST", "/all/it?n=7", body).status, 415);
    assert_eq!(client.get("/page").text(), "a page");
}

/// Events that come by and by; with `panics`, the fourth does not.
struct Ticks {
    interval: Interval,
    count: u8,
    panics: bool,
}

impl Ticks {
    fn body(panics: bool) -> Body {
        let interval = interval(Duration::from_millis(5));
        Body::new(Ticks {
            interval,
            count: 0,
            panics,
        })
    }
}

impl http_body::Body for Ticks {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::ready!(self.interval.poll_tick(cx));
        self.count += 1;
        assert!(self.count < 4 || !self.panics, "as the test wants it");
        let event = format!("data: {}\n\n", self.count);
        let frame = (self.count < 6).then(|| Ok(http_body::Frame::data(event.into())));
        Poll::Ready(frame)
    }
}

#[test]
fn what_waits_for_time_goes_on_though_nothing_else_happens() {
    let events = get(async || ([("content-type", "text/event-stream")], Ticks::body(false)));
    let late = get(async || {
        tokio::time::sleep(Duration::from_millis(5)).await;
        "late"
    });
    let running = Running::beside(page().route("/events", events).route("/late", late));
    let mut client = running.client();
    for _ in 0..3 {
        assert_eq!(client.get("/late").text(), "late");
        client.write(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = client.answer(false);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        for count in 1..6 {
            let event = format!("data: {count}\n\n");
            assert_eq!(client.chunk(), Some(event.into_bytes()));
        }
        assert_eq!(client.chunk(), None);
    }
}

#[test]
fn an_upload_that_nobody_reads_waits() {
    const LENGTH: usize = 64 << 20;
    let read = Arc::new(Notify::new());
    let may_read = read.clone();
    let upload = post(async move |body: Body| {
        may_read.notified().await;
        let bytes = axum::body::to_bytes(body, LENGTH + 1).await.unwrap();
        let is_whole = bytes.chunks(64).enumerate().all(|(nr, chunk)| {
            let byte = u8::try_from(nr % 251).unwrap();
            chunk.iter().all(|each| *each == byte)
        });
        format!("{} {is_whole}", bytes.len())
    });
    let running = Running::beside(page().route("/upload", upload));
    let mut client = running.client();
    let head = format!("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n");
    client.write(head.as_bytes());
    let body: Vec<u8> = (0..LENGTH)
        .map(|index| u8::try_from(index / 64 % 251).unwrap())
        .collect();
    let stream = client.stream.get_mut();
    stream.set_nonblocking(true).unwrap();
    let (mut written, mut refusals) = (0, 0);
    while refusals < 30 {
        match stream.write(&body[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refusals += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
        // The system's buffers take some of it, and so does the server.
        assert!(written < LENGTH, "nobody reads, and yet all of it is taken");
    }
    // Whoever else is on that core is served meanwhile.
    for _ in 0..8 {
        assert_eq!(running.client().get("/page").text(), "a page");
    }
    read.notify_one();
    let stream = client.stream.get_mut();
    stream.set_nonblocking(false).unwrap();
    stream.write_all(&body[written..]).unwrap();
    assert_eq!(client.answer(true).text(), format!("{LENGTH} true"));
}

#[test]
fn a_panic_ends_the_connection_and_nothing_else() {
    async fn late() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        panic!("as the test wants it");
    }
    let application = page()
        .route(
            "/panic",
            get(async || -> () { panic!("as the test wants it") }),
        )
        .route("/late", get(late))
        .route("/events", get(async || Ticks::body(true)));
    let running = Running::beside(application);
    let mut others: Vec<_> = (0..8).map(|_| running.client()).collect();
    for _ in 0..4 {
        for path in ["/panic", "/late"] {
            let mut client = running.client();
            client.write(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
            assert!(client.is_cut(), "{path}");
        }
        let mut client = running.client();
        client.write(b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
        client.answer(false);
        // In the middle of the body, whose end does not come. What was written last may be lost.
        while !client.is_cut() {
            assert!(client.chunk().is_some());
        }
        for other in &mut others {
            assert_eq!(other.get("/page").text(), "a page");
        }
    }
}

#[test]
fn tasks_go_on_after_the_answer() {
    let (done, finished) = channel();
    let start = get(async move || {
        let done = done.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            done.send("spawned").unwrap();
        });
        "started"
    });
    let running = Running::beside(page().route("/start", start));
    let mut client = running.client();
    for _ in 0..5 {
        assert_eq!(client.get("/start").text(), "started");
        assert_eq!(finished.recv_timeout(PATIENCE), Ok("spawned"));
    }
}

#[test]
fn a_client_that_goes_ends_what_was_done_for_it() {
    struct Dropped(std::sync::mpsc::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (gone, ended) = channel();
    let forever = get(async move || {
        let _dropped = Dropped(gone.clone());
        std::future::pending::<&str>().await
    });
    let running = Running::beside(page().route("/forever", forever));
    let mut stream = tcp(running.address);
    stream
        .write_all(b"GET /forever HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    drop(stream);
    ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!(running.client().get("/page").text(), "a page");
}
