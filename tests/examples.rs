//! The examples do what they say: each is started as a program, and spoken to over TCP by a small client of this file's own.
//!
//! `cargo test --test examples` alone does not rebuild the examples: run `cargo build --examples` before it.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    reason = "whatever the client cannot do is a failed test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Long enough for a debug build on a loaded machine; what is waited for normally comes in milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

// ---- the examples ----

#[test]
fn echo_echoes() {
    let echo = Program::start("echo");
    let mut plain = Client::connect(&echo, "/echo");
    plain.send("hello");
    assert_eq!(plain.read(), "hello");
    let long = "ü".repeat(40_000);
    plain.send(&long);
    assert_eq!(plain.read(), long);

    let mut socket = Client::socket_io(&echo, "");
    socket.send(r#"42["echo",1,{"two":[3]}]"#);
    assert_eq!(socket.read(), r#"42["echo",1,{"two":[3]}]"#);
}

#[test]
fn chat_tells_the_others_in_the_room() {
    let chat = Program::start("chat");
    let mut ada = Client::socket_io(&chat, "");
    let mut ben = Client::socket_io(&chat, "");
    assert_eq!(ada.read(), format!(r#"42["joined","{}"]"#, ben.id));
    let mut eve = Client::socket_io(&chat, "&room=elsewhere");

    ada.send(r#"42["say","hi"]"#);
    assert_eq!(ben.read(), format!(r#"42["said","{}","hi"]"#, ada.id));
    ada.send(r#"427["say","still there?"]"#);
    assert_eq!(ada.read(), r#"437["said"]"#);
    assert_eq!(
        ben.read(),
        format!(r#"42["said","{}","still there?"]"#, ada.id)
    );
    // Had anything of that reached the other room, it would come before the answer.
    eve.send(r#"421["say","hello?"]"#);
    assert_eq!(eve.read(), r#"431["said"]"#);

    ben.send("41");
    let left = format!(r#"42["left","{}","client namespace disconnect"]"#, ben.id);
    assert_eq!(ada.read(), left);
}

#[test]
fn acks_go_both_ways() {
    let acks = Program::start("acks");
    let mut ada = Client::socket_io(&acks, "");
    ada.send(r#"421["sum",1,2]"#);
    assert_eq!(ada.read(), "431[3]");
    ada.send(r#"422["divmod",1,0]"#);
    ada.send(r#"423["divmod",7,2]"#);
    assert_eq!(ada.read(), "433[3,1]", "and no answer to the one before");

    // Answers overtake each other; a handler that asks does not.
    ada.send(r#"424["later",300]"#);
    ada.send(r#"425["greet"]"#);
    let question = ada.read();
    let id = question
        .strip_prefix("42")
        .and_then(|rest| rest.strip_suffix(r#"["your name?"]"#))
        .unwrap_or_else(|| panic!("{question}"));
    ada.send(&format!(r#"43{id}["Ada"]"#));
    assert_eq!(ada.read(), r#"435["Hello, Ada!"]"#);
    assert_eq!(ada.read(), r#"434["now"]"#);

    let mut ben = Client::socket_io(&acks, "");
    ada.send(r#"426["ask all","Dinner?"]"#);
    for (socket, vote) in [(&mut ada, "true"), (&mut ben, "false")] {
        let question = socket.read();
        let id = question
            .strip_prefix("42")
            .and_then(|rest| rest.strip_suffix(r#"["vote","Dinner?"]"#))
            .unwrap_or_else(|| panic!("{question}"));
        socket.send(&format!("43{id}[{vote}]"));
    }
    assert_eq!(ada.read(), r#"436[{"yes":1,"no":1,"missing":false}]"#);
}

#[test]
fn rooms_are_joined_left_and_addressed() {
    let rooms = Program::start("rooms");
    let [mut ada, mut ben, mut eve] = [(); 3].map(|()| Client::socket_io(&rooms, ""));
    ada.send(r#"421["join","kitchen"]"#);
    assert_eq!(ada.read(), format!(r#"431[["{}","kitchen"]]"#, ada.id));
    ben.send(r#"42["join","kitchen"]"#);
    assert_eq!(
        ada.read(),
        format!(r#"42["joined","kitchen","{}"]"#, ben.id)
    );
    ben.send(r#"421["join","garden"]"#);
    let of_ben = format!(r#"431[["{}","kitchen","garden"]]"#, ben.id);
    assert_eq!(ben.read(), of_ben);

    eve.send(r#"42["say",["kitchen","garden"],"dinner!"]"#);
    eve.send(r#"42["say but","kitchen","nobody hears this"]"#);
    for socket in [&mut ada, &mut ben] {
        let said = r#"42["said",["kitchen","garden"],"dinner!"]"#;
        assert_eq!(socket.read(), said);
    }
    let whisper = format!(r#"421["whisper","{}","psst"]"#, ada.id);
    eve.send(&whisper);
    assert_eq!(eve.read(), "431[true]");
    // Ben has heard the dinner once, and of the rest nothing.
    assert_eq!(
        ada.read(),
        format!(r#"42["whispered","{}","psst"]"#, eve.id)
    );
    eve.send(r#"422["who","garden"]"#);
    assert_eq!(eve.read(), format!(r#"432[["{}"]]"#, ben.id));
    eve.send(r#"42["call","kitchen","hall"]"#);
    assert_eq!(ada.read(), r#"42["called","kitchen","hall"]"#);
    ben.send("41");
    let gone = format!(r#"42["left","kitchen","{}"]"#, ben.id);
    assert_eq!(ada.read(), gone);
    let nobody = format!(r#"423["whisper","{}","psst"]"#, ben.id);
    eve.send(&nobody);
    assert_eq!(eve.read(), "433[false]");
}

#[test]
fn binary_values_go_there_and_back() {
    let binary = Program::start("binary");
    let mut ada = Client::socket_io(&binary, "");
    let mut ben = Client::socket_io(&binary, "");
    let picture = r#"{"title":"dot","pixels":{"_placeholder":true,"num":0}}"#;
    ada.send(&format!(r#"451-1["put up",{picture}]"#));
    ada.send_bytes(&[255, 0]);
    assert_eq!(ada.read(), "431[1]");
    assert_eq!(ben.read(), format!(r#"451-["picture",{picture}]"#));
    assert_eq!(ben.read_bytes(), [255, 0]);
    ben.send(r#"422["look at","dot"]"#);
    assert_eq!(ben.read(), r#"461-2[{"_placeholder":true,"num":0}]"#);
    assert_eq!(ben.read_bytes(), [255, 0]);
    ben.send(r#"423["look at","nothing"]"#);
    assert_eq!(ben.read(), "433[null]");
}

#[test]
fn middlewares_let_in_and_refuse() {
    let middleware = Program::start("middleware");
    let mut nobody = Client::session(&middleware, "");
    nobody.send("40");
    assert_eq!(nobody.read(), r#"44{"message":"a token is needed"}"#);
    nobody.send(r#"40{"token":"open"}"#);
    let refused = r#"44{"message":"nobody has this token","data":{"code":401}}"#;
    assert_eq!(nobody.read(), refused);

    let mut ada = Client::session(&middleware, "").enter(r#"{"token":"sesame"}"#);
    let mut eve = Client::session(&middleware, "").enter(r#"{"token":"admin's sesame"}"#);
    ada.send(r#"421["who am i"]"#);
    assert_eq!(ada.read(), r#"431["ada"]"#);
    ada.send(r#"422["admin:restart"]"#);
    let refused = r#"42["refused","admin:restart","for admins"]"#;
    assert_eq!(ada.read(), refused);
    eve.send(r#"42["admin:restart"]"#);
    for socket in [&mut ada, &mut eve] {
        assert_eq!(socket.read(), r#"42["restarted","eve"]"#);
    }
}

#[test]
fn namespaces_come_into_being_and_end() {
    let namespaces = Program::start("namespaces");
    let mut lobby = Client::socket_io(&namespaces, "");
    let mut admin = Client::session(&namespaces, "");
    admin.send(r#"40/admin,{"token":"guess"}"#);
    assert_eq!(admin.read(), r#"44/admin,{"message":"not you"}"#);
    admin.send(r#"40/admin,{"token":"sesame"}"#);
    assert!(admin.read().starts_with(r#"40/admin,{"sid":""#));

    let [mut ada, mut ben, mut eve] = ["ada", "ben", "eve"].map(|name| {
        let number = if name == "eve" { 8 } else { 7 };
        let mut player = Client::session(&namespaces, "");
        player.send(&format!(r#"40/game-{number},{{"name":"{name}"}}"#));
        let connected = format!(r#"40/game-{number},{{"sid":""#);
        assert!(player.read().starts_with(&connected));
        player
    });
    assert_eq!(lobby.read(), r#"42["game","/game-7"]"#);
    assert_eq!(lobby.read(), r#"42["game","/game-8"]"#);
    assert_eq!(ada.read(), r#"42/game-7,["joined","ben"]"#);
    ada.send(r#"42/game-7,["move","e4"]"#);
    assert_eq!(ben.read(), r#"42/game-7,["moved","ada","e4"]"#);

    admin.send(r#"42/admin,1["games"]"#);
    assert_eq!(admin.read(), r#"43/admin,1[["/game-7","/game-8"]]"#);
    admin.send(r#"42/admin,["announce","dinner"]"#);
    assert_eq!(lobby.read(), r#"42["announced","dinner"]"#);
    assert_eq!(ada.read(), r#"42/game-7,["announced","dinner"]"#);
    assert_eq!(eve.read(), r#"42/game-8,["announced","dinner"]"#);

    eve.send("41/game-8,");
    eve.send("40/nowhere,");
    assert_eq!(eve.read(), r#"44/nowhere,{"message":"Invalid namespace"}"#);
    admin.send(r#"42/admin,2["games"]"#);
    assert_eq!(admin.read(), r#"43/admin,2[["/game-7"]]"#);
}

#[test]
fn what_is_missed_is_recovered() {
    let recovery = Program::start_with("recovery", &["--every", "50"]);
    let mut ada = Client::session(&recovery, "");
    ada.send("40");
    let connected = ada.read();
    let [sid, pid] = ["sid", "pid"].map(|key| member(&connected, key));
    assert!(ada.read().starts_with(r#"42["room","ticks",""#));
    let (first, _) = tick(&ada.read());
    let (second, offset) = tick(&ada.read());
    assert_eq!(second, first + 1);
    drop(ada);
    // Somebody else's ticks say when there is something to miss.
    let mut ben = Client::session(&recovery, "");
    ben.send("40");
    assert!(ben.read().starts_with(r#"40{"sid":""#));
    assert!(ben.read().starts_with(r#"42["room","ticks",""#));
    while tick(&ben.read()).0 < second + 3 {}

    let mut again = Client::session(&recovery, "");
    again.send(&format!(r#"40{{"pid":"{pid}","offset":"{offset}"}}"#));
    // What was missed comes first, then the answer.
    let mut last = second;
    let answer = loop {
        let message = again.read();
        if !message.starts_with("42") {
            break message;
        }
        let (n, _) = tick(&message);
        assert_eq!(n, last + 1);
        last = n;
    };
    assert!(last > second, "nothing was missed");
    assert_eq!(member(&answer, "sid"), sid);
    assert_eq!(tick(&again.read()).0, last + 1);
    again.send(r#"421["recoveries"]"#);
    let counted =
        std::iter::repeat_with(|| again.read()).find(|message| message.starts_with("431"));
    assert_eq!(counted.as_deref(), Some("431[1,0]"));
}

/// The string of this name in an object.
fn member(json: &str, key: &str) -> String {
    let value = json.split(&format!(r#""{key}":""#)).nth(1);
    let value = value.and_then(|rest| rest.split('"').next());
    value
        .unwrap_or_else(|| panic!("no {key} in {json}"))
        .to_owned()
}

/// Number and offset of `42["tick",n,"offset"]`.
fn tick(message: &str) -> (u64, String) {
    let parts = message
        .strip_prefix(r#"42["tick","#)
        .and_then(|rest| rest.strip_suffix(r#""]"#))
        .and_then(|rest| rest.split_once(r#",""#));
    let (n, offset) = parts.unwrap_or_else(|| panic!("{message}"));
    (n.parse().unwrap(), offset.to_owned())
}

#[test]
fn load_target_serves_what_is_measured() {
    let target = Program::start("load_target");
    let mut plain = Client::connect(&target, "/echo");
    plain.send("hello");
    assert_eq!(plain.read(), "hello");

    let mut in_a = Client::connect(&target, "/room?room=a");
    let mut also_in_a = Client::connect(&target, "/room?room=a");
    let mut in_b = Client::connect(&target, "/room?room=b");
    in_b.send("to b");
    assert_eq!(in_b.read(), "to b");
    in_a.send("to a");
    assert_eq!(in_a.read(), "to a");
    assert_eq!(also_in_a.read(), "to a");
    in_b.send("b again");
    assert_eq!(in_b.read(), "b again");

    let mut ada = Client::socket_io(&target, "&room=a");
    let mut ben = Client::socket_io(&target, "&room=a");
    ada.send(r#"423["msg","data",4]"#);
    assert_eq!(ada.read(), r#"433["data",4]"#);
    ada.send(r#"42["msg","to all"]"#);
    assert_eq!(ada.read(), r#"42["msg","to all"]"#);
    assert_eq!(ben.read(), r#"42["msg","to all"]"#);
}

/// Both do the same, whoever listens.
#[test]
fn axum_and_sockets_share_a_port() {
    for example in ["with_axum", "inside_axum"] {
        let program = Program::start(example);
        let mut ada = Client::socket_io(&program, "");
        let mut ben = Client::socket_io(&program, "");
        ada.send(r#"421["say","hi"]"#);
        assert_eq!(ada.read(), r#"431["hi"]"#);
        assert_eq!(ben.read(), r#"42["said","hi"]"#);

        let mut stream = TcpStream::connect_timeout(&program.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "POST /say HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                       Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("said\n"), "{answer}");
        for socket in [&mut ada, &mut ben] {
            assert_eq!(socket.read(), r#"42["said","hello"]"#);
        }
    }
}

#[test]
fn examples_stay_short() {
    for (example, most) in [
        ("examples/echo.rs", 60),
        ("examples/chat.rs", 60),
        ("examples/with_axum.rs", 60),
        ("examples/acks.rs", 120),
        ("examples/middleware.rs", 120),
        ("examples/namespaces.rs", 120),
        ("examples/recovery.rs", 120),
        ("examples/rooms.rs", 120),
        ("examples/binary.rs", 120),
        ("examples/inside_axum.rs", 65),
    ] {
        let lines = read(example).lines().count();
        assert!(lines < most, "{example} has {lines} lines");
    }
    let readme = read("README.md");
    let chat = readme
        .split("```")
        .find(|block| block.starts_with("rust") && block.contains("\"say\""));
    // Without the line of the fence.
    let lines = chat.map_or(0, |block| block.lines().count() - 1);
    assert!(
        (1..25).contains(&lines),
        "the chat of the README has {lines} lines"
    );
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

// ---- programs ----

/// A running example, ended with this value.
struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    /// Starts an example on any free port, and waits until it says where it listens.
    fn start(example: &str) -> Program {
        Program::start_with(example, &[])
    }

    /// The same with more arguments.
    fn start_with(example: &str, arguments: &[&str]) -> Program {
        let mut child = Command::new(built(example))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start the example {example}: {error}"));
        let printed = child.stdout.take();
        let mut program = Program {
            child,
            address: SocketAddr::from(([0; 4], 0)),
        };
        let (said, heard) = mpsc::channel();
        // On a thread of its own, since reading from a pipe has no time limit.
        std::thread::spawn(move || {
            let lines = printed
                .into_iter()
                .flat_map(|out| BufReader::new(out).lines());
            for line in lines.map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let line = heard
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|error| panic!("{example} did not say where it listens: {error}"));
        program.address = line
            .strip_prefix("listening on http://")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("{example} printed {line:?}"));
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo builds the examples beside the program.
fn built(example: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_ringhall")).with_file_name("examples");
    let path = path.join(example);
    assert!(
        path.exists(),
        "{} is not built: run `cargo test`, or `cargo test --examples --test examples`",
        path.display()
    );
    path
}

// ---- a client ----

/// A WebSocket client (RFC 6455), as small as these tests allow: text messages in single frames.
struct Client {
    stream: BufReader<TcpStream>,
    /// The Socket.IO id, if it is in a namespace.
    id: String,
}

impl Client {
    fn connect(program: &Program, path: &str) -> Client {
        let stream = TcpStream::connect_timeout(&program.address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut client = Client {
            stream: BufReader::new(stream),
            id: String::new(),
        };
        // Key and answer are those of RFC 6455 §1.3.
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            program.address
        );
        client
            .stream
            .get_mut()
            .write_all(request.as_bytes())
            .unwrap();
        let mut answer = String::new();
        while !answer.ends_with("\r\n\r\n") {
            let read = client.stream.read_line(&mut answer).unwrap();
            assert!(read > 0, "the connection ended within {answer:?}");
        }
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        client
    }

    /// A Socket.IO client in the main namespace.
    fn socket_io(program: &Program, query: &str) -> Client {
        Client::session(program, query).enter("")
    }

    /// A client of Socket.IO that is in no namespace.
    fn session(program: &Program, query: &str) -> Client {
        let path = format!("/socket.io/?EIO=4&transport=websocket{query}");
        let mut client = Client::connect(program, &path);
        let open = client.read();
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
        client
    }

    /// Enters the main namespace with this `auth`.
    fn enter(mut self, auth: &str) -> Client {
        self.send(&format!("40{auth}"));
        let connected = self.read();
        let id = connected
            .strip_prefix(r#"40{"sid":""#)
            .and_then(|rest| rest.strip_suffix(r#""}"#));
        self.id = id.unwrap_or_else(|| panic!("{connected}")).to_owned();
        self
    }

    fn send(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.send_frame(0x82, bytes);
    }

    fn send_frame(&mut self, first: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let length = payload.len();
        let mut frame = vec![first];
        // RFC 6455 §5.2: the length in 7, 16 or 64 bits, with the bit that says "masked".
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..=125), _) => frame.push(0x80 | short),
            (_, Ok(middle)) => {
                frame.push(0x80 | 126);
                frame.extend(middle.to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(MASK);
        frame.extend(
            payload
                .iter()
                .zip(MASK.into_iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.stream.get_mut().write_all(&frame).unwrap();
    }

    /// The next text message, which must be one unmasked frame.
    fn read(&mut self) -> String {
        String::from_utf8(self.read_frame(0x81)).unwrap()
    }

    /// The same of a binary message.
    fn read_bytes(&mut self) -> Vec<u8> {
        self.read_frame(0x82)
    }

    fn read_frame(&mut self, expected: u8) -> Vec<u8> {
        let [first, second] = self.bytes();
        assert_eq!(first, expected, "not a whole message of that kind");
        let length = match second {
            126 => usize::from(u16::from_be_bytes(self.bytes())),
            127 => u64::from_be_bytes(self.bytes()) as usize,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        payload
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}
