//! A handshake as a value, with Node's names for what is in it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::shard::handshake::Handshake;
use crate::wire::iso;

/// What is known of a socket's handshake, as a value: it can be kept, sent to the client, and to other servers. Its fields have the names that
/// `socket.handshake` has in Node.
///
/// It is made when it is asked for ([`Socket::handshake_details`](crate::Socket::handshake_details)): the handshake itself is kept as the bytes
/// that came.
///
/// ```
/// # fn f(socket: &ringhall::Socket) {
/// let details = socket.handshake_details();
/// println!("{} with {:?}", details.address, details.query.get("room"));
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HandshakeDetails {
    /// The headers of the request, their names in lower case; those of the same name joined by commas.
    pub headers: BTreeMap<String, String>,
    /// When the session was opened, as JavaScript writes a date, in UTC.
    pub time: String,
    /// The address of the other end, without its port; behind a proxy the proxy's. Empty where it is not known.
    pub address: String,
    /// Whether a page of some origin asked: there was an `Origin` header.
    pub xdomain: bool,
    /// Whether the connection came over TLS.
    pub secure: bool,
    /// When the session was opened, in milliseconds since 1970.
    pub issued: u64,
    /// Path and query as they were sent.
    pub url: String,
    /// The parameters of the query, decoded. Of a repeated one the last counts.
    pub query: BTreeMap<String, String>,
    /// What the client gave when it connected to the namespace; an empty object if that was nothing.
    pub auth: serde_json::Value,
}

impl HandshakeDetails {
    pub(crate) fn new(handshake: &Handshake, issued: u64, auth: serde_json::Value) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in handshake.headers() {
            headers
                .entry(name.to_ascii_lowercase())
                .and_modify(|values| {
                    // RFC 9110 §5.3; RFC 6265 §5.4 for cookies.
                    let between = if name.eq_ignore_ascii_case("cookie") {
                        "; "
                    } else {
                        ", "
                    };
                    values.push_str(between);
                    values.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        }
        HandshakeDetails {
            xdomain: headers.contains_key("origin"),
            headers,
            time: date(issued),
            address: handshake
                .peer_addr()
                .map(|peer| peer.ip().to_string())
                .unwrap_or_default(),
            secure: handshake.is_secure(),
            issued,
            url: handshake.url().to_owned(),
            query: handshake
                .parameters()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            auth,
        }
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment, in milliseconds since 1970, as JavaScript's `Date.prototype.toString` writes it in UTC.
fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, date) = iso::date(day as i64);
    let name =
        |names: &[&'static str], at: u64| names.get(at as usize).copied().unwrap_or_default();
    format!(
        "{} {} {date:02} {year:04} {:02}:{:02}:{:02} GMT+0000 (Coordinated Universal Time)",
        name(&DAYS, day % 7),
        name(&MONTHS, month as u64 - 1),
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::handshake::Via;

    #[test]
    fn dates_are_those_of_javascript() {
        let zone = "GMT+0000 (Coordinated Universal Time)";
        for (unix_ms, expected) in [
            (0, "Thu Jan 01 1970 00:00:00"),
            (951_782_400_000, "Tue Feb 29 2000 00:00:00"),
            (951_868_799_999, "Tue Feb 29 2000 23:59:59"),
            (951_868_800_000, "Wed Mar 01 2000 00:00:00"),
            (1_764_104_632_123, "Tue Nov 25 2025 21:03:52"),
            (4_107_542_399_000, "Sun Feb 28 2100 23:59:59"),
            (4_107_542_400_000, "Mon Mar 01 2100 00:00:00"),
        ] {
            assert_eq!(date(unix_ms), format!("{expected} {zone}"));
        }
    }

    #[test]
    fn all_that_was_said_is_in_it() {
        let head = b"GET /x/?a=1&b=%20&a=2 HTTP/1.1\r\nX-One: 1\r\nOrigin: o\r\nx-one: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n";
        let via = Via {
            peer: "127.0.0.1:5".parse().ok(),
            is_secure: true,
        };
        let handshake = Handshake::new(head, via, 7);
        let details = HandshakeDetails::new(&handshake, 1000, serde_json::json!({"token": 1}));
        let json = serde_json::to_value(&details).unwrap();
        let expected = serde_json::json!({
            "headers": {"cookie": "a=1; b=2", "origin": "o", "x-one": "1, 2"},
            "time": "Thu Jan 01 1970 00:00:01 GMT+0000 (Coordinated Universal Time)",
            "address": "127.0.0.1",
            "xdomain": true,
            "secure": true,
            "issued": 1000,
            "url": "/x/?a=1&b=%20&a=2",
            "query": {"a": "2", "b": " "},
            "auth": {"token": 1},
        });
        assert_eq!(json, expected);
        assert_eq!(
            serde_json::from_value::<HandshakeDetails>(json).unwrap(),
            details
        );
    }
}
