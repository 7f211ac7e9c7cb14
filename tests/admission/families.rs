use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringhall::{
    Auth, Builder, Config, Data, DisconnectReason, Namespace, NamespaceHandle, NamespaceRequest,
    Server, Socket,
};

use crate::client::Client;
use crate::{Gate, Log, base, end, start};

/// Says of a namespace which description it has.
fn described(by: &'static str) -> impl FnOnce(Namespace) -> Namespace {
    move |namespace| {
        namespace
            .on("who", move || by)
            .on("join", |socket: Socket, Data(room): Data<String>| {
                socket.try_join(room).is_ok()
            })
    }
}

fn who(client: &mut Client, name: &str) -> String {
    client.send(&format!("40{name},"));
    let answer = client.read();
    if !answer.starts_with("40") {
        return answer;
    }
    client.send(&format!(r#"42{name},7["who"]"#));
    let answer = client.read();
    client.send(&format!("41{name},"));
    answer
}

#[test]
fn the_first_that_takes_a_name_gets_it() {
    let asked = Log::default();
    let (second, third) = (asked.clone(), asked.clone());
    let server = start(
        Server::builder()
            .config(base())
            .namespaces(r"^/room-\d+$", described("pattern"))
            .namespace("/other-1", described("named"))
            .namespaces(
                async move |request: NamespaceRequest| {
                    second.note(format!("async {}", request.name()));
                    if request.name().ends_with('1') {
                        tokio::task::yield_now().await;
                    }
                    request.name().starts_with("/other")
                },
                described("async"),
            )
            .namespaces(
                move |name: &str| {
                    third.note(format!("name {name}"));
                    name.starts_with("/o")
                },
                described("name"),
            )
            .namespaces(
                |request: NamespaceRequest| {
                    let who: Option<String> = request.auth().unwrap_or_default();
                    assert!(request.name() != "/panic", "on purpose");
                    request.name() == "/auth"
                        && who.is_none()
                        && request.handshake().path() == "/socket.io/"
                },
                described("request"),
            ),
    );
    let mut client = Client::open(&server);
    for (name, expected, asked_of) in [
        ("/room-17", r#"43/room-17,7["pattern"]"#, &[][..]),
        ("/other-1", r#"43/other-1,7["named"]"#, &[]),
        ("/other-2", r#"43/other-2,7["async"]"#, &["async /other-2"]),
        (
            "/other-11",
            r#"43/other-11,7["async"]"#,
            &["async /other-11"],
        ),
        // It exists now, and nobody is asked again.
        ("/other-11", r#"43/other-11,7["async"]"#, &[]),
        ("/o-1", r#"43/o-1,7["name"]"#, &["async /o-1", "name /o-1"]),
        (
            "/auth",
            r#"43/auth,7["request"]"#,
            &["async /auth", "name /auth"],
        ),
        (
            "/room-",
            r#"44/room-,{"message":"Invalid namespace"}"#,
            &["async /room-", "name /room-"],
        ),
        (
            "/panic",
            r#"44/panic,{"message":"Invalid namespace"}"#,
            &["async /panic", "name /panic"],
        ),
    ] {
        assert_eq!(who(&mut client, name), expected);
        assert_eq!(asked.take(), asked_of, "{name}");
    }
    assert_eq!(
        server.namespaces(),
        [
            "/",
            "/auth",
            "/o-1",
            "/other-1",
            "/other-11",
            "/other-2",
            "/room-17"
        ]
    );
    end(&server);
}

#[test]
fn a_pattern_that_is_none_does_not_start() {
    let error = Server::builder()
        .listen("127.0.0.1:0")
        .namespaces(r"^/room-(\d+$", |rooms| rooms)
        .check()
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("namespaces") && text.contains(r"^/room-(\d+$"),
        "{text}"
    );
}

#[test]
fn what_is_emitted_to_a_family_reaches_its_children() {
    let log = Log::default();
    let noted = log.clone();
    let config = Config { cores: 2, ..base() };
    let server = start(
        Server::builder()
            .config(config)
            .namespace("/room-0", described("before"))
            .namespaces("^/room", |rooms| described("room")(rooms.family("rooms")))
            .namespace("/room-1", |room| room.on("own", || true))
            .namespaces("^/other", described("other"))
            .on_new_namespace(move |namespace: &NamespaceHandle| {
                assert!(namespace.name() != "/other-2", "on purpose");
                noted.note(namespace.name());
            }),
    );
    let mut clients: Vec<Client> = [
        "/room-0", "/room-1", "/room-2", "/room-3", "/other-1", "/other-2",
    ]
    .into_iter()
    .map(|name| {
        let mut client = Client::open(&server);
        client.send(&format!("40{name},"));
        client.expect(&format!("40{name},{{"));
        client
    })
    .collect();
    assert_eq!(log.take(), ["/room-2", "/room-3", "/other-1"]);
    for (index, room) in [(1, "a"), (2, "a"), (2, "b")] {
        clients[index].send(&format!(r#"42/room-{index},1["join","{room}"]"#));
        clients[index].expect(&format!("43/room-{index},1"));
    }
    let rooms = server.family("rooms").unwrap();
    let names: Vec<String> = rooms
        .children()
        .iter()
        .map(|child| child.name().to_owned())
        .collect();
    assert_eq!(names, ["/room-1", "/room-2", "/room-3"]);
    rooms.emit("to all", 1);
    rooms.to("a").except("b").emit("to some", ());
    server.family("^/other").unwrap().emit("to others", ());
    assert!(server.family("^/room").is_none(), "it has another name");
    for name in ["/room-0", "/other-1"] {
        server.of(name).emit("last", ());
    }
    rooms.everyone().emit("last", ());
    let heard: Vec<Vec<String>> = clients
        .iter_mut()
        .map(|client| {
            let mut heard = Vec::new();
            loop {
                let text = client.read();
                let (_, said) = text.split_once(',').unwrap();
                heard.push(said.to_owned());
                if said == r#"["last"]"# || said == r#"["to others"]"# {
                    return heard;
                }
            }
        })
        .collect();
    let heard: Vec<Vec<&str>> = heard
        .iter()
        .map(|of| of.iter().map(String::as_str).collect())
        .collect();
    let (all, some, last) = (r#"["to all",1]"#, r#"["to some"]"#, r#"["last"]"#);
    assert_eq!(
        heard,
        [
            vec![last],
            vec![all, some, last],
            vec![all, last],
            vec![all, last],
            vec![r#"["to others"]"#],
            vec![r#"["to others"]"#],
        ]
    );
    // Described after the pattern, it has the family's handlers and its own.
    clients[1].send(r#"42/room-1,1["who"]"#);
    assert_eq!(clients[1].read(), r#"43/room-1,1["room"]"#);
    clients[1].send(r#"42/room-1,2["own"]"#);
    assert_eq!(clients[1].read(), "43/room-1,2[true]");
    end(&server);
}

/// A family of everything that counts how often it is asked.
fn counted(config: Config, asked: &Arc<AtomicUsize>, refuse: bool) -> Builder {
    let asked = asked.clone();
    Server::builder().config(config).namespaces(
        move |_: &str| {
            asked.fetch_add(1, Ordering::Relaxed);
            true
        },
        move |namespace| {
            namespace
                .middleware(async move || {
                    tokio::task::yield_now().await;
                    if refuse { Err("no") } else { Ok(()) }
                })
                .on("hello", || "there")
        },
    )
}

#[test]
fn with_cleanup_a_child_is_forgotten_with_its_last_socket() {
    for cleanup in [false, true] {
        let config = Config {
            cores: 2,
            cleanup_empty_child_namespaces: cleanup,
            ..base()
        };
        let asked = Arc::new(AtomicUsize::new(0));
        let server = start(counted(config, &asked, false));
        let mut stays = Client::open(&server);
        stays.send("40/b,");
        stays.expect("40/b,{");
        for round in 1..4 {
            let mut client = Client::open(&server);
            for name in ["/a", "/b"] {
                client.send(&format!("40{name},"));
                client.expect(&format!("40{name},{{"));
            }
            assert_eq!(server.namespaces(), ["/", "/a", "/b"]);
            for name in ["/a", "/b"] {
                client.send(&format!("41{name},"));
            }
            // When this is answered, it has left.
            client.send("40/b,");
            client.expect("40/b,{");
            let (known, times) = (server.namespaces(), asked.load(Ordering::Relaxed));
            match cleanup {
                false => {
                    assert_eq!(known, ["/", "/a", "/b"]);
                    assert_eq!(times, 2);
                }
                true => {
                    assert_eq!(known, ["/", "/b"]);
                    assert_eq!(times, 1 + round);
                }
            }
        }
        end(&server);
    }
}

#[test]
fn who_is_refused_leaves_a_child_too() {
    for (cleanup, known) in [(false, &["/", "/a"][..]), (true, &["/"])] {
        let config = Config {
            cleanup_empty_child_namespaces: cleanup,
            ..base()
        };
        let server = start(counted(config, &Arc::default(), true));
        let mut client = Client::open(&server);
        for _ in 0..3 {
            client.send("40/a,");
            assert_eq!(client.read(), r#"44/a,{"message":"no"}"#);
            assert_eq!(server.namespaces(), known);
        }
        end(&server);
    }
}

#[test]
fn names_that_clients_choose_are_remembered_up_to_a_limit() {
    let config = Config {
        max_child_namespaces: 3,
        max_namespaces: 10,
        ..base()
    };
    let server = start(counted(config, &Arc::default(), false));
    let mut client = Client::open(&server);
    for name in ["/a", "/b", "/c"] {
        client.send(&format!("40{name},"));
        client.expect(&format!("40{name},{{"));
    }
    client.send("40/d,");
    assert_eq!(client.read(), r#"44/d,{"message":"Too many namespaces"}"#);
    client.send("41/b,");
    client.send("40/d,");
    client.expect("40/d,{");
    assert_eq!(server.namespaces(), ["/", "/a", "/c", "/d"]);
    end(&server);
}

#[test]
fn whoever_goes_while_a_family_decides_leaves_nothing() {
    let (gate, log) = (Gate::new(), Log::default());
    let (passed, left) = (gate.clone(), log.clone());
    let server = start(Server::builder().config(base()).namespaces(
        async move |request: NamespaceRequest| {
            log.note(request.name());
            gate.pass().await;
            true
        },
        move |family| {
            let (connected, gone) = (left.clone(), left.clone());
            family
                .middleware(move |_: Auth<serde_json::Value>| Ok::<(), &str>(()))
                .on_connection(move || connected.note("connected"))
                .on_disconnect(move |_: DisconnectReason| gone.note("left"))
        },
    ));
    let mut client = Client::open(&server);
    client.send("40/gone,");
    client.send(r#"42/gone,["too early"]"#);
    assert_eq!(client.read(), "closed");
    passed.open();
    let mut client = Client::open(&server);
    client.send("40/stays,");
    passed.open();
    client.expect("40/stays,{");
    assert_eq!(server.namespaces(), ["/", "/stays"]);
    end(&server);
}
