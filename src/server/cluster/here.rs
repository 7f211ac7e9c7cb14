//! What this server does for others, on all its cores.

use std::sync::{Arc, Weak};

use smallvec::SmallVec;
use tokio::sync::mpsc;

use crate::server::adapter::{
    AckReport, AdapterFuture, AnswerSink, Here, Options, Packet, Reply, SocketDetails,
};
use crate::server::arguments::Args;
use crate::server::emit::{self, Form};
use crate::server::remote::RemoteSocket;
use crate::server::server_events::{self, ServerEvent};
use crate::server::shared::Shared;
use crate::server::{Payload, Server};
use crate::shard::hall::Target;
use crate::shard::hall::asking::{Asking, Report};
use crate::shard::hall::broadcast::Wanted;
use crate::shard::hall::operation::{Deed, View};
use crate::shard::mail::Mail;

use super::NO_DATA;

/// See the module's text.
pub(super) struct ThisServer {
    shared: Weak<Shared>,
}

impl ThisServer {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        ThisServer {
            shared: Arc::downgrade(shared),
        }
    }

    /// Nothing is done once the server has ended.
    fn with<T>(
        &self,
        namespace: &str,
        options: &Options,
        act: impl FnOnce(&Arc<Shared>, &Target<'_>) -> T,
    ) -> Option<T> {
        let shared = self.shared.upgrade()?;
        let scope = shared.namespaces.name_of(namespace);
        let to: SmallVec<[&str; 4]> = options.rooms.iter().map(String::as_str).collect();
        let except: SmallVec<[&str; 4]> = options.except.iter().map(String::as_str).collect();
        let target = Target {
            scope: &scope,
            to: &to,
            except: &except,
            not: None,
            volatile: options.flags.volatile,
        };
        Some(act(&shared, &target))
    }

    fn operate(&self, namespace: &str, options: &Options, deed: Deed) {
        self.with(namespace, options, |shared, target| {
            shared.operate(target, deed);
        });
    }
}

impl Here for ThisServer {
    fn deliver(&self, namespace: &str, packet: &Packet, options: &Options) {
        self.with(namespace, options, |shared, target| {
            give(shared, target, packet, None);
        });
    }

    fn ask(
        &self,
        namespace: &str,
        packet: &Packet,
        options: &Options,
        answers: AnswerSink,
    ) -> AdapterFuture<()> {
        let asked = self.with(namespace, options, |shared, target| {
            let (reports, receiver) = mpsc::unbounded_channel();
            let id = shared.next_packet_id_anywhere();
            let asking = Asking { id, reports };
            let cores = give(shared, target, packet, Some(&asking));
            let asked = Asked {
                shared: self.shared.clone(),
                id,
                is_over: false,
            };
            (asked, receiver, cores)
        });
        Box::pin(async move {
            match asked {
                Some((asked, receiver, cores)) => asked.pass_on(receiver, cores, answers).await,
                None => {
                    answers.report(AckReport::AllCounted);
                }
            }
        })
    }

    fn fetch(&self, namespace: &str, options: &Options) -> AdapterFuture<Vec<SocketDetails>> {
        let (reply, mut views) = mpsc::unbounded_channel();
        self.operate(namespace, options, Deed::Fetch { whole: true, reply });
        let (shared, namespace) = (self.shared.clone(), Arc::from(namespace));
        Box::pin(async move {
            let mut sockets = Vec::new();
            while let Some(views) = views.recv().await {
                if let Some(shared) = shared.upgrade() {
                    let views = views.into_iter();
                    sockets.extend(views.map(|view| details(&shared, &namespace, view)));
                }
            }
            sockets
        })
    }

    fn join(&self, namespace: &str, options: &Options, rooms: &[String]) {
        self.operate(namespace, options, Deed::Join(boxed(rooms)));
    }

    fn leave(&self, namespace: &str, options: &Options, rooms: &[String]) {
        self.operate(namespace, options, Deed::Leave(boxed(rooms)));
    }

    fn disconnect(&self, namespace: &str, options: &Options, close: bool) {
        self.operate(namespace, options, Deed::Disconnect { close });
    }

    fn server_event(&self, namespace: &str, packet: Packet, reply: Option<Reply>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let Some((name, handlers)) = shared.cluster.events.get_key_value(namespace) else {
            return;
        };
        if handlers.find(packet.event()).is_empty() {
            return;
        }
        let event = ServerEvent::new(Server::of_shared(&shared), name.clone(), packet, reply);
        // On one core, so that they are handled in order.
        if let Some(first) = shared.addresses().first() {
            let errand = move || {
                let cluster = &event.server().shared.cluster;
                if let Some(handlers) = cluster.events.get(event.namespace()) {
                    server_events::call(handlers.find(event.event()), &event);
                }
            };
            first.post_blocking(Mail::Errand(Box::new(errand)));
        }
    }
}

/// A socket of this server as others see it.
fn details(shared: &Arc<Shared>, namespace: &Arc<str>, view: View) -> SocketDetails {
    // What was never set is an empty object, as in Node.
    let data = view.whole.as_ref().and_then(|whole| whole.data.clone());
    let data = data.map_or_else(|| NO_DATA.to_owned(), |data| data.to_string());
    let socket = RemoteSocket::new(shared.clone(), namespace.clone(), view);
    let handshake = serde_json::to_string(&socket.handshake_details());
    SocketDetails {
        id: socket.id().to_owned(),
        handshake: handshake.unwrap_or_else(|_| "{}".to_owned()),
        rooms: socket.rooms().to_vec(),
        data,
    }
}

fn boxed(rooms: &[String]) -> Arc<[Box<str>]> {
    rooms.iter().map(|room| room.as_str().into()).collect()
}

/// Hands a packet to this server's sockets. Gives how many cores will report, where answers are wanted.
fn give(shared: &Shared, target: &Target<'_>, packet: &Packet, asking: Option<&Asking>) -> usize {
    let mut cores = 0;
    let (event, args) = (packet.event(), packet.args());
    let id = asking.map(|asking| asking.id);
    let is_recovered = asking.is_none() && !target.volatile;
    let form = Form {
        parser: shared.settings.parser,
        offset: is_recovered.then(|| shared.next_offset()).flatten(),
    };
    let sent = emit::with_payload(
        form,
        target.scope,
        event,
        id,
        args,
        |message| match asking {
            Some(asking) => cores = shared.ask(target, message, asking),
            None => drop(shared.deliver(target, message, Wanted::default())),
        },
    );
    emit::or_log(event, sent);
    cores
}

/// A question of another server, while this server's sockets answer it.
struct Asked {
    shared: Weak<Shared>,
    id: u64,
    is_over: bool,
}

impl Asked {
    async fn pass_on(
        mut self,
        mut reports: mpsc::UnboundedReceiver<Report>,
        cores: usize,
        answers: AnswerSink,
    ) {
        let mut counted = 0;
        if cores == 0 {
            answers.report(AckReport::AllCounted);
        }
        while let Some(report) = reports.recv().await {
            let is_wanted = match report {
                Report::Count(count) => {
                    counted += 1;
                    let is_wanted = answers.report(AckReport::Count(count));
                    is_wanted && (counted != cores || answers.report(AckReport::AllCounted))
                }
                // This is one server.
                Report::NotAll => true,
                Report::Answer { json, attachments } => {
                    let args = Args {
                        json: &json,
                        attachments: &attachments,
                    };
                    match Payload::of(&args) {
                        Ok(answer) => answers.report(AckReport::Answer(answer)),
                        // It came as text, which is UTF-8.
                        Err(_) => true,
                    }
                }
            };
            if !is_wanted {
                return;
            }
        }
        self.is_over = true;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(shared) = self.shared.upgrade()
        {
            shared.unask(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recovery;
    use crate::server::testing;

    /// Without a name it would be missing from what a client of this server is sent again.
    #[test]
    fn what_other_servers_say_can_be_recovered_here() {
        let builder = Server::builder().recovery(Recovery::default());
        testing::run(builder, async |test| {
            let ada = test.connect().await;
            let here = ThisServer::new(&test.server().shared);
            let packet = Packet::new("news", Payload::encode(&1).unwrap()).unwrap();
            here.deliver("/", &packet, &Options::default());
            let (n, offset) = ada.expect::<(u8, String)>("news").await;
            assert_eq!(n, 1);
            assert!(offset.len() > 4, "{offset}");
            test.settle().await;
            let mut options = Options::default();
            options.flags.volatile = true;
            here.deliver("/", &packet, &options);
            assert_eq!(ada.expect::<(u8,)>("news").await, (1,));
        });
    }
}
