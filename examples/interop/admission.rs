//! Who is let in where, and what comes of it: for `tests/interop/namespaces.test.mjs`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ringhall::{
    Auth, Builder, Data, Namespace, NamespaceHandle, NamespaceRequest, Rejection, Server, Session,
    Socket, State,
};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{Arguments, program};

/// Adds it.
pub(super) fn describe(builder: Builder) -> Builder {
    let (gates, announced) = (Arc::<Gates>::default(), Arc::new(Mutex::new(Vec::new())));
    let (asked, heard) = (gates.clone(), announced.clone());
    builder
        .state(gates)
        .state(Tally::default())
        .namespace("/guarded", |guarded| guard(program(guarded)))
        .namespaces(r"^/room-\d+$", |rooms| program(rooms.family("rooms")))
        .namespaces(
            async move |request: NamespaceRequest| {
                if !request.name().starts_with("/team-") {
                    return false;
                }
                let Ok(badge) = request.auth::<Badge>() else {
                    return false;
                };
                if let Some(gate) = &badge.wait {
                    asked.pass(gate).await;
                }
                badge.token.as_deref() == Some("secret")
            },
            program,
        )
        .on_new_namespace(move |namespace: &NamespaceHandle| {
            let mut announced = announced.lock().unwrap_or_else(PoisonError::into_inner);
            announced.push(namespace.name().to_owned());
        })
        .on("announced", move || {
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            Data(heard.clone())
        })
        .on("namespaces", |server: Server| Data(server.namespaces()))
        .on(
            "tell-rooms",
            |server: Server, Data((room, event, args)): Data<(String, String, Arguments)>| {
                if let Some(rooms) = server.family("rooms") {
                    match room.as_str() {
                        "" => rooms.emit(&event, args),
                        room => rooms.to(room).emit(&event, args),
                    }
                }
                true
            },
        )
        .on(
            "release",
            |State(gates): State<Arc<Gates>>, Data(gate): Data<String>| {
                gates.gate(&gate).add_permits(1);
                true
            },
        )
        .on(
            "waiting",
            |State(gates): State<Arc<Gates>>, Data(gate): Data<String>| gates.waiting(&gate),
        )
        .on(
            "tally",
            |State(tally): State<Tally>, Data(gate): Data<String>| Data(tally.of(&gate).to_vec()),
        )
}

/// `auth` of a client that wants to be let in.
#[derive(Deserialize)]
struct Badge {
    token: Option<String>,
    /// The gate at which it is to wait.
    wait: Option<String>,
}

/// The middlewares that a client has passed, in order.
struct Passed(RefCell<Vec<&'static str>>);

fn guard(guarded: Namespace) -> Namespace {
    guarded
        .middleware(|socket: Socket| {
            socket.join("newcomers");
            Session::new(Passed(RefCell::new(vec!["first"])))
        })
        .middleware(
            async |socket: Socket,
                   Auth(badge): Auth<Badge>,
                   Session(passed): Session<Passed>,
                   State(gates): State<Arc<Gates>>| {
                passed.0.borrow_mut().push("second");
                socket.emit("early", (socket.is_connected(), "before"));
                if let Some(gate) = &badge.wait {
                    gates.pass(gate).await;
                }
                match badge.token.as_deref() {
                    Some("secret") => Ok(()),
                    Some(token) => {
                        let data = serde_json::json!({ "code": 401, "token": token });
                        Err(Rejection::new("not with this token").data(data))
                    }
                    None => Err(Rejection::new("no token")),
                }
            },
        )
        .middleware(|Session(passed): Session<Passed>| passed.0.borrow_mut().push("third"))
        .on_connection(|socket: Socket, State(tally): State<Tally>| tally.count(&socket, 0))
        .on_disconnect(|socket: Socket, State(tally): State<Tally>| tally.count(&socket, 1))
        .on("passed", |Session(passed): Session<Passed>| {
            Data(passed.0.borrow().clone())
        })
}

/// Where clients wait until somebody lets one through.
#[derive(Default)]
struct Gates(Mutex<HashMap<String, (Arc<Semaphore>, usize)>>);

impl Gates {
    fn gate(&self, name: &str) -> Arc<Semaphore> {
        self.with(name, |(gate, _)| gate.clone())
    }

    async fn pass(&self, name: &str) {
        self.with(name, |(_, waiting)| *waiting += 1);
        if let Ok(permit) = self.gate(name).acquire().await {
            permit.forget();
        }
        self.with(name, |(_, waiting)| *waiting -= 1);
    }

    fn waiting(&self, name: &str) -> usize {
        self.with(name, |(_, waiting)| *waiting)
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut (Arc<Semaphore>, usize)) -> T) -> T {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = gates
            .entry(name.to_owned())
            .or_insert_with(|| (Arc::new(Semaphore::new(0)), 0));
        act(gate)
    }
}

/// By the gate at which they waited: how many sockets came into `/guarded`, and how many left.
#[derive(Default)]
struct Tally(Mutex<HashMap<String, [u32; 2]>>);

impl Tally {
    fn count(&self, socket: &Socket, what: usize) {
        if let Ok(Badge {
            wait: Some(gate), ..
        }) = socket.auth()
        {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            counts.entry(gate).or_default()[what] += 1;
        }
    }

    fn of(&self, gate: &str) -> [u32; 2] {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(gate).copied().unwrap_or_default()
    }
}
