use std::sync::mpsc;

use ringhall::{
    Auth, Config, DisconnectReason, Namespace, Rejection, Server, Session, Socket, SocketId,
};

use crate::client::Client;
use crate::{Gate, Log, base, end, start};

#[test]
fn middlewares_run_in_order_and_the_first_error_refuses() {
    let log = Log::default();
    let (first, second, third, told) = (log.clone(), log.clone(), log.clone(), log.clone());
    let server = start(
        Server::builder()
            .config(base())
            .middleware(move |socket: Socket| {
                first.note(format!("first {}", socket.is_connected()));
            })
            .middleware(async move |Auth(auth): Auth<serde_json::Value>| {
                tokio::task::yield_now().await;
                second.note("second");
                match auth["name"].as_str() {
                    Some(name) => Ok(Session::new(name.to_owned())),
                    None => Err(Rejection::new("who are you?").data(("a name", 1))),
                }
            })
            .middleware(move |name: Session<String>| {
                third.note(format!("third {}", *name));
                match name.as_str() {
                    "Mallory" => Err("not you"),
                    _ => Ok(()),
                }
            })
            .on_connection(move |socket: Socket, name: Session<String>| {
                told.note(format!("{} is in: {}", *name, socket.is_connected()));
            })
            .on("whoami", |name: Session<String>| name.to_string()),
    );
    let mut client = Client::open(&server);
    client.send("40");
    assert_eq!(
        client.read(),
        r#"44{"message":"who are you?","data":["a name",1]}"#
    );
    assert_eq!(log.take(), ["first false", "second"]);
    // The session stays open, and the client may ask again.
    client.send(r#"40{"name":"Mallory"}"#);
    assert_eq!(client.read(), r#"44{"message":"not you"}"#);
    assert_eq!(log.take(), ["first false", "second", "third Mallory"]);
    client.send(r#"40{"name":"Ada"}"#);
    client.expect(r#"40{"sid""#);
    client.send(r#"420["whoami"]"#);
    assert_eq!(client.read(), r#"430["Ada"]"#);
    assert_eq!(
        log.take(),
        ["first false", "second", "third Ada", "Ada is in: true"]
    );
    end(&server);
}

/// A namespace that lets through when the gate does, and says in which state it found the socket.
fn gated(gate: &Gate, log: &Log) -> impl FnOnce(Namespace) -> Namespace {
    let (gate, log) = (gate.clone(), log.clone());
    let (connected, gone, left) = (log.clone(), log.clone(), log.clone());
    move |namespace| {
        namespace
            .middleware(async move |socket: Socket| {
                socket.join("room");
                socket.emit("wait", ());
                gate.pass().await;
                log.note(format!("decides {:?}", socket.rooms().len()));
            })
            .on_connection(move |socket: Socket| {
                connected.note(format!("connected {:?}", socket.rooms().len()));
            })
            .on_disconnecting(move || gone.note("disconnecting"))
            .on_disconnect(move |reason: DisconnectReason| left.note(format!("left: {reason}")))
    }
}

#[test]
fn while_it_waits_a_socket_is_told_what_is_for_it_alone() {
    let (gate, log) = (Gate::new(), Log::default());
    let server = start(
        Server::builder()
            .config(base())
            .namespace("/n", gated(&gate, &log))
            .on("room", |server: Server| {
                server.of("/n").to("room").emit("hello", ());
                true
            }),
    );
    let mut client = Client::open(&server);
    client.send("40");
    client.expect("40{");
    client.send("40/n,");
    assert_eq!(
        client.read(),
        r#"42/n,["wait"]"#,
        "an event before the CONNECT"
    );
    client.send(r#"420["room"]"#);
    assert_eq!(
        client.read(),
        "430[true]",
        "the broadcast has not reached it"
    );
    gate.open();
    client.expect(r#"40/n,{"sid":""#);
    client.send(r#"421["room"]"#);
    assert_eq!(client.read(), r#"42/n,["hello"]"#);
    assert_eq!(client.read(), "431[true]");
    assert_eq!(log.take(), ["decides 1", "connected 2"]);
    client.send("41/n,");
    client.send(r#"422["room"]"#);
    assert_eq!(client.read(), "432[true]");
    assert_eq!(
        log.take(),
        ["disconnecting", "left: client namespace disconnect"]
    );
    end(&server);
}

#[test]
fn packets_for_a_namespace_that_is_not_decided_end_the_session() {
    for packet in [r#"42/n,["x"]"#, "41/n,", "40/n,", "43/n,1[]"] {
        let (gate, log) = (Gate::new(), Log::default());
        let server = start(
            Server::builder()
                .config(base())
                .namespace("/n", gated(&gate, &log)),
        );
        let mut client = Client::open(&server);
        client.send("40");
        client.expect("40{");
        client.send("40/n,");
        client.expect(r#"42/n,["wait"]"#);
        client.send(packet);
        assert_eq!(client.read(), "closed", "{packet}");
        // The middleware runs to its end, and that is all: nothing is emitted for a socket that never was.
        gate.open();
        let mut other = Client::open(&server);
        other.send("40");
        other.expect("40{");
        other.send("40/n,");
        other.expect(r#"42/n,["wait"]"#);
        gate.open();
        other.expect("40/n,{");
        assert_eq!(
            log.take(),
            ["decides 0", "decides 1", "connected 2"],
            "{packet}"
        );
        end(&server);
    }
}

#[test]
fn a_socket_may_keep_handlers_and_rooms_from_its_middleware() {
    let server = start(
        Server::builder()
            .config(base())
            .middleware(async |socket: Socket| {
                tokio::task::yield_now().await;
                socket.on("rooms", |socket: Socket| socket.rooms().len());
                socket.join("a");
                socket.set_data(&7);
                socket.disconnect(true);
            }),
    );
    let mut client = Client::open(&server);
    client.send("40");
    client.expect("40{");
    client.send(r#"420["rooms"]"#);
    assert_eq!(client.read(), "430[2]");
    end(&server);
}

#[test]
fn a_middleware_that_panics_refuses() {
    let server = start(
        Server::builder()
            .config(base())
            .namespace("/now", |namespace| {
                namespace.middleware(|| -> () { panic!("on purpose") })
            })
            .namespace("/later", |namespace| {
                namespace.middleware(async || -> Result<(), &str> {
                    tokio::task::yield_now().await;
                    panic!("on purpose")
                })
            })
            .on("hello", || "there"),
    );
    let mut client = Client::open(&server);
    for name in ["/now", "/later"] {
        client.send(&format!("40{name},"));
        assert_eq!(
            client.read(),
            format!(r#"44{name},{{"message":"Internal error"}}"#)
        );
    }
    client.send("40");
    client.expect("40{");
    client.send(r#"420["hello"]"#);
    assert_eq!(client.read(), r#"430["there"]"#);
    assert_eq!(server.counters().panics, 2);
    end(&server);
}

#[test]
fn what_is_not_decided_counts_as_a_namespace_of_the_client() {
    let (gate, log) = (Gate::new(), Log::default());
    let config = Config {
        max_namespaces: 2,
        ..base()
    };
    let server = start(
        Server::builder()
            .config(config)
            .namespace("/n", gated(&gate, &log))
            .namespace("/other", |other| other),
    );
    let mut client = Client::open(&server);
    client.send("40");
    client.expect("40{");
    client.send("40/n,");
    client.expect(r#"42/n,["wait"]"#);
    client.send("40/other,");
    assert_eq!(
        client.read(),
        r#"44/other,{"message":"Too many namespaces"}"#
    );
    // A shutdown does not wait for it.
    end(&server);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn a_client_of_revision_3_waits_for_the_main_namespace() {
    let gate = Gate::new();
    let (entered, ids) = mpsc::channel::<SocketId>();
    let entered = std::sync::Mutex::new(entered);
    let opened = gate.clone();
    let config = Config {
        allow_eio3: true,
        ..base()
    };
    let server = start(
        Server::builder()
            .config(config)
            .middleware(async move |socket: Socket| {
                socket.emit("wait", ());
                opened.pass().await;
                match socket.handshake().query("token") {
                    Some(_) => Ok(()),
                    None => Err(Rejection::new("no token").data(17)),
                }
            })
            .on_connection(move |socket: Socket| {
                entered.lock().unwrap().send(*socket.id()).unwrap();
            })
            .on("hello", || "there"),
    );
    let mut client = Client::open_revision(&server, "EIO=3&token=x&");
    client.expect("0{");
    client.expect(r#"42["wait"]"#);
    gate.open();
    assert_eq!(client.read(), "40");
    client.send(r#"420["hello"]"#);
    assert_eq!(client.read(), r#"430["there"]"#);
    // As later clients do, it can be reached by its id.
    let id = ids.recv().unwrap();
    server.to(&id).emit("psst", ());
    assert_eq!(client.read(), r#"42["psst"]"#);
    let mut client = Client::open_revision(&server, "EIO=3&");
    client.expect("0{");
    client.expect(r#"42["wait"]"#);
    gate.open();
    assert_eq!(client.read(), "4417", "of a refusal it is told the data");
    end(&server);
}
