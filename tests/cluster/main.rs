//! Several servers in one process that act as one: whole servers on the real kernel, over the bus, spoken to byte by byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends with the first thing that goes wrong"
)]

mod client;
mod operations;
mod servers;
mod transports;

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use ringhall::adapter::{ClusterSettings, Gathered};
use ringhall::{Binary, Builder, Config, Data, Server, ServerEvent, Socket};

use client::Client;
use servers::{Cluster, end, gather, wait_for};

/// Sockets that join what they are told to.
fn joining(_: usize) -> Builder {
    let config = Config {
        shutdown_timeout: Duration::from_millis(100),
        ..Config::default()
    };
    Server::builder()
        .config(config)
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(&room);
            0
        })
        .on("tell", |socket: Socket, Data(room): Data<String>| {
            socket.to(&room).emit("told", room.len());
            0
        })
}

#[test]
fn a_broadcast_reaches_the_sockets_of_all_servers() {
    let cluster = Cluster::start(3, joining);
    let [one, two, three] = [0, 1, 2].map(|server| &cluster[server]);
    let mut clients = [one, two, three].map(Client::open);
    clients.iter_mut().for_each(|client| client.join("r"));
    clients[2].join("s");
    one.emit("all", (1, "x"));
    one.to("r").except("s").emit("some", [1, 2]);
    one.to("s").emit("few", ());
    one.local().emit("own", ());
    one.to(clients[1].id()).emit("you", ());
    one.emit("end", ());
    let expected: [&[&str]; 3] = [
        &[r#"["all",1,"x"]"#, r#"["some",[1,2]]"#, r#"["own"]"#],
        &[r#"["all",1,"x"]"#, r#"["some",[1,2]]"#, r#"["you"]"#],
        &[r#"["all",1,"x"]"#, r#"["few"]"#],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        for event in expected.iter().chain(&[r#"["end"]"#]) {
            assert_eq!(client.next(), *event);
        }
    }
    // From a handler: everybody in the room but the sender, in the order of the events.
    clients[1].ask("tell", "\"r\"");
    clients[1].ask("tell", "\"s\"");
    clients[1].ask("tell", "\"r\"");
    assert_eq!(clients[0].next(), r#"["told",1]"#);
    assert_eq!(clients[0].next(), r#"["told",1]"#);
    for _ in 0..3 {
        assert_eq!(clients[2].next(), r#"["told",1]"#);
    }
    two.emit("end", ());
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.next(), r#"["end"]"#));
}

#[test]
fn binary_values_cross_servers() {
    let cluster = Cluster::start(2, joining);
    let mut client = Client::open(&cluster[1]);
    cluster[0].emit("file", ("a", Binary::from(vec![0, 255])));
    let text = r#"451-["file","a",{"_placeholder":true,"num":0}]"#;
    assert_eq!(client.next_text(), text);
    assert_eq!(client.next_binary(), [0, 255]);
}

#[test]
fn order_holds_across_servers() {
    let cluster = Cluster::start(2, joining);
    let mut client = Client::open(&cluster[1]);
    for number in 0..5_000 {
        cluster[0].emit("n", number);
    }
    for number in 0..5_000 {
        assert_eq!(client.next(), format!(r#"["n",{number}]"#));
    }
}

#[test]
fn servers_tell_and_ask_each_other() {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let told = std::sync::Arc::new(move |text: String| {
        let _ = sender.lock().unwrap().send(text);
    });
    let cluster = Cluster::start(3, |number| {
        let told = told.clone();
        joining(number)
            .on_server_event("tell", move |event: ServerEvent| {
                assert!(!event.wants_reply());
                let (text, count) = event.data::<(String, u8)>().unwrap();
                told(format!("{number} {} {text} {count}", event.namespace()));
            })
            .on_server_event("number", move |event: ServerEvent| {
                event.reply(number);
                event.reply("only the first answer counts");
            })
            .on_server_event("later", move |event: ServerEvent| {
                ringhall::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    event.reply((number, number));
                });
            })
            .on_server_event("panic", |_| panic!("on purpose"))
            .namespace("/chat", |chat| {
                chat.on_server_event("number", move |event: ServerEvent| {
                    event.reply(10 + number);
                })
            })
    });
    cluster[0].server_side_emit("tell", ("hi", 7));
    let mut both = [receiver.recv().unwrap(), receiver.recv().unwrap()];
    both.sort();
    assert_eq!(both, ["1 / hi 7", "2 / hi 7"]);
    // A handler that panics harms nobody.
    cluster[0].server_side_emit("panic", ());

    let ask = |answers: ringhall::adapter::AdapterFuture<Gathered<usize>>| {
        let mut answers = wait_for(answers);
        assert!(answers.is_complete());
        answers.values.sort_unstable();
        answers.values
    };
    assert_eq!(
        ask(cluster[0].server_side_emit_with_ack("number", ())),
        [1, 2]
    );
    assert_eq!(
        ask(cluster[2].server_side_emit_with_ack("number", ())),
        [0, 1]
    );
    let chat = cluster[1].of("/chat");
    assert_eq!(ask(chat.server_side_emit_with_ack("number", ())), [10, 12]);
    let later = cluster[0].server_side_emit_with_ack::<(usize, usize)>("later", ());
    let mut later = wait_for(later).values;
    later.sort_unstable();
    assert_eq!(later, [(1, 1), (2, 2)]);
    // Answers of another type are as good as none.
    let texts = wait_for(cluster[0].server_side_emit_with_ack::<String>("number", ()));
    assert_eq!((texts.values.len(), texts.missing), (0, 2));

    for reserved in ["connect", "connection", "new_namespace", "disconnect"] {
        assert!(cluster[0].try_server_side_emit(reserved, ()).is_err());
    }
}

#[test]
fn servers_that_do_not_answer_are_missing() {
    let settings = ClusterSettings {
        request_timeout: Duration::from_millis(100),
        ..ClusterSettings::default()
    };
    let cluster = Cluster::with(&settings, 3, |number| {
        let builder = joining(number);
        match number {
            2 => builder.on_server_event("who", |event: ServerEvent| event.reply("two")),
            // One that hears it and says nothing; the first asks.
            _ => builder.on_server_event("who", drop),
        }
    });
    let answers = wait_for(cluster[0].server_side_emit_with_ack::<String>("who", ()));
    assert_eq!(
        (answers.values, answers.missing),
        (vec!["two".to_owned()], 1)
    );
}

#[test]
fn a_server_alone_asks_nobody() {
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .cores(1)
        .start()
        .unwrap();
    assert_eq!(wait_for(server.server_count()), 1);
    server.server_side_emit("hello", ());
    let answers = wait_for(server.server_side_emit_with_ack::<u8>("hello", ()));
    assert!(answers.is_complete() && answers.values.is_empty());
    end(&server);
}

#[test]
fn a_family_has_no_server_events() {
    let family = Server::builder().listen("127.0.0.1:0").namespaces(
        |name: &str| name.starts_with("/x"),
        |family| family.on_server_event("a", |_| ()),
    );
    assert!(
        family
            .check()
            .unwrap_err()
            .to_string()
            .contains("server events")
    );
}

#[test]
fn a_server_that_ends_takes_leave_and_one_that_is_cut_off_is_noticed() {
    let settings = ClusterSettings {
        heartbeat_interval: Duration::from_millis(50),
        heartbeat_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(600),
        ..ClusterSettings::default()
    };
    let cluster = Cluster::with(&settings, 3, |number| {
        joining(number).on_server_event("hello", |event: ServerEvent| event.reply(1))
    });
    end(&cluster[1]);
    // It has said so before its end was reported.
    gather(&cluster[0], 2);
    cluster.cut(2);
    // It hears the question, and its answer does not arrive: the question ends when it is known to be lost.
    let answers = wait_for(cluster[0].server_side_emit_with_ack::<u8>("hello", ()));
    assert!(answers.is_complete() && answers.values.is_empty());
    gather(&cluster[0], 1);
}
