//! Two servers' adapters over the bus, with servers that only take notes.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self as channel, Receiver};

use super::super::answers::{AckReport, SocketSink};
use super::super::{Body, Bus, BusTransport, Here, Host, Reply, SocketDetails};
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that tells the test what it is asked for, and answers as it was told to.
struct Notes {
    sender: Mutex<channel::Sender<String>>,
    sockets: Vec<SocketDetails>,
    /// How many sockets answer a broadcast, and how many are given it.
    answering: (usize, usize),
}

impl Notes {
    fn note(&self, text: String) {
        let _ = lock(&self.sender).send(text);
    }
}

impl Here for Notes {
    fn deliver(&self, namespace: &str, packet: &Packet, options: &Options) {
        let (json, rooms) = (packet.to_json(), &options.rooms);
        self.note(format!("{namespace} {json} {rooms:?}"));
    }

    fn ask(
        &self,
        namespace: &str,
        packet: &Packet,
        _: &Options,
        answers: AnswerSink,
    ) -> AdapterFuture<()> {
        self.note(format!("{namespace} {}?", packet.to_json()));
        let (answering, given) = self.answering;
        Box::pin(async move {
            // One answer is faster than the count.
            for number in 0..answering {
                if number == 1 {
                    answers.report(AckReport::Count(given));
                    answers.report(AckReport::AllCounted);
                }
                answers.report(AckReport::Answer(Payload::encode(&number).unwrap()));
            }
            if answering < 2 {
                answers.report(AckReport::Count(given));
                answers.report(AckReport::AllCounted);
            }
            if answering < given {
                std::future::pending::<()>().await;
            }
        })
    }

    fn fetch(&self, _: &str, _: &Options) -> AdapterFuture<Vec<SocketDetails>> {
        let sockets = self.sockets.clone();
        Box::pin(async move { sockets })
    }

    fn join(&self, _: &str, options: &Options, rooms: &[String]) {
        self.note(format!("{:?} join {rooms:?}", options.rooms));
    }

    fn leave(&self, _: &str, options: &Options, rooms: &[String]) {
        self.note(format!("{:?} leave {rooms:?}", options.rooms));
    }

    fn disconnect(&self, _: &str, options: &Options, close: bool) {
        self.note(format!("{:?} disconnect {close}", options.except));
    }

    fn server_event(&self, _: &str, packet: Packet, reply: Option<Reply>) {
        self.note(format!("event {}", packet.to_json()));
        if let Some(reply) = reply {
            reply(Payload::encode(&packet.event().len()).unwrap());
        }
    }
}

struct Member {
    adapter: ClusterAdapter,
    notes: Receiver<String>,
}

impl Member {
    fn next(&self) -> String {
        self.notes.recv_timeout(PATIENCE).unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.adapter.close();
        self.adapter.wait();
    }
}

fn socket(id: &str) -> SocketDetails {
    SocketDetails {
        id: id.into(),
        handshake: "{}".into(),
        rooms: vec![],
        data: "{}".into(),
    }
}

fn member(
    transport: impl ClusterTransport,
    settings: &ClusterSettings,
    answering: (usize, usize),
) -> Member {
    let adapter = ClusterAdapter::new(transport).with(settings.clone());
    let (sender, notes) = channel::channel();
    let here = Notes {
        sender: Mutex::new(sender),
        sockets: vec![socket("x"), socket("y")],
        answering,
    };
    adapter.start(Host::new(Arc::new(here))).unwrap();
    Member { adapter, notes }
}

fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let within = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.unwrap().block_on(within).expect("it ends")
}

/// Until this server knows of so many.
fn gather(member: &Member, servers: usize) {
    wait_for(async {
        while member.adapter.server_count().await != servers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Two that know each other.
fn pair(answering: (usize, usize)) -> (Member, Member) {
    let bus = Bus::new();
    let settings = ClusterSettings::default();
    let members = (
        member(bus.transport(), &settings, answering),
        member(bus.transport(), &settings, answering),
    );
    gather(&members.0, 2);
    gather(&members.1, 2);
    members
}

fn packet(event: &str) -> Packet {
    Packet::new(event, Payload::encode(&1).unwrap()).unwrap()
}

fn to(room: &str) -> Options {
    Options {
        rooms: vec![room.into()],
        ..Options::default()
    }
}

#[test]
fn what_one_does_is_done_on_the_other_in_order() {
    let (one, two) = pair((0, 0));
    one.adapter.broadcast("/chat", packet("a"), to("r"));
    one.adapter.add_sockets("/", to("r"), vec!["s".into()]);
    one.adapter.del_sockets("/", to("r"), vec!["s".into()]);
    let except = Options {
        except: vec!["t".into()],
        ..Options::default()
    };
    one.adapter.disconnect_sockets("/", except, true);
    one.adapter.server_side_emit("/", packet("b"));
    for number in 0..100 {
        one.adapter
            .broadcast("/", packet(&number.to_string()), to("r"));
    }
    for expected in [
        r#"/chat ["a",1] ["r"]"#,
        r#"["r"] join ["s"]"#,
        r#"["r"] leave ["s"]"#,
        r#"["t"] disconnect true"#,
        r#"event ["b",1]"#,
    ] {
        assert_eq!(two.next(), expected);
    }
    for number in 0..100 {
        assert_eq!(two.next(), format!(r#"/ ["{number}",1] ["r"]"#));
    }
    // Nothing comes back.
    two.adapter.broadcast("/", packet("end"), to("r"));
    assert_eq!(one.next(), r#"/ ["end",1] ["r"]"#);
}

#[test]
fn questions_bring_answers() {
    let (one, two) = pair((3, 3));
    let answers = one
        .adapter
        .server_side_emit_with_ack("/", packet("four"), None);
    let answers = wait_for(answers);
    assert!(answers.is_complete());
    assert_eq!(answers.values.len(), 1);
    assert_eq!(answers.values[0].json(), "[4]");
    assert_eq!(two.next(), r#"event ["four",1]"#);

    let (sender, mut receiver) = mpsc::unbounded_channel();
    let sink = SocketSink::new(move |sockets| sender.send(sockets).is_ok());
    one.adapter.fetch_sockets("/", Options::default(), sink);
    let sockets = wait_for(receiver.recv());
    assert_eq!(sockets, Some(vec![socket("x"), socket("y")]));
    assert_eq!(wait_for(receiver.recv()), None);

    let (sink, mut reports) = AnswerSink::channel();
    one.adapter
        .broadcast_with_ack("/", packet("ask"), Options::default(), sink);
    let reports = wait_for(async {
        let mut all = Vec::new();
        while let Some(report) = reports.recv().await {
            all.push(report);
        }
        all
    });
    let answer = |number: u8| AckReport::Answer(Payload::encode(&number).unwrap());
    assert_eq!(
        reports,
        [
            AckReport::Count(3),
            AckReport::AllCounted,
            answer(0),
            answer(1),
            answer(2)
        ]
    );
}

#[test]
fn what_is_not_answered_in_time_is_missing() {
    let bus = Bus::new();
    let settings = ClusterSettings {
        request_timeout: Duration::from_millis(50),
        ..ClusterSettings::default()
    };
    let one = member(bus.transport(), &settings, (0, 0));
    let two = member(bus.transport(), &settings, (1, 2));
    gather(&one, 2);
    let (sink, mut reports) = AnswerSink::channel();
    one.adapter
        .broadcast_with_ack("/", packet("ask"), Options::default(), sink);
    let (mut answers, mut last) = (0, None);
    // The sink is dropped when its time is over.
    while let Some(report) = wait_for(reports.recv()) {
        answers += usize::from(matches!(report, AckReport::Answer(_)));
        last = Some(report);
    }
    assert_eq!((answers, last), (1, Some(AckReport::NotAll)));
    assert_eq!(two.next(), r#"/ ["ask",1]?"#);

    // A server that hears nothing.
    let deaf = Cut::new(&bus);
    let cut = deaf.is_cut.clone();
    let _three = member(deaf, &settings, (0, 0));
    gather(&one, 3);
    cut.store(true, Ordering::Relaxed);
    let asked = one
        .adapter
        .server_side_emit_with_ack("/", packet("e"), None);
    let gathered = wait_for(asked);
    assert_eq!((gathered.values.len(), gathered.missing), (1, 1));
}

/// A way onto the bus that can be cut, as when a machine loses its power.
struct Cut {
    bus: BusTransport,
    is_cut: Arc<AtomicBool>,
}

impl Cut {
    fn new(bus: &Bus) -> Self {
        Cut {
            bus: bus.transport(),
            is_cut: Arc::default(),
        }
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }
}

impl ClusterTransport for Cut {
    fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>> {
        self.bus.start(id, incoming)
    }

    fn publish(
        &self,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<Option<String>, AdapterError>> {
        if self.is_cut() {
            return Box::pin(async { Err(AdapterError::new("cut")) });
        }
        self.bus.publish(message)
    }

    fn publish_response(
        &self,
        to: &ServerId,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<(), AdapterError>> {
        if self.is_cut() {
            return Box::pin(async { Err(AdapterError::new("cut")) });
        }
        self.bus.publish_response(to, message)
    }

    fn close(&self) -> AdapterFuture<()> {
        self.bus.close()
    }
}

#[test]
fn a_server_that_goes_is_not_counted_with_and_without_leave() {
    let bus = Bus::new();
    let settings = ClusterSettings {
        heartbeat_interval: Duration::from_millis(20),
        heartbeat_timeout: Duration::from_millis(400),
        request_timeout: Duration::from_secs(600),
        ..ClusterSettings::default()
    };
    let one = member(bus.transport(), &settings, (0, 0));
    let two = member(bus.transport(), &settings, (0, 0));
    let cut = Cut::new(&bus);
    let is_cut = cut.is_cut.clone();
    let three = member(cut, &settings, (0, 0));
    gather(&one, 3);
    drop(two);
    gather(&one, 2);
    is_cut.store(true, Ordering::Relaxed);
    // It is asked, and cannot answer: the question ends with its loss, long before its time.
    let asked = one
        .adapter
        .server_side_emit_with_ack("/", packet("e"), None);
    let gathered = wait_for(asked);
    assert_eq!((gathered.values.len(), gathered.missing), (0, 0));
    gather(&one, 1);
    assert_eq!(three.next(), r#"event ["e",1]"#);
}

#[test]
fn a_bus_knows_who_is_on_it() {
    let bus = Bus::new();
    let one = member(bus.transport(), &ClusterSettings::default(), (0, 0));
    assert_eq!(format!("{bus:?}"), "Bus { servers: 1 }");
    let id = one.adapter.id().clone();
    assert!(
        one.adapter
            .start(Host::new(Arc::new(Notes {
                sender: Mutex::new(channel::channel().0),
                sockets: vec![],
                answering: (0, 0),
            })))
            .is_err()
    );
    drop(one);
    assert_eq!(format!("{bus:?}"), "Bus { servers: 0 }");
    // Who was there is not answered any more.
    let transport = bus.transport();
    let message = Message {
        sender: id.clone(),
        namespace: "/".into(),
        body: Body::Heartbeat,
    };
    assert!(wait_for(transport.publish_response(&id, Arc::new(message))).is_ok());
}

#[test]
fn what_waits_is_limited() {
    let gauge = Gauge::new(100);
    assert!(gauge.add(1_000), "something is always taken");
    assert!(!gauge.add(1));
    gauge.remove(1_000);
    assert!(gauge.add(60) && gauge.add(40) && !gauge.add(1));

    // An adapter that was not started keeps what it may, and drops the rest.
    let settings = ClusterSettings {
        max_waiting: 1_000,
        ..ClusterSettings::default()
    };
    let adapter = ClusterAdapter::new(Bus::new().transport()).with(settings);
    for _ in 0..100 {
        adapter.broadcast("/", packet("a"), to("r"));
    }
    let waiting = lock(&adapter.receiver).as_ref().unwrap().len();
    assert!((1..10).contains(&waiting), "{waiting}");
    let dropped = adapter.server_side_emit_with_ack("/", packet("a"), None);
    assert!(!wait_for(dropped).is_complete());
}
