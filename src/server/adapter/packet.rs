//! What travels between servers: events with their arguments, and for whom they are. Whatever comes in is checked here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::server::Payload;
use crate::server::arguments::{Args, clipped};
use crate::wire::json::MAX_DEPTH;
use crate::wire::socket::{self, Limits, is_reserved};

/// Why a message of another server was not taken.
///
/// ```
/// use ringhall::adapter::Message;
///
/// let error = Message::from_json(r#"{"type":99,"uid":"a","nsp":"/"}"#).unwrap_err();
/// assert!(error.to_string().contains("type 99"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage(String);

/// The longest reason, in bytes: what another sent must not decide how long a line of the log is.
const REASON_BYTES_MAX: usize = 256;

impl BadMessage {
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        BadMessage(clipped(&reason.to_string(), REASON_BYTES_MAX).to_owned())
    }
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message between servers was not taken: {}", self.0)
    }
}

impl std::error::Error for BadMessage {}

/// Binary values of one packet at most, on its way between servers.
pub(crate) const ATTACHMENTS_MAX: usize = 1_000;
/// The longest name of an event, in bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 64 * 1024;

/// An event with its arguments, on its way to sockets or servers. A clone shares the arguments.
///
/// ```
/// use ringhall::Payload;
/// use ringhall::adapter::Packet;
///
/// let packet = Packet::new("news", Payload::encode(&("dinner", 3))?)?;
/// assert_eq!((packet.event(), packet.args().json()), ("news", r#"["dinner",3]"#));
/// assert_eq!(packet.to_json(), r#"["news","dinner",3]"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    event: Arc<str>,
    args: Payload,
    offset: Option<Arc<str>>,
}

impl Packet {
    /// An event and its arguments.
    ///
    /// # Errors
    /// The name is reserved by Socket.IO, or longer than 64 KiB.
    ///
    /// ```
    /// # use ringhall::{Payload, adapter::Packet};
    /// let args = Payload::encode(&()).unwrap();
    /// assert!(Packet::new("disconnect", args).is_err());
    /// ```
    pub fn new(event: &str, args: Payload) -> Result<Self, BadMessage> {
        if is_reserved(event) {
            return Err(BadMessage::new("the event's name is reserved by Socket.IO"));
        }
        if event.len() > EVENT_BYTES_MAX {
            return Err(BadMessage::new("the event's name is too long"));
        }
        Ok(Packet {
            event: event.into(),
            args,
            offset: None,
        })
    }

    /// From the form that Socket.IO's adapters exchange: a JSON array of the event's name and its arguments, in which binary values are
    /// placeholders for the attachments.
    ///
    /// # Errors
    /// It is no such array, is nested deeper than 127 levels, has a reserved name, or a placeholder without an attachment.
    ///
    /// ```
    /// use ringhall::adapter::Packet;
    /// let packet = Packet::from_json(r#"["news","dinner",3]"#, Vec::new())?;
    /// assert_eq!(packet.args().json(), r#"["dinner",3]"#);
    /// assert!(Packet::from_json(r#"["disconnect"]"#, Vec::new()).is_err());
    /// # Ok::<(), ringhall::adapter::BadMessage>(())
    /// ```
    pub fn from_json(json: &str, attachments: Vec<Bytes>) -> Result<Self, BadMessage> {
        let kind = if attachments.is_empty() { "2" } else { "5" };
        let mut text = checked(kind, "", json, attachments.len())?;
        let start = text.len() - json.len();
        Packet::of_event(text.get_mut(start..).unwrap_or_default(), &attachments)
    }

    /// From an event's payload that has been checked; it is split in place.
    pub(crate) fn of_event(payload: &mut [u8], attachments: &[Bytes]) -> Result<Self, BadMessage> {
        let parts = socket::split_event(payload)
            .map_err(|error| BadMessage::new(format_args!("{error:?}")))?;
        let args = Args {
            json: parts.args,
            attachments,
        };
        Packet::new(
            &parts.name.to_str(),
            Payload::of(&args).map_err(BadMessage::new)?,
        )
    }

    /// The event's name.
    ///
    /// ```
    /// # use ringhall::{Payload, adapter::Packet};
    /// let packet = Packet::new("news", Payload::encode(&1).unwrap()).unwrap();
    /// assert_eq!(packet.event(), "news");
    /// ```
    pub fn event(&self) -> &str {
        &self.event
    }

    /// Its arguments.
    ///
    /// ```
    /// # use ringhall::{Payload, adapter::Packet};
    /// let packet = Packet::new("news", Payload::encode(&("dinner", 3)).unwrap()).unwrap();
    /// assert_eq!(packet.args().json(), r#"["dinner",3]"#);
    /// ```
    pub fn args(&self) -> &Payload {
        &self.args
    }

    /// Where the packet lies in the cluster's log, if it has one: clients that can recover are told it as a last argument.
    ///
    /// ```
    /// # use ringhall::{Payload, adapter::Packet};
    /// let packet = Packet::new("news", Payload::encode(&1).unwrap()).unwrap();
    /// assert_eq!(packet.offset(), None);
    /// assert_eq!(packet.with_offset("1719-0").offset(), Some("1719-0"));
    /// ```
    pub fn offset(&self) -> Option<&str> {
        self.offset.as_deref()
    }

    /// The same packet with its place in the cluster's log.
    ///
    /// ```
    /// # use ringhall::{Payload, adapter::Packet};
    /// let packet = Packet::new("news", Payload::encode(&1).unwrap()).unwrap().with_offset("1719-0");
    /// assert_eq!(packet.offset(), Some("1719-0"));
    /// ```
    pub fn with_offset(self, offset: &str) -> Self {
        Packet {
            offset: Some(offset.into()),
            ..self
        }
    }

    /// The form that [`from_json`](Packet::from_json) reads.
    ///
    /// ```
    /// # use ringhall::{Payload, adapter::Packet};
    /// let packet = Packet::new("news", Payload::encode(&1).unwrap()).unwrap();
    /// assert_eq!(packet.to_json(), r#"["news",1]"#);
    /// ```
    pub fn to_json(&self) -> String {
        let mut json = vec![b'['];
        socket::write_json_string(&mut json, &self.event);
        let list = self.args.list();
        if !list.is_empty() {
            json.push(b',');
            json.extend_from_slice(list);
        }
        json.push(b']');
        // Lossless: both parts were text.
        String::from_utf8_lossy(&json).into_owned()
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        self.event.len() + weight_of(&self.args)
    }
}

/// About how many bytes these arguments take.
pub(crate) fn weight_of(args: &Payload) -> usize {
    let attachments = args.attachments().iter().map(Bytes::len);
    args.json().len() + attachments.sum::<usize>()
}

/// One answer, the argument of an acknowledgement, from the JSON of its value.
pub(crate) fn answer_from_json(json: &str, attachments: Vec<Bytes>) -> Result<Payload, BadMessage> {
    let list = format!("[{json}]");
    let kind = if attachments.is_empty() { "3" } else { "6" };
    checked(kind, "0", &list, attachments.len())?;
    let args = Args {
        json: list.as_bytes(),
        attachments: &attachments,
    };
    Payload::of(&args).map_err(BadMessage::new)
}

/// The JSON of an answer: its first argument, `null` if it has none. Of several, as everywhere in Socket.IO, the others are not told.
pub(crate) fn answer_to_json(answer: &Payload) -> String {
    let list: Vec<&serde_json::value::RawValue> =
        serde_json::from_str(answer.json()).unwrap_or_default();
    list.first().map_or("null", |first| first.get()).to_owned()
}

/// A packet's text with this JSON at its end, after it has passed the same checks as a client's.
fn checked(kind: &str, id: &str, json: &str, attachments: usize) -> Result<Vec<u8>, BadMessage> {
    let count = if attachments == 0 {
        String::new()
    } else {
        format!("{attachments}-")
    };
    let mut text = format!("{kind}{count}{id}{json}").into_bytes();
    let limits = Limits {
        max_attachments: ATTACHMENTS_MAX,
        max_depth: MAX_DEPTH,
    };
    match socket::decode(&mut text, &limits) {
        Ok(_) => Ok(text),
        Err(error) => Err(BadMessage::new(format_args!("its packet: {error:?}"))),
    }
}

/// For whom a packet or an operation is, and how it is to be sent. Without rooms everybody in the namespace is meant.
///
/// ```
/// use ringhall::adapter::Options;
/// let options = Options { rooms: vec!["lobby".into()], ..Options::default() };
/// assert!(options.except.is_empty() && !options.flags.volatile);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The rooms whose members are meant, each member once.
    pub rooms: Vec<String>,
    /// The rooms whose members are not.
    pub except: Vec<String>,
    /// How it is to be sent.
    pub flags: Flags,
}

impl Options {
    pub(crate) fn weight(&self) -> usize {
        let names = self.rooms.iter().chain(&self.except);
        names.map(|name| name.len() + 16).sum()
    }
}

/// How a packet is to be sent.
///
/// ```
/// use ringhall::adapter::Flags;
/// let flags = Flags { volatile: true, ..Flags::default() };
/// # let _ = flags;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Receivers that have something waiting are left out.
    pub volatile: bool,
    /// Whether it may be compressed, where that was said.
    pub compress: Option<bool>,
    /// Only for the server's own sockets: such a packet is not passed on.
    pub local: bool,
    /// How long answers are waited for. `None`: the default of what is asked.
    pub timeout: Option<Duration>,
    /// One answer is enough: the packet is for a single socket.
    pub expect_single_response: bool,
}

/// A socket as other servers see it. What is JSON was made by the server that the socket is on.
///
/// ```
/// use ringhall::adapter::SocketDetails;
/// let socket = SocketDetails {
///     id: "abc".into(),
///     handshake: r#"{"url":"/socket.io/"}"#.into(),
///     rooms: vec!["abc".into(), "lobby".into()],
///     data: r#"{"name":"ada"}"#.into(),
/// };
/// # let _ = socket;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketDetails {
    /// The socket's id.
    pub id: String,
    /// Its handshake as Socket.IO describes it (headers, time, address, url, query, auth, …): a JSON object.
    pub handshake: String,
    /// Its rooms, that of its own id among them.
    pub rooms: Vec<String>,
    /// What was set as the socket's data: JSON.
    pub data: String,
}

impl SocketDetails {
    pub(crate) fn weight(&self) -> usize {
        let rooms: usize = self.rooms.iter().map(|room| room.len() + 16).sum();
        self.id.len() + self.handshake.len() + self.data.len() + rooms
    }
}

/// What several servers were asked for: what came, and how many did not answer in time.
///
/// ```
/// use ringhall::adapter::Gathered;
/// let gathered = Gathered { values: vec![1, 2], missing: 1 };
/// assert!(!gathered.is_complete());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered<T> {
    /// What came, in the order in which it came.
    pub values: Vec<T>,
    /// The servers that were waited for in vain.
    pub missing: usize,
}

impl<T> Gathered<T> {
    /// Have all answered?
    ///
    /// ```
    /// use ringhall::adapter::Gathered;
    /// assert!(Gathered { values: vec![0.5, 0.25], missing: 0 }.is_complete());
    /// assert!(!Gathered { values: vec![0.5], missing: 1 }.is_complete());
    /// ```
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }
}

impl<T> Default for Gathered<T> {
    fn default() -> Self {
        Gathered {
            values: Vec::new(),
            missing: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_survives_its_json() {
        for (json, args) in [
            (r#"["a"]"#, "[]"),
            (r#"["a",1]"#, "[1]"),
            (
                r#"["say \"hi\"",{"b":[null]},"\ud800"]"#,
                r#"[{"b":[null]},"\ud800"]"#,
            ),
        ] {
            let packet = Packet::from_json(json, Vec::new()).unwrap();
            assert_eq!(packet.args().json(), args);
            assert_eq!(packet.to_json(), json);
        }
        let json = r#"["file",{"_placeholder":true,"num":0}]"#;
        let packet = Packet::from_json(json, vec![Bytes::from_static(b"x")]).unwrap();
        assert_eq!(packet.args().attachments(), [Bytes::from_static(b"x")]);
        assert_eq!(packet.to_json(), json);
    }

    #[test]
    fn what_a_client_might_not_send_another_server_may_not_either() {
        let deep = format!(r#"["a",{}{}]"#, "[".repeat(127), "]".repeat(127));
        for json in [
            "",
            "[]",
            "7",
            "null",
            "{}",
            r#"["a",]"#,
            r#"["a"]x"#,
            r#"["connect"]"#,
            r#"["disconnecting",1]"#,
            r#"[null]"#,
            &deep,
        ] {
            assert!(Packet::from_json(json, Vec::new()).is_err(), "{json}");
        }
        let beyond = r#"["a",{"_placeholder":true,"num":1}]"#;
        assert!(Packet::from_json(beyond, vec![Bytes::new()]).is_err());
        let many = vec![Bytes::new(); ATTACHMENTS_MAX + 1];
        assert!(Packet::from_json(r#"["a"]"#, many).is_err());
        let long = "e".repeat(EVENT_BYTES_MAX + 1);
        assert!(Packet::new(&long, Payload::encode(&()).unwrap()).is_err());
    }

    #[test]
    fn an_answer_is_one_value() {
        let answer = answer_from_json(r#"{"a":1}"#, Vec::new()).unwrap();
        assert_eq!(answer.json(), r#"[{"a":1}]"#);
        assert_eq!(answer_to_json(&answer), r#"{"a":1}"#);
        assert_eq!(answer_to_json(&Payload::encode(&()).unwrap()), "null");
        assert_eq!(answer_to_json(&Payload::encode(&(1, 2)).unwrap()), "1");
        for json in ["]", "[", "1][", "1 2"] {
            assert!(answer_from_json(json, Vec::new()).is_err(), "{json}");
        }
    }
}
