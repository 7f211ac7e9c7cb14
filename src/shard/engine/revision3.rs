//! What is different with clients of Socket.IO 2, which speak revision 3 of Engine.IO.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::shard::hall::{Hall, SocketKey};
use crate::wire::http::query_pairs;

/// What a binary WebSocket message of revision 3 begins with: the type of a message packet, as a byte.
pub(crate) const MESSAGE: u8 = 4;

/// The data of a binary WebSocket message.
pub(super) fn data_of(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&[MESSAGE])
}

/// The query behind a namespace's name, as the object that later clients send.
pub(super) fn auth_of(query: &str) -> Vec<u8> {
    let pairs = query_pairs(query)
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())));
    Value::Object(pairs.collect::<Map<_, _>>())
        .to_string()
        .into_bytes()
}

/// Of the object that says why a client is refused, what such a client expects: the data, or else the message as a string.
pub(super) fn error_of(json: &str) -> Cow<'_, str> {
    let Ok(Value::Object(mut error)) = serde_json::from_str(json) else {
        return Cow::Borrowed(json);
    };
    let said = error.remove("data").or_else(|| error.remove("message"));
    Cow::Owned(said.unwrap_or_default().to_string())
}

/// Such a client is not told its id: it makes its own of the session's. A room of that name brings to it what is addressed so.
pub(super) fn join_own_room(hall: &Hall, socket: SocketKey, namespace: &str, sid: &str) {
    let own = match namespace {
        "/" => Cow::Borrowed(sid),
        namespace => Cow::Owned(format!("{namespace}#{sid}")),
    };
    // A namespace of a name as long as a room may have: then it goes without.
    let _ = hall.join(socket, &own);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_objects() {
        assert_eq!(auth_of("token=a%20b&x="), br#"{"token":"a b","x":""}"#);
    }

    #[test]
    fn refusals_are_the_data_or_the_message() {
        assert_eq!(error_of(r#"{"message":"no"}"#), r#""no""#);
        assert_eq!(error_of(r#"{"message":"no","data":{"a":1}}"#), r#"{"a":1}"#);
    }

    #[test]
    fn binary_messages_begin_with_their_type() {
        assert_eq!(data_of(&[4, 1, 2]), Some(&[1, 2][..]));
        assert_eq!(data_of(&[1]), None);
        assert_eq!(data_of(&[]), None);
    }
}
