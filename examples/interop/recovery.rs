//! The namespace of `tests/interop/csr.test.mjs`: whatever can be missed, and what is found again.

use ringhall::{Auth, Broadcast, Data, Namespace, Payload, Server, Socket};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    room: Option<String>,
    except: Option<String>,
    volatile: bool,
    numbers: Vec<u64>,
}

#[derive(Deserialize)]
struct Entry {
    /// Refused by the middleware.
    #[serde(default)]
    refused: bool,
}

pub(crate) fn describe(namespace: Namespace) -> Namespace {
    namespace
        .middleware(|socket: Socket, Auth(entry): Auth<Entry>| {
            if entry.refused {
                return Err("refused");
            }
            // Clients that are recovered do not come by here.
            socket.set_session(true);
            Ok(())
        })
        .on("state", |socket: Socket| {
            let mut rooms = socket.rooms();
            rooms.sort_unstable();
            Data(json!({
                "id": socket.id(),
                "recovered": socket.recovered(),
                "rooms": rooms,
                "data": socket.data::<Value>().ok(),
                "asked": socket.session::<bool>().is_some(),
            }))
        })
        .on("join", |socket: Socket, Data(room): Data<String>| {
            socket.join(room);
            true
        })
        .on(
            "present",
            async |socket: Socket, Data(room): Data<String>| {
                socket.everyone().to(&room).fetch_sockets().await.len()
            },
        )
        .on("data", |socket: Socket, Data(data): Data<Value>| {
            socket.set_data(&data);
            true
        })
        .on("tell", |socket: Socket, Data(told): Data<Told>| {
            told.by(socket.everyone());
            true
        })
        .on("tell others", |socket: Socket, Data(told): Data<Told>| {
            told.by(socket.broadcast());
            true
        })
        .on("relay", |socket: Socket, payload: Payload| {
            socket.everyone().emit_raw("told", &payload);
        })
        .on("leave me", |socket: Socket| socket.disconnect(false))
        .on("counters", |server: Server| {
            let recoveries = server.counters().recoveries;
            let why = format!("{recoveries:?}");
            Data(json!({ "recovered": recoveries.recovered, "refused": recoveries.refused(), "why": why }))
        })
}

impl Told {
    fn by<'a>(&'a self, mut receivers: Broadcast<'a>) {
        let (room, except) = (self.room.as_ref(), self.except.as_ref());
        if let Some(room) = room {
            receivers = receivers.to(room);
        }
        if let Some(except) = except {
            receivers = receivers.except(except);
        }
        if self.volatile {
            receivers = receivers.volatile();
        }
        for number in &self.numbers {
            receivers.emit("told", number);
        }
    }
}
