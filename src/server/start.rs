//! From a description to running cores, and to their end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use super::builder::Listen;
use super::cluster::{Cluster, Leaving};
use super::local::Local;
use super::shared::Shared;
use super::tls::Wardrobe;
use super::{Config, Server};
use crate::reactor::clock::Clock;
use crate::reactor::kernel::{self, Kernel, Waker};
use crate::reactor::listen::Listeners;
use crate::ring::Sizes;
use crate::room::{Limits, Rooms};
use crate::shard::hall::Hall;
use crate::shard::mail::Mail;
use crate::shard::mailbox::{Mailbox, Outbox, mailbox};
use crate::shard::{Shard, thread};
use crate::tls::{self, Acceptor};
use crate::{Error, Result};

/// The threads of a running server.
pub(crate) struct Cores {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether TLS is spoken there, by address.
    secure: Vec<bool>,
    threads: Mutex<Vec<JoinHandle<std::io::Result<()>>>>,
}

impl Cores {
    pub(crate) fn urls(&self) -> Vec<String> {
        let scheme = |secure: &bool| if *secure { "https" } else { "http" };
        let all = self.secure.iter().zip(&self.addresses);
        all.map(|(secure, address)| format!("{}://{address}", scheme(secure)))
            .collect()
    }

    /// Waits for all cores to end.
    pub(crate) fn wait(&self) -> Result<()> {
        // Held while waiting: whoever else waits gets through when all have ended.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut result = Ok(());
        for thread in threads.drain(..) {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the core's thread panicked")));
            result = result.and(ended.map_err(Error::system("go on serving on a core")));
        }
        result
    }
}

/// What one core's thread starts with.
struct Start {
    core: usize,
    kernel: kernel::Config,
    acceptors: Vec<Option<Acceptor>>,
    peers: Vec<Waker>,
    outbox: Outbox<Mail>,
    mailbox: Mailbox<Mail>,
    shared: Arc<Shared>,
    ready: mpsc::Sender<Result<()>>,
}

/// Starts all cores; returns when each accepts connections.
///
/// Without an address to listen on, connections come from elsewhere.
pub(crate) fn start(shared: Shared, config: &Config, listen: &[Listen]) -> Result<Server> {
    kernel::check_support().map_err(|unsupported| Error::Unsupported(unsupported.to_string()))?;
    let mut wardrobe = Wardrobe::default();
    let wanted = resolve(listen, &mut wardrobe)?;
    let asked: Vec<SocketAddr> = wanted.iter().map(|one| one.address).collect();
    let listeners = Listeners::bind(&asked, config.cores).map_err(Error::Listen)?;
    let clock = Clock::start();
    let wakers = (0..config.cores)
        .map(|_| Waker::new())
        .collect::<std::io::Result<Vec<_>>>();
    let wakers = wakers.map_err(Error::system("create an eventfd for each core"))?;
    let mut mailboxes = Vec::new();
    let addresses: Arc<[_]> = wakers
        .iter()
        .map(|waker| {
            let waker = waker.clone();
            let (address, own) = mailbox(Arc::new(move || waker.wake()));
            mailboxes.push(own);
            address
        })
        .collect();
    let shared = Arc::new(shared);
    shared.set_addresses(addresses.clone());
    shared.set_clock(clock);
    let (ready, started) = mpsc::channel();
    let mut threads = Vec::new();
    for (core, (listeners, mailbox)) in listeners.cores.into_iter().zip(mailboxes).enumerate() {
        let sizes = Sizes {
            // Those that are being refused hold a descriptor for a moment, too.
            files: config.max_connections.saturating_add(BEING_REFUSED),
            ..Sizes::default()
        };
        let start = Start {
            core,
            kernel: kernel::Config {
                sizes,
                listeners,
                waker: wakers[core].clone(),
                clock,
            },
            acceptors: acceptors(&wanted, &wardrobe),
            peers: wakers.clone(),
            outbox: Outbox::new(core, addresses.clone()),
            mailbox,
            shared: shared.clone(),
            ready: ready.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("ringhall-{core}"))
            .spawn(move || serve(start));
        threads.push(thread.map_err(Error::system("start a thread for each core"))?);
    }
    drop(ready);
    let server = Server::of_shared(&shared);
    shared.set_cores(Cores {
        addresses: listeners.addrs,
        secure: wanted.iter().map(|one| one.tls.is_some()).collect(),
        threads: Mutex::new(threads),
    });
    let failed = started.iter().find_map(Result::err);
    if let Some(error) = failed.or_else(|| finish(&shared, wardrobe).err()) {
        // The cores that did start end in good order; the error that matters is the first.
        server.shutdown();
        let _ = server.wait();
        return Err(error);
    }
    Ok(server)
}

/// What is begun when all cores run.
fn finish(shared: &Arc<Shared>, wardrobe: Wardrobe) -> Result<()> {
    let watched = tls::watch(&wardrobe.into_all());
    watched.map_err(Error::system("start a thread that watches certificates"))?;
    #[cfg(feature = "admin")]
    if let Some(admin) = &shared.admin {
        let told = super::admin::start(admin, shared);
        told.map_err(Error::system(
            "start a thread that tells the Admin UI numbers",
        ))?;
    }
    // Last: a server that does not start has not joined a cluster, either.
    Cluster::start(shared)
}

/// Connections on one core that are being refused at a time; beyond these the core rests from accepting until one is closed.
const BEING_REFUSED: u32 = 64;

/// One core's thread, from its start to its end.
fn serve(start: Start) -> std::io::Result<()> {
    let Start {
        core,
        kernel,
        acceptors,
        peers,
        outbox,
        mailbox,
        shared,
        ready,
    } = start;
    let _leaving = Leaving(shared.clone());
    pin(core);
    let mut kernel = match Kernel::new(kernel) {
        Ok(kernel) => kernel,
        Err(unsupported) => {
            let _ = ready.send(Err(Error::Unsupported(unsupported.to_string())));
            return Ok(());
        }
    };
    kernel.set_peers(peers);
    let settings = Arc::new(shared.settings.clone());
    let limits = Limits {
        rooms_per_member: shared.rooms_max,
        ..Limits::default()
    };
    let hall = Hall::new(core, outbox, settings.sockets_max(), Rooms::new(limits));
    let hall = std::rc::Rc::new(hall);
    let local = Local::new(hall.clone(), shared);
    let shard = Shard::new(kernel, local, hall.clone(), settings, mailbox).with_tls(acceptors);
    let _ = ready.send(Ok(()));
    drop(ready);
    thread::run(shard, &hall)
}

/// Pins this thread to the CPU of its core, among those that this process may use. Not being allowed to is no error: it serves
/// all the same.
fn pin(core: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let cpus: Vec<usize> = (0..CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .collect();
    if cpus.is_empty() {
        return;
    }
    let mut one = CpuSet::new();
    one.set(cpus[core % cpus.len()]);
    if let Err(error) = sched_setaffinity(None, &one) {
        log::info!("core {core} is not pinned to a CPU: {error}");
    }
}

/// One address that is listened on.
struct Wanted {
    address: SocketAddr,
    /// Which certificate is shown there; `None` for plain TCP.
    tls: Option<usize>,
}

/// What one core accepts TLS with, by address.
fn acceptors(wanted: &[Wanted], wardrobe: &Wardrobe) -> Vec<Option<Acceptor>> {
    wanted
        .iter()
        .map(|one| wardrobe.get(one.tls?).map(Acceptor::new))
        .collect()
}

/// The addresses meant. A name may stand for several; of those the ones that this machine does not have are left out.
fn resolve(listen: &[Listen], wardrobe: &mut Wardrobe) -> Result<Vec<Wanted>> {
    let mut all: Vec<Wanted> = Vec::new();
    for Listen { address: name, tls } in listen {
        let tls = tls.as_ref().map(|tls| wardrobe.index_of(tls)).transpose()?;
        let mut found = look_up(name)?;
        if found.len() > 1 {
            found.retain(|address| TcpListener::bind((address.ip(), 0)).is_ok());
        }
        if found.is_empty() {
            return Err(Error::setting(
                "listen",
                format!("is {name:?}, and this machine has none of its addresses"),
            ));
        }
        for address in found {
            // Port 0 is another port each time; the same port twice is meant once.
            let before = all
                .iter()
                .find(|one| address.port() != 0 && one.address == address);
            match before {
                Some(before) if before.tls != tls => {
                    return Err(Error::setting(
                        "listen",
                        format!(
                            "has {address} twice, and not with the same certificate both times"
                        ),
                    ));
                }
                Some(_) => {}
                None => all.push(Wanted { address, tls }),
            }
        }
    }
    Ok(all)
}

fn look_up(name: &str) -> Result<Vec<SocketAddr>> {
    // RFC 6761 §6.3: localhost is the loopback address of both families, whatever a file or a name server says.
    if let Some(port) = name
        .strip_prefix("localhost:")
        .and_then(|port| port.parse().ok())
    {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(loopback
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect());
    }
    let found = name.to_socket_addrs().map_err(|error| {
        let problem = format!(
            "is {name:?}, and must be like 127.0.0.1:3000, [::1]:80 or localhost:8080: {error}"
        );
        Error::setting("listen", problem)
    })?;
    Ok(found.collect())
}
