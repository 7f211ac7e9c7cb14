//! The contract program: who is let in, its namespaces, and what is remembered of sockets when they are gone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use ringhall::{
    Builder, Config, Forbidden, Handshake, Namespace, NamespaceRequest, Rejection, Server,
    ServerEvent, Session, Socket,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::sleep;

use super::standard::standard;

pub(super) fn contract(config: Config) -> Builder {
    let builder = Server::builder()
        .config(config)
        .state(Profile::default())
        .allow_request(gate)
        .initial_headers(|_, headers| {
            headers.insert("x-initial", HeaderValue::from_static("1"));
        })
        .response_headers(|_, headers| {
            headers.insert("x-every", HeaderValue::from_static("1"));
        })
        .on_server_event("cluster-event", cluster_event);
    namespaces(builder)
}

/// Lets in who does not ask to be refused.
async fn gate(request: Handshake) -> Result<(), Forbidden> {
    match request.query("reject").as_deref() {
        Some("msg") => Err(Forbidden::new("no way")),
        Some("plain") => Err(Forbidden::default()),
        _ => Ok(()),
    }
}

fn namespaces(builder: Builder) -> Builder {
    builder
        .namespace("/", |main| standard(main).middleware(remember_arrival))
        .namespace("/chat", standard)
        .namespace("/auth", |auth| standard(auth).middleware(ask_for_token))
        .namespace("/slow", |slow| {
            standard(slow).middleware(async || sleep(Duration::from_millis(200)).await)
        })
        .namespace("/mw", |ordered| {
            (1..=3).fold(standard(ordered), append_in_turn)
        })
        .namespaces("^/dyn-[0-9]+$", |by_pattern| {
            standard(by_pattern).middleware(deny_whoever_wants_it)
        })
        .namespaces(is_allowed, standard)
}

/// What the middleware of `/` has seen.
pub(super) struct Arrival {
    pub(super) connected: bool,
}

fn remember_arrival(socket: Socket) -> Session<Arrival> {
    Session::new(Arrival {
        connected: socket.is_connected(),
    })
}

/// A room that is joined before it is known whether the client may come in is left again if it may not.
fn ask_for_token(socket: Socket) -> Result<(), Rejection> {
    #[derive(Deserialize)]
    struct Credentials {
        token: String,
    }
    socket.join("joined-in-middleware");
    match socket.auth::<Credentials>() {
        Ok(Credentials { token }) if token == "secret" => Ok(()),
        _ => {
            let data = json!({ "code": 401, "reason": "bad token" });
            Err(Rejection::new("not authorized").data(data))
        }
    }
}

/// The numbers of the middlewares that a socket has come through.
#[derive(Default)]
pub(super) struct Order(pub(super) RefCell<Vec<u8>>);

fn append_in_turn(namespace: Namespace, number: u8) -> Namespace {
    namespace.middleware(async move |socket: Socket| {
        if number == 1 {
            socket.set_session(Order::default());
        }
        if let Some(order) = socket.session::<Order>() {
            order.0.borrow_mut().push(number);
        }
        sleep(Duration::from_millis(5)).await;
    })
}

fn deny_whoever_wants_it(socket: Socket) -> Result<(), &'static str> {
    #[derive(Deserialize)]
    struct Wish {
        #[serde(default)]
        deny: serde_json::Value,
    }
    match socket.auth::<Wish>() {
        Ok(Wish { deny }) if is_truthy(&deny) => Err("denied"),
        _ => Ok(()),
    }
}

/// Names that begin with `/fn-`, for who says that they are allowed.
async fn is_allowed(request: NamespaceRequest) -> bool {
    #[derive(Deserialize)]
    struct Claim {
        #[serde(default)]
        allow: serde_json::Value,
    }
    request.name().starts_with("/fn-")
        && request
            .auth::<Claim>()
            .is_ok_and(|Claim { allow }| is_truthy(&allow))
}

/// As JavaScript sees it.
fn is_truthy(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => false,
        serde_json::Value::Bool(value) => *value,
        serde_json::Value::Number(number) => number.as_f64() != Some(0.0),
        serde_json::Value::String(text) => !text.is_empty(),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => true,
    }
}

/// What another server of the cluster says.
fn cluster_event(event: ServerEvent) {
    let Ok(value) = event.data::<serde_json::Value>() else {
        return;
    };
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    if let Some(profile) = event.server().state::<Profile>() {
        profile.heard(value);
    }
    event.reply(format!("re:{text}"));
}

/// What the servers of one profile remember, on whatever core it happened.
#[derive(Default)]
pub(super) struct Profile {
    /// By the sockets' ids; kept for whoever asks after they are gone.
    log: Mutex<HashMap<String, Vec<Entry>>>,
    cluster_log: Mutex<Vec<serde_json::Value>>,
}

/// Something that happened to a socket.
#[derive(Clone, Serialize)]
#[serde(tag = "ev", rename_all = "kebab-case")]
pub(super) enum Entry {
    Connection { nsp: String, recovered: bool },
    Error { message: String },
    BlockedHandlerRan,
    Disconnecting { reason: String, rooms: Vec<String> },
    Disconnect { reason: String, rooms: Vec<String> },
}

impl Profile {
    pub(super) fn log(&self, socket: &Socket, entry: Entry) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.entry(socket.id().to_string()).or_default().push(entry);
    }

    pub(super) fn log_of(&self, id: &str) -> Vec<Entry> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.get(id).cloned().unwrap_or_default()
    }

    fn heard(&self, value: serde_json::Value) {
        let mut log = self
            .cluster_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        log.push(value);
    }

    pub(super) fn cluster_log(&self) -> Vec<serde_json::Value> {
        let log = self
            .cluster_log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }
}
