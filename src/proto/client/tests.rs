use super::*;
use crate::wire::json::tests::{Random, for_each_seed};

mod binary;

const LIMITS: Limits = Limits {
    packet: socket::Limits {
        max_attachments: 10,
        max_depth: 127,
    },
    max_namespaces: 3,
    connect_timeout_ms: 45_000,
    max_pending_bytes: 4096,
};

/// A client together with somebody who answers: a CONNECT is noted and left pending until the test decides.
struct Bench {
    client: Client,
}

impl Bench {
    fn new() -> Self {
        Self {
            client: Client::new(0, &LIMITS, false),
        }
    }

    /// In `/` as socket 1, and in `/chat` as socket 2.
    fn in_two_namespaces() -> Self {
        let mut bench = Self::new();
        bench.enter("/", 1);
        bench.enter("/chat", 2);
        bench
    }

    fn enter(&mut self, namespace: &str, socket: u32) {
        assert_eq!(
            self.text(&format!("0{namespace},")),
            format!("connect {namespace} ")
        );
        assert!(self.client.joined(&namespace.into(), socket));
    }

    fn text(&mut self, text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        told(&self.client.handle_text(&LIMITS, &mut text))
    }

    fn binary(&mut self, bytes: &[u8]) -> String {
        told(&self.client.handle_binary(&LIMITS, bytes))
    }

    /// A packet of these parts in the form of the other parser.
    fn packed(
        &mut self,
        kind: PacketType,
        namespace: &str,
        json: &str,
        attachments: &[Bytes],
    ) -> String {
        let mut bytes = Vec::new();
        let packet = msgpack::Packed {
            kind,
            namespace,
            id: Some(7),
            json: json.as_bytes(),
            attachments,
        };
        msgpack::encode(&mut bytes, &packet).unwrap();
        let mut unpacked = Unpacked::default();
        told(&self.client.handle_packed(&LIMITS, &bytes, &mut unpacked))
    }

    fn sockets(&self) -> Vec<u32> {
        self.client.sockets().collect()
    }
}

/// An output in one line.
fn told(output: &Output<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Output::Nothing => "nothing".into(),
        Output::Connect {
            namespace,
            auth,
            query: "",
        } => format!("connect {namespace} {}", text(auth)),
        Output::Connect {
            namespace, query, ..
        } => format!("connect {namespace} ?{query}"),
        Output::ConnectRefused { namespace, why } => format!("refused {namespace}: {why}"),
        Output::Event {
            socket,
            name,
            id,
            args,
            attachments,
        } => {
            format!(
                "event {socket} {} {id:?} {} {attachments:?}",
                name.to_str(),
                text(args)
            )
        }
        Output::Ack {
            socket,
            id,
            args,
            attachments,
        } => format!("ack {socket} {id} {} {attachments:?}", text(args)),
        Output::Disconnect { socket } => format!("disconnect {socket}"),
        Output::Violation(violation) => format!("violation {violation:?}"),
    }
}

#[test]
fn stays_small() {
    assert!(size_of::<Client>() <= 64, "{}", size_of::<Client>());
    assert_eq!(size_of::<Presence>(), 24, "as the limits say");
    let mut bench = Bench::new();
    assert_eq!(bench.client.pinned_bytes(), 0);
    bench.enter("/", 1);
    assert_eq!(
        bench.client.pinned_bytes(),
        24,
        "one namespace, one block of its size"
    );
}

#[test]
fn a_conversation() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.text(r#"0{"token":"x"}"#),
        r#"connect / {"token":"x"}"#
    );
    assert!(bench.client.joined(&"/".into(), 7));
    assert_eq!(bench.sockets(), [7]);
    assert_eq!(
        bench.text(r#"2["hello",1,{"a":2}]"#),
        r#"event 7 hello None [1,{"a":2}] []"#
    );
    assert_eq!(bench.text(r#"25["ask"]"#), "event 7 ask Some(5) [] []");
    assert_eq!(bench.text(r#"2["a\"\u0062"]"#), "event 7 a\"b None [] []");
    assert_eq!(bench.text(r#"33["yes"]"#), r#"ack 7 3 ["yes"] []"#);
    assert_eq!(bench.text("34"), "ack 7 4 [] []");
    assert_eq!(
        bench.text("3[1]"),
        "nothing",
        "an ack without an id answers nothing"
    );
    assert_eq!(bench.text("3"), "nothing");
    assert_eq!(bench.text("0/chat?a=1,"), "connect /chat?a=1 ");
    assert!(bench.client.joined(&"/chat?a=1".into(), 8));
    assert_eq!(
        bench.text(r#"2/chat?a=1,9["x"]"#),
        "event 8 x Some(9) [] []"
    );
    assert_eq!(bench.text("1"), "disconnect 7");
    assert_eq!(bench.sockets(), [8]);
    assert_eq!(bench.text("1/chat?a=1,"), "disconnect 8");
    assert!(bench.sockets().is_empty());
    assert_eq!(
        bench.text("0"),
        "connect / ",
        "no namespace left, and the session lives"
    );
}

/// One of each kind of packet, to the namespace `/n`.
const PACKETS: [&str; 7] = [
    "0/n,",
    r#"2/n,["x"]"#,
    "3/n,1[]",
    "1/n,",
    r#"4/n,{"message":"x"}"#,
    r#"51-/n,["x"]"#,
    "61-/n,1[]",
];

const ASK: &str = "connect /n ";
const TWICE: &str = "violation ConnectedTwice";
const NOT_IN: &str = "violation NotConnected";
const ERROR: &str = "violation ConnectError";

/// What comes of each of [`PACKETS`], by how the client stands with `/n`.
const ROUTING: [(&str, [&str; 7]); 6] = [
    (
        "never heard of",
        [ASK, NOT_IN, NOT_IN, NOT_IN, ERROR, NOT_IN, NOT_IN],
    ),
    (
        "pending",
        [TWICE, NOT_IN, NOT_IN, NOT_IN, ERROR, NOT_IN, NOT_IN],
    ),
    (
        "joined",
        [
            TWICE,
            "event 5 x None [] []",
            "ack 5 1 [] []",
            "disconnect 5",
            ERROR,
            "nothing",
            "nothing",
        ],
    ),
    (
        "refused",
        [ASK, NOT_IN, NOT_IN, NOT_IN, ERROR, NOT_IN, NOT_IN],
    ),
    (
        "left by the client",
        [ASK, NOT_IN, NOT_IN, NOT_IN, ERROR, NOT_IN, NOT_IN],
    ),
    // Node closes the session for what was on its way when the server put the client out.
    (
        "put out",
        [
            ASK, "nothing", "nothing", "nothing", ERROR, "nothing", "nothing",
        ],
    ),
];

/// A client in `/` as socket 1, which stands with `/n` as said.
fn standing(standing: &str) -> Bench {
    let mut bench = Bench::new();
    bench.enter("/", 1);
    if standing != "never heard of" {
        assert_eq!(bench.text("0/n,"), ASK);
    }
    match standing {
        "refused" => assert!(bench.client.refused("/n")),
        "joined" | "left by the client" | "put out" => {
            assert!(bench.client.joined(&"/n".into(), 5))
        }
        _ => {}
    }
    match standing {
        "left by the client" => assert_eq!(bench.text("1/n,"), "disconnect 5"),
        "put out" => bench.client.left(5),
        _ => {}
    }
    bench
}

/// Socket.IO protocol, "Connection to a namespace": what may be said to a namespace, by how one stands with it; and that the rest of
/// the session does not notice, unless it is over.
#[test]
fn routing() {
    for (name, row) in ROUTING {
        for (packet, wanted) in PACKETS.iter().zip(row) {
            let mut bench = standing(name);
            assert_eq!(bench.text(packet), wanted, "{packet} when {name}");
            let over = wanted.starts_with("violation");
            if bench.client.attachment_due() {
                bench.binary(b"");
            }
            let next = if over {
                "nothing"
            } else {
                "event 1 still None [] []"
            };
            assert_eq!(
                bench.text(r#"2["still"]"#),
                next,
                "after {packet} when {name}"
            );
        }
    }
}

#[test]
fn leaving_and_joining_again_in_one_breath() {
    let mut bench = Bench::in_two_namespaces();
    assert_eq!(bench.text("1"), "disconnect 1");
    assert_eq!(bench.text("0"), "connect / ");
    assert!(bench.client.joined(&"/".into(), 3));
    assert_eq!(bench.sockets(), [2, 3]);
}

#[test]
fn a_violation_ends_everything() {
    let mut bench = Bench::in_two_namespaces();
    assert_eq!(bench.text("0/late,"), "connect /late ");
    assert_eq!(bench.text("nonsense"), "violation Packet(UnknownType)");
    assert_eq!(bench.text(r#"2["x"]"#), "nothing");
    assert_eq!(bench.text("nonsense"), "nothing", "said once");
    assert_eq!(bench.binary(b"x"), "nothing");
    assert!(!bench.client.joined(&"/late".into(), 9), "too late to join");
    assert_eq!(bench.sockets(), [1, 2], "those to tell");
    assert_eq!(bench.client.next_deadline_ms(), None);
    assert!(!bench.client.handle_timeout(u64::MAX));
}

#[test]
fn malformed_packets_are_violations() {
    for (text, error) in [
        ("", PacketError::Empty),
        ("2", PacketError::MissingPayload),
        (r#"2["connect"]"#, PacketError::ReservedEvent),
        (r#"511-["x"]"#, PacketError::TooManyAttachments),
        (
            r#"51-["x",{"_placeholder":true,"num":1}]"#,
            PacketError::Placeholder,
        ),
        ("2[", PacketError::Json),
    ] {
        let mut bench = Bench::in_two_namespaces();
        assert_eq!(bench.text(text), format!("violation Packet({error:?})"));
    }
}

#[test]
fn answers_to_nobody_are_ignored() {
    let mut bench = Bench::new();
    assert!(!bench.client.joined(&"/".into(), 1), "nobody asked");
    assert!(!bench.client.refused("/"));
    bench.client.left(1);
    assert!(bench.sockets().is_empty());
    bench.enter("/", 1);
    assert!(!bench.client.refused("/"));
    assert!(!bench.client.joined(&"/".into(), 2), "answered already");
    assert_eq!(
        bench.sockets(),
        [1],
        "a refusal after the join changes nothing"
    );
}

#[test]
fn answers_after_the_end_come_too_late() {
    for ask in ["0/n,", "0/m,"] {
        let mut bench = Bench::new();
        bench.enter("/", 1);
        assert!(!bench.client.give_up(), "all was answered");
        bench = Bench::new();
        bench.enter("/", 1);
        assert!(bench.text(ask).starts_with("connect"));
        assert!(bench.client.give_up(), "this was not");
        assert!(!bench.client.give_up(), "it is told once");
        let namespace = &ask[1..ask.len() - 1];
        // The caller may have given the number of a socket that it has told already.
        for socket in [1, 2] {
            assert!(!bench.client.joined(&namespace.into(), socket));
        }
        assert!(!bench.client.refused(namespace));
        assert_eq!(bench.sockets(), [1], "who is in can still be told");
        assert_eq!(bench.text("2[\"x\"]"), "nothing");
    }
}

#[test]
fn more_namespaces_than_allowed_are_refused() {
    let mut bench = Bench::in_two_namespaces();
    assert_eq!(bench.text("0/c,"), "connect /c ");
    assert_eq!(bench.text("0/d,{}"), "refused /d: Too many namespaces");
    assert!(bench.client.refused("/c"));
    assert_eq!(bench.text("0/d,{}"), "connect /d {}");
    assert_eq!(bench.text("0/e,"), "refused /e: Too many namespaces");
    bench.client.left(2);
    assert_eq!(
        bench.text("0/e,"),
        "connect /e ",
        "one that was put out makes way"
    );
    assert_eq!(bench.text(r#"2["x"]"#), "event 1 x None [] []");
    assert_eq!(
        bench.text(r#"2/chat,["x"]"#),
        "violation NotConnected",
        "and is then forgotten"
    );
}

#[test]
fn connect_timeout_counts_joins_only() {
    let mut bench = Bench {
        client: Client::new(1000, &LIMITS, false),
    };
    assert_eq!(bench.client.next_deadline_ms(), Some(46_000));
    assert_eq!(bench.text("0"), "connect / ");
    assert!(bench.client.refused("/"));
    assert_eq!(
        bench.client.next_deadline_ms(),
        Some(46_000),
        "a refusal does not count"
    );
    assert!(!bench.client.handle_timeout(45_999));
    assert!(bench.client.handle_timeout(46_000));
    assert!(!bench.client.handle_timeout(46_000), "once");
    assert_eq!(bench.client.next_deadline_ms(), None);
    assert_eq!(bench.text("0"), "nothing");

    let mut bench = Bench {
        client: Client::new(1000, &LIMITS, false),
    };
    bench.enter("/", 1);
    assert_eq!(bench.client.next_deadline_ms(), None);
    assert_eq!(bench.text("1"), "disconnect 1");
    assert_eq!(bench.client.next_deadline_ms(), None, "not armed again");
    assert!(!bench.client.handle_timeout(u64::MAX));
}

const TEXTS: [&str; 16] = [
    "0",
    "0/a,",
    "0/b,{}",
    "0/c,",
    "0/d",
    "1",
    "1/a,",
    r#"2["x",1]"#,
    r#"2/a,5["x"]"#,
    "31[]",
    "3/b,2",
    r#"52-["x"]"#,
    r#"51-/a,["x",{"_placeholder":true,"num":0}]"#,
    "61-/b,1[]",
    "4{}",
    r#"2/zzz,["x"]"#,
];

/// A random client and a random server: memory stays bounded, nothing follows a violation, events reach joined sockets only.
fn fuzz_client(random: &mut Random) {
    let mut client = Client::new(0, &LIMITS, false);
    let mut asked: Vec<String> = Vec::new();
    let mut next_socket = 0;
    let mut ended = false;
    for _ in 0..60 {
        let joined: Vec<u32> = client.sockets().collect();
        let mut text = random.pick(&TEXTS).as_bytes().to_vec();
        if random.below(30) == 0 {
            random.mutate(&mut text);
        }
        let frame = vec![0; random.below(1500)];
        let in_turn = if client.attachment_due() {
            random.below(20) > 0
        } else {
            random.below(40) == 0
        };
        let output = if in_turn {
            client.handle_binary(&LIMITS, &frame)
        } else {
            client.handle_text(&LIMITS, &mut text)
        };
        assert!(!ended || output == Output::Nothing);
        match output {
            Output::Connect { namespace, .. } => asked.push(namespace.to_owned()),
            Output::Event { socket, .. } | Output::Ack { socket, .. } => {
                assert!(joined.contains(&socket))
            }
            Output::Disconnect { socket } => {
                assert!(joined.contains(&socket) && client.sockets().all(|other| other != socket));
            }
            Output::Violation(_) => ended = true,
            Output::ConnectRefused { .. } | Output::Nothing => {}
        }
        match random.below(4) {
            0 | 1 if !asked.is_empty() => {
                let namespace = asked.swap_remove(random.below(asked.len()));
                next_socket += 1;
                assert_eq!(
                    client.joined(&namespace.as_str().into(), next_socket),
                    !ended
                );
            }
            2 if !asked.is_empty() => {
                let namespace = asked.swap_remove(random.below(asked.len()));
                assert_eq!(client.refused(&namespace), !ended);
            }
            3 if !joined.is_empty() && random.below(4) == 0 => client.left(random.pick(&joined)),
            _ => {}
        }
        assert!(client.presences.len() <= LIMITS.max_namespaces);
        assert!(client.pinned_bytes() <= LIMITS.max_pending_bytes + 4 * 24);
    }
}

#[test]
fn random_clients_and_servers() {
    for_each_seed(3000, fuzz_client);
}

#[test]
fn arbitrary_bytes_do_not_panic() {
    for_each_seed(4000, |random| {
        let mut bench = Bench::in_two_namespaces();
        for _ in 0..4 {
            let mut text = random.text(40);
            bench.client.handle_text(&LIMITS, &mut text);
            bench.client.handle_binary(&LIMITS, &text);
        }
    });
}

#[test]
fn a_query_is_part_of_the_name_but_in_socket_io_2() {
    let mut bench = Bench::new();
    assert_eq!(bench.text("0/chat?token=a,"), "connect /chat?token=a ");
    bench.client = Client::new(0, &LIMITS, true);
    assert_eq!(bench.text("0/chat?token=a,"), "connect /chat ?token=a");
    assert!(bench.client.joined(&Arc::from("/chat"), 3));
    assert_eq!(bench.text(r#"2/chat,["x"]"#), "event 3 x None [] []");
}
