//! Texts that are no packets, each with what is wrong with it.

use super::{PacketError, decode_owned};

const TABLE: &[(&str, PacketError)] = &[
    // The type.
    ("", PacketError::Empty),
    ("7", PacketError::UnknownType),
    ("9[\"x\"]", PacketError::UnknownType),
    ("a", PacketError::UnknownType),
    (" 2[\"x\"]", PacketError::UnknownType),
    ("-1", PacketError::UnknownType),
    ("[\"x\"]", PacketError::UnknownType),
    ("/chat,", PacketError::UnknownType),
    ("é", PacketError::UnknownType),
    ("\u{0}", PacketError::UnknownType),
    // The attachment count.
    ("5", PacketError::AttachmentCount),
    ("6", PacketError::AttachmentCount),
    ("51", PacketError::AttachmentCount),
    ("5-", PacketError::AttachmentCount),
    ("5-[\"x\"]", PacketError::AttachmentCount),
    ("5[\"x\"]", PacketError::AttachmentCount),
    ("51[\"x\"]", PacketError::AttachmentCount),
    ("51[\"x-\"]", PacketError::AttachmentCount),
    ("50-[\"x\"]", PacketError::AttachmentCount),
    ("60-1[]", PacketError::AttachmentCount),
    ("5-1-[\"x\"]", PacketError::AttachmentCount),
    ("51.0-[\"x\"]", PacketError::AttachmentCount),
    ("51e0-[\"x\"]", PacketError::AttachmentCount),
    ("5 1-[\"x\"]", PacketError::AttachmentCount),
    ("5/chat,1-[\"x\"]", PacketError::AttachmentCount),
    ("5a-[\"x\"]", PacketError::AttachmentCount),
    ("511-[\"x\"]", PacketError::TooManyAttachments),
    ("611-1[]", PacketError::TooManyAttachments),
    (
        "599999999999999999999999999999-[\"x\"]",
        PacketError::TooManyAttachments,
    ),
    ("511", PacketError::TooManyAttachments),
    // The ack id.
    ("29007199254740992[\"x\"]", PacketError::AckIdTooLarge),
    (
        "299999999999999999999999999[\"x\"]",
        PacketError::AckIdTooLarge,
    ),
    ("318446744073709551616[]", PacketError::AckIdTooLarge),
    ("3/chat,9007199254740992[]", PacketError::AckIdTooLarge),
    ("2-1[\"x\"]", PacketError::PayloadShape),
    ("21.5[\"x\"]", PacketError::Json),
    // A missing payload.
    ("2", PacketError::MissingPayload),
    ("2 ", PacketError::MissingPayload),
    ("212", PacketError::MissingPayload),
    ("2/chat", PacketError::MissingPayload),
    ("2/chat,", PacketError::MissingPayload),
    ("2/chat[\"x\"]", PacketError::MissingPayload),
    ("51-", PacketError::MissingPayload),
    ("51-/chat,1", PacketError::MissingPayload),
    // A payload of the wrong shape.
    ("0[]", PacketError::PayloadShape),
    ("0\"token\"", PacketError::PayloadShape),
    ("0null", PacketError::PayloadShape),
    ("0true", PacketError::PayloadShape),
    ("0/chat,[1]", PacketError::PayloadShape),
    ("1{}", PacketError::PayloadShape),
    ("1[]", PacketError::PayloadShape),
    ("1\"x\"", PacketError::PayloadShape),
    ("1/chat,null", PacketError::PayloadShape),
    ("2{}", PacketError::PayloadShape),
    ("2\"x\"", PacketError::PayloadShape),
    ("2null", PacketError::PayloadShape),
    ("2false", PacketError::PayloadShape),
    ("2{\"0\":\"x\"}", PacketError::PayloadShape),
    ("3{}", PacketError::PayloadShape),
    ("31null", PacketError::PayloadShape),
    ("31\"x\"", PacketError::PayloadShape),
    ("4[]", PacketError::PayloadShape),
    ("4null", PacketError::PayloadShape),
    ("4true", PacketError::PayloadShape),
    ("51-{}", PacketError::PayloadShape),
    ("61-1{}", PacketError::PayloadShape),
    // The event's name.
    ("2[]", PacketError::EventName),
    ("2[ ]", PacketError::EventName),
    ("2[null]", PacketError::EventName),
    ("2[true,1]", PacketError::EventName),
    ("2[[\"x\"]]", PacketError::EventName),
    ("2[{}]", PacketError::EventName),
    (
        "51-[{\"_placeholder\":true,\"num\":0}]",
        PacketError::EventName,
    ),
    ("2[\"connect\"]", PacketError::ReservedEvent),
    ("2[\"connect_error\",1]", PacketError::ReservedEvent),
    ("2[\"disconnect\"]", PacketError::ReservedEvent),
    ("21[\"disconnecting\"]", PacketError::ReservedEvent),
    ("2/chat,[\"newListener\"]", PacketError::ReservedEvent),
    ("2[\"removeListener\"]", PacketError::ReservedEvent),
    ("51-[\"connect\"]", PacketError::ReservedEvent),
    ("2[\"\\u0063onnect\"]", PacketError::ReservedEvent),
    (
        "2[\"\\u0063\\u006F\\u006e\\u006E\\u0065\\u0063\\u0074\"]",
        PacketError::ReservedEvent,
    ),
    ("2[\"connect\\u005ferror\"]", PacketError::ReservedEvent),
    // The JSON.
    ("0{", PacketError::Json),
    ("0{\"a\"}", PacketError::Json),
    ("0{\"a\":1}}", PacketError::Json),
    ("0{'a':1}", PacketError::Json),
    ("2[", PacketError::Json),
    ("2[\"x\"", PacketError::Json),
    ("2[\"x\",", PacketError::Json),
    ("2[\"x\",]", PacketError::Json),
    ("2[\"x\"]]", PacketError::Json),
    ("2[\"x\"],", PacketError::Json),
    ("2[\"x\"][\"y\"]", PacketError::Json),
    ("2[\"x\" 1]", PacketError::Json),
    ("2[\"x\",01]", PacketError::Json),
    ("2[\"x\",NaN]", PacketError::Json),
    ("2[\"x\",undefined]", PacketError::Json),
    ("2[\"x\",\"\n\"]", PacketError::Json),
    ("2[\"x\",\"\\x41\"]", PacketError::Json),
    ("2[\"x\",\"\\u12\"]", PacketError::Json),
    ("2[\"x\",{\"a\":}]", PacketError::Json),
    ("2[\"x}", PacketError::Json),
    ("2chat,[\"x\"]", PacketError::Json),
    ("2,[\"x\"]", PacketError::Json),
    ("2\u{feff}[\"x\"]", PacketError::Json),
    ("2\u{a0}[\"x\"]", PacketError::Json),
    ("3[", PacketError::Json),
    ("31[}", PacketError::Json),
    (
        "51-[\"x\",{\"_placeholder\":true,\"num\":0}",
        PacketError::Json,
    ),
    ("2/a[\"x\",1]", PacketError::Json),
    // A placeholder.
    (
        "51-[\"x\",{\"_placeholder\":true,\"num\":1}]",
        PacketError::Placeholder,
    ),
    ("61-1[{\"_placeholder\":true}]", PacketError::Placeholder),
];

#[test]
fn every_malformed_text_says_what_is_wrong() {
    assert!(TABLE.len() >= 60);
    for (text, error) in TABLE {
        assert_eq!(decode_owned(text.as_bytes()), Err(*error), "{text:?}");
    }
}

#[test]
fn bytes_that_are_no_utf8() {
    for (text, error) in [
        (&b"0/\xff,"[..], PacketError::NotUtf8),
        (b"0/\xc3", PacketError::NotUtf8),
        (b"2[\"\xff\"]", PacketError::NotUtf8),
        (b"2[\"\\n\xff\"]", PacketError::NotUtf8),
        (b"\xff", PacketError::UnknownType),
        (b"2\xff", PacketError::Json),
        (b"2[\"x\",\xff]", PacketError::Json),
    ] {
        assert_eq!(decode_owned(text), Err(error), "{text:?}");
    }
    // Inside the arguments' strings nobody looks: the transport has.
    assert!(decode_owned(b"2[\"x\",\"\xff\"]").is_ok());
}
