//! One server's part in a cluster as a state machine: who is there, what was asked of whom, who has answered. What comes in and the time go in,
//! [`Output`]s come out; nothing here reads a clock or a network.
//!
//! As in Socket.IO's cluster adapters: a server says that it has come, says something at least every 5 seconds, is taken for lost after
//! 10 seconds of silence, and says when it goes. Two things are better here: a server that is lost is not waited for any more,
//! by no question, and answers never bring a server back that has taken leave.

mod question;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use question::{Asked, Question};

use super::message::{Body, Message, RequestId, ServerId};
use super::packet::{Options, Packet, SocketDetails};
use crate::server::Payload;

#[cfg(test)]
mod tests;

/// Servers known at most, besides this one. Others are heard, but not counted and not waited for.
pub(crate) const PEERS_MAX: usize = 1_024;
/// Questions open at a time. One more is given up at once.
pub(crate) const QUESTIONS_MAX: usize = 10_000;
/// Emitters, programs that speak to a cluster without being a part of it, call themselves so (`@socket.io/redis-emitter`).
const EMITTER: &str = "emitter";

/// When what is due, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Something is said at least this often.
    pub(crate) heartbeat_ms: u64,
    /// A server that is silent for so long is lost.
    pub(crate) silence_ms: u64,
    /// Where nobody says how long answers are waited for.
    pub(crate) request_ms: u64,
}

/// Which answer belongs to which asker.
pub(crate) type Ticket = u64;

/// What is asked of the other servers.
#[derive(Debug)]
pub(crate) enum Ask {
    Sockets(Options),
    Event(Packet),
    Broadcast(Packet, Options),
}

/// Who has to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whom {
    /// All servers that are known.
    Known,
    /// So many: somebody else counts the servers.
    Number(usize),
}

/// What an asker is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Sockets(Vec<SocketDetails>),
    Answer(Payload),
    /// So many more answers are to be expected.
    Count(usize),
    /// So many of these will not come.
    Lost(usize),
    /// All servers have said how many answers are to be expected from them.
    AllCounted,
    /// Answers of sockets that were expected did not come in time.
    NotAll,
    /// The last word: so many servers have not answered, or, of a broadcast, not counted.
    Done {
        missing: usize,
    },
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Say it to all.
    Publish(Message),
    /// Another server wants this done here; where it holds a request, the answer goes to its sender.
    Here(Message),
    Tell(Ticket, Told),
    /// So many servers are known now, this one among them.
    Servers(usize),
}

/// Another server.
struct Peer {
    heard_ms: u64,
    /// Which of all arrivals it was.
    arrival: u64,
}

/// See the module's text.
pub(crate) struct Node {
    id: ServerId,
    timing: Timing,
    /// False where the transport knows how many servers there are.
    has_heartbeats: bool,
    peers: HashMap<ServerId, Peer>,
    /// How many servers have come, ever.
    arrivals: u64,
    /// No peer is lost before this.
    sweep_ms: u64,
    questions: HashMap<RequestId, Question>,
    deadlines: BTreeSet<(u64, RequestId)>,
    next_request: u64,
    said_ms: u64,
    is_closed: bool,
    outputs: VecDeque<Output>,
}

impl Node {
    /// `seed`: where the names of its questions begin; they should not be guessed by others.
    pub(crate) fn new(id: ServerId, timing: Timing, has_heartbeats: bool, seed: u64) -> Self {
        Node {
            id,
            timing,
            has_heartbeats,
            peers: HashMap::new(),
            arrivals: 0,
            sweep_ms: u64::MAX,
            questions: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_request: seed,
            said_ms: 0,
            is_closed: false,
            outputs: VecDeque::new(),
        }
    }

    /// Somebody else counts the servers: no heartbeats are needed.
    pub(crate) fn count_elsewhere(&mut self) {
        self.has_heartbeats = false;
    }

    // ---- in ----

    /// The way to the others is open.
    pub(crate) fn handle_start(&mut self, now_ms: u64) {
        self.said_ms = now_ms;
        if self.has_heartbeats {
            self.publish(now_ms, "/".into(), Body::InitialHeartbeat);
        }
    }

    /// What came from another server.
    pub(crate) fn handle_message(&mut self, now_ms: u64, message: Message) {
        if self.is_closed || message.sender == self.id {
            return;
        }
        if message.body.is_response() {
            // A straggler's answer does not bring it back.
            if let Some(peer) = self.peers.get_mut(&message.sender) {
                peer.heard_ms = now_ms;
            }
            return self.handle_response(&message.sender, message.body);
        }
        if message.body == Body::Close {
            return self.lose(&message.sender);
        }
        self.heard(now_ms, &message.sender);
        match message.body {
            Body::InitialHeartbeat => self.publish(now_ms, "/".into(), Body::Heartbeat),
            Body::Heartbeat => {}
            _ => self.outputs.push_back(Output::Here(message)),
        }
    }

    /// This server has something to say to all others, and wants no answer.
    pub(crate) fn publish(&mut self, now_ms: u64, namespace: Arc<str>, body: Body) {
        if self.is_closed {
            return;
        }
        self.said_ms = now_ms;
        let sender = self.id.clone();
        self.outputs.push_back(Output::Publish(Message {
            sender,
            namespace,
            body,
        }));
    }

    /// This server asks the others. The last thing that its asker is told is [`Told::Done`].
    pub(crate) fn ask(
        &mut self,
        now_ms: u64,
        namespace: Arc<str>,
        ask: Ask,
        (ticket, whom, timeout_ms): (Ticket, Whom, Option<u64>),
    ) {
        let asked = match ask {
            Ask::Sockets(_) => Asked::Sockets,
            Ask::Event(_) => Asked::Event,
            Ask::Broadcast(..) => Asked::Broadcast,
        };
        let question = match whom {
            Whom::Known => Question::to_known(ticket, asked, self.peers.len(), self.arrivals),
            Whom::Number(servers) => Question::to_number(ticket, asked, servers),
        };
        // Even where nobody is waited for, a broadcast is said: servers that are not known yet hear it, too.
        let is_idle = question.is_complete() && asked != Asked::Broadcast;
        if is_idle || self.is_closed || self.questions.len() >= QUESTIONS_MAX {
            let missing = question.missing();
            if !is_idle && question.is_broadcast() {
                self.outputs.push_back(Output::Tell(ticket, Told::NotAll));
            }
            return self
                .outputs
                .push_back(Output::Tell(ticket, Told::Done { missing }));
        }
        let request = RequestId::of_number(self.next_request);
        self.next_request = self.next_request.wrapping_add(1);
        let deadline_ms = now_ms.saturating_add(timeout_ms.unwrap_or(self.timing.request_ms));
        let body = match ask {
            Ask::Sockets(options) => Body::FetchSockets {
                options,
                request: request.clone(),
            },
            Ask::Event(packet) => Body::ServerSideEmit {
                packet,
                request: Some(request.clone()),
            },
            Ask::Broadcast(packet, options) => Body::Broadcast {
                packet,
                options,
                request: Some(request.clone()),
            },
        };
        self.publish(now_ms, namespace, body);
        self.deadlines.insert((deadline_ms, request.clone()));
        self.questions
            .insert(request.clone(), question.until(deadline_ms));
        self.look_at(&request);
    }

    /// The time has come that [`deadline_ms`](Node::deadline_ms) said.
    pub(crate) fn handle_time(&mut self, now_ms: u64) {
        if self.is_closed {
            return;
        }
        while let Some((deadline_ms, request)) = self.deadlines.first().cloned()
            && deadline_ms <= now_ms
        {
            self.end(&request);
        }
        if self.sweep_ms <= now_ms {
            self.sweep(now_ms);
        }
        if self.has_heartbeats && now_ms >= self.said_ms.saturating_add(self.timing.heartbeat_ms) {
            self.publish(now_ms, "/".into(), Body::Heartbeat);
        }
    }

    /// This server goes: it says so, and waits for nobody any more.
    pub(crate) fn close(&mut self, now_ms: u64) {
        if self.is_closed {
            return;
        }
        if self.has_heartbeats {
            self.publish(now_ms, "/".into(), Body::Close);
        }
        while let Some((_, request)) = self.deadlines.first().cloned() {
            self.end(&request);
        }
        self.is_closed = true;
    }

    // ---- out ----

    pub(crate) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_time`](Node::handle_time) has something to do, if nothing else happens before.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        if self.is_closed {
            return None;
        }
        let heartbeat = self
            .has_heartbeats
            .then(|| self.said_ms.saturating_add(self.timing.heartbeat_ms));
        let sweep = (self.sweep_ms != u64::MAX).then_some(self.sweep_ms);
        let question = self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms);
        [heartbeat, sweep, question].into_iter().flatten().min()
    }

    /// The servers that are known, this one among them.
    #[cfg(test)]
    pub(crate) fn servers(&self) -> usize {
        self.peers.len() + 1
    }

    #[cfg(test)]
    pub(crate) fn open_questions(&self) -> usize {
        assert_eq!(self.questions.len(), self.deadlines.len());
        self.questions.len()
    }

    // ---- peers ----

    fn heard(&mut self, now_ms: u64, sender: &ServerId) {
        if let Some(peer) = self.peers.get_mut(sender) {
            peer.heard_ms = now_ms;
        } else if self.has_heartbeats && sender.as_str() != EMITTER && self.peers.len() < PEERS_MAX
        {
            let peer = Peer {
                heard_ms: now_ms,
                arrival: self.arrivals,
            };
            self.arrivals += 1;
            self.peers.insert(sender.clone(), peer);
            let lost_ms = now_ms.saturating_add(self.timing.silence_ms);
            self.sweep_ms = self.sweep_ms.min(lost_ms);
            self.tell_servers();
        }
    }

    fn sweep(&mut self, now_ms: u64) {
        let silence_ms = self.timing.silence_ms;
        let is_lost = |heard_ms: u64| now_ms >= heard_ms.saturating_add(silence_ms);
        let lost: Vec<ServerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| is_lost(peer.heard_ms))
            .map(|(id, _)| id.clone())
            .collect();
        for id in lost {
            self.lose(&id);
        }
        let next = self.peers.values().map(|peer| peer.heard_ms).min();
        self.sweep_ms = next.map_or(u64::MAX, |heard_ms| heard_ms.saturating_add(silence_ms));
    }

    /// A server is gone: nothing that is open waits for it any more.
    fn lose(&mut self, id: &ServerId) {
        let Some(peer) = self.peers.remove(id) else {
            return;
        };
        self.tell_servers();
        let mut concerned = Vec::new();
        for (request, question) in &mut self.questions {
            if let Some(told) = question.lose(id, peer.arrival) {
                self.outputs
                    .push_back(Output::Tell(question.ticket(), told));
            }
            concerned.push(request.clone());
        }
        for request in concerned {
            self.look_at(&request);
        }
    }

    fn tell_servers(&mut self) {
        let servers = self.peers.len() + 1;
        self.outputs.push_back(Output::Servers(servers));
    }

    // ---- questions ----

    fn handle_response(&mut self, sender: &ServerId, body: Body) {
        let (request, told) = match body {
            Body::FetchSocketsResponse { request, sockets } => (request, Told::Sockets(sockets)),
            Body::ServerSideEmitResponse { request, answer }
            | Body::BroadcastAck { request, answer } => (request, Told::Answer(answer)),
            Body::BroadcastClientCount { request, count } => (
                request,
                Told::Count(usize::try_from(count).unwrap_or(usize::MAX)),
            ),
            _ => return,
        };
        let Some(question) = self.questions.get_mut(&request) else {
            return;
        };
        let arrival = self.peers.get(sender).map(|peer| peer.arrival);
        if question.takes(sender, arrival, &told) {
            let ticket = question.ticket();
            self.outputs.push_back(Output::Tell(ticket, told));
            self.look_at(&request);
        }
    }

    /// Says what has become true of a question.
    fn look_at(&mut self, request: &RequestId) {
        let Some(question) = self.questions.get_mut(request) else {
            return;
        };
        if question.has_just_counted() {
            let told = Told::AllCounted;
            self.outputs
                .push_back(Output::Tell(question.ticket(), told));
        }
        if question.is_complete() {
            self.end(request);
        }
    }

    fn end(&mut self, request: &RequestId) {
        let Some(question) = self.questions.remove(request) else {
            return;
        };
        self.deadlines
            .remove(&(question.deadline_ms(), request.clone()));
        let (ticket, missing) = (question.ticket(), question.missing());
        if question.is_broadcast() && !question.is_complete() {
            self.outputs.push_back(Output::Tell(ticket, Told::NotAll));
        }
        let told = Told::Done { missing };
        self.outputs.push_back(Output::Tell(ticket, told));
    }
}
