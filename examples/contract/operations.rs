//! `emit-op` and `room-op`: whom a message reaches, who answers, and what a server does to its sockets, as a client asks for it.

use std::time::Duration;

use ringhall::{Ack, ArgList, Broadcast, Data, NamespaceHandle, RemoteSocket, Socket};
use serde::{Deserialize, Serialize};

use super::values::Value;

/// `emit-op`: whom to tell, and what.
#[derive(Deserialize)]
pub(super) struct EmitOp {
    from: Origin,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    volatile: bool,
    #[serde(default)]
    local: bool,
    compress: Option<bool>,
    /// Milliseconds.
    timeout: Option<u64>,
    #[serde(default)]
    ack: bool,
    event: String,
    #[serde(default = "none")]
    args: ArgList<Value>,
}

fn none() -> ArgList<Value> {
    ArgList(Vec::new())
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Origin {
    /// The whole namespace.
    Nsp,
    /// Everybody but the sender.
    Socket,
    /// The sender alone.
    #[serde(rename = "self")]
    Itself,
}

/// What came of it.
#[derive(Serialize)]
struct Outcome {
    ok: bool,
    error: Option<String>,
    /// The first argument of each answer.
    responses: Vec<Value>,
}

impl Outcome {
    fn of(responses: Vec<Value>, error: Option<impl ToString>) -> Self {
        Outcome {
            ok: error.is_none(),
            error: error.map(|error| error.to_string()),
            responses,
        }
    }
}

pub(super) async fn emit_op(socket: Socket, Data(op): Data<EmitOp>, ack: Ack) {
    let namespace = socket.server().of(socket.namespace());
    let outcome = match op.from {
        Origin::Nsp => tell(op.modify(namespace.everyone()), &op).await,
        Origin::Socket => tell(op.modify(socket.broadcast()), &op).await,
        Origin::Itself => tell_one(&socket, &op).await,
    };
    ack.send(outcome);
}

impl EmitOp {
    fn modify<'a>(&'a self, mut receivers: Broadcast<'a>) -> Broadcast<'a> {
        for room in &self.to {
            receivers = receivers.to(room);
        }
        for room in &self.except {
            receivers = receivers.except(room);
        }
        if self.volatile {
            receivers = receivers.volatile();
        }
        if self.local {
            receivers = receivers.local();
        }
        if let Some(compress) = self.compress {
            receivers = receivers.compress(compress);
        }
        if let Some(timeout) = self.timeout {
            receivers = receivers.timeout(Duration::from_millis(timeout));
        }
        receivers
    }
}

/// On a timeout the answers that have come are among the outcome.
async fn tell(receivers: Broadcast<'_>, op: &EmitOp) -> Outcome {
    if !op.ack {
        receivers.emit(&op.event, &op.args);
        return Outcome::of(Vec::new(), None::<String>);
    }
    let answers = receivers.emit_with_ack(&op.event, &op.args).await;
    Outcome::of(answers.answers, answers.error)
}

async fn tell_one(socket: &Socket, op: &EmitOp) -> Outcome {
    if !op.ack {
        match op.volatile {
            true => socket.emit_volatile(&op.event, &op.args),
            false => socket.emit(&op.event, &op.args),
        }
        return Outcome::of(Vec::new(), None::<String>);
    }
    let answer = match op.timeout {
        Some(ms) => socket
            .timeout(Duration::from_millis(ms))
            .emit_with_ack(&op.event, &op.args),
        None => socket.emit_with_ack(&op.event, &op.args),
    };
    match answer.await {
        Ok(response) => Outcome::of(vec![response], None::<String>),
        Err(error) => Outcome::of(Vec::new(), Some(error)),
    }
}

/// `room-op`: what to do, and to which sockets.
#[derive(Deserialize)]
pub(super) struct RoomOp {
    op: Deed,
    #[serde(default, rename = "in")]
    inside: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    close: bool,
    #[serde(default)]
    local: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deed {
    Fetch,
    Join,
    Leave,
    Disconnect,
}

/// A socket, as its server tells of it.
#[derive(Serialize)]
struct Found {
    id: String,
    rooms: Vec<String>,
    data: serde_json::Value,
    auth: serde_json::Value,
}

pub(super) async fn room_op(socket: Socket, Data(op): Data<RoomOp>, ack: Ack) {
    let namespace = socket.server().of(socket.namespace());
    let sockets = op.sockets(&namespace);
    match op.op {
        Deed::Fetch => {
            let mut found: Vec<Found> = sockets.fetch_sockets().await.iter().map(found).collect();
            found.sort_by(|one, other| one.id.cmp(&other.id));
            return ack.send(found);
        }
        Deed::Join => sockets.sockets_join(&op.rooms),
        Deed::Leave => sockets.sockets_leave(&op.rooms),
        Deed::Disconnect => sockets.disconnect_sockets(op.close),
    }
    ack.send([(); 0]);
}

impl RoomOp {
    fn sockets<'a>(&'a self, namespace: &'a NamespaceHandle) -> Broadcast<'a> {
        let mut sockets = namespace.everyone();
        for room in &self.inside {
            sockets = sockets.to(room);
        }
        for room in &self.except {
            sockets = sockets.except(room);
        }
        match self.local {
            true => sockets.local(),
            false => sockets,
        }
    }
}

fn found(socket: &RemoteSocket) -> Found {
    let mut rooms = socket.rooms().to_vec();
    rooms.sort_unstable();
    Found {
        id: socket.id().to_owned(),
        rooms,
        data: socket.data().unwrap_or_default(),
        auth: socket.handshake_details().auth,
    }
}
