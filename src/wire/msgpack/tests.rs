use super::*;
use crate::wire::socket::{Limits, PacketError};

/// Encodes a packet of the main namespace.
fn packed(kind: PacketType, id: Option<u64>, json: &str, attachments: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::new();
    let packet = Packed {
        kind,
        namespace: "/",
        id,
        json: json.as_bytes(),
        attachments,
    };
    encode(&mut out, &packet).unwrap();
    out
}

/// What was decoded, with parts of its own.
#[derive(Debug, PartialEq)]
struct Owned {
    kind: PacketType,
    namespace: String,
    id: Option<u64>,
    json: Option<String>,
    attachments: Vec<Bytes>,
}

fn unpacked_with(bytes: &[u8], limits: &Limits) -> Result<Owned, PacketError> {
    let mut unpacked = Unpacked::default();
    let (packet, attachments) = decode(bytes, limits, &mut unpacked)?;
    assert_eq!(packet.attachments, 0, "none is due");
    let json = packet.payload.map(|json| String::from_utf8(json.to_vec()));
    Ok(Owned {
        kind: packet.kind,
        namespace: packet.namespace.to_owned(),
        id: packet.id,
        json: json.map(|json| json.expect("JSON is UTF-8")),
        attachments: attachments.to_vec(),
    })
}

fn unpacked(bytes: &[u8]) -> Result<Owned, PacketError> {
    unpacked_with(bytes, &Limits::default())
}

#[test]
fn an_event_goes_there_and_back() {
    let attachments = [Bytes::from_static(b"abc"), Bytes::new()];
    let json = r#"["say",{"a":[1,-1,1.5,null,true,false]},{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let bytes = packed(PacketType::BinaryEvent, Some(7), json, &attachments);
    let expected = Owned {
        kind: PacketType::Event,
        namespace: "/".to_owned(),
        id: Some(7),
        json: Some(json.to_owned()),
        attachments: attachments.to_vec(),
    };
    assert_eq!(unpacked(&bytes), Ok(expected));
}
