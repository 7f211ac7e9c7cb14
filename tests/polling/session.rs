//! A client on polling that keeps to the rules, as far as a test lets it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bed::{Bed, ENGINE, ENGINE_WEBSOCKET, Layout, core_of, is_node, sid_of};
use crate::wire::{Response, Wire, post, request};

pub(crate) struct Session<'b> {
    bed: &'b Bed,
    pub(crate) sid: String,
    /// What the server's log calls it.
    pub(crate) who: String,
    layout: Layout,
    /// Where GETs go.
    pub(crate) get: Wire,
    /// Where POSTs go.
    pub(crate) post: Wire,
    path: String,
}

impl<'b> Session<'b> {
    /// On a server with one core.
    pub(crate) fn open(bed: &'b Bed) -> Session<'b> {
        let layout = Layout {
            home: 0,
            get: 0,
            post: 0,
            websocket: 0,
        };
        Session::open_on(bed, layout)
    }

    pub(crate) fn open_on(bed: &'b Bed, layout: Layout) -> Session<'b> {
        Session::open_at(bed, ENGINE, layout)
    }

    /// A Socket.IO client in the main namespace.
    pub(crate) fn socket_io(bed: &'b Bed, layout: Layout) -> Session<'b> {
        let mut session = Session::open_at(bed, "/socket.io/?EIO=4&transport=polling", layout);
        session.push("40");
        let connected = session.poll();
        assert!(connected.starts_with(r#"40{"sid":""#), "{connected}");
        session
    }

    pub(crate) fn open_at(bed: &'b Bed, target: &str, layout: Layout) -> Session<'b> {
        let who = someone();
        let target = format!("{target}&who={who}");
        let opened = bed.connect_to(layout.home).get(&target);
        assert_eq!(opened.status, 200, "{opened:?}");
        let sid = sid_of(opened.text());
        assert!(is_node() || core_of(&sid) == layout.home);
        Session {
            bed,
            layout,
            get: bed.connect_to(layout.get),
            post: bed.connect_to(layout.post),
            path: format!("{target}&sid={sid}"),
            sid,
            who,
        }
    }

    /// Where its requests go.
    pub(crate) fn target(&self) -> &str {
        &self.path
    }

    pub(crate) fn websocket_target(&self) -> String {
        self.path
            .replace("transport=polling", "transport=websocket")
    }

    // ---- polling ----

    /// Sends a GET.
    pub(crate) fn begin_poll(&mut self) {
        self.get.send(request("GET", &self.path, ""));
    }

    /// The answer to it.
    pub(crate) fn end_poll(&mut self) -> String {
        let answer = self.get.response();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().to_owned()
    }

    pub(crate) fn poll(&mut self) -> String {
        self.begin_poll();
        self.end_poll()
    }

    /// The packets of as many polls as it takes, up to and with this one; without the noops.
    pub(crate) fn poll_until(&mut self, last: &str) -> Vec<String> {
        let mut packets: Vec<String> = Vec::new();
        while packets.last().is_none_or(|packet| packet != last) {
            let payload = self.poll();
            packets.extend(
                payload
                    .split('\x1e')
                    .filter(|packet| *packet != "6")
                    .map(str::to_owned),
            );
            assert!(!payload.is_empty(), "a poll brings at least one packet");
        }
        packets
    }

    /// A POST, with the answer that a good one gets.
    pub(crate) fn push(&mut self, payload: impl AsRef<[u8]>) {
        let answer = self.try_push(payload);
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{answer:?}");
    }

    pub(crate) fn try_push(&mut self, payload: impl AsRef<[u8]>) -> Response {
        self.post.ask(post(&self.path, payload))
    }

    /// It lives: what it says comes back.
    pub(crate) fn echoes(&mut self) {
        self.push("4alive?");
        assert_eq!(self.poll(), "4alive?");
    }

    /// It has ended for this reason, and is unknown from now on.
    pub(crate) fn ended_with(self, reason: &str) {
        assert_eq!(self.bed.reason_of(&self.who), reason);
        self.is_unknown();
    }

    pub(crate) fn is_unknown(&self) {
        let answer = self.bed.connect().get(&self.path);
        let body = r#"{"code":1,"message":"Session ID unknown"}"#;
        assert_eq!((answer.status, answer.text()), (400, body));
    }

    // ---- upgrade ----

    /// A WebSocket that names this session and has said nothing yet.
    pub(crate) fn knock(&self) -> Wire {
        let mut websocket = self.bed.connect_to(self.layout.websocket);
        websocket.upgrade(&self.websocket_target());
        websocket
    }

    /// A WebSocket that was answered.
    pub(crate) fn probe(&self) -> Wire {
        let mut websocket = self.knock();
        websocket.say("2probe");
        websocket.hear_all(["3probe"]);
        websocket
    }

    /// Is on that WebSocket now, and no more on polling.
    pub(crate) fn echoes_on(&mut self, websocket: &mut Wire) {
        websocket.say("4alive?");
        websocket.hear_all(["4alive?"]);
        self.is_refused_on_polling();
    }

    /// GET and POST of a session on a WebSocket are bad requests.
    pub(crate) fn is_refused_on_polling(&mut self) {
        let body = r#"{"code":3,"message":"Bad request"}"#;
        for answer in [
            self.bed.connect().get(&self.path),
            self.bed.connect().ask(post(&self.path, "4lost")),
        ] {
            assert_eq!((answer.status, answer.text()), (400, body));
        }
    }
}

/// A session that began on a WebSocket, its id, and what the server's log calls it.
pub(crate) fn open_websocket(bed: &Bed, core: usize) -> (Wire, String, String) {
    let mut websocket = bed.connect_to(core);
    let who = someone();
    websocket.upgrade(&format!("{ENGINE_WEBSOCKET}&who={who}"));
    let crate::wire::Frame::Text(open) = websocket.hear() else {
        panic!("an open packet");
    };
    (websocket, sid_of(&open), who)
}

/// A name that nobody else has.
fn someone() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    format!("client{}", LAST.fetch_add(1, Ordering::Relaxed))
}
