//! What a hostile client, or the application's own code, might do to everybody else.

use std::io::Write as _;
use std::time::Duration;

use http::HeaderMap;
use ringhall::{Config, ConnectionError, Handshake, Server};

use crate::bed::{Bed, ENGINE, Setup, is_node, on_cores};
use crate::session::Session;
use crate::until;
use crate::wire::{UPGRADE, Wire, post, request};

fn panics(what: &str, request: &Handshake) {
    assert!(request.query("bomb").as_deref() != Some(what), "on purpose");
}

/// A server whose hooks panic when the parameter `bomb` names them.
fn bombs(with_gate: bool) -> Server {
    let mut builder = Server::builder()
        .config(Config {
            cores: 1,
            shutdown_timeout: Duration::from_millis(100),
            ..Config::default()
        })
        .listen("127.0.0.1:0")
        .initial_headers(|request: &Handshake, _: &mut HeaderMap| panics("initial", request))
        .response_headers(|request: &Handshake, _: &mut HeaderMap| panics("every", request))
        .session_name(|request: &Handshake| {
            panics("name", request);
            None
        })
        .on_connection_error(|error: &ConnectionError<'_>| panics("error", error.request));
    if with_gate {
        builder = builder.allow_request(|request: Handshake| {
            panics("gate", &request);
            async move {
                tokio::task::yield_now().await;
                panics("gate later", &request);
                Ok(())
            }
        });
    }
    builder.start().expect("the server starts")
}

#[test]
fn a_panic_in_a_hook_harms_nobody() {
    if is_node() {
        return;
    }
    // Without a gate a WebSocket is opened before hyper sees it.
    for with_gate in [false, true] {
        let server = bombs(with_gate);
        let address = server.local_addrs()[0];
        for (bomb, status) in [
            ("initial", 200),
            ("every", 200),
            ("name", 200),
            ("gate", if with_gate { 403 } else { 200 }),
            ("gate%20later", if with_gate { 403 } else { 200 }),
        ] {
            for transport in ["polling", "websocket"] {
                let target = format!("/socket.io/?EIO=4&transport={transport}&bomb={bomb}");
                let headers = if transport == "websocket" {
                    UPGRADE
                } else {
                    ""
                };
                let answer = Wire::connect(address).ask(request("GET", &target, headers));
                let expected = match (transport, status) {
                    ("websocket", 200) => 101,
                    ("websocket", _) => 400,
                    _ => status,
                };
                assert_eq!(answer.status, expected, "{target}");
            }
        }
        let target = "/socket.io/?EIO=9&transport=polling&bomb=error";
        assert_eq!(Wire::connect(address).get(target).status, 400);
        let target = "/socket.io/?EIO=4&transport=polling";
        assert_eq!(Wire::connect(address).get(target).status, 200);
        server.shutdown();
        server.wait().expect("no core has ended before");
    }
}

#[test]
fn a_client_that_reads_no_answers_is_cut() {
    if is_node() {
        return;
    }
    let setup = Setup {
        keep_alive_ms: 200,
        ..Setup::default()
    };
    let bed = Bed::start(&setup);
    let mut session = Session::open(&bed);
    let mut deaf = bed.connect();
    deaf.stream.set_nonblocking(true).unwrap();
    let script = request("GET", "/socket.io/socket.io.js", "").repeat(100);
    until("the connection is cut", || {
        deaf.stream
            .write(script.as_bytes())
            .is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
            .then_some(())
    });
    session.echoes();
    bed.serves();
}

#[test]
fn a_refusal_that_leaves_the_body_unread_says_that_the_connection_ends() {
    if is_node() {
        return;
    }
    let setup = Setup {
        max_payload: 1000,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let session = Session::open_on(bed, layout);
        let unknown = format!("{ENGINE}&sid=AAAAAAAAAAAAAAAAAAAA");
        for (target, status) in [
            (session.target(), 413),
            (&unknown, 400),
            ("/", 405),
            ("/nowhere", 404),
        ] {
            let mut wire = bed.connect_to(layout.post);
            // Behind what is refused at once nothing more may be sent: the client is told so, and sees the end.
            wire.try_send(post(target, "4".repeat(300_000)));
            let answer = wire.response();
            assert_eq!(answer.status, status, "{target}");
            assert_eq!(answer.header("connection"), Some("close"), "{target}");
            wire.expect_end();
        }
        bed.serves();
    });
}

#[test]
fn a_body_in_other_codings_than_chunked_is_refused() {
    // Node takes them.
    if is_node() {
        return;
    }
    let bed = Bed::plain();
    let mut session = Session::open(&bed);
    for coding in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut wire = bed.connect();
        let smuggled = request("GET", "/smuggled", "");
        let pushed = request("POST", session.target(), coding) + "2\r\n4x\r\n0\r\n\r\n" + &smuggled;
        let answer = wire.ask(pushed);
        assert_eq!(answer.status, 501, "{coding}");
        assert_eq!(answer.header("connection"), Some("close"), "{coding}");
        wire.expect_end();
    }
    session.echoes();
}
