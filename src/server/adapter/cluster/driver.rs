//! The adapter's thread: between the state machine, the transport and this server.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::super::message::{Body, Message, RequestId, ServerId};
use super::super::node::{Ask, Node, Output, Ticket, Told, Whom};
use super::super::packet::{Gathered, Options, SocketDetails};
use super::super::{AckReport, AdapterError, AdapterFuture, AnswerSink, Host, SocketSink};
use super::{ClusterAdapter, ClusterSettings, ClusterTransport, Gauge, Incoming, ms};
use crate::reactor::clock::Clock;
use crate::server::Payload;
use crate::server::adapter::answers::Sum;

/// Questions of others that are being answered at a time. One more is not answered: who asked waits in vain.
const SERVED_MAX: usize = 10_000;
/// The transport may take so long to take leave.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Commands in a row, before other tasks of the runtime get their turn.
const COMMANDS_IN_A_ROW: usize = 64;

/// What the adapter's thread is told.
pub(super) enum Command {
    Say {
        namespace: Arc<str>,
        body: Body,
        weight: usize,
    },
    Ask {
        namespace: Arc<str>,
        ask: Ask,
        timeout_ms: Option<u64>,
        asker: Asker,
        weight: usize,
    },
    Respond {
        to: ServerId,
        namespace: Arc<str>,
        body: Body,
    },
    Received {
        message: Arc<Message>,
        weight: usize,
    },
    Room {
        namespace: Arc<str>,
        room: Arc<str>,
        has_members: bool,
    },
    Count(oneshot::Sender<usize>),
    Close,
}

/// Who waits for answers.
pub(super) enum Asker {
    Sockets(AnswerSink),
    Fetch(SocketSink),
    Servers(Option<oneshot::Sender<Gathered<Payload>>>, Vec<Payload>),
}

impl Asker {
    pub(super) fn servers(sender: oneshot::Sender<Gathered<Payload>>) -> Self {
        Asker::Servers(Some(sender), Vec::new())
    }

    /// Passes on what is told. `true`: it was the last.
    fn tell(&mut self, told: Told) -> bool {
        match (self, told) {
            (Asker::Sockets(answers), told) => {
                let report = match told {
                    Told::Count(count) => AckReport::Count(count),
                    Told::Lost(count) => AckReport::Lost(count),
                    Told::AllCounted => AckReport::AllCounted,
                    Told::NotAll => AckReport::NotAll,
                    Told::Answer(answer) => AckReport::Answer(answer),
                    Told::Sockets(_) => return false,
                    Told::Done { .. } => return true,
                };
                answers.report(report);
            }
            (Asker::Fetch(sink), Told::Sockets(sockets)) => {
                sink.report(sockets);
            }
            (Asker::Servers(_, values), Told::Answer(answer)) => values.push(answer),
            (Asker::Fetch(_), Told::Done { missing }) => {
                if missing > 0 {
                    log::warn!("{missing} servers have not told of their sockets in time");
                }
                return true;
            }
            (Asker::Servers(sender, values), Told::Done { missing }) => {
                let values = std::mem::take(values);
                if let Some(sender) = sender.take() {
                    // Who asked may be gone.
                    let _ = sender.send(Gathered { values, missing });
                }
                return true;
            }
            _ => {}
        }
        false
    }
}

/// See the module's text.
pub(super) struct Driver {
    node: Node,
    id: ServerId,
    settings: ClusterSettings,
    transport: Arc<dyn ClusterTransport>,
    has_offsets: bool,
    host: Host,
    clock: Clock,
    askers: HashMap<Ticket, Asker>,
    next_ticket: Ticket,
    commands: mpsc::UnboundedSender<Command>,
    outgoing: Arc<Gauge>,
    incoming: Arc<Gauge>,
    servers: Arc<AtomicUsize>,
    /// What the transport has not said yet.
    unsaid: JoinSet<()>,
    served: Arc<Semaphore>,
}

impl Driver {
    pub(super) fn new(
        adapter: &ClusterAdapter,
        host: Host,
        incoming: Arc<Gauge>,
        seed: u64,
    ) -> Self {
        Driver {
            // Whether there are heartbeats is known when the transport has started.
            node: Node::new(adapter.id.clone(), adapter.settings.timing(), true, seed),
            id: adapter.id.clone(),
            settings: adapter.settings.clone(),
            transport: adapter.transport.clone(),
            has_offsets: adapter.has_offsets,
            host,
            clock: Clock::start(),
            askers: HashMap::new(),
            next_ticket: 0,
            commands: adapter.commands.clone(),
            outgoing: adapter.outgoing.clone(),
            incoming,
            servers: adapter.servers.clone(),
            unsaid: JoinSet::new(),
            served: Arc::new(Semaphore::new(SERVED_MAX)),
        }
    }

    /// The thread. `ready` is told whether the others can be reached.
    pub(super) fn run(
        mut self,
        receiver: mpsc::UnboundedReceiver<Command>,
        incoming: Incoming,
        ready: &Sender<Result<(), AdapterError>>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(AdapterError::new(error)));
                return;
            }
        };
        runtime.block_on(async {
            let started = self.transport.start(&self.id, incoming).await;
            let is_started = started.is_ok();
            if let (true, Some(count)) = (is_started, self.transport.server_count()) {
                drop(count);
                self.node.count_elsewhere();
            }
            if is_started {
                self.node.handle_start(self.clock.now_ms());
                self.carry_out().await;
            }
            let _ = ready.send(started);
            if is_started {
                self.serve(receiver).await;
            }
        });
    }

    async fn serve(&mut self, mut receiver: mpsc::UnboundedReceiver<Command>) {
        let mut in_a_row = 0;
        loop {
            let now_ms = self.clock.now_ms();
            let deadline_ms = self.node.deadline_ms();
            if deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms) {
                self.node.handle_time(now_ms);
                self.carry_out().await;
                continue;
            }
            while self.unsaid.try_join_next().is_some() {}
            let command = match receiver.try_recv() {
                Ok(command) => command,
                Err(_) => {
                    let wait_ms = deadline_ms.map_or(u64::MAX, |deadline_ms| deadline_ms - now_ms);
                    // Far longer than anything waits; beyond it, a timer may not be possible.
                    let wait = Duration::from_millis(wait_ms.min(3_600_000));
                    match tokio::time::timeout(wait, receiver.recv()).await {
                        Err(_) => continue,
                        Ok(None) => return,
                        Ok(Some(command)) => command,
                    }
                }
            };
            if matches!(command, Command::Close) {
                return self.leave().await;
            }
            self.handle(command).await;
            self.carry_out().await;
            in_a_row += 1;
            if in_a_row % COMMANDS_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn leave(&mut self) {
        self.node.close(self.clock.now_ms());
        self.carry_out().await;
        let unsaid = &mut self.unsaid;
        let transport = &self.transport;
        let leaving = async {
            while unsaid.join_next().await.is_some() {}
            transport.close().await;
        };
        if tokio::time::timeout(LEAVE_MAX, leaving).await.is_err() {
            log::warn!(
                "the other servers may not know that this one ends: the transport did not end in time"
            );
        }
    }

    async fn handle(&mut self, command: Command) {
        let now_ms = self.clock.now_ms();
        match command {
            Command::Say {
                namespace,
                body,
                weight,
            } => {
                self.outgoing.remove(weight);
                self.node.publish(now_ms, namespace, body);
            }
            Command::Ask {
                namespace,
                ask,
                timeout_ms,
                asker,
                weight,
            } => {
                self.outgoing.remove(weight);
                let whom = self.whom().await;
                let ticket = self.next_ticket;
                self.next_ticket += 1;
                self.askers.insert(ticket, asker);
                let now_ms = self.clock.now_ms();
                self.node
                    .ask(now_ms, namespace, ask, (ticket, whom, timeout_ms));
            }
            Command::Respond {
                to,
                namespace,
                body,
            } => {
                let message = Message {
                    sender: self.id.clone(),
                    namespace,
                    body,
                };
                let weight = message.body.weight();
                let said = self.transport.publish_response(&to, Arc::new(message));
                self.follow(said, weight);
            }
            Command::Received { message, weight } => {
                self.incoming.remove(weight);
                // The transport may have kept one, and the bus does.
                let message = Arc::unwrap_or_clone(message);
                self.node.handle_message(now_ms, message);
            }
            Command::Room {
                namespace,
                room,
                has_members,
            } => self.transport.room_changed(&namespace, &room, has_members),
            Command::Count(asker) => self.count(asker),
            Command::Close => {}
        }
    }

    /// Who has to answer a question that is asked now.
    async fn whom(&self) -> Whom {
        match self.transport.server_count() {
            None => Whom::Known,
            Some(count) => match count.await {
                Ok(servers) => Whom::Number(servers.saturating_sub(1)),
                Err(error) => {
                    log::warn!("the number of servers is not known: {error}");
                    // Somebody may be there: what comes in time counts.
                    Whom::Number(1)
                }
            },
        }
    }

    fn count(&self, asker: oneshot::Sender<usize>) {
        let known = self.servers.load(Ordering::Relaxed);
        match self.transport.server_count() {
            None => {
                let _ = asker.send(known);
            }
            Some(count) => {
                tokio::spawn(async move {
                    let _ = asker.send(count.await.unwrap_or(known));
                });
            }
        }
    }

    /// Does what the state machine wants done.
    async fn carry_out(&mut self) {
        while let Some(output) = self.node.next_output() {
            match output {
                Output::Publish(message) => self.publish(Arc::new(message)).await,
                Output::Here(message) => self.act_here(message),
                Output::Servers(servers) => self.servers.store(servers, Ordering::Relaxed),
                Output::Tell(ticket, told) => {
                    let asker = self.askers.get_mut(&ticket);
                    if asker.is_some_and(|asker| asker.tell(told)) {
                        self.askers.remove(&ticket);
                    }
                }
            }
        }
    }

    async fn publish(&mut self, message: Arc<Message>) {
        let said = self.transport.publish(message.clone());
        match &message.body {
            Body::Broadcast {
                packet,
                options,
                request: None,
            } if self.has_offsets => {
                let offset = said.await.unwrap_or_else(|error| {
                    log::error!("the other servers are not told: {error}");
                    None
                });
                let packet = match offset {
                    Some(offset) => packet.clone().with_offset(&offset),
                    None => packet.clone(),
                };
                self.host.deliver(&message.namespace, &packet, options);
            }
            body => self.follow(said, body.weight()),
        }
    }

    /// Waits for the transport to have said something, but not here.
    fn follow<T: 'static>(
        &mut self,
        mut said: AdapterFuture<Result<T, AdapterError>>,
        weight: usize,
    ) {
        let said_now = Pin::as_mut(&mut said).poll(&mut Context::from_waker(Waker::noop()));
        match said_now {
            Poll::Ready(result) => log_failure(result),
            Poll::Pending => {
                let outgoing = self.outgoing.clone();
                outgoing.add_anyway(weight);
                self.unsaid.spawn(async move {
                    log_failure(said.await);
                    outgoing.remove(weight);
                });
            }
        }
    }

    /// Another server wants something of this one.
    fn act_here(&self, message: Message) {
        let Message {
            sender,
            namespace,
            body,
        } = message;
        match body {
            Body::Broadcast {
                packet,
                options,
                request: None,
            } => self.host.deliver(&namespace, &packet, &options),
            Body::Broadcast {
                packet,
                options,
                request: Some(request),
            } => {
                let Some(asker) = self.asker(sender, namespace.clone(), request) else {
                    return;
                };
                let (answers, reports) = AnswerSink::channel();
                let asking = self.host.ask(&namespace, &packet, &options, answers);
                tokio::spawn(asker.pass_on(asking, reports, self.timeout_of(&options)));
            }
            Body::FetchSockets { options, request } => {
                let Some(asker) = self.asker(sender, namespace.clone(), request) else {
                    return;
                };
                let sockets = self.host.fetch(&namespace, &options);
                tokio::spawn(asker.pass_on_sockets(sockets, self.timeout_of(&options)));
            }
            Body::SocketsJoin { options, rooms } => self.host.join(&namespace, &options, &rooms),
            Body::SocketsLeave { options, rooms } => self.host.leave(&namespace, &options, &rooms),
            Body::DisconnectSockets { options, close } => {
                self.host.disconnect(&namespace, &options, close);
            }
            Body::ServerSideEmit { packet, request } => {
                let commands = self.commands.clone();
                let reply = request.map(|request| -> super::super::Reply {
                    let namespace = namespace.clone();
                    Box::new(move |answer| {
                        let _ = commands.send(Command::Respond {
                            to: sender,
                            namespace,
                            body: Body::ServerSideEmitResponse { request, answer },
                        });
                    })
                });
                self.host.server_event(&namespace, packet, reply);
            }
            _ => {}
        }
    }

    fn timeout_of(&self, options: &Options) -> Duration {
        let timeout = options
            .flags
            .timeout
            .map_or(self.settings.timing().request_ms, ms);
        // A server may not keep another busy for longer than this.
        Duration::from_millis(timeout.min(24 * 3_600_000))
    }

    /// `None`: too many are asking.
    fn asker(&self, to: ServerId, namespace: Arc<str>, request: RequestId) -> Option<Remote> {
        let Ok(permit) = self.served.clone().try_acquire_owned() else {
            log::warn!("server {to} gets no answer: too many questions are open");
            return None;
        };
        Some(Remote {
            to,
            namespace,
            request,
            commands: self.commands.clone(),
            _permit: permit,
        })
    }
}

fn log_failure<T>(result: Result<T, AdapterError>) {
    if let Err(error) = result {
        log::error!("another server is not told: {error}");
    }
}

/// A server that asked, while it is being answered.
struct Remote {
    to: ServerId,
    namespace: Arc<str>,
    request: RequestId,
    commands: mpsc::UnboundedSender<Command>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Remote {
    fn respond(&self, body: Body) {
        let _ = self.commands.send(Command::Respond {
            to: self.to.clone(),
            namespace: self.namespace.clone(),
            body,
        });
    }

    async fn pass_on_sockets(self, sockets: AdapterFuture<Vec<SocketDetails>>, timeout: Duration) {
        if let Ok(sockets) = tokio::time::timeout(timeout, sockets).await {
            let request = self.request.clone();
            self.respond(Body::FetchSocketsResponse { request, sockets });
        }
    }

    /// First how many sockets were asked, then their answers, as they come.
    async fn pass_on(
        self,
        asking: AdapterFuture<()>,
        mut reports: mpsc::UnboundedReceiver<AckReport>,
        timeout: Duration,
    ) {
        let passing = async {
            let mut sum = Sum::default();
            let mut early = Vec::new();
            while let Some(report) = reports.recv().await {
                let was_counted = sum.is_counted();
                sum.add(&report);
                match report {
                    AckReport::Answer(answer) if was_counted => self.respond(self.ack(answer)),
                    AckReport::Answer(answer) => early.push(answer),
                    _ if sum.is_counted() && !was_counted => {
                        self.respond(Body::BroadcastClientCount {
                            request: self.request.clone(),
                            count: u32::try_from(sum.expected).unwrap_or(u32::MAX),
                        });
                        for answer in early.drain(..) {
                            self.respond(self.ack(answer));
                        }
                    }
                    _ => {}
                }
                if sum.is_complete() {
                    break;
                }
            }
        };
        let both = async {
            tokio::join!(asking, passing);
        };
        // What is not answered by then is not waited for any more.
        let _ = tokio::time::timeout(timeout, both).await;
    }

    fn ack(&self, answer: Payload) -> Body {
        Body::BroadcastAck {
            request: self.request.clone(),
            answer,
        }
    }
}
