//! What this server does with the sockets of all, told to the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::proto::websocket::Kind;
use crate::server::Payload;
use crate::server::adapter::{
    AckReport, Adapter, AnswerSink, BadMessage, Options, Packet, SocketDetails, SocketSink,
};
use crate::server::operators::Elsewhere;
use crate::shard::hall::asking::{Asking, Report};
use crate::shard::hall::operation::{Deed, Handshaken, View, Whole};
use crate::shard::hall::{Outgoing, Target};
use crate::shard::thread;
use crate::wire::json::MAX_DEPTH;
use crate::wire::msgpack::{self, Unpacked};
use crate::wire::socket::{self, Limits};

use super::NO_DATA;

/// See the module's text.
pub(super) struct Others {
    adapter: Arc<dyn Adapter>,
    /// The adapter hands broadcasts to this server, too.
    delivers_here: bool,
}

impl Others {
    pub(super) fn new(adapter: Arc<dyn Adapter>) -> Self {
        Others {
            delivers_here: adapter.delivers_here(),
            adapter,
        }
    }
}

impl Elsewhere for Others {
    fn broadcast(&self, target: &Target<'_>, message: Outgoing<'_>) -> bool {
        let Some(packet) = packet_of(message) else {
            return false;
        };
        let mut options = options_of(target);
        if self.delivers_here {
            // The sender is one of those who may get it back. As in Node, it is known by the room of its own name.
            let sender = target.not.zip(thread::current());
            let sender = sender.and_then(|(key, hall)| hall.id_of(key));
            options.except.extend(sender.map(|id| id.to_string()));
        }
        self.adapter.broadcast(target.scope, packet, options);
        self.delivers_here
    }

    fn ask(&self, target: &Target<'_>, message: Outgoing<'_>, asking: &Asking, timeout_ms: u64) {
        let Some(packet) = packet_of(message) else {
            return;
        };
        let mut options = options_of(target);
        options.flags.timeout = Some(Duration::from_millis(timeout_ms));
        let reports = asking.reports.clone();
        let answers = AnswerSink::new(move |report| match report {
            AckReport::Count(count) => reports.send(Report::Count(count)).is_ok(),
            AckReport::Answer(answer) => reports.send(answer_of(&answer)).is_ok(),
            // Whoever asks sees the end of it by the end of the sink.
            AckReport::NotAll => reports.send(Report::NotAll).is_ok(),
            AckReport::Lost(_) | AckReport::AllCounted => !reports.is_closed(),
        });
        self.adapter
            .broadcast_with_ack(target.scope, packet, options, answers);
    }

    fn operate(&self, target: &Target<'_>, deed: &Deed) {
        let (namespace, options) = (&**target.scope, options_of(target));
        match deed {
            Deed::Join(rooms) => self.adapter.add_sockets(namespace, options, owned(rooms)),
            Deed::Leave(rooms) => self.adapter.del_sockets(namespace, options, owned(rooms)),
            Deed::Disconnect { close } => {
                self.adapter.disconnect_sockets(namespace, options, *close);
            }
            Deed::Fetch { reply, .. } => {
                let reply = reply.clone();
                let sink = SocketSink::new(move |sockets| {
                    let views = sockets.into_iter().map(view_of).collect();
                    reply.send(views).is_ok()
                });
                self.adapter.fetch_sockets(namespace, options, sink);
            }
        }
    }
}

fn view_of(socket: SocketDetails) -> View {
    View {
        id: socket.id,
        rooms: socket.rooms,
        whole: Some(Box::new(Whole {
            handshake: Handshaken::Elsewhere {
                json: socket.handshake.into(),
            },
            data: (socket.data != NO_DATA).then(|| socket.data.into()),
        })),
    }
}

fn owned(rooms: &[Box<str>]) -> Vec<String> {
    rooms.iter().map(|room| room.to_string()).collect()
}

/// The sender is nobody on other servers.
fn options_of(target: &Target<'_>) -> Options {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let mut options = Options {
        rooms: owned(target.to),
        except: owned(target.except),
        ..Options::default()
    };
    options.flags.volatile = target.volatile;
    options
}

fn answer_of(answer: &Payload) -> Report {
    Report::Answer {
        json: Bytes::copy_from_slice(answer.json().as_bytes()),
        attachments: answer.attachments().to_vec(),
    }
}

/// Our own packets are not limited like a client's.
const LIMITS: Limits = Limits {
    max_attachments: usize::MAX,
    max_depth: MAX_DEPTH,
};

/// The event in an encoded packet.
fn packet_of(message: Outgoing<'_>) -> Option<Packet> {
    let packet = match message.kind {
        Kind::Text => text_packet(&message),
        Kind::Binary => packed_packet(&message),
    };
    packet
        .inspect_err(|error| log::error!("the other servers are not told: {error}"))
        .ok()
}

fn text_packet(message: &Outgoing<'_>) -> Result<Packet, BadMessage> {
    // The first byte is Engine.IO's.
    let mut text = message.body.get(1..).unwrap_or_default().to_vec();
    match socket::decode(&mut text, &LIMITS) {
        Ok(packet) => Packet::of_event(own_part(message, packet.payload), message.attachments),
        Err(error) => Err(BadMessage::new(format_args!("{error:?}"))),
    }
}

fn packed_packet(message: &Outgoing<'_>) -> Result<Packet, BadMessage> {
    let mut unpacked = Unpacked::default();
    match msgpack::decode(message.body, &LIMITS, &mut unpacked) {
        Ok((packet, attachments)) => {
            Packet::of_event(own_part(message, packet.payload), attachments)
        }
        Err(error) => Err(BadMessage::new(format_args!("{error:?}"))),
    }
}

/// The event without its name for recovery: each server has names of its own.
fn own_part<'a>(message: &Outgoing<'_>, event: Option<&'a mut [u8]>) -> &'a mut [u8] {
    let event = event.unwrap_or_default();
    match message.offset {
        Some(offset) => offset.taken_off(event),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::emit;
    use crate::shard::recovery::offset::{Offset, Tag};
    use crate::wire::parser::Parser;

    #[test]
    fn a_packet_is_read_back_from_what_clients_get() {
        let args = Payload::encode(&("a\"b", Some(1), crate::Binary::from(vec![1, 2]))).unwrap();
        let offset = Offset::new(Tag::new([1, 2, 3]), 1000, 0, 1);
        for parser in [Parser::Default, Parser::MsgPack] {
            for (namespace, offset) in [("/", None), ("/chat", None), ("/", Some(offset))] {
                let mut packet = None;
                let with = |message: Outgoing<'_>| packet = packet_of(message);
                let form = emit::Form { parser, offset };
                emit::with_payload(form, namespace, "e\n", Some(7), &args, with).unwrap();
                let packet = packet.unwrap();
                assert_eq!(packet.event(), "e\n");
                assert_eq!(packet.args(), &args, "{parser:?}");
            }
        }
    }
}
