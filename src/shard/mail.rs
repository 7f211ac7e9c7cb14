//! What one core tells another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::call::Call;
use super::hall::asking::Asking;
use super::hall::fence::Note;
use super::hall::operation::Operation;
use super::recovery::offset::Offset;
use crate::proto::websocket::Kind;

/// One thing a core (or a thread with a server handle) tells a core.
pub(crate) enum Mail {
    /// Something to be given to the members that live on the receiving core.
    Broadcast(Arc<Broadcast>),
    /// The same, from a thread: the receiving core tells all others.
    Relay(Arc<Broadcast>),
    /// Core `core` has its first member of this room (or, without a room, of the whole scope), or has none any more.
    Interest {
        scope: Arc<str>,
        room: Option<Arc<str>>,
        core: usize,
        on: bool,
    },
    /// Something to be done with the members that live on the receiving core.
    Operation(Arc<Operation>),
    /// Core `core` has done the joining that the receiving core had asked it for: its notices of interest have come before this.
    Joined {
        operation: Arc<Operation>,
        core: usize,
    },
    /// Nobody waits for answers to the packet of this id any more.
    Unasked { id: u64 },
    /// Of sessions that move to the core on which their client came back.
    Recovery(Box<Note>),
    /// HTTP asks something of a session that lives there.
    Call(Box<Call>),
    /// Something of the user's to be run on that core.
    Errand(Box<dyn FnOnce() + Send>),
    /// Close everything in good order, then end.
    Shutdown,
}

/// A broadcast on its way to other cores. It is shared: one allocation, however many cores it goes to.
pub(crate) struct Broadcast {
    pub(crate) scope: Arc<str>,
    pub(crate) to: Vec<Box<str>>,
    pub(crate) except: Vec<Box<str>>,
    pub(crate) volatile: bool,
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
    pub(crate) attachments: Vec<Bytes>,
    pub(crate) tally: Option<Arc<Tally>>,
    /// Where the answers of the receivers go, if they are asked for some.
    pub(crate) asking: Option<Asking>,
    /// Its name, if it can be recovered.
    pub(crate) offset: Option<Offset>,
}

/// Counts the receivers of one broadcast over all cores it went to.
pub(crate) struct Tally {
    outstanding: AtomicUsize,
    receivers: AtomicUsize,
    done: std::sync::Mutex<Option<oneshot::Sender<usize>>>,
}

impl Tally {
    /// Waits for `cores` reports.
    pub(crate) fn new(cores: usize) -> (Arc<Self>, oneshot::Receiver<usize>) {
        let (sender, receiver) = oneshot::channel();
        let tally = Tally {
            outstanding: AtomicUsize::new(cores),
            receivers: AtomicUsize::new(0),
            done: std::sync::Mutex::new(Some(sender)),
        };
        (Arc::new(tally), receiver)
    }

    /// One core says how many of its members got the broadcast.
    pub(crate) fn report(&self, receivers: usize) {
        self.receivers.fetch_add(receivers, Ordering::Relaxed);
        // AcqRel: the last to report sees what all the others added.
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            let sender = self
                .done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take();
            if let Some(sender) = sender {
                // The asker may have lost interest: then nobody needs the sum.
                let _ = sender.send(self.receivers.load(Ordering::Relaxed));
            }
        }
    }
}
