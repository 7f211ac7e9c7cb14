use super::super::packet::answer_from_json;
use super::*;

const TIMING: Timing = Timing {
    heartbeat_ms: 5_000,
    silence_ms: 10_000,
    request_ms: 2_000,
};

fn server(number: u64) -> ServerId {
    ServerId::of_number(number)
}

fn node(number: u64) -> Node {
    Node::new(server(number), TIMING, true, 1_000 * number)
}

fn from(sender: u64, body: Body) -> Message {
    Message {
        sender: server(sender),
        namespace: "/".into(),
        body,
    }
}

fn outputs(node: &mut Node) -> Vec<Output> {
    std::iter::from_fn(|| node.next_output()).collect()
}

/// What it says to all, by kind.
fn said(node: &mut Node) -> Vec<u8> {
    let published = outputs(node).into_iter().filter_map(|output| match output {
        Output::Publish(message) => Some(message.body.kind()),
        _ => None,
    });
    published.collect()
}

/// What its askers are told.
fn told(node: &mut Node) -> Vec<(Ticket, Told)> {
    let told = outputs(node).into_iter().filter_map(|output| match output {
        Output::Tell(ticket, told) => Some((ticket, told)),
        _ => None,
    });
    told.collect()
}

fn packet() -> Packet {
    Packet::from_json(r#"["hi"]"#, Vec::new()).unwrap()
}

fn answer(json: &str) -> Payload {
    answer_from_json(json, Vec::new()).unwrap()
}

fn socket(id: &str) -> SocketDetails {
    SocketDetails {
        id: id.into(),
        handshake: "{}".into(),
        rooms: vec![id.into()],
        data: "null".into(),
    }
}

/// A node that knows servers 2 to `servers`, at time 0.
fn among(servers: u64) -> Node {
    let mut node = node(1);
    node.handle_start(0);
    for peer in 2..=servers {
        node.handle_message(0, from(peer, Body::Heartbeat));
    }
    outputs(&mut node);
    node
}

fn ask(node: &mut Node, now_ms: u64, ticket: Ticket, ask: Ask) -> Option<RequestId> {
    node.ask(now_ms, "/".into(), ask, (ticket, Whom::Known, None));
    node.outputs.iter().find_map(|output| match output {
        Output::Publish(message) => match &message.body {
            Body::FetchSockets { request, .. } => Some(request.clone()),
            Body::ServerSideEmit { request, .. } | Body::Broadcast { request, .. } => {
                request.clone()
            }
            _ => None,
        },
        _ => None,
    })
}

fn count(request: &RequestId, count: u32) -> Body {
    Body::BroadcastClientCount {
        request: request.clone(),
        count,
    }
}

fn ack(request: &RequestId, json: &str) -> Body {
    Body::BroadcastAck {
        request: request.clone(),
        answer: answer(json),
    }
}

#[test]
fn it_says_that_it_has_come_and_every_five_seconds_that_it_lives() {
    let mut node = node(1);
    node.handle_start(100);
    assert_eq!(said(&mut node), [1]);
    assert_eq!(node.deadline_ms(), Some(5_100));
    node.handle_time(5_099);
    assert!(said(&mut node).is_empty());
    node.handle_time(5_100);
    assert_eq!(said(&mut node), [2]);
    // Whatever is said to all shows that it lives.
    node.publish(7_000, "/".into(), Body::Heartbeat);
    assert_eq!(said(&mut node), [2]);
    assert_eq!(node.deadline_ms(), Some(12_000));
}

#[test]
fn who_comes_is_greeted_and_counted_once() {
    let mut node = among(1);
    assert_eq!(node.servers(), 1);
    node.handle_message(1, from(2, Body::InitialHeartbeat));
    assert_eq!(said(&mut node), [2]);
    node.handle_message(2, from(2, Body::Heartbeat));
    node.handle_message(2, from(1, Body::InitialHeartbeat));
    let emitter = Message {
        sender: EMITTER.parse().unwrap(),
        ..from(
            9,
            Body::SocketsJoin {
                options: Options::default(),
                rooms: vec![],
            },
        )
    };
    node.handle_message(2, emitter.clone());
    assert_eq!(outputs(&mut node), [Output::Here(emitter)]);
    assert_eq!(node.servers(), 2);
}

#[test]
fn who_is_silent_for_ten_seconds_is_lost() {
    let mut node = among(3);
    node.handle_time(5_000);
    node.handle_message(6_000, from(3, Body::Heartbeat));
    outputs(&mut node);
    node.handle_time(9_999);
    assert_eq!(node.servers(), 3);
    node.handle_time(10_000);
    assert!(outputs(&mut node).contains(&Output::Servers(2)));
    node.handle_time(15_999);
    assert_eq!(node.servers(), 2);
    node.handle_time(16_000);
    assert!(outputs(&mut node).contains(&Output::Servers(1)));
    // Whoever is heard again is there again.
    node.handle_message(20_000, from(3, Body::Heartbeat));
    assert_eq!(outputs(&mut node), [Output::Servers(2)]);
}

#[test]
fn who_takes_leave_is_gone_and_answers_do_not_bring_it_back() {
    let mut node = among(3);
    node.handle_message(1, from(2, Body::Close));
    assert_eq!(outputs(&mut node), [Output::Servers(2)]);
    let late = Body::FetchSocketsResponse {
        request: RequestId::of_number(1),
        sockets: vec![],
    };
    node.handle_message(2, from(2, late));
    node.handle_message(3, from(9, Body::Close));
    assert_eq!(outputs(&mut node), []);
    assert_eq!(node.servers(), 2);
}

#[test]
fn a_question_ends_with_the_last_answer() {
    let mut node = among(3);
    let request = ask(&mut node, 0, 7, Ask::Sockets(Options::default())).unwrap();
    outputs(&mut node);
    let response = |id: &str| Body::FetchSocketsResponse {
        request: request.clone(),
        sockets: vec![socket(id)],
    };
    node.handle_message(1, from(2, response("a")));
    // A second answer, and one of the wrong kind, are none.
    node.handle_message(1, from(2, response("b")));
    node.handle_message(1, from(2, ack(&request, "1")));
    node.handle_message(1, from(3, count(&request, 1)));
    assert_eq!(told(&mut node), [(7, Told::Sockets(vec![socket("a")]))]);
    node.handle_message(1, from(3, response("c")));
    assert_eq!(
        told(&mut node),
        [
            (7, Told::Sockets(vec![socket("c")])),
            (7, Told::Done { missing: 0 })
        ]
    );
    assert_eq!(node.open_questions(), 0);
}

#[test]
fn nobody_to_ask_is_an_answer_at_once() {
    let mut node = among(1);
    assert!(ask(&mut node, 0, 1, Ask::Event(packet())).is_none());
    assert_eq!(
        outputs(&mut node),
        [Output::Tell(1, Told::Done { missing: 0 })]
    );
    // A broadcast may reach a server that is not known yet.
    assert!(
        ask(
            &mut node,
            0,
            2,
            Ask::Broadcast(packet(), Options::default())
        )
        .is_some()
    );
    assert_eq!(
        told(&mut node),
        [(2, Told::AllCounted), (2, Told::Done { missing: 0 })]
    );
    assert_eq!(node.open_questions(), 0);
}

#[test]
fn a_question_ends_with_its_time_and_says_who_is_missing() {
    let mut node = among(4);
    let request = ask(&mut node, 100, 1, Ask::Event(packet())).unwrap();
    node.handle_message(
        200,
        from(
            3,
            Body::ServerSideEmitResponse {
                request: request.clone(),
                answer: answer("5"),
            },
        ),
    );
    assert_eq!(node.deadline_ms(), Some(2_100));
    node.handle_time(2_099);
    assert_eq!(told(&mut node), [(1, Told::Answer(answer("5")))]);
    node.handle_time(2_100);
    assert_eq!(told(&mut node), [(1, Told::Done { missing: 2 })]);
    // Too late.
    node.handle_message(
        2_200,
        from(
            2,
            Body::ServerSideEmitResponse {
                request,
                answer: answer("6"),
            },
        ),
    );
    assert_eq!(told(&mut node), []);
}

#[test]
fn a_lost_server_is_not_waited_for() {
    let mut node = among(3);
    let request = ask(&mut node, 9_000, 1, Ask::Sockets(Options::default())).unwrap();
    node.handle_message(
        9_500,
        from(
            3,
            Body::FetchSocketsResponse {
                request,
                sockets: vec![],
            },
        ),
    );
    outputs(&mut node);
    // 2 was last heard at 0.
    node.handle_time(10_000);
    assert_eq!(told(&mut node), [(1, Told::Done { missing: 0 })]);
}

#[test]
fn answers_to_a_broadcast_are_expected_as_counted() {
    let mut node = among(3);
    let request = ask(
        &mut node,
        0,
        1,
        Ask::Broadcast(packet(), Options::default()),
    )
    .unwrap();
    outputs(&mut node);
    // An answer may be faster than the count.
    node.handle_message(1, from(2, ack(&request, "1")));
    node.handle_message(1, from(2, count(&request, 2)));
    node.handle_message(1, from(2, count(&request, 9)));
    node.handle_message(1, from(3, count(&request, 0)));
    assert_eq!(
        told(&mut node),
        [
            (1, Told::Answer(answer("1"))),
            (1, Told::Count(2)),
            (1, Told::Count(0)),
            (1, Told::AllCounted)
        ]
    );
    // 3 has said that it has none.
    node.handle_message(1, from(3, ack(&request, "7")));
    assert_eq!(told(&mut node), []);
    node.handle_message(1, from(2, ack(&request, "2")));
    assert_eq!(
        told(&mut node),
        [
            (1, Told::Answer(answer("2"))),
            (1, Told::Done { missing: 0 })
        ]
    );
}

#[test]
fn answers_that_are_late_are_missed() {
    let mut node = among(2);
    let request = ask(
        &mut node,
        0,
        1,
        Ask::Broadcast(packet(), Options::default()),
    )
    .unwrap();
    outputs(&mut node);
    node.handle_message(1, from(2, count(&request, 1)));
    outputs(&mut node);
    node.handle_time(2_000);
    assert_eq!(
        told(&mut node),
        [(1, Told::NotAll), (1, Told::Done { missing: 0 })]
    );
    node.handle_message(2_001, from(2, ack(&request, "1")));
    assert!(outputs(&mut node).is_empty());
}

#[test]
fn answers_of_a_lost_server_are_not_expected_any_more() {
    let mut node = among(4);
    let request = ask(
        &mut node,
        0,
        1,
        Ask::Broadcast(packet(), Options::default()),
    )
    .unwrap();
    outputs(&mut node);
    node.handle_message(1, from(2, count(&request, 3)));
    node.handle_message(1, from(2, ack(&request, "1")));
    node.handle_message(1, from(3, ack(&request, "2")));
    node.handle_message(1, from(4, count(&request, 1)));
    outputs(&mut node);
    node.handle_message(2, from(2, Body::Close));
    assert_eq!(told(&mut node), [(1, Told::Lost(2))]);
    // 3 has answered, and had no time to count.
    node.handle_message(2, from(3, Body::Close));
    assert_eq!(
        told(&mut node),
        [(1, Told::Count(1)), (1, Told::AllCounted)]
    );
    node.handle_message(3, from(4, ack(&request, "3")));
    assert_eq!(
        told(&mut node),
        [
            (1, Told::Answer(answer("3"))),
            (1, Told::Done { missing: 0 })
        ]
    );
}

#[test]
fn where_the_servers_are_counted_elsewhere_nothing_is_said_of_life() {
    let mut node = node(1);
    node.count_elsewhere();
    node.handle_start(0);
    node.handle_message(
        0,
        from(
            2,
            Body::FetchSockets {
                options: Options::default(),
                request: RequestId::of_number(1),
            },
        ),
    );
    assert_eq!((said(&mut node).len(), node.servers()), (0, 1));
    assert_eq!(node.deadline_ms(), None);
    let ask = Ask::Sockets(Options::default());
    node.ask(0, "/".into(), ask, (1, Whom::Number(2), Some(50)));
    let request = RequestId::of_number(1_000);
    for peer in [2, 2, 3] {
        let response = Body::FetchSocketsResponse {
            request: request.clone(),
            sockets: vec![],
        };
        node.handle_message(1, from(peer, response));
    }
    assert_eq!(
        told(&mut node),
        [
            (1, Told::Sockets(vec![])),
            (1, Told::Sockets(vec![])),
            (1, Told::Done { missing: 0 })
        ]
    );
    node.close(2);
    assert_eq!(outputs(&mut node), []);
}

#[test]
fn at_its_end_it_takes_leave_and_nobody_waits_any_more() {
    let mut node = among(3);
    ask(&mut node, 0, 1, Ask::Sockets(Options::default())).unwrap();
    outputs(&mut node);
    node.close(1);
    let left = outputs(&mut node);
    assert!(matches!(&left[0], Output::Publish(message) if message.body == Body::Close));
    assert_eq!(left[1..], [Output::Tell(1, Told::Done { missing: 2 })]);
    node.handle_message(2, from(2, Body::InitialHeartbeat));
    node.handle_time(60_000);
    assert!(ask(&mut node, 2, 2, Ask::Event(packet())).is_none());
    assert_eq!(
        outputs(&mut node),
        [Output::Tell(2, Told::Done { missing: 2 })]
    );
    assert_eq!(node.deadline_ms(), None);
}

#[test]
fn there_are_limits() {
    let mut node = among(1);
    for peer in 0..2 * PEERS_MAX as u64 {
        node.handle_message(0, from(10 + peer, Body::Heartbeat));
    }
    assert_eq!(node.servers(), PEERS_MAX + 1);
    for ticket in 0..QUESTIONS_MAX as u64 {
        ask(&mut node, 0, ticket, Ask::Sockets(Options::default()));
        node.outputs.clear();
    }
    assert_eq!(node.open_questions(), QUESTIONS_MAX);
    assert!(ask(&mut node, 0, 77_777, Ask::Sockets(Options::default())).is_none());
    assert_eq!(
        told(&mut node),
        [(77_777, Told::Done { missing: PEERS_MAX })]
    );
    node.handle_time(2_000);
    assert_eq!(node.open_questions(), 0);
}

/// Several nodes over a network that loses, delays and lets servers die, by seed: each question ends exactly once, nobody is told
/// anything afterwards, and the living agree in the end on who is there.
#[test]
fn whatever_the_network_does_each_question_ends_once() {
    for seed in 1..60_u64 {
        let mut random = seed;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut nodes: Vec<Node> = (0..4).map(node).collect();
        let mut alive = [true; 4];
        let mut wire: Vec<(usize, Message)> = Vec::new();
        let mut asked = [0_u64; 4];
        let mut ended: Vec<Vec<Ticket>> = vec![Vec::new(); 4];
        for node in &mut nodes {
            node.handle_start(0);
        }
        for step in 0..400_u64 {
            let now_ms = step * 100;
            let which = next(4) as usize;
            if alive[which] && step < 300 {
                let question = match next(3) {
                    0 => Ask::Sockets(Options::default()),
                    1 => Ask::Event(packet()),
                    _ => Ask::Broadcast(packet(), Options::default()),
                };
                let ticket = asked[which];
                asked[which] += 1;
                nodes[which].ask(now_ms, "/".into(), question, (ticket, Whom::Known, None));
            }
            if step == 150 {
                alive[which] = false;
                if next(2) == 0 {
                    nodes[which].close(now_ms);
                }
            }
            for index in (0..4).filter(|index| alive[*index] || step == 150) {
                nodes[index].handle_time(now_ms);
                for output in outputs(&mut nodes[index]) {
                    match output {
                        Output::Publish(message) => {
                            let others = (0..4).filter(|other| *other != index);
                            wire.extend(others.map(|other| (other, message.clone())));
                        }
                        Output::Here(message) => {
                            for body in responses(&message.body, next(3) as u32) {
                                let to = (0..4).find(|to| server(*to) == message.sender);
                                wire.push((to.unwrap() as usize, from(index as u64, body)));
                            }
                        }
                        Output::Tell(ticket, told) => {
                            assert!(!ended[index].contains(&ticket), "seed {seed}");
                            if let Told::Done { .. } = told {
                                ended[index].push(ticket);
                            }
                        }
                        Output::Servers(_) => {}
                    }
                }
            }
            // Most arrive, some later, and for a while some not at all.
            for (to, message) in std::mem::take(&mut wire) {
                if step < 200 && next(10) == 0 {
                    continue;
                }
                if next(4) == 0 {
                    wire.push((to, message));
                } else if alive[to] {
                    nodes[to].handle_message(now_ms, message);
                }
            }
        }
        for index in (0..4).filter(|index| alive[*index]) {
            nodes[index].handle_time(60_000);
            outputs(&mut nodes[index]);
            assert_eq!(nodes[index].open_questions(), 0, "seed {seed}");
            let ended = ended[index].len() as u64;
            assert_eq!(ended, asked[index], "seed {seed}");
        }
    }
}

/// What an honest server answers.
fn responses(body: &Body, sockets: u32) -> Vec<Body> {
    match body {
        Body::FetchSockets { request, .. } => vec![Body::FetchSocketsResponse {
            request: request.clone(),
            sockets: vec![],
        }],
        Body::ServerSideEmit {
            request: Some(request),
            ..
        } => vec![Body::ServerSideEmitResponse {
            request: request.clone(),
            answer: answer("1"),
        }],
        Body::Broadcast {
            request: Some(request),
            ..
        } => {
            let answers = (0..sockets).map(|_| ack(request, "1"));
            std::iter::once(count(request, sockets))
                .chain(answers)
                .collect()
        }
        _ => vec![],
    }
}
