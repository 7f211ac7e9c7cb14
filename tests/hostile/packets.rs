//! Packets that Socket.IO does not allow, and more of what it allows than is good.

use ringhall::{Builder, Config, Data, EventName, Server, Socket};

use crate::client::{BINARY, Client, TEXT, frame};
use crate::program::Program;
use crate::{FLAT_KIB, base, start};

fn builder(config: Config) -> Builder {
    let echo = |Data(n): Data<u64>| n;
    Server::builder()
        .config(config)
        .on("echo", echo)
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.try_join(room).is_ok()
        })
        .on("rooms", |socket: Socket| socket.rooms().len())
        .fallback(|EventName(name): EventName| name)
        .namespaces(|name: &str| name.starts_with("/n"), |n| n.on("echo", echo))
}

/// Frames that end the session of a client that is in the main namespace. The bool says whether it is text.
fn malformed() -> Vec<Vec<(bool, Vec<u8>)>> {
    let texts = [
        // Engine.IO.
        "",
        "7",
        "9",
        "x",
        "2",
        "2probe",
        " 4",
        "\n",
        // The type.
        "4",
        "47",
        "49",
        "4x",
        "4-2",
        "4 2[\"a\"]",
        "4\0",
        // Namespaces: twice, unknown, not connected, too long.
        "40",
        "40/,",
        "42/other,[\"a\"]",
        "41/other,",
        "43/other,1[]",
        "451-/other,[\"a\"]",
        "42/n,[\"a\"]",
        // Only servers refuse.
        "44",
        "44{}",
        "44{\"message\":\"x\"}",
        "44/n,\"x\"",
        // The payload of CONNECT.
        "40/n,[]",
        "40/n,\"x\"",
        "40/n,{",
        "40/n,{\"a\":}",
        "40/n,{}{}",
        "40/n,null",
        // The payload of an event.
        "42",
        "421",
        "42{}",
        "42\"a\"",
        "42[",
        "42[]",
        "42[\"a\"",
        "42[\"a\"]]",
        "42[\"a\",]",
        "42[null]",
        "42[[\"a\"]]",
        "42[{}]",
        "42[true]",
        "42[\"a\" 1]",
        "42[\"a\",01]",
        "42[\"a\",+1]",
        "42[\"a\",.5]",
        "42[\"a\",1.]",
        "42[\"a\",1e]",
        "42[\"a\",NaN]",
        "42[\"a\",tru]",
        "42[\"a\",'b']",
        "42[\"a\",\"\\x\"]",
        "42[\"a\",\"\\u12\"]",
        "42[\"a\",\"\t\"]",
        "42[\"a\",{\"k\"}]",
        "42[\"a\",{k:1}]",
        "42[\"a\",{\"k\":1,}]",
        "42[\"a\"]x",
        "42x[\"a\"]",
        "42-1[\"a\"]",
        // Names that are kept for the libraries.
        "42[\"connect\"]",
        "42[\"connect_error\"]",
        "42[\"disconnect\"]",
        "42[\"disconnecting\"]",
        "42[\"newListener\"]",
        "42[\"removeListener\"]",
        "42[\"dis\\u0063onnect\"]",
        // Ack ids.
        "429007199254740992[\"a\"]",
        "4299999999999999999999999[\"a\"]",
        "439007199254740992[]",
        "43{}",
        "431{}",
        "431[",
        // DISCONNECT.
        "41x",
        "41{",
        "41[]",
        "41\"x\"",
        // Attachments: none, too many, no dash, a placeholder of nothing.
        "450-[\"a\"]",
        "4511-[\"a\"]",
        "4599999999999999999999-[\"a\"]",
        "45[\"a\"]",
        "451[\"a\"]",
        "45-[\"a\"]",
        "45-1-[\"a\"]",
        "451-",
        "451-[\"a\",{\"_placeholder\":true}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":-1}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":0.5}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":1e0}]",
        "451-[\"disconnect\"]",
        "460-1[]",
        "4611-1[]",
        "461-1{}",
        "46[]",
    ];
    let mut cases: Vec<Vec<(bool, Vec<u8>)>> = texts
        .iter()
        .map(|text| vec![(true, text.as_bytes().to_vec())])
        .collect();
    let long = format!("40/n{}", "x".repeat(5000)).into_bytes();
    let begun = (
        true,
        b"451-[\"a\",{\"_placeholder\":true,\"num\":0}]".to_vec(),
    );
    let (binary, text) = ((false, b"x".to_vec()), (true, b"42[\"a\"]".to_vec()));
    cases.extend([
        vec![(true, long)],
        vec![(true, nested(128))],
        vec![(true, nested(100_000))],
        // An attachment of nothing, something else where one is due, one too many.
        vec![binary.clone()],
        vec![(true, b"b4AAAA".to_vec())],
        vec![begun.clone(), text],
        vec![begun.clone(), begun.clone()],
        vec![begun.clone(), (true, b"41".to_vec())],
        vec![begun, binary.clone(), binary],
    ]);
    cases
}

/// An event nested so deep, its own array counted.
fn nested(depth: usize) -> Vec<u8> {
    let inner = depth - 1;
    format!(r#"42["deep",{}{}]"#, "[".repeat(inner), "]".repeat(inner)).into_bytes()
}

fn send(client: &mut Client, frames: &[(bool, Vec<u8>)]) {
    let bytes: Vec<u8> = frames
        .iter()
        .flat_map(|(text, payload)| frame(if *text { TEXT } else { BINARY }, payload))
        .collect();
    client.send(&bytes);
}

#[test]
fn malformed_packets_end_the_session_and_no_other() {
    let server = start(builder(base()));
    let mut polite = Client::socket_io(server.address());
    let cases = malformed();
    assert!(cases.len() > 100);
    for (number, case) in cases.iter().enumerate() {
        let mut client = Client::socket_io(server.address());
        send(&mut client, case);
        // Nothing behind it counts.
        let _ = client.try_send(&frame(TEXT, b"421[\"echo\",1]"));
        let end = client.read_end();
        let what = || String::from_utf8_lossy(&case[0].1[..case[0].1.len().min(100)]).into_owned();
        assert!(
            matches!(end.code, Some(1002 | 1008)),
            "{:?}: {end:?}",
            what()
        );
        let echoed = end
            .frames
            .iter()
            .any(|(_, payload)| payload.starts_with(b"431[1]"));
        assert!(!echoed, "{:?}: {end:?}", what());
        polite.ask(number);
    }
}

#[test]
fn what_only_looks_malformed_is_taken() {
    let server = start(builder(base()));
    let mut client = Client::socket_io(server.address());
    // Engine.IO's open, pong, upgrade and noop mean nothing here; an answer that nobody waits for neither.
    for harmless in [
        "0",
        "3",
        "5",
        "6",
        "43",
        "431[]",
        "439007199254740991[1]",
        r#"42["\ud800"]"#,
        "42[5]",
    ] {
        client.text(harmless);
    }
    for (text, answer) in [
        (r#"429007199254740991["echo",1]"#, "439007199254740991[1]"),
        (r#"420["echo",2]"#, "430[2]"),
        (r#"42000000000000000000000001["echo",3]"#, "431[3]"),
        (r#"42/,4["echo",4]"#, "434[4]"),
        (" 425[\"echo\",5]".trim(), "435[5]"),
        ("426 [ \"echo\" , 6 ] ", "436[6]"),
        (r#"427["\u0065cho",7]"#, "437[7]"),
    ] {
        client.text(text);
        assert_eq!(client.read_text(), answer, "{text}");
    }
    // As deep as it may be, with an ack id, so that the answer shows that it was taken.
    let deep = String::from_utf8(nested(127))
        .unwrap()
        .replacen("42[", "428[", 1);
    client.text(&deep);
    assert_eq!(client.read_text(), r#"438["deep"]"#);
}

#[test]
fn a_client_is_in_64_namespaces_at_most() {
    let server = start(builder(base()));
    let mut client = Client::socket_io(server.address());
    for n in 1..64 {
        client.text(&format!("40/n{n},"));
        assert!(
            client
                .read_text()
                .starts_with(&format!("40/n{n},{{\"sid\""))
        );
    }
    for n in 64..200 {
        client.text(&format!("40/n{n},"));
        let refusal = format!(r#"44/n{n},{{"message":"Too many namespaces"}}"#);
        assert_eq!(client.read_text(), refusal);
    }
    client.text("40/other,");
    assert_eq!(
        client.read_text(),
        r#"44/other,{"message":"Too many namespaces"}"#
    );
    // It goes on in those it has, and one that it leaves makes room.
    client.text(r#"42/n63,1["echo",9]"#);
    assert_eq!(client.read_text(), "43/n63,1[9]");
    client.text("41/n63,");
    client.text("40/n64,");
    assert!(client.read_text().starts_with("40/n64,{"));
}

#[test]
fn ten_thousand_namespaces_one_after_the_other_leave_nothing_behind() {
    let program = Program::start(2);
    let mut client = Client::socket_io(program.address);
    let before = program.peak_kib();
    let name = "x".repeat(1000);
    for batch in 0..100 {
        let names = (0..100).map(|n| format!("{batch}-{n}-{name}"));
        let packets = names.flat_map(|name| {
            [
                frame(TEXT, format!("40/{name},").as_bytes()),
                frame(TEXT, format!("41/{name},").as_bytes()),
            ]
        });
        client.send(&packets.collect::<Vec<_>>().concat());
        for n in 0..100 {
            let answer = client.read_text();
            assert!(answer.starts_with(&format!("40/{batch}-{n}-x")), "{answer}");
        }
    }
    client.text(r#"421["rooms"]"#);
    assert!(client.read_text().starts_with("431[["));
    let grown = program.peak_kib() - before;
    // A few names at a time; all 10,000 would be tens of thousands.
    assert!(grown < FLAT_KIB / 4, "it grew by {grown} KiB");
}

#[test]
fn a_socket_is_in_1000_rooms_at_most_and_their_names_are_short() {
    let server = start(builder(base()));
    let mut client = Client::socket_io(server.address());
    let mut polite = Client::socket_io(server.address());
    let mut joined = 0;
    for batch in 0..100 {
        let packets: Vec<Vec<u8>> = (0..100)
            .map(|n| {
                frame(
                    TEXT,
                    format!(r#"421["join","room {batch} {n}"]"#).as_bytes(),
                )
            })
            .collect();
        client.send(&packets.concat());
        for _ in 0..100 {
            joined += usize::from(client.read_text() == "431[true]");
        }
        polite.ask(batch);
    }
    assert!((999..=1000).contains(&joined), "{joined} of 10,000");
    client.text(r#"422["rooms"]"#);
    let rooms: usize = client.read_text()[4..]
        .trim_end_matches(']')
        .parse()
        .unwrap();
    assert!(
        (joined..=joined + 1).contains(&rooms),
        "{rooms}, its own counted or not"
    );
    for (length, fits) in [(1024, true), (1025, false), (2048, false), (100_000, false)] {
        polite.text(&format!(r#"423["join","{}"]"#, "r".repeat(length)));
        assert_eq!(polite.read_text(), format!("433[{fits}]"), "{length} bytes");
    }
}
