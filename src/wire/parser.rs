//! In which of two forms a server's packets are written and read.

use super::engine;
use super::json::JsonError;
use super::msgpack::{self, Packed};
use super::socket::{self, PacketType};

/// The form that Socket.IO packets have on the wire: what JavaScript's libraries call `parser`. Clients must have the same.
///
/// ```
/// use ringhall::{Config, Parser, Server};
///
/// let config = Config { parser: Parser::MsgPack, ..Config::default() };
/// let builder = Server::builder().config(config);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Parser {
    /// JSON in text messages, each binary value in a binary message of its own. What clients speak unless they are told otherwise.
    #[default]
    Default,
    /// One MessagePack map for each packet, as `socket.io-msgpack-parser` has it: binary values stay in their place, and numbers are short.
    /// Clients are opened with `io({ parser: require("socket.io-msgpack-parser") })`. A text message ends a client's session.
    ///
    /// Handlers notice nothing: they see what they would see with JSON. So a `Date` comes as its ISO text, `undefined` as `null` in a list
    /// and not at all in an object, infinite numbers as `null`, keys as strings; and half a surrogate pair does not survive.
    /// An extension of another type is the list of its type and its bytes. A client that sends an object `{_placeholder: true, num: 0}` beside
    /// binary values means the first of them.
    ///
    /// [`Config::max_attachments`](crate::Config::max_attachments) counts binary values here, too, where Node has no such limit.
    MsgPack,
}

impl Parser {
    /// Appends a packet without attachments as an Engine.IO message, with its type digit if that is a text. `json` may be empty: then it
    /// has no data.
    pub(crate) fn encode(
        self,
        out: &mut Vec<u8>,
        kind: PacketType,
        namespace: &str,
        json: &[u8],
    ) -> Result<(), JsonError> {
        match self {
            Parser::Default => {
                out.push(engine::MESSAGE);
                socket::encode_head(out, kind, 0, namespace, None);
                out.extend_from_slice(json);
                Ok(())
            }
            Parser::MsgPack => {
                let packet = Packed {
                    kind,
                    namespace,
                    id: None,
                    json,
                    attachments: &[],
                };
                msgpack::encode(out, &packet)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(parser: Parser, kind: PacketType, namespace: &str, json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        parser
            .encode(&mut out, kind, namespace, json.as_bytes())
            .unwrap();
        out
    }

    #[test]
    fn packets_are_text_by_default() {
        let refusal = r#"{"message":"Invalid namespace"}"#;
        for (kind, namespace, json, expected) in [
            (
                PacketType::Connect,
                "/",
                r#"{"sid":"abc"}"#,
                r#"40{"sid":"abc"}"#,
            ),
            (
                PacketType::Connect,
                "/chat",
                r#"{"sid":"a"}"#,
                r#"40/chat,{"sid":"a"}"#,
            ),
            (PacketType::Connect, "/", "", "40"),
            (
                PacketType::ConnectError,
                "/x",
                refusal,
                r#"44/x,{"message":"Invalid namespace"}"#,
            ),
            (
                PacketType::ConnectError,
                "/",
                refusal,
                r#"44{"message":"Invalid namespace"}"#,
            ),
            (PacketType::Disconnect, "/", "", "41"),
            (PacketType::Disconnect, "/chat", "", "41/chat,"),
        ] {
            let text = packet(Parser::Default, kind, namespace, json);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }

    #[test]
    fn packets_are_maps_with_msgpack() {
        assert_eq!(
            packet(Parser::MsgPack, PacketType::Connect, "/a", r#"{"sid":"x"}"#),
            b"\x83\xa4type\x00\xa4data\x81\xa3sid\xa1x\xa3nsp\xa2/a"
        );
        assert_eq!(
            packet(Parser::MsgPack, PacketType::Disconnect, "/", ""),
            b"\x82\xa4type\x01\xa3nsp\xa1/"
        );
    }
}
