use std::sync::mpsc;
use std::time::Duration;

use crate::wire::parser::Parser;

use crate::server::{
    AckError, Binary, Builder, Config, Data, DisconnectReason, Server, Socket, testing,
};

fn told(builder: Builder) -> (Builder, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    let builder = builder.on_disconnect(move |reason: DisconnectReason| {
        let _ = tell.send(reason.to_string());
    });
    (builder, told)
}

#[test]
fn binary_goes_both_ways_with_each_parser() {
    for parser in [Parser::Default, Parser::MsgPack] {
        let config = Config {
            parser,
            ..Config::default()
        };
        let echo = Server::builder()
            .config(config)
            .on(
                "echo",
                |socket: Socket, Data((a, n)): Data<(Binary, u8)>| {
                    socket.emit("back", (n, a));
                },
            )
            .on("ask", async |socket: Socket| {
                socket.emit_with_ack::<Binary>("asked", 1).await.ok()
            })
            .on("leave", |socket: Socket| {
                socket.to(socket.id()).emit("unheard", ());
                socket.server().to(socket.id()).emit("goodbye", [1]);
                socket.disconnect(false);
            });
        testing::run(echo, async |test| {
            let ada = test.connect().await;
            ada.emit("echo", (Binary::from(vec![1, 2, 3]), 7));
            let (n, bytes): (u8, Binary) = ada.expect("back").await;
            assert_eq!((n, &bytes.0[..]), (7, &[1, 2, 3][..]));

            let answer = async {
                let asked = ada.expect_question::<u8>("asked").await;
                assert_eq!(asked.data, 1);
                asked.answer(Binary::from(vec![9]));
            };
            let ask = ada.emit_with_ack::<Option<Binary>>("ask", ());
            let (answered, ()) = tokio::join!(ask, answer);
            assert_eq!(answered, Some(Binary::from(vec![9])));

            assert!(ada.client().connect("/nowhere").await.is_err());
            ada.emit("leave", ());
            assert_eq!(ada.expect::<[u8; 1]>("goodbye").await, [1]);
            ada.expect_disconnect().await;
        });
    }
}

#[test]
fn a_thousand_events_keep_their_order_behind_an_async_handler() {
    let slow = Server::builder().on("n", async |socket: Socket, Data(n): Data<u32>| {
        if n % 3 == 0 {
            tokio::time::sleep(Duration::from_secs(u64::from(n % 7))).await;
        }
        socket.emit("n", n);
    });
    testing::run(slow, async |test| {
        let ada = test.connect().await;
        for n in 0..1000 {
            ada.emit("n", n);
        }
        for n in 0..1000_u32 {
            // Each may take six seconds of the test's time.
            assert_eq!(ada.expect::<u32>("n").await, n);
        }
    });
}

#[test]
fn time_passes_only_when_nothing_is_left_to_do() {
    let ask = Server::builder().on("ask", async |socket: Socket| {
        let asked = socket.timeout(Duration::from_secs(30));
        matches!(
            asked.emit_with_ack::<()>("well?", ()).await,
            Err(AckError::TimedOut)
        )
    });
    testing::run(ask, async |test| {
        let ada = test.connect().await;
        assert!(ada.emit_with_ack::<bool>("ask", ()).await, "nobody answers");
    });
}

#[test]
fn a_client_that_answers_heartbeats_stays_for_days() {
    testing::run(Server::builder(), async |test| {
        let ada = test.connect().await;
        test.advance(Duration::from_secs(2 * 86_400)).await;
        assert!(ada.is_connected());
        test.server().emit("still here", ());
        ada.expect::<()>("still here").await;
    });
}

#[test]
fn ends_have_the_reasons_that_they_have_over_a_network() {
    let (builder, told) = told(Server::builder());
    testing::run(builder, async |test| {
        type End = fn(&testing::TestSocket);
        let ends: [(&str, End); 4] = [
            ("client namespace disconnect", |ada| ada.disconnect()),
            ("transport close", |ada| ada.client().close()),
            ("transport error", |ada| ada.client().cut()),
            ("ping timeout", |ada| ada.client().stop_answering()),
        ];
        for (reason, end) in ends {
            let ada = test.connect().await;
            end(&ada);
            ada.expect_disconnect().await;
            test.settle().await;
            assert_eq!(told.try_recv().as_deref(), Ok(reason));
        }
    });
}

#[test]
fn a_client_is_in_several_namespaces_and_leaves_one() {
    let builder = Server::builder()
        .on("where", |socket: Socket| socket.namespace().to_owned())
        .namespace("/chat", |chat| {
            chat.on("where", |socket: Socket| socket.namespace().to_owned())
        });
    testing::run(builder, async |test| {
        let client = test.client();
        let main = client.connect("/").await.unwrap();
        let chat = client.connect("chat").await.unwrap();
        assert_eq!(chat.emit_with_ack::<String>("where", ()).await, "/chat");
        chat.disconnect();
        assert_eq!(main.emit_with_ack::<String>("where", ()).await, "/");
        let again = client.connect("/chat").await.unwrap();
        assert_ne!(again.id(), chat.id());
    });
}

#[test]
fn another_thread_reaches_the_clients() {
    testing::run(Server::builder(), async |test| {
        let ada = test.connect().await;
        let server = test.server().clone();
        std::thread::spawn(move || server.emit("news", "from a thread"))
            .join()
            .unwrap();
        assert_eq!(ada.expect::<String>("news").await, "from a thread");
    });
}

#[test]
#[should_panic(expected = "what came instead: [\"other\"]")]
fn what_does_not_come_ends_the_test_and_says_what_came() {
    let builder = Server::builder().on_connection(|socket: Socket| socket.emit("other", ()));
    testing::run(builder, async |test| {
        test.connect().await.expect::<()>("this").await;
    });
}

#[test]
#[should_panic(expected = "nothing was to come")]
fn what_was_not_expected_ends_the_test() {
    let builder = Server::builder().on_connection(|socket: Socket| socket.emit("other", ()));
    testing::run(builder, async |test| {
        test.connect().await.expect_nothing().await;
    });
}

#[test]
#[should_panic(expected = "described wrongly")]
fn a_wrong_description_ends_the_test() {
    let builder = Server::builder()
        .namespace("/x", |x| x)
        .namespace("/x", |x| x);
    testing::run(builder, async |_| {});
}

#[test]
#[should_panic(expected = "the program panicked 1 times")]
fn a_panic_that_the_server_survives_ends_the_test() {
    let builder = Server::builder().on("trip", || -> () { panic!("in a handler") });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        ada.emit("trip", ());
        test.settle().await;
        assert!(ada.is_connected());
    });
}
