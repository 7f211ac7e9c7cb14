//! The server that an adapter belongs to, as the adapter sees it.

use std::fmt;
use std::sync::Arc;

use super::AdapterFuture;
use super::answers::AnswerSink;
use super::packet::{Options, Packet, SocketDetails};
use crate::server::Payload;

/// Where the answer to an event of another server goes.
pub(crate) type Reply = Box<dyn FnOnce(Payload) + Send>;

/// What a server does for others, on all its cores.
pub(crate) trait Here: Send + Sync {
    fn deliver(&self, namespace: &str, packet: &Packet, options: &Options);
    fn ask(
        &self,
        namespace: &str,
        packet: &Packet,
        options: &Options,
        answers: AnswerSink,
    ) -> AdapterFuture<()>;
    fn fetch(&self, namespace: &str, options: &Options) -> AdapterFuture<Vec<SocketDetails>>;
    fn join(&self, namespace: &str, options: &Options, rooms: &[String]);
    fn leave(&self, namespace: &str, options: &Options, rooms: &[String]);
    fn disconnect(&self, namespace: &str, options: &Options, close: bool);
    fn server_event(&self, namespace: &str, packet: Packet, reply: Option<Reply>);
}

/// The server that an [`Adapter`](super::Adapter) belongs to. What other servers say is handed to it here: it concerns this server's own sockets alone, and is not
/// passed on.
///
/// Its methods may be called on any thread that is no core of a server; they wait while a core's mailbox is full. Nothing happens once the
/// server has ended.
///
/// ```
/// use ringhall::adapter::{Host, Options, Packet};
/// fn received(host: &Host, namespace: &str, json: &str) {
///     match Packet::from_json(json, Vec::new()) {
///         Ok(packet) => host.deliver(namespace, &packet, &Options::default()),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Host {
    here: Arc<dyn Here>,
}

impl Host {
    pub(crate) fn new(here: Arc<dyn Here>) -> Self {
        Host { here }
    }

    /// Gives a packet to this server's sockets.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # fn f(host: &Host, packet: &Packet) {
    /// let options = Options { rooms: vec!["lobby".into()], ..Options::default() };
    /// host.deliver("/", packet, &options);
    /// # }
    /// ```
    pub fn deliver(&self, namespace: &str, packet: &Packet, options: &Options) {
        self.here.deliver(namespace, packet, options);
    }

    /// As [`deliver`](Host::deliver), at once; how many got it, and what they answer, is reported while the future is polled. It ends with the last answer;
    /// if it is dropped before, no answer is waited for any more.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # async fn f(host: &Host, packet: &Packet, answers: AnswerSink) {
    /// host.ask("/", packet, &Options::default(), answers).await;
    /// # }
    /// ```
    pub fn ask(
        &self,
        namespace: &str,
        packet: &Packet,
        options: &Options,
        answers: AnswerSink,
    ) -> AdapterFuture<()> {
        self.here.ask(namespace, packet, options, answers)
    }

    /// This server's sockets.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # async fn f(host: &Host) {
    /// for socket in host.fetch("/", &Options::default()).await {
    ///     println!("{}", socket.id);
    /// }
    /// # }
    /// ```
    pub fn fetch(&self, namespace: &str, options: &Options) -> AdapterFuture<Vec<SocketDetails>> {
        self.here.fetch(namespace, options)
    }

    /// Lets this server's sockets join rooms.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # fn f(host: &Host) {
    /// host.join("/", &Options::default(), &["everybody".into()]);
    /// # }
    /// ```
    pub fn join(&self, namespace: &str, options: &Options, rooms: &[String]) {
        self.here.join(namespace, options, rooms);
    }

    /// Lets this server's sockets leave rooms.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # fn f(host: &Host) {
    /// host.leave("/", &Options::default(), &["everybody".into()]);
    /// # }
    /// ```
    pub fn leave(&self, namespace: &str, options: &Options, rooms: &[String]) {
        self.here.leave(namespace, options, rooms);
    }

    /// Disconnects this server's sockets, with `close` their connections, too.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # fn f(host: &Host) {
    /// let options = Options { rooms: vec!["banned".into()], ..Options::default() };
    /// host.disconnect("/", &options, true);
    /// # }
    /// ```
    pub fn disconnect(&self, namespace: &str, options: &Options, close: bool) {
        self.here.disconnect(namespace, options, close);
    }

    /// Hands an event of another server to the handlers of [`Builder::on_server_event`](crate::Builder::on_server_event). `reply` is called at most once, with the
    /// answer; give `None` where none is wanted.
    ///
    /// ```
    /// # use ringhall::adapter::*;
    /// # fn f(host: &Host, packet: Packet) {
    /// host.server_event("/", packet, Some(Box::new(|answer| println!("{}", answer.json()))));
    /// # }
    /// ```
    pub fn server_event(
        &self,
        namespace: &str,
        packet: Packet,
        reply: Option<Box<dyn FnOnce(Payload) + Send>>,
    ) {
        self.here.server_event(namespace, packet, reply);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Host")
    }
}
