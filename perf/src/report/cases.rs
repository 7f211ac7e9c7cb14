//! The loads that are compared.

/// One load, and what it looks like to a server that moves bytes only.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) scenario: &'static str,
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
    /// Messages in flight on each connection, of echoes.
    pub(crate) depth: usize,
    /// Messages published at once, in rooms.
    pub(crate) burst: usize,
    pub(crate) rooms: usize,
    /// Over TLS, on both sides.
    pub(crate) tls: bool,
    /// What it is compared with.
    pub(crate) base: Base,
}

/// The other side of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// A server that moves the same bytes and looks at none.
    Floor,
    /// The subject itself: its WebSocket echo of as many bytes as the arguments have.
    Echo,
}

const fn echo(
    name: &'static str,
    scenario: &'static str,
    connections: usize,
    bytes: usize,
    depth: usize,
) -> Case {
    Case {
        name,
        scenario,
        connections,
        bytes,
        depth,
        burst: 1,
        rooms: 1,
        tls: false,
        base: Base::Floor,
    }
}

const fn tls(case: Case) -> Case {
    Case { tls: true, ..case }
}

const fn to_echo(case: Case) -> Case {
    Case {
        base: Base::Echo,
        ..case
    }
}

/// A thousand members in all, 64 bytes.
const fn room(name: &'static str, scenario: &'static str, burst: usize, rooms: usize) -> Case {
    Case {
        name,
        scenario,
        connections: 1000,
        bytes: 64,
        depth: 1,
        burst,
        rooms,
        tls: false,
        base: Base::Floor,
    }
}

/// The floor against itself: how far apart the same can seem.
pub(crate) const NULL: &str = "raw-echo";

/// All cases, by the names given on the command line.
pub(crate) const CASES: [Case; 24] = [
    echo("null", NULL, 64, 26, 1),
    echo("echo", "ws-echo", 64, 20, 1),
    echo("echo-1000", "ws-echo", 1000, 20, 1),
    echo("echo-x16", "ws-echo", 64, 20, 16),
    echo("echo-1k-x16", "ws-echo", 64, 1 << 10, 16),
    echo("echo-16k", "ws-echo", 64, 16 << 10, 1),
    echo("echo-256k", "ws-echo", 16, 256 << 10, 1),
    tls(echo("wss-1k", "ws-echo", 64, 1 << 10, 1)),
    tls(echo("wss-1k-x16", "ws-echo", 64, 1 << 10, 16)),
    tls(echo("wss-16k", "ws-echo", 64, 16 << 10, 1)),
    tls(echo("wss-256k", "ws-echo", 16, 256 << 10, 1)),
    room("room", "ws-room", 1, 1),
    room("room-w4", "ws-room", 4, 1),
    room("room-100x10", "ws-room", 1, 100),
    echo("ack", "sio-ack", 64, 128, 1),
    echo("ack-1000", "sio-ack", 1000, 128, 1),
    echo("ack-x16", "sio-ack", 64, 128, 16),
    to_echo(echo("ack-echo", "sio-ack", 64, 128, 1)),
    to_echo(echo("ack-echo-x16", "sio-ack", 64, 128, 16)),
    to_echo(echo("ack-echo-1k-x16", "sio-ack", 64, 1 << 10, 16)),
    echo("ack-16k", "sio-ack", 64, 16 << 10, 1),
    room("sio-room", "sio-room", 1, 1),
    room("sio-room-w4", "sio-room", 4, 1),
    room("sio-room-100x10", "sio-room", 1, 100),
];

impl Case {
    /// Whether a message goes to many.
    pub(crate) fn in_rooms(&self) -> bool {
        self.scenario.ends_with("-room")
    }

    /// The length of the frame on the wire: of an echo as the client sends it, masked; in rooms, where nearly all
    /// frames are deliveries, as the server does.
    pub(crate) fn raw_bytes(&self) -> usize {
        if self.scenario == NULL {
            return self.bytes;
        }
        let payload = self.bytes
            + match self.scenario {
                "sio-ack" => r#"42123["msg",]"#.len(),
                "sio-room" => r#"42["msg",]"#.len(),
                _ => 0,
            };
        let head = match payload {
            0..126 => 2,
            126..0x1_0000 => 4,
            _ => 10,
        };
        payload + head + if self.in_rooms() { 0 } else { 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_lengths_are_those_of_the_frames() {
        let raw = |name| {
            CASES
                .iter()
                .find(|case| case.name == name)
                .unwrap()
                .raw_bytes()
        };
        assert_eq!(raw("echo"), 26);
        assert_eq!(raw("room"), 66);
        assert_eq!(raw("ack"), 128 + 13 + 8);
    }
}
