//! What a client said when it opened its connection, kept as the bytes that came.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::wire::http;

/// The request that opened a connection: its path, query and headers, and where it came from.
///
/// It is kept as it came in (at most 16 KiB, commonly 200 to 600 bytes) and parsed when asked. A clone is a copy of all of it.
///
/// ```
/// # fn f(socket: &ringhall::Socket) {
/// let handshake = socket.handshake();
/// if handshake.header("origin") == Some("https://example.org") {
///     println!("{:?} asks for room {:?}", handshake.peer_addr(), handshake.query("room"));
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handshake {
    head: Box<[u8]>,
    via: Via,
    issued_ms: u64,
}

/// What a request came over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) peer: Option<SocketAddr>,
    /// TLS.
    pub(crate) is_secure: bool,
}

impl Handshake {
    pub(crate) fn new(head: &[u8], via: Via, issued_ms: u64) -> Self {
        Handshake {
            head: head.into(),
            via,
            issued_ms,
        }
    }

    /// The address, if it was not known.
    pub(crate) fn learn_peer(&mut self, peer: Option<SocketAddr>) {
        self.via.peer = self.via.peer.or(peer);
    }

    /// The first value of this header (the name in any case), if it is there and UTF-8.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// let agent = handshake.header("user-agent").unwrap_or("unknown");
    /// # let _ = agent;
    /// # }
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        self.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name)
                .then(|| value.trim_matches([' ', '\t']))
        })
    }

    /// All headers, in order, as they were sent.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// for (name, value) in handshake.headers() {
    ///     println!("{name}: {value}");
    /// }
    /// # }
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines().skip(1).filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            Some((key, value.trim_matches([' ', '\t'])))
        })
    }

    /// Path and query as they were sent.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// println!("{} of {}", handshake.path(), handshake.url());
    /// # }
    /// ```
    pub fn url(&self) -> &str {
        self.lines()
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .unwrap_or_default()
    }

    /// The path alone, as it was sent.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// let is_socket_io = handshake.path() == "/socket.io/";
    /// # let _ = is_socket_io;
    /// # }
    /// ```
    pub fn path(&self) -> &str {
        self.url().split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, decoded. Of a repeated one the last counts.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// let room = handshake.query("room").unwrap_or("lobby".into());
    /// # let _ = room;
    /// # }
    /// ```
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, query) = self.url().split_once('?')?;
        http::query_value(query, name)
    }

    /// All parameters of the query, decoded, in their order.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// for (name, value) in handshake.parameters() {
    ///     println!("{name} = {value}");
    /// }
    /// # }
    /// ```
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.url().split_once('?').map_or("", |(_, query)| query);
        http::query_pairs(query)
    }

    /// The other end of the TCP connection; behind a proxy this is the proxy. `None` where the kernel did not tell.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// let is_local = handshake.peer_addr().is_some_and(|peer| peer.ip().is_loopback());
    /// # let _ = is_local;
    /// # }
    /// ```
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.via.peer
    }

    /// Whether the connection came over TLS, that is, to an address of `Builder::listen_tls` (feature `tls`). A proxy in front of the
    /// server may have taken the TLS off; it commonly says so in `X-Forwarded-Proto`.
    ///
    /// ```
    /// # fn f(handshake: &ringhall::Handshake) {
    /// let scheme = if handshake.is_secure() { "https" } else { "http" };
    /// # let _ = scheme;
    /// # }
    /// ```
    pub fn is_secure(&self) -> bool {
        self.via.is_secure
    }

    /// Milliseconds from the start of the server to this handshake; for the time of day see
    /// [`HandshakeDetails::issued`](crate::HandshakeDetails::issued).
    ///
    /// ```
    /// # fn f(first: &ringhall::Handshake, second: &ringhall::Handshake) {
    /// println!("{} ms later", second.issued_ms().saturating_sub(first.issued_ms()));
    /// # }
    /// ```
    pub fn issued_ms(&self) -> u64 {
        self.issued_ms
    }

    /// Lines that are not UTF-8 are passed over: header values may hold any bytes.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.head.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            std::str::from_utf8(line).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_was_said() {
        let head =
            b"GET /x/?room=a%20b&room=c HTTP/1.1\r\nHost: h\r\nX-One:  1 \r\nX-Bin: \xff\r\n\r\n";
        let via = Via {
            peer: None,
            is_secure: true,
        };
        let handshake = Handshake::new(head, via, 5);
        assert_eq!(handshake.path(), "/x/");
        assert_eq!(handshake.url(), "/x/?room=a%20b&room=c");
        assert_eq!(handshake.query("room").as_deref(), Some("c"));
        assert_eq!(handshake.query("none"), None);
        let parameters: Vec<_> = handshake.parameters().collect();
        assert_eq!(
            parameters,
            [("room".into(), "a b".into()), ("room".into(), "c".into())]
        );
        assert_eq!(handshake.header("x-one"), Some("1"));
        assert_eq!(handshake.header("x-bin"), None);
        assert_eq!(
            handshake.headers().collect::<Vec<_>>(),
            [("Host", "h"), ("X-One", "1")]
        );
        assert_eq!((handshake.peer_addr(), handshake.issued_ms()), (None, 5));
        assert!(handshake.is_secure());
    }
}
