//! Which path leads where.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Handshake;
use super::engine::EngineRoute;
use super::handler::Outcome;
use super::task;
use super::websocket::{
    BoxedCloseHandler, BoxedMessageHandler, BoxedOpenHandler, CloseFrame, CloseHandler, Message,
    MessageHandler, OpenHandler, WebSocket,
};
use crate::shard::call::Above;

/// A plain WebSocket route while its handlers are being registered; see
/// [`Builder::websocket_route`](crate::Builder::websocket_route).
///
/// ```
/// use ringhall::{CloseFrame, Handshake, Message, Server, WebSocket, WebSocketRoute};
///
/// let route = WebSocketRoute::new()
///     .on_open(|socket: &WebSocket, handshake: &Handshake| {
///         socket.join(handshake.query("room").unwrap_or_default());
///     })
///     .on_message(|socket: &WebSocket, message: Message<'_>| {
///         for room in socket.rooms() {
///             socket.to(&room).send(message);
///         }
///     })
///     .on_close(|socket: &WebSocket, close: CloseFrame<'_>| {
///         println!("{} left: {} {}", socket.id(), close.code, close.reason);
///     });
/// let server = Server::builder().websocket_route("/room", route);
/// # let _ = server;
/// ```
#[derive(Default)]
pub struct WebSocketRoute {
    open: Option<BoxedOpenHandler>,
    message: Option<BoxedMessageHandler>,
    close: Option<BoxedCloseHandler>,
    protocols: Vec<Box<str>>,
    origins: Option<Vec<Box<str>>>,
    gate: Option<Gate>,
}

/// Lets requests in or refuses them.
pub(crate) type Gate = Box<dyn Fn(&Handshake) -> bool + Send + Sync>;

impl WebSocketRoute {
    /// A route that accepts WebSockets and reads their messages into nothing.
    ///
    /// ```
    /// let route = ringhall::WebSocketRoute::new();
    /// # let _ = route;
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The subprotocols that this route speaks (RFC 6455 §1.9). Of those that a client offers the first that is spoken is
    /// chosen; if none is, the connection opens without one. Default: none.
    ///
    /// ```
    /// # use ringhall::WebSocketRoute;
    /// let route = WebSocketRoute::new().protocols(["chat", "superchat"]);
    /// # let _ = route;
    /// ```
    pub fn protocols<'p>(mut self, protocols: impl IntoIterator<Item = &'p str>) -> Self {
        self.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The origins whose pages may connect (RFC 6455 §10.2), as browsers write them; pages of others get status 403. What is no browser
    /// sends no origin, and may connect. Default: all.
    ///
    /// ```
    /// # use ringhall::WebSocketRoute;
    /// let route = WebSocketRoute::new().origins(["https://example.org"]);
    /// # let _ = route;
    /// ```
    pub fn origins<'o>(mut self, origins: impl IntoIterator<Item = &'o str>) -> Self {
        self.origins = Some(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Asked for each request before it is answered; those that it does not accept get status 403, and so do all if it panics. Replaces an
    /// earlier one. What has to be waited for is no matter for it: open, and close again. Default: all may connect.
    ///
    /// ```
    /// # use ringhall::{Handshake, WebSocketRoute};
    /// let route = WebSocketRoute::new().accept_if(|request: &Handshake| {
    ///     request.header("origin") == Some("https://example.org") // pages of this origin, and nobody else
    /// });
    /// # let _ = route;
    /// ```
    pub fn accept_if(
        mut self,
        accepts: impl Fn(&Handshake) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.gate = Some(Box::new(accepts));
        self
    }

    /// Runs when a WebSocket has opened, before any of its messages. Replaces an earlier handler.
    ///
    /// ```
    /// use ringhall::{Handshake, WebSocket, WebSocketRoute};
    /// let route = WebSocketRoute::new()
    ///     .on_open(|socket: &WebSocket, _: &Handshake| socket.send("welcome"));
    /// # let _ = route;
    /// ```
    pub fn on_open<M>(mut self, handler: impl OpenHandler<M>) -> Self {
        self.open = Some(handler.into_boxed());
        self
    }

    /// Runs for each message. Replaces an earlier handler.
    ///
    /// ```
    /// use ringhall::{Message, WebSocket, WebSocketRoute};
    /// let echo = WebSocketRoute::new()
    ///     .on_message(|socket: &WebSocket, message: Message<'_>| socket.send(message));
    /// # let _ = echo;
    /// ```
    pub fn on_message<M>(mut self, handler: impl MessageHandler<M>) -> Self {
        self.message = Some(handler.into_boxed());
        self
    }

    /// Runs when the WebSocket has closed, in whatever way. Replaces an earlier handler.
    ///
    /// ```
    /// use ringhall::{CloseFrame, WebSocket, WebSocketRoute};
    /// let route = WebSocketRoute::new()
    ///     .on_close(|socket: &WebSocket, close: CloseFrame<'_>| println!("{}: {}", socket.id(), close.reason));
    /// # let _ = route;
    /// ```
    pub fn on_close<M>(mut self, handler: impl CloseHandler<M>) -> Self {
        self.close = Some(handler.into_boxed());
        self
    }
}

/// A plain WebSocket route, as requests find it.
pub(crate) struct Spot<'a> {
    pub(crate) number: usize,
    pub(crate) scope: &'a Arc<str>,
    pub(crate) protocols: &'a [Box<str>],
    /// Without a list all may connect.
    pub(crate) origins: Option<&'a [Box<str>]>,
    pub(crate) gate: Option<&'a Gate>,
}

impl Spot<'_> {
    /// Does the application let this request in?
    pub(crate) fn accepts(&self, handshake: impl FnOnce() -> Handshake) -> bool {
        self.gate
            .is_none_or(|gate| task::guard(|| gate(&handshake())).unwrap_or(false))
    }
}

/// What is at a path.
pub(crate) enum Place<'a> {
    Engine(Above),
    WebSocket(Spot<'a>),
    Page {
        content_type: &'static str,
        body: Bytes,
    },
    Nowhere,
}

enum Exact {
    WebSocket(usize),
    Page {
        content_type: &'static str,
        body: Bytes,
    },
}

/// All routes of a server.
pub(crate) struct Routes {
    /// The prefixes of Engine.IO, Socket.IO's first.
    engines: Vec<(String, Above)>,
    places: HashMap<Box<str>, Exact>,
    websockets: Vec<(Arc<str>, WebSocketRoute)>,
    raw: Vec<EngineRoute>,
}

impl Routes {
    /// `socket_io` is the prefix of Socket.IO's path, where it is spoken at all.
    pub(crate) fn new(socket_io: Option<String>) -> Self {
        Routes {
            engines: socket_io
                .map(|prefix| (prefix, Above::SocketIo))
                .into_iter()
                .collect(),
            places: HashMap::new(),
            websockets: Vec::new(),
            raw: Vec::new(),
        }
    }

    /// Adds a WebSocket route. `false`: the path is taken.
    pub(crate) fn websocket(&mut self, path: &str, route: WebSocketRoute) -> bool {
        let place = Exact::WebSocket(self.websockets.len());
        self.websockets.push((scope_of(path), route));
        self.places.insert(path.into(), place).is_none()
    }

    /// Adds a page. `false`: the path is taken.
    pub(crate) fn page(&mut self, path: &str, content_type: &'static str, body: Bytes) -> bool {
        self.places
            .insert(path.into(), Exact::Page { content_type, body })
            .is_none()
    }

    /// Adds a prefix at which Engine.IO is spoken without Socket.IO. `false`: it is taken.
    pub(crate) fn engine(&mut self, prefix: String, route: EngineRoute) -> bool {
        let is_free = self.engines.iter().all(|(taken, _)| *taken != prefix);
        let above = Above::Raw {
            number: self.raw.len(),
            scope: format!("engine {prefix}").into(),
        };
        self.engines.push((prefix, above));
        self.raw.push(route);
        is_free
    }

    pub(crate) fn raw(&self, number: usize) -> Option<&EngineRoute> {
        self.raw.get(number)
    }

    pub(crate) fn find(&self, path: &str) -> Place<'_> {
        if let Some((_, above)) = self.engine_of(path) {
            return Place::Engine(above.clone());
        }
        match self.places.get(path) {
            None => Place::Nowhere,
            Some(Exact::WebSocket(number)) => {
                let (scope, route) = &self.websockets[*number];
                Place::WebSocket(Spot {
                    number: *number,
                    scope,
                    protocols: &route.protocols,
                    origins: route.origins.as_deref(),
                    gate: route.gate.as_ref(),
                })
            }
            Some(Exact::Page { content_type, body }) => Place::Page {
                content_type,
                body: body.clone(),
            },
        }
    }

    /// The prefix of Engine.IO that this path has. Engine.IO protocol, as Node reads it: the path is a prefix, its trailing slash included. Of
    /// one that lies below another, what is below both is the longer one's.
    fn engine_of(&self, path: &str) -> Option<&(String, Above)> {
        self.engines
            .iter()
            .filter(|(prefix, _)| path.starts_with(prefix))
            .max_by_key(|(prefix, _)| prefix.len())
    }

    /// A path that no request can reach, and the prefix of Engine.IO that has all of them.
    pub(crate) fn unreachable(&self) -> Option<(&str, &str)> {
        self.places.keys().find_map(|path| {
            let (prefix, _) = self.engine_of(path)?;
            Some((&**path, prefix.as_str()))
        })
    }

    /// The scope of the rooms of a WebSocket route.
    pub(crate) fn scope(&self, number: usize) -> &Arc<str> {
        &self.websockets[number].0
    }

    /// The number of the WebSocket route at this path.
    pub(crate) fn number_of(&self, path: &str) -> Option<usize> {
        match self.places.get(path)? {
            Exact::WebSocket(number) => Some(*number),
            Exact::Page { .. } => None,
        }
    }

    pub(crate) fn on_open(
        &self,
        number: usize,
    ) -> Option<impl Fn(&WebSocket, &Handshake) -> Outcome> {
        self.websockets
            .get(number)
            .and_then(|(_, route)| route.open.as_ref())
    }

    pub(crate) fn on_message(
        &self,
        number: usize,
    ) -> Option<impl Fn(&WebSocket, Message<'_>) -> Outcome> {
        self.websockets
            .get(number)
            .and_then(|(_, route)| route.message.as_ref())
    }

    pub(crate) fn on_close(
        &self,
        number: usize,
    ) -> Option<impl Fn(&WebSocket, CloseFrame<'_>) -> Outcome> {
        self.websockets
            .get(number)
            .and_then(|(_, route)| route.close.as_ref())
    }
}

/// Rooms of a WebSocket route never meet those of a namespace: no namespace is called so, since those begin with a slash.
pub(crate) fn scope_of(path: &str) -> Arc<str> {
    format!("websocket {path}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::handshake::Via;

    /// The number of the route of Engine.IO at a path: `None` for Socket.IO.
    fn engine_at(routes: &Routes, path: &str) -> Option<usize> {
        match routes.find(path) {
            Place::Engine(above) => above.route(),
            _ => panic!("{path} is Engine.IO's"),
        }
    }

    #[test]
    fn of_prefixes_in_one_another_the_longest_counts() {
        let mut routes = Routes::new(Some("/io/".to_owned()));
        assert!(routes.engine("/io/raw/".to_owned(), EngineRoute::new()));
        assert!(routes.engine("/".to_owned(), EngineRoute::new()));
        assert_eq!(engine_at(&routes, "/io/"), None);
        assert_eq!(engine_at(&routes, "/io/rawer"), None);
        assert_eq!(engine_at(&routes, "/io/raw/"), Some(0));
        assert_eq!(engine_at(&routes, "/io"), Some(1));
        assert!(!routes.engine("/io/".to_owned(), EngineRoute::new()));
    }

    #[test]
    fn a_path_below_a_prefix_cannot_be_reached() {
        let mut routes = Routes::new(Some("/io/".to_owned()));
        assert!(routes.page("/io", "text/plain", Bytes::new()));
        assert!(routes.websocket("/echo", WebSocketRoute::new()));
        assert_eq!(routes.unreachable(), None);
        assert!(routes.websocket("/io/echo", WebSocketRoute::new()));
        assert_eq!(routes.unreachable(), Some(("/io/echo", "/io/")));
    }

    #[test]
    fn a_gate_accepts_refuses_or_panics() {
        let mut routes = Routes::new(None);
        let gate = |request: &Handshake| request.header("x").expect("a header") == "y";
        assert!(routes.websocket("/gated", WebSocketRoute::new().accept_if(gate)));
        assert!(routes.websocket("/open", WebSocketRoute::new()));
        let accepts = |path: &str, head: &[u8]| match routes.find(path) {
            Place::WebSocket(spot) => spot.accepts(|| Handshake::new(head, Via::default(), 0)),
            _ => panic!("{path} is a route"),
        };
        assert!(accepts("/gated", b"GET /gated HTTP/1.1\r\nX: y\r\n\r\n"));
        assert!(!accepts("/gated", b"GET /gated HTTP/1.1\r\nX: z\r\n\r\n"));
        assert!(!accepts("/gated", b"GET /gated HTTP/1.1\r\n\r\n"));
        assert!(accepts("/open", b"GET /open HTTP/1.1\r\n\r\n"));
    }
}
