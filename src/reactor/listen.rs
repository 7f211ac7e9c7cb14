//! Listeners: one per core and address, so that the kernel spreads connections over the cores (`SO_REUSEPORT`).

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
};

/// Connections that may wait to be accepted; the kernel cuts it down to `net.core.somaxconn` (4096 by default).
const BACKLOG: i32 = 4096;

/// Bound and listening sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// The addresses with their real ports, in the order asked for.
    pub(crate) addrs: Vec<SocketAddr>,
    /// For each core one listener per address, in the same order.
    pub(crate) cores: Vec<Vec<OwnedFd>>,
}

impl Listeners {
    /// Binds every address once for each core. Port 0 picks a free port, the same for all cores.
    ///
    /// The sockets block: one that does not makes io_uring's accept fail where it should wait.
    ///
    /// # Errors
    ///
    /// What the system said, with the address it said it of. An address that another server listens on already is an error
    /// even if that server is another one of ours, which `SO_REUSEPORT` by itself would let share the port.
    pub(crate) fn bind(addrs: &[SocketAddr], cores: usize) -> io::Result<Listeners> {
        let mut listeners = Listeners {
            addrs: Vec::with_capacity(addrs.len()),
            cores: (0..cores).map(|_| Vec::new()).collect(),
        };
        for &asked in addrs {
            wait_until_free(asked, pause).map_err(|errno| describe(asked, errno))?;
            let mut addr = asked;
            for core in &mut listeners.cores {
                let (fd, bound) = open(addr).map_err(|errno| describe(asked, errno))?;
                addr = bound;
                core.push(fd);
            }
            listeners.addrs.push(addr);
        }
        Ok(listeners)
    }
}

/// Waits for a server that has just been killed: the kernel takes a ring apart behind its process, and its listeners live a moment longer.
/// A supervisor that starts the next one at once must not be told that there is another.
fn wait_until_free(addr: SocketAddr, mut pause: impl FnMut()) -> Result<(), Errno> {
    for _ in 0..PROBES {
        match probe(addr) {
            Err(Errno::ADDRINUSE) => pause(),
            otherwise => return otherwise,
        }
    }
    probe(addr)
}

/// Together [`PROBES`] times: half a second.
fn pause() {
    #[allow(
        clippy::disallowed_methods,
        reason = "before any core runs, on the thread that starts the server"
    )]
    std::thread::sleep(Duration::from_millis(25));
}

const PROBES: u32 = 20;

/// Asks for the address alone, which fails if anybody at all listens there. (Port 0 is always free.)
fn probe(addr: SocketAddr) -> Result<(), Errno> {
    let fd = socket(addr)?;
    bind(&fd, &addr)
}

fn open(addr: SocketAddr) -> Result<(OwnedFd, SocketAddr), Errno> {
    let fd = socket(addr)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    // Accepted sockets inherit it: a small frame is sent at once, not after the peer's next ACK.
    sockopt::set_tcp_nodelay(&fd, true)?;
    bind(&fd, &addr)?;
    listen(&fd, BACKLOG)?;
    let bound = getsockname(&fd)?.try_into()?;
    Ok((fd, bound))
}

fn socket(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Connections of a server that has just ended (TIME_WAIT) do not keep its address from it.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if addr.is_ipv6() {
        // So that `[::]` and `0.0.0.0` can be listened on side by side, whatever the system's default is.
        sockopt::set_ipv6_v6only(&fd, true)?;
    }
    Ok(fd)
}

fn describe(addr: SocketAddr, errno: Errno) -> io::Error {
    let why = match errno {
        Errno::ADDRINUSE => "the address is in use: another server already listens there".to_owned(),
        Errno::ADDRNOTAVAIL => "this machine has no such address".to_owned(),
        Errno::ACCESS => "not permitted: ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE".to_owned(),
        other => io::Error::from(other).to_string(),
    };
    io::Error::new(errno.kind(), format!("cannot listen on {addr}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn every_core_gets_the_same_real_port() {
        let asked = [loopback(), "[::1]:0".parse().unwrap()];
        let listeners = Listeners::bind(&asked, 3).unwrap();
        assert_eq!(listeners.cores.len(), 3);
        for (index, addr) in listeners.addrs.iter().enumerate() {
            assert_ne!(addr.port(), 0);
            assert_eq!(addr.ip(), asked[index].ip());
            for core in &listeners.cores {
                let bound: SocketAddr = getsockname(&core[index]).unwrap().try_into().unwrap();
                assert_eq!(bound, *addr);
            }
        }
    }

    #[test]
    fn both_families_share_a_port() {
        let v4 = Listeners::bind(&["0.0.0.0:0".parse().unwrap()], 1).unwrap();
        let v6 = SocketAddr::new("::".parse().unwrap(), v4.addrs[0].port());
        assert!(Listeners::bind(&[v6], 1).is_ok());
    }

    #[test]
    fn an_address_in_use_is_named() {
        let first = Listeners::bind(&[loopback()], 2).unwrap();
        let error = Listeners::bind(&first.addrs, 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(
            text.contains(&first.addrs[0].to_string()) && text.contains("in use"),
            "{text}"
        );
        let addrs = first.addrs.clone();
        drop(first);
        assert!(Listeners::bind(&addrs, 2).is_ok());
    }

    #[test]
    fn an_address_that_becomes_free_is_waited_for() {
        let mut first = Listeners::bind(&[loopback()], 1).unwrap();
        let addr = first.addrs[0];
        let mut left = 3;
        let waited = wait_until_free(addr, || {
            left -= 1;
            if left == 0 {
                first.cores.clear();
            }
        });
        assert_eq!((waited, left), (Ok(()), 0));
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error = Listeners::bind(&["192.0.2.1:80".parse().unwrap()], 1).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:80"), "{error}");
    }

    #[test]
    fn accepted_sockets_do_not_delay_small_writes() {
        let mut listeners = Listeners::bind(&[loopback()], 1).unwrap();
        let listener = TcpListener::from(listeners.cores[0].remove(0));
        let _client = TcpStream::connect(listeners.addrs[0]).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
