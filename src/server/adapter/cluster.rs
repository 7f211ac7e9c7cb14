//! An adapter over anything that carries messages between servers.

mod driver;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::message::{Body, Message, OVERHEAD, ServerId};
use super::node::{Ask, Timing};
use super::packet::{Gathered, Options, Packet};
use super::{AckReport, Adapter, AdapterError, AdapterFuture, AnswerSink, Host, SocketSink};
use crate::server::Payload;
use driver::{Asker, Command, Driver};

/// What carries messages between the servers of a cluster: a broker, or sockets between them. [`ClusterAdapter`] does the rest.
///
/// All methods are called on the adapter's own thread, within a tokio runtime of its own (with timers and sockets), never from two threads at a time.
///
/// What is published must reach the others in the order of the calls of `publish`, whenever the returned futures are polled; all of them are. Messages may be
/// lost (a question is then over after its time), but not be doubled. Those that a server has published itself may come back to it: they are
/// ignored. Whatever comes in must be checked, as [`Message::from_json`] does it.
///
/// ```
/// use ringhall::adapter::*;
/// use std::sync::Arc;
///
/// /// A wire to one other server: here, a channel.
/// struct Wire(tokio::sync::mpsc::UnboundedSender<String>);
///
/// impl ClusterTransport for Wire {
///     fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>> {
///         println!("{id} joins");
///         // … and whatever is received: incoming.push(Message::from_json(&text)?)
///         drop(incoming);
///         Box::pin(async { Ok(()) })
///     }
///
///     fn publish(&self, message: Arc<Message>) -> AdapterFuture<Result<Option<String>, AdapterError>> {
///         let sent = self.0.send(message.to_json());
///         Box::pin(async { sent.map(|()| None).map_err(AdapterError::new) })
///     }
///
///     fn publish_response(&self, _to: &ServerId, message: Arc<Message>) -> AdapterFuture<Result<(), AdapterError>> {
///         let sent = self.0.send(message.to_json());
///         Box::pin(async { sent.map_err(AdapterError::new) })
///     }
/// }
/// ```
pub trait ClusterTransport: Send + Sync + 'static {
    /// Opens the way to the others; called once, before everything else. What is received afterwards goes to `incoming`, from any thread.
    ///
    /// # Errors
    /// The others cannot be reached, and trying again would not help: the server does not start.
    fn start(&self, id: &ServerId, incoming: Incoming) -> AdapterFuture<Result<(), AdapterError>>;

    /// Says something to all other servers. The future ends when it is said, with the message's place in the cluster's log if there is one.
    ///
    /// # Errors
    /// It could not be said: it is logged, and lost.
    fn publish(&self, message: Arc<Message>)
    -> AdapterFuture<Result<Option<String>, AdapterError>>;

    /// Answers one other server.
    ///
    /// # Errors
    /// As for [`publish`](ClusterTransport::publish).
    fn publish_response(
        &self,
        to: &ServerId,
        message: Arc<Message>,
    ) -> AdapterFuture<Result<(), AdapterError>>;

    /// Where the broker knows how many servers there are (this one among them), so that no heartbeats are needed. `None`: it does not. It is asked at
    /// the start, and if it does, before each question. Default: `None`.
    fn server_count(&self) -> Option<AdapterFuture<Result<usize, AdapterError>>> {
        None
    }

    /// Are there places in a log, as recovery over the whole cluster needs them? Then this server's own sockets are given a packet when its place is known.
    /// Default: false.
    fn has_offsets(&self) -> bool {
        false
    }

    /// Does it want to know of rooms, for a channel of each? Then rooms are counted over this server's cores, those of sockets' own names included.
    /// Default: false.
    fn wants_rooms(&self) -> bool {
        false
    }

    /// This server has its first member of a room, or (`false`) no member any more. Only where [`wants_rooms`](ClusterTransport::wants_rooms).
    /// Default: nothing.
    fn room_changed(&self, namespace: &str, room: &str, has_members: bool) {
        let _ = (namespace, room, has_members);
    }

    /// The server goes; what was published before must still be said. Default: nothing is to be done.
    fn close(&self) -> AdapterFuture<()> {
        Box::pin(std::future::ready(()))
    }
}

/// How a [`ClusterAdapter`] keeps time, and what may wait in it.
///
/// ```
/// use std::time::Duration;
/// use ringhall::adapter::{Bus, ClusterAdapter, ClusterSettings};
///
/// let settings = ClusterSettings { request_timeout: Duration::from_secs(2), ..ClusterSettings::default() };
/// let adapter = ClusterAdapter::new(Bus::new().transport()).with(settings);
/// # let _ = adapter;
/// ```
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// A server that has said nothing else for so long says that it is alive; at least 1 ms. All servers should have the same. Default: 5 s.
    pub heartbeat_interval: Duration,
    /// A server that is silent for so long is lost: it is not counted, and not waited for any more. More than twice `heartbeat_interval` is of no
    /// use, less than once it loses servers that live. Default: 10 s.
    pub heartbeat_timeout: Duration,
    /// How long other servers are waited for where nothing else is said. Default: 5 s.
    pub request_timeout: Duration,
    /// What may wait for the transport, and what may wait to be handled, in bytes each; what comes beyond that is dropped and logged. Default: 64 MiB.
    pub max_waiting: usize,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        ClusterSettings {
            heartbeat_interval: Duration::from_secs(5),
            heartbeat_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(5),
            max_waiting: 64 * 1024 * 1024,
        }
    }
}

impl ClusterSettings {
    fn timing(&self) -> Timing {
        Timing {
            heartbeat_ms: ms(self.heartbeat_interval).max(1),
            silence_ms: ms(self.heartbeat_timeout).max(1),
            request_ms: ms(self.request_timeout),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What waits, in bytes, and how much may.
struct Gauge {
    waiting: AtomicUsize,
    max: usize,
}

impl Gauge {
    fn new(max: usize) -> Self {
        Gauge {
            waiting: AtomicUsize::new(0),
            max,
        }
    }

    /// `false`: it is full. Something is taken in any case when nothing waits.
    fn add(&self, bytes: usize) -> bool {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(bytes) <= self.max;
        if !fits {
            self.remove(bytes);
        }
        fits
    }

    /// Takes it even if it is full.
    fn add_anyway(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Takes what a [`ClusterTransport`] receives.
///
/// ```
/// use ringhall::adapter::{Incoming, Message};
/// fn received(incoming: &Incoming, text: &str) {
///     match Message::from_json(text) {
///         Ok(message) => {
///             let _ = incoming.push(message);
///         }
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Incoming {
    commands: mpsc::UnboundedSender<Command>,
    gauge: Arc<Gauge>,
}

impl Incoming {
    /// Hands over what came from another server; may be called on any thread, and never waits. `false`: the server has ended, or too much waits
    /// already; then the message is dropped.
    ///
    /// ```
    /// use ringhall::adapter::{BadMessage, Incoming, Message};
    /// fn received(incoming: &Incoming, text: &str) -> Result<(), BadMessage> {
    ///     if !incoming.push(Message::from_json(text)?) {
    ///         println!("nobody took it");
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = received;
    /// ```
    pub fn push(&self, message: impl Into<Arc<Message>>) -> bool {
        let message = message.into();
        let weight = message.body.weight();
        if !self.gauge.add(weight) {
            log::warn!(
                "a message of server {} is dropped: too much waits",
                message.sender
            );
            return false;
        }
        self.commands
            .send(Command::Received { message, weight })
            .is_ok()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Incoming")
    }
}

/// Joins a server with others over a [`ClusterTransport`].
///
/// ```
/// # fn main() -> ringhall::Result<()> {
/// use ringhall::Server;
/// use ringhall::adapter::{Bus, ClusterAdapter};
///
/// let bus = Bus::new();
/// let server = Server::builder()
///     .listen("127.0.0.1:0")
///     .adapter(ClusterAdapter::new(bus.transport()))
///     .start()?;
/// # server.shutdown();
/// # server.wait()
/// # }
/// ```
pub struct ClusterAdapter {
    id: ServerId,
    settings: ClusterSettings,
    transport: Arc<dyn ClusterTransport>,
    has_offsets: bool,
    commands: mpsc::UnboundedSender<Command>,
    /// Until the adapter starts.
    receiver: Mutex<Option<mpsc::UnboundedReceiver<Command>>>,
    outgoing: Arc<Gauge>,
    servers: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ClusterAdapter {
    /// An adapter for one server, over this transport.
    ///
    /// ```
    /// use ringhall::adapter::{Bus, ClusterAdapter};
    /// let bus = Bus::new();
    /// let builder = ringhall::Server::builder().adapter(ClusterAdapter::new(bus.transport()));
    /// # let _ = builder;
    /// ```
    pub fn new(transport: impl ClusterTransport) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let settings = ClusterSettings::default();
        let transport: Arc<dyn ClusterTransport> = Arc::new(transport);
        ClusterAdapter {
            id: ServerId::of_number(random()),
            has_offsets: transport.has_offsets(),
            transport,
            commands,
            receiver: Mutex::new(Some(receiver)),
            outgoing: Arc::new(Gauge::new(settings.max_waiting)),
            settings,
            servers: Arc::new(AtomicUsize::new(1)),
            thread: Mutex::new(None),
        }
    }

    /// With other settings.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// let settings = ClusterSettings { max_waiting: 1024 * 1024, ..ClusterSettings::default() };
    /// let adapter = ClusterAdapter::new(Bus::new().transport()).with(settings);
    /// # let _ = adapter;
    /// ```
    pub fn with(self, settings: ClusterSettings) -> Self {
        ClusterAdapter {
            outgoing: Arc::new(Gauge::new(settings.max_waiting)),
            settings,
            ..self
        }
    }

    /// The name of this server in its cluster.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// let adapter = ClusterAdapter::new(Bus::new().transport());
    /// println!("I am {}", adapter.id());
    /// ```
    pub fn id(&self) -> &ServerId {
        &self.id
    }

    /// Something to say, or to ask, in order. What finds no room is dropped.
    fn say(&self, namespace: &str, body: Body) {
        let weight = body.weight();
        if !self.outgoing.add(weight) {
            return log::warn!("the other servers are not told: too much waits for the transport");
        }
        let namespace = namespace.into();
        let _ = self.commands.send(Command::Say {
            namespace,
            body,
            weight,
        });
    }

    fn ask(&self, namespace: &str, ask: Ask, timeout: Option<Duration>, asker: Asker) {
        let weight = match &ask {
            Ask::Sockets(options) => options.weight(),
            Ask::Event(packet) => packet.weight(),
            Ask::Broadcast(packet, options) => packet.weight() + options.weight(),
        };
        let weight = weight + OVERHEAD;
        if !self.outgoing.add(weight) {
            if let Asker::Sockets(answers) = asker {
                answers.report(AckReport::NotAll);
            }
            return log::warn!("the other servers are not asked: too much waits for the transport");
        }
        let _ = self.commands.send(Command::Ask {
            namespace: namespace.into(),
            ask,
            timeout_ms: timeout.map(ms),
            asker,
            weight,
        });
    }
}

/// Numbers that others do not guess; where the system has none to give, the addresses of this process do not tell much either.
fn random() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        log::warn!("no random numbers: the server's name in its cluster may not be unique");
    }
    u64::from_ne_bytes(bytes)
}

/// What was asked for, once it is there; nothing, and not all, if it was not asked for or the server ends before.
fn gathered<T: Send + 'static>(
    receiver: oneshot::Receiver<Gathered<T>>,
) -> AdapterFuture<Gathered<T>> {
    Box::pin(async move {
        receiver.await.unwrap_or(Gathered {
            values: Vec::new(),
            missing: 1,
        })
    })
}

impl Adapter for ClusterAdapter {
    fn start(&self, host: Host) -> Result<(), AdapterError> {
        let receiver = lock(&self.receiver).take();
        let Some(receiver) = receiver else {
            return Err(AdapterError::new("an adapter is for one server"));
        };
        let incoming = Incoming {
            commands: self.commands.clone(),
            gauge: Arc::new(Gauge::new(self.settings.max_waiting)),
        };
        let driver = Driver::new(self, host, incoming.gauge.clone(), random());
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("ringhall-adapter".to_owned());
        let thread = thread
            .spawn(move || driver.run(receiver, incoming, &ready))
            .map_err(AdapterError::new)?;
        *lock(&self.thread) = Some(thread);
        // An end without a word is a panic of the transport.
        let ended = |_| Err(AdapterError::new("the transport panicked"));
        started.recv().unwrap_or_else(ended)
    }

    fn close(&self) {
        let _ = self.commands.send(Command::Close);
    }

    fn wait(&self) {
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the adapter's thread panicked");
        }
    }

    fn server_count(&self) -> AdapterFuture<usize> {
        let (asker, count) = oneshot::channel();
        let servers = self.servers.clone();
        let _ = self.commands.send(Command::Count(asker));
        Box::pin(async move {
            let known = servers.load(Ordering::Relaxed);
            count.await.ok().unwrap_or(known)
        })
    }

    fn delivers_here(&self) -> bool {
        self.has_offsets
    }

    fn broadcast(&self, namespace: &str, packet: Packet, options: Options) {
        self.say(
            namespace,
            Body::Broadcast {
                packet,
                options,
                request: None,
            },
        );
    }

    fn broadcast_with_ack(
        &self,
        namespace: &str,
        packet: Packet,
        options: Options,
        answers: AnswerSink,
    ) {
        let timeout = options.flags.timeout;
        let ask = Ask::Broadcast(packet, options);
        self.ask(namespace, ask, timeout, Asker::Sockets(answers));
    }

    fn fetch_sockets(&self, namespace: &str, options: Options, sockets: SocketSink) {
        let timeout = options.flags.timeout;
        let ask = Ask::Sockets(options);
        self.ask(namespace, ask, timeout, Asker::Fetch(sockets));
    }

    fn add_sockets(&self, namespace: &str, options: Options, rooms: Vec<String>) {
        self.say(namespace, Body::SocketsJoin { options, rooms });
    }

    fn del_sockets(&self, namespace: &str, options: Options, rooms: Vec<String>) {
        self.say(namespace, Body::SocketsLeave { options, rooms });
    }

    fn disconnect_sockets(&self, namespace: &str, options: Options, close: bool) {
        self.say(namespace, Body::DisconnectSockets { options, close });
    }

    fn server_side_emit(&self, namespace: &str, packet: Packet) {
        let request = None;
        self.say(namespace, Body::ServerSideEmit { packet, request });
    }

    fn server_side_emit_with_ack(
        &self,
        namespace: &str,
        packet: Packet,
        timeout: Option<Duration>,
    ) -> AdapterFuture<Gathered<Payload>> {
        let (asker, receiver) = oneshot::channel();
        let ask = Ask::Event(packet);
        self.ask(namespace, ask, timeout, Asker::servers(asker));
        gathered(receiver)
    }

    fn wants_rooms(&self) -> bool {
        self.transport.wants_rooms()
    }

    fn room_created(&self, namespace: &str, room: &str) {
        self.room_changed(namespace, room, true);
    }

    fn room_deleted(&self, namespace: &str, room: &str) {
        self.room_changed(namespace, room, false);
    }
}

impl ClusterAdapter {
    fn room_changed(&self, namespace: &str, room: &str, has_members: bool) {
        let _ = self.commands.send(Command::Room {
            namespace: namespace.into(),
            room: room.into(),
            has_members,
        });
    }
}

impl fmt::Debug for ClusterAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterAdapter")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
