use std::sync::{Arc, Mutex};

use super::Ledger;
use crate::server::testing::{self, TestSocket};
use crate::server::{Builder, Data, JoinError, Rejection, Server, Socket};

/// What happened to rooms, in order, with `names` instead of ids.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self, sockets: &[&TestSocket]) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        for (name, socket) in ["ada", "bob"].iter().zip(sockets) {
            for entry in &mut all {
                *entry = entry.replace(socket.id(), name);
            }
        }
        all
    }
}

/// A server that notes it all.
fn noting(log: &Log) -> Builder {
    let logs = [0; 6].map(|_| log.clone());
    let [create, join, leave, delete, disconnecting, disconnect] = logs;
    Server::builder()
        .on_create_room(move |room| create.note(format!("create {room}")))
        .on_join_room(move |room, id| join.note(format!("join {room} {id}")))
        .on_leave_room(move |room, id| leave.note(format!("leave {room} {id}")))
        .on_delete_room(move |room| delete.note(format!("delete {room}")))
        .on_disconnecting(move || disconnecting.note("disconnecting".to_owned()))
        .on_disconnect(move || disconnect.note("disconnect".to_owned()))
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room)
        })
        .on("leave", |socket: Socket, Data(room): Data<String>| {
            socket.leave(room)
        })
        .on_join_room(|room, _| assert_ne!(room, "a", "a panic that harms nobody"))
}

#[test]
fn rooms_come_and_go_with_their_members() {
    let log = Log::default();
    testing::run(noting(&log), async |test| {
        test.allow_panics();
        let ada = test.connect().await;
        assert_eq!(log.take(&[&ada]), ["create ada", "join ada ada"]);
        let bob = test.connect().await;
        log.take(&[]);
        let both = [&ada, &bob];
        let cases: [(&TestSocket, &str, &str, &[&str]); 7] = [
            (&ada, "join", "a", &["create a", "join a ada"]),
            (&ada, "join", "a", &[]),
            (&bob, "join", "a", &["join a bob"]),
            (&ada, "leave", "a", &["leave a ada"]),
            (&ada, "leave", "a", &[]),
            (&bob, "leave", "a", &["leave a bob", "delete a"]),
            (&ada, "leave", "b", &[]),
        ];
        for (socket, event, room, expected) in cases {
            socket.emit(event, room);
            test.settle().await;
            assert_eq!(log.take(&both), expected, "{event} {room}");
        }
        bob.emit("join", ada.id());
        bob.emit("leave", bob.id());
        test.settle().await;
        assert_eq!(
            log.take(&both),
            ["join ada bob", "leave bob bob", "delete bob"]
        );
        ada.disconnect();
        test.settle().await;
        assert_eq!(
            log.take(&both),
            ["disconnecting", "leave ada ada", "disconnect"]
        );
        bob.client().cut();
        test.settle().await;
        assert_eq!(
            log.take(&both),
            ["disconnecting", "leave ada bob", "delete ada", "disconnect"]
        );
    });
}

#[test]
fn what_is_done_from_afar_is_told_like_what_a_socket_does() {
    let log = Log::default();
    testing::run(noting(&log), async |test| {
        test.allow_panics();
        let ada = test.connect().await;
        log.take(&[]);
        test.server().sockets_join(["a", "b", "a"]);
        assert_eq!(
            log.take(&[&ada]),
            ["create a", "join a ada", "create b", "join b ada"]
        );
        test.server().sockets_leave("b");
        assert_eq!(log.take(&[&ada]), ["leave b ada", "delete b"]);
        test.server().disconnect_sockets(false);
        assert_eq!(
            log.take(&[&ada]),
            [
                "disconnecting",
                "leave ada ada",
                "delete ada",
                "leave a ada",
                "delete a",
                "disconnect"
            ]
        );
    });
}

#[test]
fn who_is_turned_away_leaves_what_it_has_joined_and_was_never_in_its_own() {
    let log = Log::default();
    let server = noting(&log).middleware(|socket: Socket| -> Result<(), Rejection> {
        socket.join("waiting");
        match socket.try_join("x".repeat(2000)) {
            Err(JoinError::NameTooLong) => Err(Rejection::new("not you")),
            other => panic!("{other:?}"),
        }
    });
    testing::run(server, async |test| {
        assert!(test.client().connect("/").await.is_err());
        test.settle().await;
        let told = log.take(&[]);
        let [create, join, leave, delete] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!((&**create, &**delete), ("create waiting", "delete waiting"));
        assert!(join.starts_with("join waiting ") && leave.starts_with("leave waiting "));
    });
}

#[test]
fn who_joins_its_own_room_while_it_waits_is_in_it_once() {
    let log = Log::default();
    let server = noting(&log).middleware(|socket: Socket| {
        socket.leave(socket.id());
        socket.join(socket.id());
    });
    testing::run(server, async |test| {
        let ada = test.connect().await;
        assert_eq!(log.take(&[&ada]), ["create ada", "join ada ada"]);
        ada.disconnect();
        test.settle().await;
        let end = ["disconnecting", "leave ada ada", "delete ada", "disconnect"];
        assert_eq!(log.take(&[&ada]), end);
    });
}

#[test]
fn a_room_is_there_from_the_first_core_to_the_last() {
    let (ledger, scope): (_, Arc<str>) = (Ledger::default(), "/".into());
    assert!(ledger.enter(&scope, "a", || ()));
    assert!(!ledger.enter(&scope, "a", || ()));
    assert!(ledger.enter(&scope, "b", || ()));
    assert!(ledger.enter(&"/chat".into(), "a", || ()), "another room");
    assert!(!ledger.leave(&scope, "a", || ()));
    assert!(ledger.leave(&scope, "a", || ()));
    assert!(!ledger.leave(&scope, "a", || ()), "it is gone already");
    assert!(ledger.leave(&scope, "b", || ()));
    assert!(ledger.leave("/chat", "a", || ()));
    assert!(ledger.lock().is_empty());
}
