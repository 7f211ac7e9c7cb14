//! A Socket.IO client on a WebSocket, byte by byte.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringhall::Server;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    stream: TcpStream,
    id: String,
    events: VecDeque<String>,
    questions: u64,
}

impl Client {
    /// A client of the main namespace.
    pub(crate) fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.local_addrs()[0]).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        let mut client = Client {
            stream,
            id: String::new(),
            events: VecDeque::new(),
            questions: 0,
        };
        assert!(client.read().starts_with("0{"));
        client.write("40");
        let answer = client.read();
        let id = answer.strip_prefix(r#"40{"sid":""#).expect("it is let in");
        client.id = id.split('"').next().unwrap().to_owned();
        client
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Emits an event and waits for its answer; events that come before it are kept.
    pub(crate) fn ask(&mut self, event: &str, args: &str) -> String {
        let id = self.questions;
        self.questions += 1;
        self.write(&format!(r#"42{id}["{event}",{args}]"#));
        loop {
            let text = self.read();
            if let Some(answer) = text.strip_prefix(&format!("43{id}")) {
                return answer.to_owned();
            }
            self.keep(text);
        }
    }

    pub(crate) fn join(&mut self, room: &str) {
        assert_eq!(self.ask("join", &format!("{room:?}")), "[0]");
    }

    /// The next event that it is told: `["name",…]`, with its ack id before it if an answer is wanted.
    pub(crate) fn next(&mut self) -> String {
        while self.events.is_empty() {
            let text = self.read();
            self.keep(text);
        }
        self.events.pop_front().unwrap()
    }

    /// Answers the next event, which must be this one.
    pub(crate) fn answer(&mut self, event: &str, answer: &str) {
        let next = self.next();
        self.answer_to(&next, event, answer);
    }

    /// Answers what it was told, which must be this event.
    pub(crate) fn answer_to(&mut self, told: &str, event: &str, answer: &str) {
        let id = told.strip_suffix(event).expect("it is this one");
        self.write(&format!("43{id}[{answer}]"));
    }

    /// Is it disconnected from the namespace by the server, whatever it is told before?
    pub(crate) fn is_gone(&mut self) -> bool {
        loop {
            match self.read() {
                text if text == "41" => return true,
                text => self.keep(text),
            }
        }
    }

    /// Is it disconnected from the namespace by the server, as the next thing?
    pub(crate) fn is_disconnected(&mut self) -> bool {
        self.read() == "41"
    }

    fn keep(&mut self, text: String) {
        match text.strip_prefix("42") {
            Some(event) => self.events.push_back(event.to_owned()),
            None => assert_eq!(text, "2", "it is an event or a ping"),
        }
    }

    fn write(&mut self, text: &str) {
        assert!(text.len() < 126);
        // The mask that changes nothing.
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    fn read(&mut self) -> String {
        let (first, payload) = self.read_frame();
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    /// The next message, which must be binary.
    pub(crate) fn next_binary(&mut self) -> Vec<u8> {
        let (first, payload) = self.read_frame();
        assert_eq!(first, 0x82, "{payload:?}");
        payload
    }

    /// The next message, as it came.
    pub(crate) fn next_text(&mut self) -> String {
        self.read()
    }
}
