use std::time::Duration;

use super::*;
use crate::server::{Data, Server, Socket, testing};

/// Says `n` after `10 - n` seconds.
async fn later(socket: Socket, Data(n): Data<u64>) -> u64 {
    tokio::time::sleep(Duration::from_secs(10 - n)).await;
    socket.emit("n", n);
    n
}

async fn order_of(test: testing::Testing) -> Vec<u64> {
    let ada = test.connect().await;
    for n in 0..6_u64 {
        ada.emit("n", n);
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        order.push(ada.expect::<u64>("n").await);
    }
    order
}

#[test]
fn concurrent_handlers_of_one_socket_overtake_each_other() {
    let builder = Server::builder().on("n", concurrent(later));
    assert_eq!(testing::run(builder, order_of), [5, 4, 3, 2, 1, 0]);
}

#[test]
fn beyond_their_number_events_wait() {
    // 0 and 1 run beside, until 10 and 9 seconds have passed. 2 holds up the line until 8, and then 3 until 15; there 4 and 5 may run beside.
    let builder = Server::builder().on("n", concurrent(later).at_most(2));
    assert_eq!(testing::run(builder, order_of), [2, 1, 0, 3, 5, 4]);
    let builder = Server::builder().on("n", concurrent(later).at_most(0));
    assert_eq!(testing::run(builder, order_of), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn they_answer_and_may_be_attached_to_a_socket() {
    let builder = Server::builder().on_connection(|socket: Socket| {
        let mine = std::rc::Rc::new(2);
        socket.on(
            "double",
            concurrent(async move |Data(n): Data<u64>| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                n * *mine
            }),
        );
        socket.on("at once", concurrent(|| "done"))
    });
    testing::run(builder, async |test| {
        let ada = test.connect().await;
        let (first, second) = tokio::join!(
            ada.emit_with_ack::<u64>("double", 4),
            ada.emit_with_ack::<u64>("double", 5)
        );
        assert_eq!((first, second), (8, 10));
        assert_eq!(ada.emit_with_ack::<String>("at once", ()).await, "done");
    });
}
