//! Namespaces by the family: those whose names a pattern or a function takes.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use regex_lite::Regex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::NamespaceHandle;
use crate::reactor::ConnKey;
use crate::server::broadcast::Broadcast;
use crate::server::emit;
use crate::server::handler::OnCore;
use crate::server::shared::Shared;
use crate::server::{Handshake, Server};
use crate::shard::application::Knock;
use crate::shard::grant::Granted;

/// What a client says when it asks for a namespace: for [`Builder::namespaces`](crate::Builder::namespaces).
///
/// ```
/// use ringhall::{NamespaceRequest, Server};
///
/// let server = Server::builder().namespaces(
///     async |request: NamespaceRequest| {
///         let auth: serde_json::Value = request.auth().unwrap_or_default();
///         request.name().starts_with("/team-") && auth["token"] == "secret"
///     },
///     |team| team,
/// );
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct NamespaceRequest(Rc<Asked>);

struct Asked {
    name: Arc<str>,
    auth: Box<[u8]>,
    handshake: Rc<Handshake>,
    granted: Option<Rc<Granted>>,
}

impl NamespaceRequest {
    pub(crate) fn new(knock: Knock<'_>) -> Self {
        NamespaceRequest(Rc::new(Asked {
            name: knock.namespace.into(),
            auth: knock.auth.into(),
            handshake: knock.handshake.clone(),
            granted: knock.granted.cloned(),
        }))
    }

    /// The namespace's name, with its slash.
    ///
    /// ```
    /// # fn f(request: ringhall::NamespaceRequest) {
    /// let team = request.name().strip_prefix("/team-");
    /// # let _ = team;
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The `auth` object of the client.
    ///
    /// # Errors
    /// It does not fit `T`. A client that gave none is read as an empty object.
    ///
    /// ```
    /// #[derive(serde::Deserialize)]
    /// struct Auth { token: String }
    /// # fn f(request: ringhall::NamespaceRequest) {
    /// let allowed = request.auth::<Auth>().is_ok_and(|auth| auth.token == "secret");
    /// # let _ = allowed;
    /// # }
    /// ```
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match &*self.0.auth {
            [] => serde_json::from_str("{}"),
            json => serde_json::from_slice(json),
        }
    }

    /// What [`allow_request`](crate::Builder::allow_request) gave the client's session, if it is of this type.
    ///
    /// ```
    /// struct User { name: String }
    /// # fn f(request: ringhall::NamespaceRequest) {
    /// let is_admin = request.session::<User>().is_some_and(|user| user.name == "admin");
    /// # let _ = is_admin;
    /// # }
    /// ```
    pub fn session<T: 'static>(&self) -> Option<Rc<T>> {
        let value = self.0.granted.as_ref()?.value()?;
        value.clone().downcast().ok()
    }

    /// The request that opened the connection.
    ///
    /// ```
    /// # fn f(request: ringhall::NamespaceRequest) {
    /// let is_ours = request.handshake().header("origin") == Some("https://example.org");
    /// # let _ = is_ours;
    /// # }
    /// ```
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// As it was asked.
    pub(crate) fn as_knock(&self, connection: ConnKey) -> Knock<'_> {
        Knock {
            connection,
            namespace: &self.0.name,
            handshake: &self.0.handshake,
            granted: self.0.granted.as_ref(),
            auth: &self.0.auth,
        }
    }
}

impl fmt::Debug for NamespaceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamespaceRequest")
            .field(&self.name())
            .finish()
    }
}

/// What says which namespaces belong to a family, see [`Builder::namespaces`](crate::Builder::namespaces): a pattern (a regular expression), a
/// function of the name, or a function of a [`NamespaceRequest`], which may be `async`.
///
/// ```
/// use ringhall::{NamespaceRequest, Server};
/// let builder = Server::builder()
///     .namespaces(r"^/room-\d+$", |rooms| rooms)
///     .namespaces(|name: &str| name.ends_with("-chat"), |chats| chats)
///     .namespaces(|request: NamespaceRequest| request.handshake().is_secure(), |others| others);
/// # let _ = builder;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which namespaces belong to a family",
    label = "neither a pattern nor a function that returns `bool`",
    note = "a function has one parameter, with its type written out: `|name: &str| …` or `async |request: NamespaceRequest| …`"
)]
pub trait NamespaceMatcher<M> {
    #[doc(hidden)]
    fn into_predicate(self) -> FamilyPredicate;
}

/// As a family was described. Each core has its own handle of what may wait.
#[doc(hidden)]
pub struct FamilyPredicate {
    pub(crate) takes: Takes,
    /// A pattern's text.
    pub(crate) name: Option<String>,
}

impl fmt::Debug for FamilyPredicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FamilyPredicate").field(&self.name).finish()
    }
}

pub(crate) enum Takes {
    /// It is read when the server starts.
    Pattern,
    Name(Box<dyn Fn(&str) -> bool + Send + Sync>),
    Request(SharedTakes),
}

/// What a core asks with a request; made once by each core.
type SharedTakes = Box<dyn Fn() -> LocalTakes + Send + Sync>;
pub(crate) type LocalTakes = Rc<dyn Fn(NamespaceRequest) -> Answer>;

/// What a predicate says.
pub(crate) enum Answer {
    Now(bool),
    /// It waits for something.
    Later(LaterAnswer),
}

pub(crate) type LaterAnswer = Pin<Box<dyn Future<Output = bool>>>;

/// Reads a pattern.
pub(crate) fn pattern(text: &str) -> Result<Takes, regex_lite::Error> {
    let regex = Regex::new(text)?;
    Ok(Takes::Name(Box::new(move |name| regex.is_match(name))))
}

/// The marker of patterns.
pub struct ByPattern(());
/// The marker of functions of a name.
pub struct ByName(());
/// The marker of functions of a request that return a value or a future.
pub struct ByRequest<T>(PhantomData<T>);

impl NamespaceMatcher<ByPattern> for &str {
    fn into_predicate(self) -> FamilyPredicate {
        FamilyPredicate {
            takes: Takes::Pattern,
            name: Some(self.to_owned()),
        }
    }
}

impl<F> NamespaceMatcher<ByName> for F
where
    F: Fn(&str) -> bool + Send + Sync + 'static,
{
    fn into_predicate(self) -> FamilyPredicate {
        FamilyPredicate {
            takes: Takes::Name(Box::new(self)),
            name: None,
        }
    }
}

impl<F> NamespaceMatcher<ByRequest<bool>> for F
where
    F: Fn(NamespaceRequest) -> bool + Send + Sync + 'static,
{
    fn into_predicate(self) -> FamilyPredicate {
        let takes = Arc::new(self);
        let on_core = move || -> LocalTakes {
            let takes = OnCore::new(takes.clone());
            Rc::new(move |request| Answer::Now(takes(request)))
        };
        FamilyPredicate {
            takes: Takes::Request(Box::new(on_core)),
            name: None,
        }
    }
}

impl<F> NamespaceMatcher<ByRequest<LaterAnswer>> for F
where
    F: AsyncFn(NamespaceRequest) -> bool + Send + Sync + 'static,
{
    fn into_predicate(self) -> FamilyPredicate {
        let takes = Arc::new(self);
        let on_core = move || -> LocalTakes {
            let takes = OnCore::new(takes.clone());
            Rc::new(move |request| {
                let takes = takes.clone();
                let mut answer: LaterAnswer = Box::pin(async move { takes(request).await });
                // As for handlers: one that never waits costs no task.
                match answer
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                {
                    Poll::Ready(is_taken) => Answer::Now(is_taken),
                    Poll::Pending => Answer::Later(answer),
                }
            })
        };
        FamilyPredicate {
            takes: Takes::Request(Box::new(on_core)),
            name: None,
        }
    }
}

/// A family of namespaces of a running server, from any thread: what is emitted to it reaches all its namespaces.
///
/// ```
/// use ringhall::Server;
///
/// # fn main() -> ringhall::Result<()> {
/// let server = Server::builder()
///     .listen("127.0.0.1:0")
///     .namespaces(r"^/game-\d+$", |games| games.family("games").on("move", || "moved"))
///     .start()?;
/// let games = server.family("games").expect("it was described");
/// games.emit("news", "the server restarts at noon");
/// assert!(games.children().is_empty()); // no client has asked for one yet
/// # server.shutdown();
/// # server.wait()
/// # }
/// ```
#[derive(Clone)]
pub struct Family {
    shared: Arc<Shared>,
    number: usize,
}

impl Server {
    /// The family that was named so ([`Namespace::family`](crate::Namespace::family)); a pattern's name is by default its text.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// if let Some(games) = server.family("games") {
    ///     games.emit("news", "to everybody in every game");
    /// }
    /// # }
    /// ```
    pub fn family(&self, name: &str) -> Option<Family> {
        Some(Family {
            number: self.shared.namespaces.find_family(name)?,
            shared: self.shared.clone(),
        })
    }

    /// The names of the namespaces that exist, in alphabetical order: those that were described, and those of families that clients have brought into being.
    ///
    /// ```
    /// # fn f(server: &ringhall::Server) {
    /// assert!(server.namespaces().contains(&"/".to_owned()));
    /// # }
    /// ```
    pub fn namespaces(&self) -> Vec<String> {
        self.shared.namespaces.names()
    }
}

impl Family {
    /// Emits an event to everybody in all its namespaces.
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.emit("news", "to everybody in every game");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        self.everyone().emit(event, args);
    }

    /// The members of a room, in each of its namespaces that has such a room.
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.to("referees").except("muted").emit("whistle", ());
    /// # }
    /// ```
    pub fn to(&self, room: impl AsRef<str>) -> FamilyBroadcast<'_> {
        self.everyone().to(room)
    }

    /// The same as [`to`](Family::to).
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.in_("referees").emit("whistle", ());
    /// # }
    /// ```
    pub fn in_(&self, room: impl AsRef<str>) -> FamilyBroadcast<'_> {
        self.everyone().to(room)
    }

    /// Everybody in all its namespaces but the members of a room.
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.except("muted").emit("news", "to all who play but the muted");
    /// # }
    /// ```
    pub fn except(&self, room: impl AsRef<str>) -> FamilyBroadcast<'_> {
        self.everyone().except(room)
    }

    /// Everybody in all its namespaces.
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.everyone().emit("news", "to everybody in every game");
    /// # }
    /// ```
    pub fn everyone(&self) -> FamilyBroadcast<'_> {
        FamilyBroadcast {
            family: self,
            to: Vec::new(),
            except: Vec::new(),
            volatile: false,
            local: false,
        }
    }

    /// Its namespaces: those that clients have brought into being, and those that were described by themselves
    /// ([`Builder::namespace`](crate::Builder::namespace)) after its pattern.
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// for game in games.children() {
    ///     println!("{}", game.name());
    /// }
    /// # }
    /// ```
    pub fn children(&self) -> Vec<NamespaceHandle> {
        let names = self.shared.namespaces.names_of_family(self.number);
        let children = names.into_iter().map(|name| NamespaceHandle {
            shared: self.shared.clone(),
            name,
        });
        children.collect()
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A message to many sockets of a [`Family`]'s namespaces, while its receivers are being chosen; a [`Broadcast`] in each of them.
///
/// ```
/// # fn f(games: &ringhall::Family) {
/// games.everyone().volatile().emit("tick", 1);
/// # }
/// ```
#[must_use = "nothing is sent until emit is called"]
#[derive(Clone, Debug)]
pub struct FamilyBroadcast<'a> {
    family: &'a Family,
    to: Vec<Box<str>>,
    except: Vec<Box<str>>,
    volatile: bool,
    local: bool,
}

impl FamilyBroadcast<'_> {
    /// As [`Broadcast::to`].
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.everyone().to("referees").to("captains").emit("whistle", ());
    /// # }
    /// ```
    pub fn to(mut self, room: impl AsRef<str>) -> Self {
        self.to.push(room.as_ref().into());
        self
    }

    /// As [`Broadcast::in_`].
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.everyone().in_("referees").emit("whistle", ());
    /// # }
    /// ```
    pub fn in_(self, room: impl AsRef<str>) -> Self {
        self.to(room)
    }

    /// As [`Broadcast::except`].
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.to("referees").except("muted").emit("whistle", ());
    /// # }
    /// ```
    pub fn except(mut self, room: impl AsRef<str>) -> Self {
        self.except.push(room.as_ref().into());
        self
    }

    /// As [`Broadcast::volatile`].
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.everyone().volatile().emit("clock", 90);
    /// # }
    /// ```
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// As [`Broadcast::local`].
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// games.everyone().local().emit("news", "this process restarts at noon");
    /// # }
    /// ```
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Emits the event, in the namespaces that somebody is in. Arguments that cannot be encoded are logged, and nothing is sent.
    ///
    /// ```
    /// # fn f(games: &ringhall::Family) {
    /// let referees = games.to("referees");
    /// referees.emit("whistle", "foul");
    /// referees.emit("whistle", "half time");
    /// # }
    /// ```
    pub fn emit(&self, event: &str, args: impl Serialize) {
        let shared = &self.family.shared;
        for name in shared.namespaces.inhabited(self.family.number) {
            let mut receivers = Broadcast::from_handle(shared, &name);
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
            if let Err(error) = receivers.try_emit(event, &args) {
                // It would be the same in the others.
                return emit::or_log(event, Err(error));
            }
        }
    }
}
