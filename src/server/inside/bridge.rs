//! Joins a stream that cannot be handed to a core with a socket that can.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::UnixStream;

/// Copies both ways until both have ended, or one has failed. Each way is read only as fast as the other end takes it.
///
/// When the client says no more, the core is told, and may still answer. When the core says no more, the client has `linger` left to say the
/// same: the core does not wait longer for it either.
pub(super) async fn join<S>(client: S, core: UnixStream, linger: Duration)
where
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = split(client);
    let (mut from_core, mut to_core) = core.into_split();
    let mut inward = pin!(async {
        copy(&mut from_client, &mut to_core).await?;
        to_core.shutdown().await
    });
    let mut outward = pin!(async {
        copy(&mut from_core, &mut to_client).await?;
        to_client.shutdown().await
    });
    let ended = tokio::select! {
        result = &mut inward => match result {
            Ok(()) => outward.await,
            Err(error) => Err(error),
        },
        result = &mut outward => match result {
            // Late is no error.
            Ok(()) => tokio::time::timeout(linger, inward).await.unwrap_or(Ok(())),
            Err(error) => Err(error),
        },
    };
    if let Err(error) = ended {
        log::debug!("a bridged connection ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};
    use tokio::task::JoinHandle;

    use super::*;

    /// The client's end, the core's end, and the bridge between them.
    fn bridged(
        capacity: usize,
        linger: Duration,
    ) -> (tokio::io::DuplexStream, UnixStream, JoinHandle<()>) {
        let (client, inside) = duplex(capacity);
        let (core, near) = UnixStream::pair().unwrap();
        let bridge = tokio::spawn(join(inside, near, linger));
        (client, core, bridge)
    }

    #[tokio::test]
    async fn who_has_said_all_still_hears_the_answer() {
        let (mut client, mut core, bridge) = bridged(64, Duration::from_secs(60));
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut asked = String::new();
        core.read_to_string(&mut asked).await.unwrap();
        assert_eq!(asked, "question");
        core.write_all(b"answer").await.unwrap();
        drop(core);
        let mut answered = String::new();
        client.read_to_string(&mut answered).await.unwrap();
        assert_eq!(answered, "answer");
        bridge.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_end_is_cut() {
        let (mut client, core, bridge) = bridged(64, Duration::from_secs(60));
        drop(core);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        // It has not ended its own side. Time runs by itself while everybody waits.
        bridge.await.unwrap();
        assert!(client.write_all(b"late").await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_does_not_listen_makes_the_core_wait() {
        let (mut client, core, _bridge) = bridged(64, Duration::from_secs(60));
        let core = core.into_std().unwrap();
        let mut taken = 0_usize;
        // The core's socket takes as much as its buffers hold, and the bridge holds, and no more.
        while let Ok(len) = std::io::Write::write(&mut &core, &[7; 4096]) {
            taken += len;
            tokio::task::yield_now().await;
            assert!(taken < 16 << 20, "nobody reads, and yet it is taken");
        }
        drop(core);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), taken);
    }

    #[tokio::test]
    async fn a_client_that_breaks_off_ends_the_core() {
        let (client, mut core, bridge) = bridged(64, Duration::from_secs(60));
        drop(client);
        let mut heard = Vec::new();
        core.read_to_end(&mut heard).await.unwrap();
        core.write_all(b"to nobody").await.unwrap();
        // What is written to nobody fails, and with it the bridge.
        bridge.await.unwrap();
    }
}
