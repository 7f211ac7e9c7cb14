//! Order, by lot: clients in several namespaces, middlewares and handlers that wait for as long as the client says, lines that grow
//! until nothing is read, sockets that leave in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::server::testing::{self, Testing};
use crate::server::{Builder, Config, Data, Namespace, Server, Socket, SocketId};
use crate::wire::xorshift::Xorshift;

const SEEDS: u64 = 40;
const EVENTS: u32 = 120;
const NAMESPACES: [&str; 2] = ["/", "/other"];

/// What an event says of itself: its number, how often its middleware and its handler wait, and whether the handler sleeps, too.
type Said = (u32, u32, u32, bool, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Checked(u32),
    Begun(u32),
    Ended(u32),
}

/// What happened to each socket, in order.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<HashMap<SocketId, Vec<Step>>>>);

impl Record {
    fn add(&self, socket: &Socket, step: Step) {
        let mut steps = self.0.lock().unwrap();
        steps.entry(*socket.id()).or_default().push(step);
    }
}

async fn wait(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

fn describe(namespace: Namespace, record: &Record) -> Namespace {
    let [checked, handled] = [(); 2].map(|()| record.clone());
    namespace
        .packet_middleware(
            async move |socket: Socket, Data((n, times, ..)): Data<Said>| {
                wait(times).await;
                checked.add(&socket, Step::Checked(n));
            },
        )
        .on(
            "n",
            async move |socket: Socket, Data((n, _, times, sleeps, _)): Data<Said>| {
                handled.add(&socket, Step::Begun(n));
                wait(times).await;
                if sleeps {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                handled.add(&socket, Step::Ended(n));
            },
        )
        .on("leave", |socket: Socket| socket.disconnect(false))
}

fn builder(record: &Record) -> Builder {
    let config = Config {
        // Some ten events.
        max_backlog: 4 * 1024,
        ..Config::default()
    };
    let mut builder = Server::builder().config(config);
    for name in NAMESPACES {
        builder = builder.namespace(name, |namespace| describe(namespace, record));
    }
    builder
}

/// Sends all events of two clients with two sockets each; the last socket is told to leave after the half of them. Gives the ids, and how many events
/// must have been handled.
async fn play(test: &Testing, dice: &mut Xorshift) -> Vec<(String, u32)> {
    let clients = [test.client(), test.client()];
    let mut sockets = Vec::new();
    for client in &clients {
        for namespace in NAMESPACES {
            sockets.push((client.connect(namespace).await.unwrap(), 0));
        }
    }
    let last = sockets.len() - 1;
    loop {
        let open: Vec<usize> = (0..sockets.len())
            .filter(|at| sockets[*at].1 < if *at == last { EVENTS / 2 } else { EVENTS })
            .collect();
        if open.is_empty() {
            break;
        }
        let at = open[dice.below(open.len())];
        let (socket, n) = &mut sockets[at];
        let lot = |dice: &mut Xorshift| (dice.below(8) as u32).saturating_sub(4);
        let sleeps = dice.below(20) == 0;
        let padding = "x".repeat(dice.below(200));
        socket.emit("n", (*n, lot(dice), lot(dice), sleeps, padding));
        *n += 1;
        if at == last && *n == EVENTS / 2 {
            socket.emit("leave", (*n, 0, 0, false, ""));
        }
        if dice.below(10) == 0 {
            test.settle().await;
        }
    }
    test.advance(Duration::from_secs(3600)).await;
    let said = sockets
        .iter()
        .map(|(socket, n)| (socket.id().to_owned(), *n));
    said.collect()
}

#[test]
fn each_event_is_checked_and_handled_before_the_next() {
    for seed in 0..SEEDS {
        let record = Record::default();
        let mut dice = Xorshift::new(seed);
        let said = testing::run(builder(&record), async |test| {
            let said = play(&test, &mut dice).await;
            assert_eq!(test.server().counters(), crate::Counters::default());
            said
        });
        let steps = record.0.lock().unwrap();
        assert_eq!(steps.len(), said.len(), "seed {seed}");
        for (id, steps) in &*steps {
            let (_, count) = said.iter().find(|(said, _)| said == id.as_str()).unwrap();
            let mut expected: Vec<Step> = (0..*count)
                .flat_map(|n| [Step::Checked(n), Step::Begun(n), Step::Ended(n)])
                .collect();
            if *count < EVENTS {
                expected.push(Step::Checked(*count));
            }
            assert_eq!(*steps, expected, "seed {seed}");
        }
    }
}
