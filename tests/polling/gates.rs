//! What the application is asked about requests: whether they may come in, and which headers their answers get. And the cookie.

use crate::bed::{Bed, Setup, is_node, on_cores, sid_of};
use crate::refusals::{expect_raw_refusal, expect_refusal};
use crate::session::Session;
use crate::wire::{UPGRADE, post, request};

fn gate() -> Bed {
    Bed::start(&Setup {
        gate: true,
        ..Setup::default()
    })
}

#[test]
fn the_gate_is_asked_after_method_and_transport_and_before_the_revision() {
    let bed = gate();
    let mut wire = bed.connect();
    for (method, query, status, code, message) in [
        ("GET", "EIO=4&transport=polling&forbid", 403, 4, "Forbidden"),
        (
            "GET",
            "EIO=4&transport=polling&forbid=no+way",
            403,
            4,
            "no way",
        ),
        (
            "GET",
            "EIO=4&transport=polling&forbid=%22%0a",
            403,
            4,
            "\"\n",
        ),
        ("GET", "EIO=5&transport=polling&forbid", 403, 4, "Forbidden"),
        (
            "GET",
            "EIO=5&transport=polling",
            400,
            5,
            "Unsupported protocol version",
        ),
        (
            "GET",
            "EIO=4&transport=tobi&forbid",
            400,
            0,
            "Transport unknown",
        ),
        (
            "GET",
            "EIO=4&transport=polling&forbid&sid=tobi",
            400,
            1,
            "Session ID unknown",
        ),
        (
            "POST",
            "EIO=4&transport=polling&forbid",
            400,
            2,
            "Bad handshake method",
        ),
        (
            "GET",
            "EIO=4&transport=websocket&forbid",
            400,
            3,
            "Bad request",
        ),
    ] {
        for path in ["/socket.io/?", "/engine.io/?"] {
            let request = request(method, &format!("{path}{query}"), "");
            expect_refusal(&mut wire, request.as_bytes(), status, code, message);
        }
    }
    // 400 also for code 4.
    for path in ["/socket.io/", "/engine.io/"] {
        let target = format!("{path}?EIO=4&transport=websocket&forbid");
        expect_raw_refusal(&bed, "GET", &target, "Forbidden");
        expect_raw_refusal(&bed, "GET", &format!("{target}=no%20way"), "no way");
    }
    bed.serves();
}

#[test]
fn the_gate_is_not_asked_about_requests_of_a_session() {
    let bed = gate();
    let mut session = Session::open(&bed);
    let target = format!("{}&forbid=no", session.target());
    let answer = bed.connect().ask(post(&target, "4in"));
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(session.poll(), "4in");
    let mut websocket = bed.connect();
    websocket.upgrade(&format!("{}&forbid=no", session.websocket_target()));
    websocket.say("2probe");
    websocket.hear_all(["3probe"]);
    websocket.say("5");
    session.echoes_on(&mut websocket);
}

#[test]
fn hooks_add_headers_to_the_first_answer_and_to_all_but_errors() {
    let setup = Setup {
        hooks: true,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let initial =
            |answer: &crate::wire::Response| answer.header("x-initial").map(str::to_owned);
        let every = |answer: &crate::wire::Response| answer.header("x-every").map(str::to_owned);
        let opened = bed
            .connect_to(layout.home)
            .get("/engine.io/?EIO=4&transport=polling&tag=a");
        assert_eq!(initial(&opened).as_deref(), Some("a"));
        assert_eq!(every(&opened).as_deref(), Some("a"));
        let sid = sid_of(opened.text());
        let target = format!("/engine.io/?EIO=4&transport=polling&sid={sid}&tag=b");
        let pushed = bed.connect_to(layout.post).ask(post(&target, "4x"));
        let polled = bed.connect_to(layout.get).get(&target);
        assert_eq!(polled.text(), "4x");
        for answer in [&pushed, &polled] {
            assert_eq!(
                (initial(answer), every(answer).as_deref()),
                (None, Some("b"))
            );
        }
        let mut websocket = bed.connect_to(layout.websocket);
        let upgraded = websocket.upgrade(&target.replace("polling", "websocket"));
        assert_eq!(
            (initial(&upgraded), every(&upgraded).as_deref()),
            (None, Some("b"))
        );
        let direct = bed
            .connect()
            .upgrade("/engine.io/?EIO=4&transport=websocket&tag=c");
        assert_eq!(initial(&direct).as_deref(), Some("c"));
        assert_eq!(every(&direct).as_deref(), Some("c"));
        for target in [
            "/engine.io/?EIO=4&transport=tobi&tag=d",
            "/engine.io/?EIO=5&transport=polling&tag=d",
        ] {
            let refused = bed.connect().get(target);
            assert_eq!(
                (refused.status, initial(&refused), every(&refused)),
                (400, None, None)
            );
        }
        let refused = bed
            .connect()
            .ask(request("GET", "/engine.io/?tag=d", UPGRADE));
        assert_eq!(
            (refused.status, initial(&refused), every(&refused)),
            (400, None, None)
        );
    });
}

#[test]
fn the_cookie_comes_with_the_first_answer_on_polling_alone() {
    let bed = Bed::start(&Setup {
        cookie: true,
        ..Setup::default()
    });
    for path in ["/engine.io/", "/socket.io/"] {
        let target = format!("{path}?EIO=4&transport=polling");
        let opened = bed.connect().get(&target);
        let sid = sid_of(opened.text());
        let cookie = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(opened.header("set-cookie"), Some(&*cookie));
        let target = format!("{target}&sid={sid}");
        let cookies = format!("Cookie: io={sid}\r\n");
        let (method, body) = if path == "/engine.io/" {
            (post(&target, "4x"), "4x")
        } else {
            (post(&target, "40"), "40")
        };
        let pushed = bed.connect().ask(method);
        let polled = bed.connect().ask(request("GET", &target, &cookies));
        assert!(polled.text().starts_with(body));
        assert_eq!(
            (pushed.header("set-cookie"), polled.header("set-cookie")),
            (None, None)
        );
        let direct = bed
            .connect()
            .upgrade(&format!("{path}?EIO=4&transport=websocket"));
        assert_eq!(direct.header("set-cookie"), None);
        // It is told, and never read: without a sid this is a new session.
        let another = bed.connect().ask(request(
            "GET",
            &format!("{path}?EIO=4&transport=polling"),
            &cookies,
        ));
        assert_ne!(sid_of(another.text()), sid);
    }
    let refused = bed.connect().get("/engine.io/?EIO=4&transport=tobi");
    assert_eq!(refused.header("set-cookie"), None);
}

#[test]
fn sessions_are_named_by_the_application() {
    let setup = Setup {
        names: true,
        cookie: true,
        ..Setup::default()
    };
    on_cores(&setup, |bed, layout| {
        let target = format!("{}&name=Some-thing_1~", crate::bed::ENGINE);
        let mut wire = bed.connect_to(layout.home);
        let opened = wire.get(&target);
        let sid = sid_of(opened.text());
        assert!(sid.starts_with("Some-thing_1~"), "{sid}");
        let cookie = opened.header("set-cookie").unwrap();
        assert!(cookie.starts_with(&format!("io={sid};")), "{cookie}");
        let target = format!("{target}&sid={sid}");
        assert_eq!(
            bed.connect_to(layout.post).ask(post(&target, "4x")).text(),
            "ok"
        );
        assert_eq!(bed.connect_to(layout.get).get(&target).text(), "4x");
        let mut websocket = bed.connect_to(layout.websocket);
        websocket.upgrade(&target.replace("polling", "websocket"));
        websocket.say("5");
        websocket.say("4y");
        websocket.hear_all(["4y"]);
        if is_node() {
            return;
        }
        // The name alone is nobody, and neither is another name before the rest.
        let (_, rest) = sid.split_once('.').expect("what routes");
        for wrong in [
            "Some-thing_1~",
            rest,
            &format!("other.{rest}"),
            &format!(".{rest}"),
        ] {
            let target = format!("{}&sid={wrong}", crate::bed::ENGINE);
            let request = request("GET", &target, "");
            expect_refusal(&mut wire, request.as_bytes(), 400, 1, "Session ID unknown");
        }
        // A name that cannot be one is left out.
        for bad in ["", "a.b", "a%20b", "%22", "%F0%9F%98%80", &"x".repeat(65)] {
            let opened = wire.get(&format!("{}&name={bad}", crate::bed::ENGINE));
            let sid = sid_of(opened.text());
            assert!(
                sid.len() == 20 || (bad.is_empty() && sid.len() == 21),
                "{bad}: {sid}"
            );
        }
    });
}

#[test]
fn browsers_that_guess_are_told_not_to() {
    let bed = Bed::plain();
    let agents = [
        (
            "Mozilla/5.0 (compatible;MSIE 8.0; Windows NT 6.0; Trident/4.0)",
            Some("0"),
        ),
        (
            "Mozilla/5.0 (Windows NT 6.3; Trident/7.0; rv:11.0) like Gecko",
            Some("0"),
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            None,
        ),
    ];
    for (agent, protection) in agents {
        let headers = format!("User-Agent: {agent}\r\n");
        let opened = bed
            .connect()
            .ask(request("GET", crate::bed::ENGINE, &headers));
        assert_eq!(opened.header("x-xss-protection"), protection, "{agent}");
    }
    assert!(is_node() || bed.connect().get("/").header("x-xss-protection").is_none());
}

#[test]
fn the_application_hears_of_refusals() {
    let bed = gate();
    let session = Session::open(&bed);
    let who = |name: &str| format!("who={name}");
    let own = session.target().replace(&who(&session.who), "");
    for (name, method, query, headers, code) in [
        ("transport", "GET", "EIO=4&transport=tobi", "", 0),
        ("websocket", "GET", "EIO=4&transport=tobi", UPGRADE, 0),
        ("session", "GET", "EIO=4&transport=polling&sid=tobi", "", 1),
        (
            "taken",
            "GET",
            "EIO=4&transport=websocket&sid=tobi",
            UPGRADE,
            1,
        ),
        ("method", "POST", "EIO=4&transport=polling", "", 2),
        ("plain", "GET", "EIO=4&transport=websocket", "", 3),
        ("forbidden", "GET", "EIO=4&transport=polling&forbid", "", 4),
        (
            "shut",
            "GET",
            "EIO=4&transport=websocket&forbid=no",
            UPGRADE,
            4,
        ),
        ("version", "GET", "EIO=5&transport=polling", "", 5),
    ] {
        let target = format!("/engine.io/?{query}&{}", who(name));
        let answer = bed.connect().ask(request(method, &target, headers));
        assert!(matches!(answer.status, 400 | 403), "{name}: {answer:?}");
        assert_eq!(bed.reason_of(&format!("refused-{name}")), code.to_string());
    }
    let wrong = own.replace("EIO=4", "EIO=3").replace("?", "?who=revision&");
    assert_eq!(bed.connect().get(&wrong).status, 400);
    assert_eq!(bed.reason_of("refused-revision"), "3");
}

#[test]
fn a_first_packet_stands_behind_the_open_packet() {
    let bed = Bed::start(&Setup {
        initial_packet: Some("welcome"),
        ..Setup::default()
    });
    let opened = bed.connect().get(crate::bed::ENGINE);
    assert!(opened.text().starts_with("0{"), "{opened:?}");
    let packets: Vec<&str> = opened.text().split('\x1e').collect();
    assert_eq!(packets[1..], ["4welcome"]);
    let mut websocket = bed.connect();
    websocket.upgrade(crate::bed::ENGINE_WEBSOCKET);
    let open = websocket.hear();
    assert!(
        matches!(&open, crate::wire::Frame::Text(open) if open.starts_with("0{")),
        "{open:?}"
    );
    websocket.hear_all(["4welcome"]);
}

#[test]
fn a_server_without_socket_io_serves_none() {
    if is_node() {
        return;
    }
    let config = ringhall::Config {
        cores: 1,
        socket_io: false,
        ..ringhall::Config::default()
    };
    let server = ringhall::Server::builder()
        .config(config)
        .listen("127.0.0.1:0")
        .engine_io("/engine.io", ringhall::EngineRoute::new())
        .start()
        .expect("the server starts");
    let mut wire = crate::wire::Wire::connect(server.local_addrs()[0]);
    for (path, status) in [
        ("/socket.io/?EIO=4&transport=polling", 404),
        ("/socket.io/socket.io.js", 404),
        ("/engine.io/?EIO=4&transport=polling", 200),
    ] {
        assert_eq!(wire.get(path).status, status, "{path}");
    }
    server.shutdown();
    server.wait().expect("every core ends in good order");
}
