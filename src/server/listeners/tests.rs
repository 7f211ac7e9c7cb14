use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::Parser;
use crate::server::testing;
use crate::server::{Binary, Builder, Config, Counters, Data, EventName, Payload, Server, Session};

/// What happened, in order, for the tests to look at.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.0.lock().unwrap().push(note.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A namespace in which everything takes a note.
fn noting(notes: &Notes) -> Builder {
    let [any, gate, handler, error] = [(); 4].map(|()| notes.clone());
    Server::builder()
        .on_any(move |EventName(event): EventName| any.add(format!("any {event}")))
        .packet_middleware(move |EventName(event): EventName| {
            gate.add(format!("gate {event}"));
            if event == "bad" {
                Err("it is bad")
            } else {
                Ok(())
            }
        })
        .on("good", move || handler.add("good"))
        .on_error(move |_: &Socket, error_: &EventError| {
            error.add(format!("{:?} {} {error_}", error_.kind(), error_.event()));
        })
}

#[test]
fn an_event_is_seen_then_checked_then_handled() {
    let notes = Notes::default();
    let own = notes.clone();
    let builder = noting(&notes).on_connection(move |socket: Socket| {
        let [before, after, gate, handler, error] = [(); 5].map(|()| own.clone());
        socket.on("good", move || handler.add("own good"));
        socket.packet_middleware(move || gate.add("own gate"));
        socket.on_any(move || after.add("own any"));
        socket.prepend_any(move || before.add("own any before"));
        socket.on_error(move |_, error_| error.add(format!("own {error_}")))
    });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("good", ());
        test.settle().await;
        assert_eq!(
            notes.take(),
            [
                "own any before",
                "any good",
                "own any",
                "gate good",
                "own gate",
                "good",
                "own good"
            ]
        );
        ada.emit("bad", ());
        test.settle().await;
        assert_eq!(
            notes.take(),
            [
                "own any before",
                "any bad",
                "own any",
                "gate bad",
                "Refused bad it is bad",
                "own it is bad"
            ]
        );
        assert!(ada.is_connected());
        let counters = test.server().counters();
        assert_eq!((counters.events_refused, counters.panics), (1, 0));
    });
}

#[test]
fn listeners_can_be_taken_off() {
    let notes = Notes::default();
    let own = notes.clone();
    let builder = Server::builder()
        .on_connection(move |socket: Socket| {
            let [a, b, c, d, e, f] = [(); 6].map(|()| own.clone());
            let first = socket.on("x", move || a.add("first"));
            socket.on("x", move || b.add("second"));
            let once = socket.once("x", move || c.add("once"));
            let any = socket.on_any(move || d.add("any"));
            let error = socket.on_error(move |_, _| e.add("error"));
            let left = socket.on_disconnect(move || f.add("left"));
            socket.on(
                "take",
                move |socket: Socket, Data(what): Data<String>| match what.as_str() {
                    "first" => socket.off_listener(first),
                    "once" => socket.off_listener(once),
                    "any" => socket.off_listener(any),
                    "error" => socket.off_listener(error),
                    "left" => socket.off_listener(left),
                    "all" => socket.off("x"),
                    "every any" => socket.off_any(),
                    _ => panic!("{what}"),
                },
            )
        })
        .on("fails", || Err::<(), _>("on purpose"))
        .on("settled", || true);
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        let after = async |what: &str, event: &str| {
            ada.emit("take", what);
            test.settle().await;
            notes.take();
            ada.emit(event, ());
            test.settle().await;
            notes.take()
        };
        ada.emit("x", ());
        test.settle().await;
        assert_eq!(notes.take(), ["any", "first", "second", "once"]);
        ada.emit("x", ());
        test.settle().await;
        assert_eq!(notes.take(), ["any", "first", "second"], "once is once");
        assert_eq!(after("once", "x").await, ["any", "first", "second"]);
        assert_eq!(after("first", "x").await, ["any", "second"]);
        assert_eq!(after("any", "x").await, ["second"]);
        ada.emit("fails", ());
        test.settle().await;
        assert_eq!(notes.take(), ["error"]);
        assert_eq!(after("error", "fails").await, [""; 0]);
        assert_eq!(after("all", "x").await, [""; 0]);
        ada.emit("take", "left");
        ada.disconnect();
        test.settle().await;
        assert_eq!(notes.take(), [""; 0]);
    });
}

#[test]
fn handlers_may_be_taken_off_while_they_run() {
    let notes = Notes::default();
    let own = notes.clone();
    let builder = Server::builder().on_connection(move |socket: Socket| {
        let [a, b] = [(); 2].map(|()| own.clone());
        socket.on("x", move |socket: Socket| {
            socket.off("x");
            socket.off_any();
            a.add("first");
        });
        socket.on("x", move || b.add("second"))
    });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("x", ());
        ada.emit("x", ());
        test.settle().await;
        assert_eq!(
            notes.take(),
            ["first", "second"],
            "as in Node: those that were there"
        );
    });
}

#[test]
fn a_middleware_that_waits_keeps_the_order_of_its_socket() {
    let builder = Server::builder()
        .packet_middleware(async |Data(n): Data<u64>| {
            if n % 3 == 0 {
                tokio::time::sleep(Duration::from_secs(n % 7)).await;
            }
            if n % 5 == 0 {
                Err("fives are out")
            } else {
                Ok(())
            }
        })
        .packet_middleware(|Data(n): Data<u64>| {
            if n % 11 == 0 {
                Err("elevens, too")
            } else {
                Ok(())
            }
        })
        .packet_middleware(async |Data(n): Data<u64>| {
            if n % 4 == 0 {
                tokio::time::sleep(Duration::from_secs(n % 3)).await;
            }
        })
        .on("n", |socket: Socket, Data(n): Data<u64>| {
            socket.emit("n", n);
            n
        });
    testing::run(builder, async |test| {
        let (ada, bob) = (test.connect().await, test.connect().await);
        for n in 0..200_u64 {
            ada.emit("n", n);
            bob.emit("n", n);
        }
        for n in (0..200_u64).filter(|n| n % 5 != 0 && n % 11 != 0) {
            assert_eq!(ada.expect::<u64>("n").await, n);
            assert_eq!(bob.expect::<u64>("n").await, n);
        }
        // Behind a middleware that has waited, the right to answer is still there.
        assert_eq!(ada.emit_with_ack::<u64>("n", 3).await, 3);
        let refused = (0..200).filter(|n| n % 5 == 0 || n % 11 == 0).count() as u64;
        assert_eq!(test.server().counters().events_refused, 2 * refused);
    });
}

#[test]
fn what_a_middleware_answers_no_handler_answers() {
    let builder = Server::builder()
        .packet_middleware(async |EventName(event): EventName, ack: Ack| {
            if event == "slow" {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            ack.send("the middleware");
        })
        .packet_middleware(|ack: Ack| assert!(!ack.is_expected()))
        .on("slow", || "a handler")
        .on("fast", || "a handler");
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        for event in ["slow", "fast"] {
            let answer: String = ada.emit_with_ack(event, ()).await;
            assert_eq!(answer, "the middleware");
        }
        test.settle().await;
        assert_eq!(test.server().counters(), Counters::default());
    });
}

#[test]
fn a_middleware_whose_parameters_cannot_be_had_lets_nothing_pass() {
    let notes = Notes::default();
    let seen = notes.clone();
    let builder = Server::builder()
        .packet_middleware(|_: Session<u32>| {})
        .packet_middleware(async |_: Session<u64>| {})
        .on("x", || "passed")
        .on("sessions", || "passed")
        .on_connection(|socket: Socket| socket.set_session(1_u32))
        .on_error(move |_: &Socket, error: &EventError| seen.add(error.to_string()));
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("x", ());
        test.settle().await;
        let notes = notes.take();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("no session of type u64"), "{notes:?}");
        assert_eq!(test.server().counters().events_refused, 1);
    });
}

#[test]
fn an_event_of_a_socket_that_left_while_its_middleware_waited_is_dropped() {
    let notes = Notes::default();
    let (seen, left) = (notes.clone(), notes.clone());
    let builder = Server::builder()
        .packet_middleware(async |socket: Socket, EventName(event): EventName| {
            match event.as_str() {
                "at once" => socket.disconnect(false),
                _ => tokio::time::sleep(Duration::from_secs(5)).await,
            }
        })
        .on("later", move || seen.add("handled"))
        .on("at once", move || left.add("handled, too"));
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("later", ());
        ada.disconnect();
        test.advance(Duration::from_secs(10)).await;
        let bob = test.connect().await;
        bob.emit("at once", ());
        bob.expect_disconnect().await;
        assert_eq!(notes.take(), [""; 0]);
    });
}

#[test]
fn errors_of_handlers_are_told_with_their_kind() {
    let notes = Notes::default();
    let told = notes.clone();
    let builder = Server::builder()
        .on("sync", || Err::<(), _>("first"))
        .on("async", async || {
            tokio::task::yield_now().await;
            Err::<(), _>("second")
        })
        .on("number", |_: Data<u32>| {})
        .on_disconnect(|| Err::<(), _>("third"))
        .on_error(move |_: &Socket, error: &EventError| {
            told.add(format!("{:?} {}: {error}", error.kind(), error.event()));
        });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("sync", ());
        ada.emit("async", ());
        ada.emit("number", "one");
        test.settle().await;
        ada.disconnect();
        test.settle().await;
        let notes = notes.take();
        let (rejected, failed): (Vec<_>, Vec<_>) =
            notes.iter().partition(|note| note.starts_with("Rejected"));
        assert_eq!(
            failed,
            [
                "Failed sync: first",
                "Failed async: second",
                "Failed disconnect: third"
            ]
        );
        assert!(
            rejected[0].contains("number: arguments do not match"),
            "{rejected:?}"
        );
        let counters = test.server().counters();
        assert_eq!((counters.handlers_failed, counters.events_rejected), (3, 1));
    });
}

#[test]
fn what_is_emitted_is_seen_before_it_is_sent() {
    let notes = Notes::default();
    let (all, own) = (notes.clone(), notes.clone());
    let builder = Server::builder()
        .on_any_outgoing(
            move |EventName(event): EventName, Data((n, text)): Data<(u8, String)>| {
                all.add(format!("{event} {n} {text}"));
            },
        )
        .on_connection(move |socket: Socket| {
            let [before, after] = [(); 2].map(|()| own.clone());
            socket.prepend_any_outgoing(move |EventName(event): EventName| {
                before.add(format!("before {event}"))
            });
            socket.on_any_outgoing(move |EventName(event): EventName, payload: Payload| {
                after.add(format!("after {event} {}", payload.json()));
            });
        })
        .on("go", async |socket: Socket, payload: Payload| {
            socket.emit("one", (1, "a"));
            socket.emit_raw("two", &payload);
            socket.off_any_outgoing();
            let asked: u8 = socket.emit_with_ack("three", (3, "c")).await.unwrap();
            socket.emit("connect", (0, "reserved, so never sent"));
            asked
        });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        let (done, ()) = tokio::join!(ada.emit_with_ack::<u8>("go", (2, "b")), async {
            let asked = ada.expect_question::<(u8, String)>("three").await;
            asked.answer(9);
        });
        assert_eq!(done, 9);
        assert_eq!(ada.expect::<(u8, String)>("one").await, (1, "a".to_owned()));
        assert_eq!(ada.expect::<(u8, String)>("two").await, (2, "b".to_owned()));
        assert_eq!(
            notes.take(),
            [
                "before one",
                "one 1 a",
                r#"after one [1,"a"]"#,
                "before two",
                "two 2 b",
                r#"after two [2,"b"]"#,
                "three 3 c"
            ]
        );
    });
}

#[test]
fn what_a_handler_of_outgoing_events_emits_is_sent_and_not_seen() {
    let notes = Notes::default();
    let seen = notes.clone();
    let builder = Server::builder()
        .on_any_outgoing(move |socket: Socket, EventName(event): EventName| {
            seen.add(event.clone());
            socket.emit("seen", event);
            socket.everyone().emit("all", ());
        })
        .on("go", |socket: Socket| {
            socket.emit("one", ());
            socket.everyone().emit("two", ());
        });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("go", ());
        for event in ["one", "two"] {
            assert_eq!(ada.expect::<String>("seen").await, event);
        }
        test.settle().await;
        assert_eq!(notes.take(), ["one", "two"]);
    });
}

#[test]
fn names_for_recovery_are_not_seen() {
    for parser in [Parser::Default, Parser::MsgPack] {
        let notes = Notes::default();
        let seen = notes.clone();
        let config = Config {
            parser,
            ..Config::default()
        };
        let builder = Server::builder()
            .config(config)
            .recovery(crate::Recovery::default())
            .on_any_outgoing(move |EventName(event): EventName, payload: Payload| {
                seen.add(format!("{event} {}", payload.json()));
            })
            .on("go", |socket: Socket| {
                socket.emit("one", 1);
                socket.everyone().emit("two", (2, "b"));
                socket.everyone().emit("three", ());
            });
        testing::run(builder, async |test| {
            let ada = test.connect().await;
            ada.emit("go", ());
            test.settle().await;
            assert_eq!(
                notes.take(),
                ["one [1]", r#"two [2,"b"]"#, "three []"],
                "{parser:?}"
            );
        });
    }
}

#[test]
fn listeners_of_a_socket_cost_nothing_before_there_are_any() {
    let socket = crate::server::fixture::socket();
    assert!(!socket.is_inspected() && !socket.is_watched() && !socket.hears_errors());
    let any = socket.on_any(|| {});
    assert!(socket.is_inspected() && !socket.is_watched());
    socket.off_listener(any);
    socket.off_listener(any);
    assert!(!socket.is_inspected());
    let outgoing = socket.prepend_any_outgoing(|| {});
    assert!(socket.is_watched() && !socket.is_inspected());
    socket.off_listener(outgoing);
    assert!(!socket.is_watched());
}

#[test]
fn broadcasts_are_seen_once_for_each_receiver() {
    for parser in [Parser::Default, Parser::MsgPack] {
        let notes = Notes::default();
        let (all, own) = (notes.clone(), notes.clone());
        let config = Config {
            parser,
            ..Config::default()
        };
        let builder = Server::builder()
            .config(config)
            .namespace("/watched", move |watched| {
                watched.on_any_outgoing(
                    move |EventName(event): EventName, Data((n, bytes)): Data<(u8, Binary)>| {
                        all.add(format!("{event} {n} {:?}", &bytes.0[..]));
                    },
                )
            })
            .on("watch", move |socket: Socket| {
                let own = own.clone();
                socket.on_any_outgoing(move |EventName(event): EventName, payload: Payload| {
                    own.add(format!("own {event} {}", payload.json()));
                });
                true
            })
            .on("unwatch", |socket: Socket| {
                socket.off_any_outgoing();
                true
            });
        testing::run(builder, async |test| {
            let client = test.client();
            let watched = client.connect("/watched").await.unwrap();
            let _other = test.client().connect("/watched").await.unwrap();
            let ada = client.connect("/").await.unwrap();
            let bob = test.connect().await;
            let server = test.server();

            server.of("/watched").emit("x", (1, Binary::from(vec![7])));
            server
                .of("/watched")
                .to(watched.id())
                .emit("y", (2, Binary::from(vec![8])));
            server.emit("z", ("nobody", "watches"));
            watched.expect::<(u8, Binary)>("y").await;
            assert_eq!(notes.take(), ["x 1 [7]", "x 1 [7]", "y 2 [8]"]);

            assert!(ada.emit_with_ack::<bool>("watch", ()).await);
            assert_eq!(notes.take(), [""; 0], "acknowledgements are no events");
            server.emit("a \"quoted\" name", ("x", [1]));
            server.emit("none", ());
            bob.expect::<()>("none").await;
            assert_eq!(
                notes.take(),
                [r#"own a "quoted" name ["x",[1]]"#, "own none []"]
            );
            assert!(ada.emit_with_ack::<bool>("unwatch", ()).await);
            server.emit("z", ());
            ada.expect::<()>("z").await;
            assert_eq!(notes.take(), [""; 0]);
        });
    }
}
