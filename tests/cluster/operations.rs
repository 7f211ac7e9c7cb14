//! What is done with, asked of and told about the sockets of all servers.

use std::collections::BTreeSet;
use std::time::Duration;

use ringhall::adapter::ClusterSettings;
use ringhall::{AckError, Answers, Data, RemoteSocket, Server, Socket};

use crate::client::Client;
use crate::joining;
use crate::servers::{Cluster, end, wait_for};

/// Waits for answers, in their order if there is one.
fn answers(acks: impl Future<Output = Answers<u32>>) -> (Vec<u32>, Option<AckError>) {
    let Answers {
        mut answers, error, ..
    } = wait_for(acks);
    answers.sort_unstable();
    (answers, error)
}

#[test]
fn a_broadcast_is_answered_by_the_sockets_of_all_servers() {
    let cluster = Cluster::start(3, joining);
    let mut clients: Vec<Client> = cluster
        .iter()
        .chain(&cluster[..1])
        .map(Client::open)
        .collect();
    for client in &mut clients[1..] {
        client.join("r");
    }
    let acks = cluster[0].to("r").emit_with_ack::<u32>("vote", "pie");
    for (number, client) in clients[1..].iter_mut().enumerate() {
        client.answer(r#"["vote","pie"]"#, &number.to_string());
    }
    let (all, error) = answers(acks);
    assert_eq!(all, [0, 1, 2]);
    assert!(error.is_none());

    // Where nobody is, there is nothing to wait for, on no server.
    let (all, error) = answers(cluster[1].to("nowhere").emit_with_ack("vote", ()));
    assert!(all.is_empty() && error.is_none());

    // Only this server's.
    let acks = cluster[0].to("r").local().emit_with_ack("vote", ());
    clients[3].answer(r#"["vote"]"#, "7");
    assert_eq!(answers(acks).0, [7]);
}

#[test]
fn who_does_not_answer_in_time_is_missing_and_the_others_count() {
    let cluster = Cluster::start(2, joining);
    let mut clients = [Client::open(&cluster[0]), Client::open(&cluster[1])];
    let mut silent = Client::open(&cluster[1]);
    let everyone = cluster[0].of("/");
    let acks = everyone
        .everyone()
        .timeout(Duration::from_millis(300))
        .emit_with_ack::<u32>("vote", ());
    clients[0].answer(r#"["vote"]"#, "1");
    clients[1].answer(r#"["vote"]"#, "2");
    let (all, error) = answers(acks);
    assert_eq!(all, [1, 2]);
    assert!(matches!(error, Some(AckError::TimedOut)));
    assert!(silent.next().ends_with(r#"["vote"]"#));
}

#[test]
fn a_server_that_ends_is_not_waited_for() {
    let settings = ClusterSettings {
        heartbeat_interval: Duration::from_millis(50),
        heartbeat_timeout: Duration::from_secs(1),
        ..ClusterSettings::default()
    };
    let cluster = Cluster::with(&settings, 3, joining);
    let mut clients: Vec<Client> = cluster.iter().map(Client::open).collect();
    let everyone = cluster[0].of("/");
    let acks = everyone
        .everyone()
        .timeout(Duration::from_secs(600))
        .emit_with_ack::<u32>("vote", ());
    clients[0].answer(r#"["vote"]"#, "1");
    // They have been counted, and will not answer: one says that it goes, one vanishes.
    assert!(clients[1].next().ends_with(r#"["vote"]"#));
    assert!(clients[2].next().ends_with(r#"["vote"]"#));
    end(&cluster[1]);
    cluster.cut(2);
    assert_eq!(answers(acks).0, [1]);
}

#[test]
fn sockets_of_all_servers_join_leave_and_are_disconnected() {
    let cluster = Cluster::start(3, joining);
    let mut clients: Vec<Client> = cluster.iter().map(Client::open).collect();
    let one = &cluster[0];
    one.of("/")
        .everyone()
        .except(clients[2].id())
        .sockets_join(["a", "b"]);
    one.to("a").emit("in", "a");
    one.to("b").sockets_leave("a");
    one.to("a").emit("in", "nobody");
    one.to("b").emit("in", "b");
    one.emit("end", ());
    for client in &mut clients[..2] {
        assert_eq!(client.next(), r#"["in","a"]"#);
        assert_eq!(client.next(), r#"["in","b"]"#);
        assert_eq!(client.next(), r#"["end"]"#);
    }
    assert_eq!(clients[2].next(), r#"["end"]"#);
    one.to("b").disconnect_sockets(false);
    one.emit("left", ());
    assert!(clients[0].is_disconnected());
    assert!(clients[1].is_disconnected());
    assert_eq!(clients[2].next(), r#"["left"]"#);
}

#[test]
fn sockets_are_fetched_from_all_servers() {
    let cluster = Cluster::start(3, |number| {
        joining(number).on("data", |socket: Socket, Data(name): Data<String>| {
            socket.set_data(&name);
            0
        })
    });
    let mut clients: Vec<Client> = cluster.iter().map(Client::open).collect();
    clients[1].join("r");
    clients[1].ask("data", "\"ada\"");
    let ids = |sockets: &[RemoteSocket]| -> BTreeSet<String> {
        sockets
            .iter()
            .map(|socket| socket.id().to_owned())
            .collect()
    };
    let expected: BTreeSet<String> = clients.iter().map(|it| it.id().to_owned()).collect();
    for server in cluster.iter() {
        let everyone = server.of("/");
        let all = wait_for(everyone.everyone().fetch_sockets());
        assert_eq!((all.len(), ids(&all)), (3, expected.clone()));
        assert_eq!(
            wait_for(everyone.everyone().local().fetch_sockets()).len(),
            1
        );
    }

    let [ada] = &wait_for(cluster[0].to("r").fetch_sockets())[..] else {
        panic!("there is one in the room");
    };
    assert_eq!(ada.id(), clients[1].id());
    assert_eq!(ada.data::<String>().unwrap(), "ada");
    assert_eq!(ada.rooms(), [clients[1].id(), "r"]);
    let handshake = ada.handshake_details();
    assert_eq!(handshake.address, "127.0.0.1");
    assert_eq!(handshake.query["transport"], "websocket");
    let [other] = &wait_for(cluster[0].to(clients[2].id()).fetch_sockets())[..] else {
        panic!("an id is the name of a room");
    };
    assert_eq!(other.data::<Option<String>>().unwrap(), None);

    // What is done with it is done where it is.
    ada.emit("hello", 1);
    ada.leave("r");
    ada.join("s");
    cluster[2].to("s").emit("hello", 2);
    assert_eq!(clients[1].next(), r#"["hello",1]"#);
    let age = ada.emit_with_ack::<u32>("age", ());
    loop {
        let event = clients[1].next();
        if event != r#"["hello",2]"# {
            clients[1].answer_to(&event, r#"["age"]"#, "36");
            break;
        }
    }
    assert_eq!(wait_for(age).unwrap(), 36);
    ada.disconnect(false);
    assert!(clients[1].is_gone());
}

#[test]
fn what_is_local_stays_on_the_server() {
    let cluster = Cluster::start(2, joining);
    let mut clients: Vec<Client> = cluster.iter().map(Client::open).collect();
    let server: &Server = &cluster[0];
    server.local().sockets_join("a");
    server.to("a").emit("in", ());
    server.local().disconnect_sockets(false);
    server.emit("end", ());
    assert_eq!(clients[0].next(), r#"["in"]"#);
    assert!(clients[0].is_disconnected());
    assert_eq!(clients[1].next(), r#"["end"]"#);
}
