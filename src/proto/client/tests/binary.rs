//! Packets with attachments.

use super::*;

#[test]
fn binary_event() {
    let mut bench = Bench::in_two_namespaces();
    assert_eq!(
        bench.text(
            r#"52-/chat,7["up",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#
        ),
        "nothing"
    );
    assert_eq!(bench.binary(&[1, 2]), "nothing");
    let wanted = r#"event 2 up Some(7) [{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}] [b"\x01\x02", b""]"#;
    assert_eq!(bench.binary(b""), wanted);
    assert_eq!(bench.text(r#"2["x"]"#), "event 1 x None [] []");
    assert_eq!(
        bench.client.pinned_bytes(),
        24 * bench.client.presences.capacity(),
        "freed by the next call"
    );
}

#[test]
fn binary_ack() {
    let mut bench = Bench::in_two_namespaces();
    assert_eq!(
        bench.text(r#"61-3[{"_placeholder":true,"num":0}]"#),
        "nothing"
    );
    assert_eq!(
        bench.binary(b"a"),
        r#"ack 1 3 [{"_placeholder":true,"num":0}] [b"a"]"#
    );
    assert_eq!(bench.text("61-4"), "nothing");
    assert_eq!(bench.binary(b"a"), r#"ack 1 4 [] [b"a"]"#);
    assert_eq!(bench.text("61-"), "nothing");
    assert_eq!(
        bench.binary(b"a"),
        "nothing",
        "an ack without an id answers nothing"
    );
    assert_eq!(bench.binary(b"a"), "violation UnexpectedBinary");
}

#[test]
fn attachments_outlive_the_packet() {
    let mut bench = Bench::in_two_namespaces();
    bench.text(r#"51-["x",{"_placeholder":true,"num":0}]"#);
    let kept = match bench.client.handle_binary(&LIMITS, b"keep") {
        Output::Event { attachments, .. } => attachments[0].clone(),
        other => panic!("{other:?}"),
    };
    let lent = bench.client.pinned_bytes();
    bench.client.release();
    assert!(bench.client.pinned_bytes() < lent);
    assert_eq!(kept, "keep");
}

#[test]
fn release_spares_what_is_unfinished() {
    let mut bench = Bench::in_two_namespaces();
    bench.text(r#"51-["x"]"#);
    bench.client.release();
    assert_eq!(bench.binary(b"a"), r#"event 1 x None [] [b"a"]"#);
}

#[test]
fn text_and_binary_out_of_turn() {
    let mut bench = Bench::in_two_namespaces();
    assert_eq!(bench.binary(b"a"), "violation UnexpectedBinary");

    for text in [r#"2["x"]"#, r#"51-["x"]"#, "1", "0/new,", "nonsense"] {
        let mut bench = Bench::in_two_namespaces();
        bench.text(r#"52-["x"]"#);
        bench.binary(b"a");
        assert_eq!(bench.text(text), "violation AttachmentDue", "{text}");
        assert_eq!(bench.binary(b"b"), "nothing");
        assert_eq!(
            bench.client.pinned_bytes(),
            24 * bench.client.presences.capacity()
        );
    }
    let mut bench = Bench::in_two_namespaces();
    bench.text(r#"51-["x"]"#);
    bench.binary(b"a");
    assert_eq!(bench.binary(b"b"), "violation UnexpectedBinary");
}

#[test]
fn put_out_while_attachments_arrive() {
    let mut bench = Bench::in_two_namespaces();
    bench.text(r#"52-/chat,["x"]"#);
    bench.binary(b"a");
    bench.client.left(2);
    assert_eq!(
        bench.binary(b"b"),
        "nothing",
        "dropped, and all of it taken"
    );
    assert_eq!(bench.text(r#"51-/chat,["x"]"#), "nothing");
    assert_eq!(
        bench.binary(&[0; 8192]),
        "nothing",
        "what is dropped costs nothing"
    );
    assert_eq!(bench.text(r#"2["x"]"#), "event 1 x None [] []");
    assert_eq!(bench.sockets(), [1]);
}

/// Between the server's leaving and the next attachment the client may be in the namespace again, as another socket.
#[test]
fn an_old_packet_does_not_reach_a_new_socket() {
    let mut bench = Bench::in_two_namespaces();
    bench.client.left(2);
    assert_eq!(bench.text("0/chat,"), "connect /chat ");
    assert!(bench.client.joined(&"/chat".into(), 6));
    bench.text(r#"51-/chat,["x"]"#);
    bench.client.left(6);
    assert_eq!(bench.binary(b"a"), "nothing");
}

#[test]
fn pending_bytes_are_bounded() {
    let mut bench = Bench::in_two_namespaces();
    let long = "x".repeat(LIMITS.max_pending_bytes);
    assert_eq!(
        bench.text(&format!(r#"51-["{long}"]"#)),
        "violation PendingBytes"
    );

    let mut bench = Bench::in_two_namespaces();
    bench.text(r#"52-["x"]"#);
    assert_eq!(bench.binary(&[0; 2000]), "nothing");
    assert!(bench.client.pinned_bytes() >= 2000);
    assert_eq!(
        bench.binary(&[0; 2000]),
        "violation PendingBytes",
        "overhead counts"
    );

    let mut bench = Bench::in_two_namespaces();
    let limits = Limits {
        packet: socket::Limits {
            max_attachments: 1000,
            max_depth: 127,
        },
        ..LIMITS
    };
    bench
        .client
        .handle_text(&limits, &mut br#"51000-["x"]"#.to_vec());
    let taken = (0..1000)
        .take_while(|_| bench.client.handle_binary(&limits, b"") == Output::Nothing)
        .count();
    assert!(
        taken < 4096 / size_of::<Bytes>(),
        "empty attachments are not free: {taken}"
    );

    let mut bench = Bench::in_two_namespaces();
    let payload = r#"["x"]"#;
    let exact = size_of::<BinaryPacket>() + payload.len() + ATTACHMENT_OVERHEAD + 10;
    let limits = Limits {
        max_pending_bytes: exact,
        ..LIMITS
    };
    bench
        .client
        .handle_text(&limits, &mut format!("51-{payload}").into_bytes());
    assert!(
        matches!(
            bench.client.handle_binary(&limits, &[0; 10]),
            Output::Event { .. }
        ),
        "the limit is inclusive"
    );
}

#[test]
fn packets_of_the_other_parser_come_whole() {
    let mut bench = Bench::new();
    let event = |bench: &mut Bench, namespace: &str| {
        let json = r#"["up",{"_placeholder":true,"num":0}]"#;
        bench.packed(
            PacketType::Event,
            namespace,
            json,
            &[Bytes::from_static(b"a")],
        )
    };
    let connect = bench.packed(PacketType::Connect, "/", r#"{"a":1}"#, &[]);
    assert_eq!(connect, r#"connect / {"a":1}"#);
    assert!(bench.client.joined(&"/".into(), 1));
    let heard = r#"event 1 up Some(7) [{"_placeholder":true,"num":0}] [b"a"]"#;
    assert_eq!(event(&mut bench, "/"), heard);
    let ack = bench.packed(PacketType::Ack, "/", "[1]", &[]);
    assert_eq!(ack, "ack 1 7 [1] []");

    // Put out, it is not heard any more, and does not know it yet.
    bench.client.left(1);
    assert_eq!(event(&mut bench, "/"), "nothing");
    assert!(event(&mut bench, "/chat").contains("NotConnected"));
    assert_eq!(event(&mut bench, "/"), "nothing", "it has ended");
}

#[test]
fn bytes_that_are_no_packet_end_the_client() {
    let mut bench = Bench::in_two_namespaces();
    let mut unpacked = Unpacked::default();
    let output = bench.client.handle_packed(&LIMITS, b"no", &mut unpacked);
    assert_eq!(told(&output), "violation Packet(MessagePack)");
    assert_eq!(bench.sockets(), [1, 2], "so that they can be told");
}
