//! The server's side of the Socket.IO Admin UI.
//!
//! The UI is a client in a namespace of its own. What it is shown comes from two sources: every namespace is *instrumented* when the server is
//! described, with handlers as any program could register them ([`instrument`]), and one thread looks at the cores' counters once a
//! second as long as anybody watches ([`stats`]). Without [`Builder::admin`](crate::Builder::admin) none of it exists.

#![forbid(unsafe_code)]

mod commands;
mod gate;
mod instrument;
mod stats;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::Server;
use super::namespace::Namespace;
use super::namespace::known::Namespaces;
use crate::wire::iso;
use crate::{Error, Result};

use gate::Gate;
use instrument::Client;
pub(crate) use stats::start;

/// Access for the [Socket.IO Admin UI](https://socket.io/docs/v4/admin-ui/): the hosted one at <https://admin.socket.io>, or the static files of
/// npm's `@socket.io/admin-ui`, served from anywhere. See [`Builder::admin`](crate::Builder::admin).
///
/// The UI is a client in the namespace `/admin`. A page of another origin, such as the hosted UI's, must be allowed by
/// [`Config::cors`](crate::Config::cors), with credentials.
///
/// In development mode, the default, the UI sees every socket, room and event as it happens: that costs a message for each, to every
/// admin that is connected, and something for every event even when none is. In [production](AdminUi::production) it sees numbers alone, once every two
/// seconds, and what they cost does not depend on how many sockets there are. Of a socket's handshake the UI is shown neither the `auth` object nor
/// cookies and the credentials in headers.
///
/// ```
/// use ringhall::{AdminUi, Config, Cors, Origin, Server};
///
/// // The hash of the password "changeit", as `htpasswd -nbB` or any other tool for bcrypt makes it.
/// let hash = "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS";
/// let config = Config {
///     cors: Some(Cors {
///         origin: Origin::List(vec!["https://admin.socket.io".into()]),
///         credentials: true,
///         ..Cors::default()
///     }),
///     ..Config::default()
/// };
/// let server = Server::builder()
///     .config(config)
///     .admin(AdminUi::basic("admin", hash));
/// # let _ = server;
/// ```
#[derive(Clone)]
#[must_use = "it does nothing until it is given to a builder"]
pub struct AdminUi {
    namespace: String,
    credentials: Option<(String, String)>,
    is_readonly: bool,
    is_production: bool,
    server_id: Option<String>,
}

impl AdminUi {
    /// For who knows this name and the password of which this is the bcrypt hash. At most two passwords are checked at a time, off
    /// the cores; who finds 32 others waiting is refused.
    ///
    /// ```
    /// let admin = ringhall::AdminUi::basic("admin", "$2b$10$heqvAkYMez.Va6Et2uXInOnkCT6/uQj1brkrbyG3LpopDklcq7ZOS");
    /// # let _ = admin;
    /// ```
    pub fn basic(username: impl Into<String>, bcrypt_hash: impl Into<String>) -> Self {
        Self::new(Some((username.into(), bcrypt_hash.into())))
    }

    /// For everybody who reaches the server: on your own machine.
    ///
    /// ```
    /// let admin = ringhall::AdminUi::without_auth();
    /// # let _ = admin;
    /// ```
    pub fn without_auth() -> Self {
        Self::new(None)
    }

    fn new(credentials: Option<(String, String)>) -> Self {
        AdminUi {
            namespace: "/admin".to_owned(),
            credentials,
            is_readonly: false,
            is_production: false,
            server_id: None,
        }
    }

    /// Another namespace than `/admin`.
    ///
    /// ```
    /// let admin = ringhall::AdminUi::without_auth().namespace("/control");
    /// # let _ = admin;
    /// ```
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// Numbers alone: no sockets, rooms and events.
    ///
    /// ```
    /// let admin = ringhall::AdminUi::without_auth().production();
    /// # let _ = admin;
    /// ```
    pub fn production(mut self) -> Self {
        self.is_production = true;
        self
    }

    /// The UI may look, and do nothing: no emits, joins, leaves, disconnections.
    ///
    /// ```
    /// let admin = ringhall::AdminUi::without_auth().readonly();
    /// # let _ = admin;
    /// ```
    pub fn readonly(mut self) -> Self {
        self.is_readonly = true;
        self
    }

    /// The name of this server in the UI, instead of its host's. In a cluster each needs another.
    ///
    /// ```
    /// let admin = ringhall::AdminUi::without_auth().server_id("fra-1");
    /// # let _ = admin;
    /// ```
    pub fn server_id(mut self, id: impl Into<String>) -> Self {
        self.server_id = Some(id.into());
        self
    }

    /// Instruments the namespaces of a server that is being described, and adds the one for the UI.
    pub(super) fn install(self, namespaces: &mut Namespaces) -> Result<Arc<Admin>> {
        let gate = Gate::new(self.credentials.as_ref());
        let gate = gate.map_err(|problem| Error::setting("admin", problem))?;
        let name = format!("/{}", self.namespace.trim_start_matches('/'));
        let fixed = namespaces.names();
        let admin = Arc::new(Admin {
            namespace: name.as_str().into(),
            is_readonly: self.is_readonly,
            is_production: self.is_production,
            server_id: self.server_id,
            gate,
            watchers: AtomicUsize::new(0),
            population: Mutex::default(),
            clients: Mutex::default(),
        });
        for name in fixed.iter().chain([&name]) {
            admin.add_fixed(name);
        }
        let own = admin.clone().describe(Namespace::default());
        namespaces.watch(
            |namespace| admin.clone().instrument(namespace),
            (&name, own),
        )?;
        Ok(admin)
    }
}

/// Without the password's hash.
impl fmt::Debug for AdminUi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminUi")
            .field("namespace", &self.namespace)
            .field("is_readonly", &self.is_readonly)
            .field("is_production", &self.is_production)
            .finish_non_exhaustive()
    }
}

/// What is behind the UI on a running server.
pub(crate) struct Admin {
    namespace: Box<str>,
    is_readonly: bool,
    is_production: bool,
    server_id: Option<String>,
    gate: Gate,
    /// Sockets of the UI.
    watchers: AtomicUsize,
    /// Sockets by namespace.
    population: Mutex<HashMap<Box<str>, Sockets>>,
    /// In development mode: what is known of the client of each socket of this server, by the socket's id.
    clients: Mutex<HashMap<Box<str>, Client>>,
}

/// Of one namespace.
#[derive(Default)]
struct Sockets {
    count: usize,
    /// It was described by its name, and is shown also when it is empty.
    is_fixed: bool,
}

/// The list of what the UI may offer (admin-ui 0.5, `Feature`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hello {
    supported_features: Vec<&'static str>,
}

impl Admin {
    fn population(&self) -> MutexGuard<'_, HashMap<Box<str>, Sockets>> {
        self.population
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Box<str>, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time as JavaScript writes it in JSON.
    fn now(server: &Server) -> String {
        let unix_ms = server.shared.unix_ms(server.shared.now_ms());
        let mut json = Vec::with_capacity(26);
        iso::write(&mut json, i64::try_from(unix_ms).unwrap_or(i64::MAX));
        String::from_utf8_lossy(&json).trim_matches('"').to_owned()
    }

    fn add_fixed(&self, name: &str) {
        let sockets = Sockets {
            count: 0,
            is_fixed: true,
        };
        self.population().insert(name.into(), sockets);
    }

    /// Is there anybody to be told anything? In a cluster that is not known here.
    fn is_watched(&self, server: &Server) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0 || server.shared.elsewhere().is_some()
    }

    /// Tells all UIs, those that are connected to other servers of the cluster included.
    fn tell(&self, server: &Server, event: &str, args: impl Serialize) {
        if self.is_watched(server) {
            server.of(&self.namespace).emit(event, args);
        }
    }

    fn features(&self) -> Vec<&'static str> {
        let mut features = Vec::new();
        if !self.is_readonly {
            features.extend([
                "EMIT",
                "JOIN",
                "LEAVE",
                "DISCONNECT",
                "MJOIN",
                "MLEAVE",
                "MDISCONNECT",
            ]);
        }
        features.push("AGGREGATED_EVENTS");
        if !self.is_production {
            features.push("ALL_EVENTS");
        }
        features
    }
}
