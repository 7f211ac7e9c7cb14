//! The numbers that the UI is shown every two seconds.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::Admin;
use crate::server::shared::Shared;
use crate::server::{DisconnectReason, Server};
use crate::shard::traffic::Flow;

/// Events are counted by whole seconds.
const TICK: Duration = Duration::from_secs(1);
/// And told every so many of them (admin-ui 0.5: every 2 s).
const TICKS: usize = 2;
/// What is kept while nobody watches.
const KEPT_MS: u64 = 5000;

/// How often something happened in one second (admin-ui 0.5, `NamespaceEvent`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    /// The second: milliseconds since 1970.
    timestamp: u64,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_type: Option<&'static str>,
    count: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    server_id: &'a str,
    hostname: &'a str,
    pid: u32,
    /// Seconds.
    uptime: f64,
    clients_count: u64,
    polling_clients_count: u64,
    aggregated_events: &'a [Counted],
    namespaces: Vec<Population>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Population {
    name: Box<str>,
    sockets_count: usize,
}

/// Starts the thread that tells the numbers, until the server is shut down or gone.
pub(crate) fn start(admin: &Arc<Admin>, shared: &Arc<Shared>) -> std::io::Result<()> {
    let (admin, shared) = (admin.clone(), Arc::downgrade(shared));
    let thread = thread::Builder::new().name("ringhall-admin".to_owned());
    thread.spawn(move || watch(&admin, &shared)).map(drop)
}

fn watch(admin: &Admin, shared: &Weak<Shared>) {
    let hostname = rustix::system::uname();
    let hostname = hostname.nodename().to_string_lossy().into_owned();
    let mut last = Flow::default();
    let mut events: Vec<Counted> = Vec::new();
    for tick in 1_usize.. {
        // Nobody unparks this thread.
        thread::park_timeout(TICK);
        let Some(shared) = shared.upgrade().filter(|shared| !shared.is_ending()) else {
            return;
        };
        let (server, flow) = (Server::of_shared(&shared), shared.traffic());
        let second = shared.unix_ms(shared.now_ms()) / 1000 * 1000;
        count(&mut events, second, &last, &flow);
        last = flow;
        if !admin.is_watched(&server) {
            // Who comes is shown the last seconds, its own coming among them.
            events.retain(|event| event.timestamp + KEPT_MS > second);
        } else if tick % TICKS == 0 {
            let stats = Stats {
                server_id: admin.server_id.as_deref().unwrap_or(&hostname),
                hostname: &hostname,
                pid: std::process::id(),
                uptime: shared.now_ms() as f64 / 1000.0,
                clients_count: flow.clients(),
                polling_clients_count: flow.on_polling,
                aggregated_events: &events,
                namespaces: admin.populations(),
            };
            admin.tell(&server, "server_stats", stats);
            events.clear();
        }
    }
}

/// What has come to `last` until `flow`.
fn count(events: &mut Vec<Counted>, timestamp: u64, last: &Flow, flow: &Flow) {
    let mut add = |r#type, sub_type, before: u64, now: u64| {
        if now > before {
            events.push(Counted {
                timestamp,
                r#type,
                sub_type,
                count: now - before,
            });
        }
    };
    add("rawConnection", None, last.opened, flow.opened);
    let closed = last.closed.iter().zip(&flow.closed);
    for (reason, (before, now)) in DisconnectReason::ALL.iter().zip(closed) {
        add("rawDisconnection", Some(reason.as_str()), *before, *now);
    }
    add("packetsIn", None, last.packets_in, flow.packets_in);
    add("bytesIn", None, last.bytes_in, flow.bytes_in);
    add("packetsOut", None, last.packets_out, flow.packets_out);
    add("bytesOut", None, last.bytes_out, flow.bytes_out);
}

impl Admin {
    fn populations(&self) -> Vec<Population> {
        let population = self.population();
        let all = population.iter().map(|(name, sockets)| Population {
            name: name.clone(),
            sockets_count: sockets.count,
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_happened_in_between_is_counted() {
        let last = Flow {
            opened: 3,
            packets_in: 10,
            ..Flow::default()
        };
        let mut flow = last;
        flow.opened = 5;
        flow.closed[DisconnectReason::PingTimeout as usize] = 1;
        flow.bytes_out = 7;
        let mut events = Vec::new();
        count(&mut events, 5000, &last, &flow);
        let json = serde_json::to_value(&events).unwrap();
        let expected = serde_json::json!([
            { "timestamp": 5000, "type": "rawConnection", "count": 2 },
            { "timestamp": 5000, "type": "rawDisconnection", "subType": "ping timeout", "count": 1 },
            { "timestamp": 5000, "type": "bytesOut", "count": 7 },
        ]);
        assert_eq!(json, expected);
    }
}
