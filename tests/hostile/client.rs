//! A WebSocket client (RFC 6455) that can also misbehave.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::PATIENCE;

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=websocket";

/// The request that opens a WebSocket; the key is that of RFC 6455 §1.3.
pub(crate) fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// The head of a masked frame, whatever is in it.
pub(crate) fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    // RFC 6455 §5.2: the length in 7, 16 or 64 bits, with the bit that says "masked".
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => head.push(0x80 | short),
        (_, Ok(middle)) => {
            head.push(0x80 | 126);
            head.extend(middle.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend(MASK);
    head
}

pub(crate) fn masked(payload: &[u8]) -> impl Iterator<Item = u8> + '_ {
    payload
        .iter()
        .zip(MASK.into_iter().cycle())
        .map(|(byte, mask)| byte ^ mask)
}

/// A whole masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend(masked(payload));
    frame
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The frames before the Close.
    pub(crate) frames: Vec<(u8, Vec<u8>)>,
    /// The code of the Close frame, if there was one.
    pub(crate) code: Option<u16>,
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    /// A connection on which nothing was said yet.
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// An open WebSocket.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Client {
        let mut client = Client::connect(address);
        client.send(request(path).as_bytes());
        let answer = client.read_head();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        client
    }

    /// An Engine.IO session, in no namespace yet.
    pub(crate) fn session(address: SocketAddr) -> Client {
        let mut client = Client::open(address, SOCKET_IO);
        let open = client.read_text();
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
        client
    }

    /// A Socket.IO client in the main namespace.
    pub(crate) fn socket_io(address: SocketAddr) -> Client {
        let mut client = Client::session(address);
        client.text("40");
        let connected = client.read_text();
        assert!(connected.starts_with(r#"40{"sid":""#), "{connected}");
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends as far as the server lets it.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.send(&frame(TEXT, text.as_bytes()));
    }

    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&head))
            });
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// The next frame, which must not be masked. `None`: the server has ended the connection in good order, between two frames.
    pub(crate) fn try_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut first = [0];
        if loop {
            match self.stream.read(&mut first) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        } == 0
        {
            return Ok(None);
        }
        let [short] = self.bytes()?;
        assert!(short < 128, "RFC 6455 §5.1: a server does not mask");
        let length = match short {
            126 => usize::from(u16::from_be_bytes(self.bytes()?)),
            127 => u64::from_be_bytes(self.bytes()?) as usize,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(Some((first[0], payload)))
    }

    pub(crate) fn read_frame(&mut self) -> (u8, Vec<u8>) {
        self.try_frame()
            .expect("a frame")
            .expect("a frame, not the end")
    }

    /// The next text. A heartbeat of Engine.IO in front of it is answered, since these tests may take longer than its interval.
    pub(crate) fn read_text(&mut self) -> String {
        let (first, payload) = self.read_frame();
        if (first, &*payload) == (TEXT, b"2") {
            self.text("3");
            return self.read_text();
        }
        assert_eq!(first, TEXT, "{:?}", String::from_utf8_lossy(&payload));
        String::from_utf8(payload).unwrap()
    }

    /// Reads until the server ends the connection, which it must do without waiting for us.
    pub(crate) fn read_end(&mut self) -> End {
        let mut end = End {
            frames: Vec::new(),
            code: None,
        };
        while let Some((first, payload)) = self.try_frame().expect("FIN, and no reset") {
            assert_eq!(end.code, None, "RFC 6455 §5.5.1: nothing follows a Close");
            if first == CLOSE {
                let code = payload
                    .first_chunk()
                    .map_or(1005, |c| u16::from_be_bytes(*c));
                end.code = Some(code);
            } else {
                end.frames.push((first, payload));
            }
        }
        end
    }

    /// Everything until the server ends the connection.
    pub(crate) fn read_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream
            .read_to_end(&mut rest)
            .expect("FIN, and no reset");
        rest
    }

    /// A message to a WebSocket that echoes, and back.
    pub(crate) fn echo(&mut self, text: &str) {
        self.text(text);
        assert_eq!(self.read_text(), text);
    }

    /// An event to a server with `echo`, and its acknowledgement.
    pub(crate) fn ask(&mut self, number: usize) {
        self.text(&format!(r#"42{number}["echo",{number}]"#));
        assert_eq!(self.read_text(), format!("43{number}[{number}]"));
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
