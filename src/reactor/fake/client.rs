//! The far end of a connection, in the hands of a test.

use super::{Network, Stream};

/// One client. It does not read by itself: what arrives waits, and when too much waits the server's sends wait, too.
pub(crate) struct FakeClient {
    network: Network,
    stream: usize,
}

impl FakeClient {
    pub(super) fn new(network: Network, stream: usize) -> FakeClient {
        FakeClient { network, stream }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Stream) -> T) -> T {
        let stream = &mut self.network.state.borrow_mut().streams[self.stream];
        stream.notice_loss();
        act(stream)
    }

    /// Sends. On a connection that is reset the bytes are lost, as on any other.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.with(|stream| {
            assert!(!stream.client_finished, "the test sends after its FIN");
            if !stream.reset && !stream.server_closed {
                stream.to_server.extend_from_slice(bytes);
            }
        });
    }

    /// Everything that has arrived since the last time.
    pub(crate) fn receive(&self) -> Vec<u8> {
        self.with(|stream| std::mem::take(&mut stream.to_client))
    }

    /// Sends FIN: no more bytes from here. The client still receives.
    pub(crate) fn finish(&self) {
        self.with(|stream| {
            stream.client_finished = true;
            stream.client_gone = true;
        });
    }

    /// Sends RST and goes away.
    pub(crate) fn reset(&self) {
        self.with(|stream| {
            stream.client_finished = true;
            stream.client_gone = true;
            stream.reset = true;
            stream.to_server.clear();
            stream.to_client.clear();
        });
    }

    /// Whether the server has ended this direction (FIN, RST or close), or was never there. Bytes may still wait to be received.
    pub(crate) fn is_closed(&self) -> bool {
        self.with(|stream| stream.server_finished || stream.server_closed || stream.reset)
    }

    /// Whether the connection was reset by either end.
    pub(crate) fn was_reset(&self) -> bool {
        self.with(|stream| stream.reset)
    }
}
