//! Messages as JSON: `{"uid":…,"nsp":…,"type":…,"data":{…}}`, as Socket.IO's cluster adapters write it (they read members in any order).
//!
//! Theirs put binary values into the packet, in MessagePack. JSON has none, so here a packet with binary values has placeholders, as on the
//! way to a client, and `data` has one member more: `attachments`, in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

use super::super::packet::{ATTACHMENTS_MAX, Flags, Options, answer_from_json, answer_to_json};
use super::{BadMessage, Body, Message, Packet, RequestId, SocketDetails};
use crate::server::Payload;

/// Rooms in one message at most, in each list.
const ROOMS_MAX: usize = 100_000;
/// The longest namespace, in bytes.
const NAMESPACE_BYTES_MAX: usize = 4096;
/// The longest wait that a message may ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

impl Message {
    /// The message as JSON.
    ///
    /// ```
    /// use ringhall::adapter::{Body, Message};
    /// let message = Message { sender: "a".parse()?, namespace: "/".into(), body: Body::Close };
    /// assert_eq!(message.to_json(), r#"{"uid":"a","nsp":"/","type":13}"#);
    /// # Ok::<(), ringhall::adapter::BadMessage>(())
    /// ```
    pub fn to_json(&self) -> String {
        let head = Head {
            uid: self.sender.as_str(),
            nsp: &self.namespace,
        };
        // Strings and numbers can always be written.
        let mut json = serde_json::to_string(&head).unwrap_or_default();
        json.pop();
        json += &format!(",\"type\":{}", self.body.kind());
        if let Some(data) = data_of(&self.body) {
            json += ",\"data\":{";
            json += &data;
            json.push('}');
        }
        json.push('}');
        json
    }

    /// Reads what [`to_json`](Message::to_json) or another implementation of Socket.IO wrote.
    ///
    /// # Errors
    /// The text is no such message. Whatever it holds, it is safe to read; what came out may be handed to clients.
    ///
    /// ```
    /// use ringhall::adapter::{Body, Message};
    /// let text = r#"{"type":4,"data":{"opts":{"rooms":["lobby"],"except":[]},"rooms":["news"]},"uid":"a","nsp":"/chat"}"#;
    /// let message = Message::from_json(text)?;
    /// assert!(matches!(message.body, Body::SocketsJoin { rooms, .. } if rooms == ["news"]));
    /// # Ok::<(), ringhall::adapter::BadMessage>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Message, BadMessage> {
        let envelope: Envelope<'_> = read(text)?;
        if !envelope.nsp.starts_with('/') || envelope.nsp.len() > NAMESPACE_BYTES_MAX {
            return Err(BadMessage::new("its namespace is none"));
        }
        Ok(Message {
            sender: envelope.uid.parse()?,
            namespace: envelope.nsp.into(),
            body: body_of(envelope.kind, envelope.data.map_or("{}", RawValue::get))?,
        })
    }
}

#[derive(Serialize)]
struct Head<'a> {
    uid: &'a str,
    nsp: &'a str,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    uid: String,
    nsp: String,
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, BadMessage> {
    serde_json::from_str(text).map_err(BadMessage::new)
}

// ---- writing ----

/// The members of `data`, without braces.
fn data_of(body: &Body) -> Option<String> {
    Some(match body {
        Body::InitialHeartbeat | Body::Heartbeat | Body::Close => return None,
        Body::Broadcast {
            packet,
            options,
            request,
        } => {
            let packet_json = packet.to_json();
            let attachments = attachments_json(packet.args());
            format!(
                "\"opts\":{}{}{attachments},\"packet\":{{\"type\":2,\"data\":{packet_json}}}",
                options_json(options),
                request_json(request.as_ref()),
            )
        }
        Body::SocketsJoin { options, rooms } | Body::SocketsLeave { options, rooms } => {
            format!(
                "\"opts\":{},\"rooms\":{}",
                options_json(options),
                text(rooms)
            )
        }
        Body::DisconnectSockets { options, close } => {
            format!("\"opts\":{},\"close\":{close}", options_json(options))
        }
        Body::FetchSockets { options, request } => {
            let request = request_json(Some(request));
            format!("\"opts\":{}{request}", options_json(options))
        }
        Body::FetchSocketsResponse { request, sockets } => {
            let sockets: Vec<String> = sockets.iter().map(socket_json).collect();
            let sockets = sockets.join(",");
            format!(
                "\"requestId\":{},\"sockets\":[{sockets}]",
                text(request.as_str())
            )
        }
        Body::ServerSideEmit { packet, request } => {
            let attachments = attachments_json(packet.args());
            let request = request_json(request.as_ref());
            format!("\"packet\":{}{request}{attachments}", packet.to_json())
        }
        Body::ServerSideEmitResponse { request, answer }
        | Body::BroadcastAck { request, answer } => {
            let attachments = attachments_json(answer);
            let (request, answer) = (text(request.as_str()), answer_to_json(answer));
            format!("\"requestId\":{request}{attachments},\"packet\":{answer}")
        }
        Body::BroadcastClientCount { request, count } => {
            format!(
                "\"requestId\":{},\"clientCount\":{count}",
                text(request.as_str())
            )
        }
    })
}

/// Strings and lists of strings, which can always be written.
fn text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn request_json(request: Option<&RequestId>) -> String {
    request.map_or(String::new(), |id| {
        format!(",\"requestId\":{}", text(id.as_str()))
    })
}

fn attachments_json(args: &Payload) -> String {
    if args.attachments().is_empty() {
        return String::new();
    }
    let encoded = args
        .attachments()
        .iter()
        .map(|bytes| STANDARD.encode(bytes));
    format!(",\"attachments\":{}", text(&encoded.collect::<Vec<_>>()))
}

fn options_json(options: &Options) -> String {
    text(&OptionsOut {
        rooms: &options.rooms,
        except: &options.except,
        flags: FlagsOut {
            volatile: options.flags.volatile.then_some(true),
            compress: options.flags.compress,
            local: options.flags.local.then_some(true),
            timeout: options.flags.timeout.map(|timeout| {
                u64::try_from(timeout.min(TIMEOUT_MAX).as_millis()).unwrap_or(u64::MAX)
            }),
            expect_single_response: options.flags.expect_single_response.then_some(true),
        },
    })
}

fn socket_json(socket: &SocketDetails) -> String {
    format!(
        "{{\"id\":{},\"handshake\":{},\"rooms\":{},\"data\":{}}}",
        text(&socket.id),
        socket.handshake,
        text(&socket.rooms),
        socket.data
    )
}

#[derive(Serialize)]
struct OptionsOut<'a> {
    rooms: &'a [String],
    except: &'a [String],
    flags: FlagsOut,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FlagsOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    volatile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compress: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expect_single_response: Option<bool>,
}

// ---- reading ----

fn body_of(kind: u64, data: &str) -> Result<Body, BadMessage> {
    Ok(match kind {
        1 => Body::InitialHeartbeat,
        2 => Body::Heartbeat,
        3 => {
            let data: BroadcastIn<'_> = read(data)?;
            Body::Broadcast {
                packet: Packet::from_json(data.packet.data.get(), decoded(data.attachments)?)?,
                options: data.opts.checked()?,
                request: optional(data.request_id)?,
            }
        }
        4 | 5 => {
            let data: RoomsIn = read(data)?;
            let (options, rooms) = (data.opts.checked()?, names(data.rooms)?);
            if kind == 4 {
                Body::SocketsJoin { options, rooms }
            } else {
                Body::SocketsLeave { options, rooms }
            }
        }
        6 => {
            let data: DisconnectIn = read(data)?;
            Body::DisconnectSockets {
                options: data.opts.checked()?,
                close: data.close,
            }
        }
        7 => {
            let data: FetchIn = read(data)?;
            Body::FetchSockets {
                options: data.opts.checked()?,
                request: data.request_id.parse()?,
            }
        }
        8 => {
            let data: SocketsIn<'_> = read(data)?;
            Body::FetchSocketsResponse {
                request: data.request_id.parse()?,
                sockets: data
                    .sockets
                    .into_iter()
                    .map(details)
                    .collect::<Result<_, _>>()?,
            }
        }
        9 => {
            let data: EventIn<'_> = read(data)?;
            Body::ServerSideEmit {
                packet: Packet::from_json(data.packet.get(), decoded(data.attachments)?)?,
                request: optional(data.request_id)?,
            }
        }
        10 | 12 => answer(kind, read(data)?)?,
        11 => {
            let data: CountIn = read(data)?;
            Body::BroadcastClientCount {
                request: data.request_id.parse()?,
                count: data.client_count,
            }
        }
        13 => Body::Close,
        other => return Err(BadMessage::new(format_args!("type {other} is unknown"))),
    })
}

fn answer(kind: u64, data: AnswerIn<'_>) -> Result<Body, BadMessage> {
    let json = data.packet.map_or("null", RawValue::get);
    let answer = answer_from_json(json, decoded(data.attachments)?)?;
    let request = data.request_id.parse()?;
    Ok(if kind == 10 {
        Body::ServerSideEmitResponse { request, answer }
    } else {
        Body::BroadcastAck { request, answer }
    })
}

fn optional(request: Option<String>) -> Result<Option<RequestId>, BadMessage> {
    request.map(|id| id.parse()).transpose()
}

fn decoded(attachments: Vec<String>) -> Result<Vec<Bytes>, BadMessage> {
    if attachments.len() > ATTACHMENTS_MAX {
        return Err(BadMessage::new("it has too many binary values"));
    }
    let decoded = attachments.iter().map(|text| STANDARD.decode(text));
    let decoded = decoded.map(|bytes| bytes.map(Bytes::from).map_err(BadMessage::new));
    decoded.collect()
}

fn names(rooms: Vec<Room>) -> Result<Vec<String>, BadMessage> {
    if rooms.len() > ROOMS_MAX {
        return Err(BadMessage::new("it names too many rooms"));
    }
    Ok(rooms.into_iter().map(|room| room.0).collect())
}

fn details(socket: SocketIn<'_>) -> Result<SocketDetails, BadMessage> {
    Ok(SocketDetails {
        id: socket.id,
        handshake: json_of(socket.handshake)?,
        rooms: names(socket.rooms)?,
        data: json_of(socket.data)?,
    })
}

/// JSON to be kept as text: not so deep that nobody could read it later.
fn json_of(value: Option<&RawValue>) -> Result<String, BadMessage> {
    let json = value.map_or("null", RawValue::get);
    answer_from_json(json, Vec::new())?;
    Ok(json.to_owned())
}

/// The name of a room. A number, as Node lets it be, is its text.
struct Room(String);

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Room;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a room")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Room, E> {
                Ok(Room(name.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, name: u64) -> Result<Room, E> {
                Ok(Room(name.to_string()))
            }

            fn visit_i64<E: de::Error>(self, name: i64) -> Result<Room, E> {
                Ok(Room(name.to_string()))
            }

            fn visit_f64<E: de::Error>(self, name: f64) -> Result<Room, E> {
                Ok(Room(name.to_string()))
            }
        }
        deserializer.deserialize_any(Name)
    }
}

/// A member may be there and be `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Default, Deserialize)]
struct OptionsIn {
    #[serde(default, deserialize_with = "or_default")]
    rooms: Vec<Room>,
    #[serde(default, deserialize_with = "or_default")]
    except: Vec<Room>,
    #[serde(default, deserialize_with = "or_default")]
    flags: FlagsIn,
}

impl OptionsIn {
    fn checked(self) -> Result<Options, BadMessage> {
        let timeout = self.flags.timeout.map(|ms| {
            // As in JavaScript, less than nothing is nothing.
            Duration::from_secs_f64((ms / 1000.0).clamp(0.0, TIMEOUT_MAX.as_secs_f64()))
        });
        Ok(Options {
            rooms: names(self.rooms)?,
            except: names(self.except)?,
            flags: Flags {
                volatile: self.flags.volatile,
                compress: self.flags.compress,
                local: self.flags.local,
                timeout,
                expect_single_response: self.flags.expect_single_response,
            },
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlagsIn {
    #[serde(default, deserialize_with = "or_default")]
    volatile: bool,
    #[serde(default)]
    compress: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    local: bool,
    #[serde(default)]
    timeout: Option<f64>,
    #[serde(default, deserialize_with = "or_default")]
    expect_single_response: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BroadcastIn<'a> {
    #[serde(borrow)]
    packet: PacketIn<'a>,
    #[serde(default)]
    opts: OptionsIn,
    request_id: Option<String>,
    #[serde(default)]
    attachments: Vec<String>,
}

#[derive(Deserialize)]
struct PacketIn<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct RoomsIn {
    #[serde(default)]
    opts: OptionsIn,
    rooms: Vec<Room>,
}

#[derive(Deserialize)]
struct DisconnectIn {
    #[serde(default)]
    opts: OptionsIn,
    #[serde(default, deserialize_with = "or_default")]
    close: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FetchIn {
    #[serde(default)]
    opts: OptionsIn,
    request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SocketsIn<'a> {
    request_id: String,
    #[serde(borrow)]
    sockets: Vec<SocketIn<'a>>,
}

#[derive(Deserialize)]
struct SocketIn<'a> {
    id: String,
    #[serde(borrow)]
    handshake: Option<&'a RawValue>,
    #[serde(default)]
    rooms: Vec<Room>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventIn<'a> {
    #[serde(borrow)]
    packet: &'a RawValue,
    request_id: Option<String>,
    #[serde(default)]
    attachments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerIn<'a> {
    request_id: String,
    #[serde(borrow)]
    packet: Option<&'a RawValue>,
    #[serde(default)]
    attachments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CountIn {
    request_id: String,
    client_count: u32,
}
