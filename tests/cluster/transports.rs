//! Transports with more than the bus has: a log, whose places are known before a packet is delivered, and a channel for each room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringhall::Server;
use ringhall::adapter::{
    AdapterError, AdapterFuture, Bus, BusTransport, ClusterAdapter, ClusterTransport, Incoming,
    Message, ServerId,
};

use crate::client::Client;
use crate::joining;
use crate::servers::{end, gather};

/// The bus, with a log that takes a while.
struct Logged {
    bus: BusTransport,
    next: AtomicU64,
}

impl ClusterTransport for Logged {
    fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.start(id, incoming)
    }

    fn publish(
        &self,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<Option<String>, AdapterError>> {
        let offset = self.next.fetch_add(1, Ordering::Relaxed);
        let said = self.bus.publish(message);
        Box::pin(async move {
            said.await?;
            tokio::time::sleep(Duration::from_millis(offset % 3)).await;
            Ok(Some(offset.to_string()))
        })
    }

    fn publish_response(
        &self,
        to: &ServerId,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.publish_response(to, message)
    }

    fn has_offsets(&self) -> bool {
        true
    }

    fn close(&self) -> AdapterFuture<()> {
        self.bus.close()
    }
}

#[test]
fn what_waits_for_its_place_in_a_log_is_delivered_once_and_in_order() {
    let bus = Bus::new();
    let [one, two] = [0, 1].map(|number| {
        let transport = Logged {
            bus: bus.transport(),
            next: AtomicU64::new(0),
        };
        let adapter = ClusterAdapter::new(transport);
        let builder = joining(number).listen("127.0.0.1:0").cores(2);
        builder.adapter(adapter).start().unwrap()
    });
    gather(&one, 2);
    let mut here = [Client::open(&one), Client::open(&one)];
    let mut there = Client::open(&two);
    here.iter_mut().for_each(|client| client.join("r"));
    there.join("r");
    for number in 0..50 {
        one.to("r").emit("n", number);
    }
    for client in here.iter_mut().chain([&mut there]) {
        for number in 0..50 {
            assert_eq!(client.next(), format!(r#"["n",{number}]"#));
        }
    }
    // The sender does not get its own.
    here[0].ask("tell", "\"r\"");
    one.emit("end", ());
    assert_eq!(here[0].next(), r#"["end"]"#);
    for client in here[1..].iter_mut().chain([&mut there]) {
        assert_eq!(client.next(), r#"["told",1]"#);
        assert_eq!(client.next(), r#"["end"]"#);
    }
    // Answers are asked for at once.
    let acks = one.to("r").emit_with_ack::<u8>("how", ());
    for client in here.iter_mut().chain([&mut there]) {
        client.answer(r#"["how"]"#, "1");
    }
    assert_eq!(crate::servers::wait_for(acks).answers, [1, 1, 1]);
    end(&one);
    end(&two);
}

/// Notes of rooms that come and go.
struct Rooms {
    bus: BusTransport,
    notes: Mutex<Sender<(String, String, bool)>>,
}

impl ClusterTransport for Rooms {
    fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.start(id, incoming)
    }

    fn publish(
        &self,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<Option<String>, AdapterError>> {
        self.bus.publish(message)
    }

    fn publish_response(
        &self,
        to: &ServerId,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.publish_response(to, message)
    }

    fn wants_rooms(&self) -> bool {
        true
    }

    fn room_changed(&self, namespace: &str, room: &str, has_members: bool) {
        let note = (namespace.to_owned(), room.to_owned(), has_members);
        let _ = self.notes.lock().unwrap().send(note);
    }

    fn close(&self) -> AdapterFuture<()> {
        self.bus.close()
    }
}

#[test]
fn a_transport_is_told_of_rooms() {
    let (sender, receiver) = mpsc::channel();
    let transport = Rooms {
        bus: Bus::new().transport(),
        notes: Mutex::new(sender),
    };
    let builder = joining(0).listen("127.0.0.1:0").cores(2);
    let server: Server = builder
        .adapter(ClusterAdapter::new(transport))
        .start()
        .unwrap();
    let next = || receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    let of = |room: &str, has_members| ("/".to_owned(), room.to_owned(), has_members);
    let mut one = Client::open(&server);
    assert_eq!(next(), of(one.id(), true));
    let mut two = Client::open(&server);
    assert_eq!(next(), of(two.id(), true));
    one.join("r");
    assert_eq!(next(), of("r", true));
    two.join("r");
    two.join("s");
    assert_eq!(next(), of("s", true));
    server.to(one.id()).sockets_leave("r");
    server.to(two.id()).disconnect_sockets(false);
    let mut gone = [next(), next(), next()];
    gone.sort();
    let mut expected = [of("r", false), of("s", false), of(two.id(), false)];
    expected.sort();
    assert_eq!(gone, expected);
    end(&server);
}
