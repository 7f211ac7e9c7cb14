//! What operators do, on one core with the time standing still. Several cores are in `tests/operators.rs` and in the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::server::testing::{self, TestSocket};
use crate::server::{AckError, Answers, Binary, Data, Server, Socket};
use crate::shard::thread;

/// A server whose clients can join rooms.
fn rooms() -> crate::server::Builder {
    Server::builder().on("join", |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
        true
    })
}

async fn in_room(test: &testing::Testing, room: &str) -> TestSocket {
    let client = test.connect().await;
    assert!(client.emit_with_ack::<bool>("join", room).await);
    client
}

fn open_questions() -> usize {
    thread::current().unwrap().open_questions()
}

async fn answer(socket: &TestSocket, event: &str, answer: impl serde::Serialize) {
    socket.expect_question::<Value>(event).await.answer(answer);
}

/// So many seconds of the test's time have passed, give or take the milliseconds in which things settle.
fn assert_waited(began: Instant, seconds: u64) {
    let elapsed = began.elapsed();
    let range = Duration::from_secs(seconds)..Duration::from_millis(seconds * 1000 + 100);
    assert!(range.contains(&elapsed), "{elapsed:?}");
}

#[test]
fn all_answers_are_collected_in_the_order_of_their_arrival() {
    testing::run(rooms(), async |test| {
        let (ada, bob) = (in_room(&test, "a").await, in_room(&test, "a").await);
        let cleo = test.connect().await;
        let began = Instant::now();
        let asked = test.server().to("a").emit_with_ack::<u32>("n", 1);
        answer(&bob, "n", 2).await;
        test.settle().await;
        answer(&ada, "n", 1).await;
        let Answers { answers, error } = asked.await;
        assert_eq!(answers, [2, 1]);
        assert!(error.is_none(), "{error:?}");
        assert_waited(began, 0);
        cleo.expect_nothing().await;
        assert_eq!(open_questions(), 0);
    });
}

#[test]
fn where_nobody_is_asked_there_is_nothing_to_wait_for() {
    testing::run(rooms(), async |test| {
        let ada = test.connect().await;
        let began = Instant::now();
        let nobody = test.server().to("nowhere").emit_with_ack::<u32>("n", ());
        let Answers { answers, error } = nobody.await;
        assert!(answers.is_empty() && error.is_none());
        let mut nobody = test.server().except(ada.id()).emit_with_ack::<u32>("n", ());
        assert!(nobody.next().await.is_none());
        assert!(nobody.next().await.is_none());
        assert_waited(began, 0);
    });
}

#[test]
fn when_the_time_is_up_those_who_answered_have_answered() {
    testing::run(rooms(), async |test| {
        let (ada, bob) = (test.connect().await, test.connect().await);
        for (given, waited) in [(None, 10), (Some(3), 3)] {
            let everyone = test.server().everyone();
            let everyone = match given {
                Some(seconds) => everyone.timeout(Duration::from_secs(seconds)),
                None => everyone,
            };
            let began = Instant::now();
            let asked = everyone.emit_with_ack::<u32>("n", ());
            answer(&ada, "n", 7).await;
            let late = bob.expect_question::<Value>("n").await;
            let Answers { answers, error } = asked.await;
            assert_eq!(answers, [7]);
            assert!(matches!(error, Some(AckError::TimedOut)), "{error:?}");
            assert_waited(began, waited);
            assert_eq!(open_questions(), 0, "what was kept is given back");
            late.answer(8);
            test.settle().await;
        }
    });
}

#[test]
fn one_who_disconnects_is_waited_for_until_the_time_is_up() {
    testing::run(rooms(), async |test| {
        let (ada, bob) = (test.connect().await, test.connect().await);
        let began = Instant::now();
        let asked = test.server().emit_with_ack::<u32>("n", ());
        bob.disconnect();
        answer(&ada, "n", 7).await;
        let Answers { answers, error } = asked.await;
        assert_eq!(answers, [7]);
        assert!(matches!(error, Some(AckError::TimedOut)), "{error:?}");
        assert_waited(began, 10);
    });
}

#[test]
fn answers_can_be_taken_one_by_one() {
    testing::run(rooms(), async |test| {
        let clients = [
            test.connect().await,
            test.connect().await,
            test.connect().await,
        ];
        let mut asked = test.server().emit_with_ack::<(u32, String)>("n", ());
        answer(&clients[2], "n", (2, "c")).await;
        assert_eq!(asked.next().await.unwrap().unwrap(), (2, "c".to_owned()));
        assert_eq!(asked.asked(), 3);
        answer(&clients[0], "n", "no pair").await;
        let unfit = asked.next().await.unwrap();
        assert!(matches!(unfit, Err(AckError::Decode(_))), "{unfit:?}");
        let late = asked.next().await.unwrap();
        assert!(matches!(late, Err(AckError::TimedOut)), "{late:?}");
        assert!(asked.next().await.is_none());

        let asked = test.server().emit_with_ack::<Binary>("bytes", ());
        for (n, client) in (0..).zip(&clients) {
            // The one that is asked "n" still has not answered that.
            if n == 1 {
                client.expect_question::<Value>("n").await.answer(0);
            }
            answer(client, "bytes", Binary::from(vec![n])).await;
            test.settle().await;
        }
        let Answers { answers, .. } = asked.await;
        assert_eq!(answers, [0, 1, 2].map(|n| Binary::from(vec![n])));
    });
}

#[test]
fn whoever_stops_waiting_leaves_nothing_behind() {
    testing::run(rooms(), async |test| {
        let ada = test.connect().await;
        let asked = test.server().emit_with_ack::<u32>("n", ());
        let question = ada.expect_question::<Value>("n").await;
        assert_eq!(open_questions(), 1);
        drop(asked);
        assert_eq!(open_questions(), 0);
        question.answer(1);
        let refused = test.server().emit_with_ack::<u32>("disconnect", ()).await;
        assert!(matches!(refused.error, Some(AckError::NotSent(_))));
        assert_eq!(open_questions(), 0);
    });
}

#[test]
fn a_broadcast_is_a_value() {
    testing::run(rooms(), async |test| {
        let (ada, bob) = (in_room(&test, "a").await, in_room(&test, "b").await);
        let to_a = test.server().to("a");
        let to_both = to_a.clone().to("b").compress(false);
        to_a.emit("first", 1);
        to_both.emit("second", 2);
        to_a.emit("third", 3);
        for (event, n) in [("first", 1), ("second", 2), ("third", 3)] {
            assert_eq!(ada.expect::<u32>(event).await, n);
        }
        assert_eq!(bob.expect::<u32>("second").await, 2);
        bob.expect_nothing().await;
    });
}

#[test]
fn sockets_are_fetched_with_all_that_is_known_of_them() {
    let server = rooms().on_connection(|socket: Socket| {
        let name: Value = socket.auth().unwrap();
        socket.set_data(&name);
    });
    testing::run(server, async |test| {
        let client = test.client().query("q", "1").auth(json!({"name": "ada"}));
        let ada = client.connect("/").await.unwrap();
        ada.emit_with_ack::<bool>("join", "a").await;
        let bob = in_room(&test, "b").await;

        let all = test.server().fetch_sockets().await;
        let ids: BTreeSet<&str> = all.iter().map(|socket| socket.id()).collect();
        assert_eq!(ids, BTreeSet::from([ada.id(), bob.id()]));
        let in_a = test
            .server()
            .to("a")
            .to("b")
            .except("b")
            .fetch_sockets()
            .await;
        let [found] = &in_a[..] else {
            panic!("{in_a:?}");
        };
        assert_eq!(found.id(), ada.id());
        let expected: BTreeSet<&str> = BTreeSet::from(["a", ada.id()]);
        assert_eq!(
            found
                .rooms()
                .iter()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            expected
        );
        assert_eq!(found.data::<Value>().unwrap(), json!({"name": "ada"}));
        let details = found.handshake_details();
        assert_eq!(details.auth, json!({"name": "ada"}));
        assert_eq!(details.query.get("q").map(String::as_str), Some("1"));
        let details = all
            .iter()
            .find(|it| it.id() == bob.id())
            .unwrap()
            .handshake_details();
        assert_eq!(details.auth, json!({}));
    });
}

#[test]
fn a_fetched_socket_is_acted_on_from_afar() {
    testing::run(rooms(), async |test| {
        let (ada, bob) = (in_room(&test, "a").await, test.connect().await);
        let found = test.server().to("a").fetch_sockets().await.pop().unwrap();
        found.emit("hello", "ada");
        assert_eq!(ada.expect::<String>("hello").await, "ada");
        let (asked, ()) = tokio::join!(
            found
                .timeout(Duration::from_secs(1))
                .emit_with_ack::<u32>("age", ()),
            answer(&ada, "age", 36),
        );
        assert_eq!(asked.unwrap(), 36);
        let late = found
            .timeout(Duration::from_secs(1))
            .emit_with_ack::<u32>("age", ());
        assert!(matches!(late.await, Err(AckError::TimedOut)));
        ada.next().await;
        found.join(["b", "c"]);
        found.leave("a");
        test.server().to("a").emit("a", ());
        test.server().to("c").emit("c", ());
        assert_eq!(ada.next().await.name, "c");
        found.disconnect(false);
        ada.expect_disconnect().await;
        let gone = found.emit_with_ack::<u32>("age", ()).await;
        assert!(matches!(gone, Err(AckError::Disconnected)), "{gone:?}");
        bob.expect_nothing().await;
    });
}

#[test]
fn rooms_and_sids_are_two_sides_of_the_same() {
    testing::run(rooms(), async |test| {
        let (ada, bob) = (in_room(&test, "a").await, in_room(&test, "a").await);
        bob.emit_with_ack::<bool>("join", "b").await;
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let map = |of: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
            of.iter()
                .map(|(name, in_it)| ((*name).to_owned(), set(in_it)))
                .collect()
        };
        let (a, b) = (ada.id(), bob.id());
        let expected = map(&[("a", &[a, b]), ("b", &[b]), (a, &[a]), (b, &[b])]);
        assert_eq!(test.server().rooms().await, expected);
        let expected = map(&[(a, &["a", a]), (b, &["a", "b", b])]);
        assert_eq!(test.server().of("/").sids().await, expected);
        assert!(test.server().of("/nobody").sids().await.is_empty());
    });
}

#[test]
fn from_a_handler_the_sender_is_left_out_and_what_is_done_is_done_at_once() {
    let server = rooms().on("move", |socket: Socket| {
        socket.broadcast().sockets_join("moved");
        socket.everyone().to("moved").emit("you were moved", ());
        socket.to("moved").sockets_leave(["moved"]);
        socket.everyone().to("moved").emit("unheard", ());
        socket.everyone().disconnect_sockets(false);
        socket.is_connected()
    });
    testing::run(server, async |test| {
        let (ada, bob) = (test.connect().await, test.connect().await);
        ada.emit("move", ());
        assert_eq!(bob.next().await.name, "you were moved");
        bob.expect_disconnect().await;
        ada.expect_disconnect().await;
        assert!(test.server().fetch_sockets().await.is_empty());
    });
}
