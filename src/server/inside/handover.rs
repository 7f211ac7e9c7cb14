//! A connection whose HTTP has ended with 101 leaves the application.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, Write};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;

use super::bridge;
use super::{Outside, Port};
use crate::reactor::Handoff;
use crate::shard::call::{Adopted, Call, Takeover};

/// What is to become of the connection, and where.
pub(super) struct Handover {
    pub(super) takeover: Takeover,
    pub(super) peer: Option<SocketAddr>,
    pub(super) port: Outside,
    pub(super) linger_ms: u64,
}

impl Handover {
    /// Goes on when the 101 is written. `false`: there is no runtime to wait in.
    pub(super) fn begin(self, upgrade: OnUpgrade) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        runtime.spawn(async move {
            match upgrade.await {
                Ok(upgraded) => self.finish(upgraded).await,
                // The client has gone, or the server that owns the port allows no upgrades.
                Err(error) => log::debug!("a connection did not become a WebSocket: {error}"),
            }
        });
        true
    }

    async fn finish(self, upgraded: Upgraded) {
        let upgraded = match part::<TcpStream>(upgraded) {
            Ok((stream, bytes)) => return self.hand_over(tcp(stream), bytes),
            Err(upgraded) => upgraded,
        };
        match part::<UnixStream>(upgraded) {
            Ok((stream, bytes)) => {
                self.hand_over(stream.into_std().map(OwnedFd::from), bytes);
            }
            Err(upgraded) => self.bridge(upgraded).await,
        }
    }

    fn hand_over(self, socket: io::Result<OwnedFd>, bytes: Bytes) {
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => return log::warn!("a connection cannot be handed over: {error}"),
        };
        let adopted = Adopted {
            socket: Handoff::Socket(socket),
            peer: self.peer,
            secure: None,
            bytes: bytes.into(),
            takeover: self.takeover,
        };
        self.port.call(Call::Adopt(Box::new(adopted)));
    }

    /// The core gets one end of a pair of sockets, and the other is joined with the stream, which alone can read what it brings.
    async fn bridge(self, upgraded: Upgraded) {
        let (near, far) = match UnixStream::pair() {
            Ok(pair) => pair,
            Err(error) => return log::warn!("a connection cannot be bridged: {error}"),
        };
        let linger = Duration::from_millis(self.linger_ms);
        self.hand_over(far.into_std().map(OwnedFd::from), Bytes::new());
        bridge::join(TokioIo::new(upgraded), near, linger).await;
    }
}

/// The stream under an upgraded connection, if it is of this kind, with what was read from it already.
fn part<T>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    TokioIo<T>: Read + Write + Unpin + 'static,
{
    // `axum::serve` looks at the first bytes to tell HTTP/1 from HTTP/2, and has the stream in a wrapper for that.
    match auto::upgrade::downcast::<TokioIo<T>>(upgraded) {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded
            .downcast::<TokioIo<T>>()
            .map(|parts| (parts.io.into_inner(), parts.read_buf)),
    }
}

fn tcp(stream: TcpStream) -> io::Result<OwnedFd> {
    // As for accepted connections: a small frame is sent at once, not after the peer's next ACK. Without it the connection is slower, no more.
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("a connection that is handed over keeps its delay: {error}");
    }
    stream.into_std().map(OwnedFd::from)
}
