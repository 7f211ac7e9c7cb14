//! A Socket.IO client that says exactly what it is told to, on a WebSocket, and reads text frames.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringhall::Server;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client(TcpStream);

impl Client {
    /// With an open session, of Engine.IO 4, and in no namespace yet.
    pub(crate) fn open(server: &Server) -> Client {
        let mut client = Client::open_revision(server, "EIO=4&");
        assert!(client.read().starts_with("0{"));
        client
    }

    /// `revision`: what the query says of it.
    pub(crate) fn open_revision(server: &Server, revision: &str) -> Client {
        let mut stream = TcpStream::connect(server.local_addrs()[0]).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /socket.io/?{revision}transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"));
        Client(stream)
    }

    pub(crate) fn send(&mut self, text: &str) {
        let len = u8::try_from(text.len()).unwrap();
        assert!(len < 126);
        // A mask that changes nothing.
        let mut frame = vec![0x81, 0x80 | len, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    /// The next text; a Close frame is "closed", and so is the end of the stream.
    pub(crate) fn read(&mut self) -> String {
        let mut head = [0; 2];
        if self.0.read_exact(&mut head).is_err() {
            return "closed".to_owned();
        }
        let len = match head[1] {
            126 => {
                let mut long = [0; 2];
                self.0.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).unwrap();
        match head[0] {
            0x81 => String::from_utf8(payload).unwrap(),
            0x88 => "closed".to_owned(),
            first => panic!("{first:#x} {payload:?}"),
        }
    }

    /// Reads the next text, which begins so.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        let text = self.read();
        assert!(text.starts_with(start), "{text:?} is not {start:?}…");
        text
    }
}
