//! What can be done with a server's sockets from any thread: tell them something, ask them, operate on them. All of it ends at the
//! sockets of this server; those of a cluster's other servers are reached through [`Elsewhere`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::shared::Shared;
use crate::shard::hall::asking::Asking;
use crate::shard::hall::broadcast::{Spread, Wanted};
use crate::shard::hall::operation::{Deed, Operation};
use crate::shard::hall::{Outgoing, Target};
use crate::shard::mail::{Broadcast as Parcel, Mail, Tally};
use crate::shard::recovery::offset::Offset;
use crate::shard::thread;

/// The other servers of a cluster: what is done with the sockets of this one is done with theirs, too, unless it is said to be local.
///
/// The sender (`target.not`) is nobody there. Questions and fetches are answered through the channel they carry: whoever keeps a sending
/// end of it has not answered yet.
pub(crate) trait Elsewhere: Send + Sync {
    /// A broadcast that wants no answer. `true`: this server's sockets are given it by the cluster, too.
    fn broadcast(&self, target: &Target<'_>, message: Outgoing<'_>) -> bool;
    /// A broadcast that asks. Nobody waits any longer than `timeout_ms`.
    fn ask(&self, target: &Target<'_>, message: Outgoing<'_>, asking: &Asking, timeout_ms: u64);
    fn operate(&self, target: &Target<'_>, deed: &Deed);
}

impl Shared {
    /// Gives a message to everybody in the target. On a thread that is no core, the number of receivers "here" is 0.
    ///
    /// With [`Wanted::answers`], each of the cores counted and, on a core, this one itself say how many were asked.
    pub(crate) fn deliver(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        wanted: Wanted<'_>,
    ) -> Spread {
        match thread::current().filter(|hall| self.is_home_of(hall)) {
            Some(hall) => hall.broadcast(target, message, wanted),
            None => self.deliver_to_all(target, message, wanted),
        }
    }

    /// Asks everybody in the target on this server. Gives how many times the number of those asked will be reported: once by each core.
    pub(crate) fn ask(&self, target: &Target<'_>, message: Outgoing<'_>, asking: &Asking) -> usize {
        let wanted = Wanted {
            count: false,
            answers: Some(asking),
        };
        let is_core = thread::current().is_some_and(|hall| self.is_home_of(&hall));
        self.deliver(target, message, wanted).cores + usize::from(is_core)
    }

    /// From a thread that is no core: nobody here knows which cores have members, so each is told.
    fn deliver_to_all(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        wanted: Wanted<'_>,
    ) -> Spread {
        let addresses = self.addresses();
        if message.offset.is_some() {
            return self.deliver_by_one(target, message, wanted);
        }
        let (tally, there) = wanted.count.then(|| Tally::new(addresses.len())).unzip();
        let mut parcel = Parcel::new(target, message, tally);
        parcel.asking = wanted.answers.cloned();
        let parcel = Arc::new(parcel);
        let mut cores = 0;
        for address in addresses {
            if address.post_blocking(Mail::Broadcast(parcel.clone())) {
                cores += 1;
            } else if let Some(tally) = &parcel.tally {
                tally.report(0);
            }
        }
        Spread {
            here: 0,
            cores,
            there,
        }
    }

    /// From a thread that is no core, what can be recovered: one core says it for all, and so it has its place among what that core says. Told by
    /// the thread itself it could come to one core before a session moves there, and to the other one after that (`hall/fence.rs`).
    fn deliver_by_one(
        &self,
        target: &Target<'_>,
        message: Outgoing<'_>,
        wanted: Wanted<'_>,
    ) -> Spread {
        let addresses = self.addresses();
        let (tally, there) = wanted.count.then(|| Tally::new(addresses.len())).unzip();
        let parcel = Arc::new(Parcel::new(target, message, tally));
        for address in addresses {
            // It is always the first core, as long as that lives: so what one thread says keeps its order.
            if address.post_blocking(Mail::Relay(parcel.clone())) {
                break;
            }
        }
        Spread {
            here: 0,
            cores: addresses.len(),
            there,
        }
    }

    /// A name for what is said next; `None`: it is not to be recovered.
    pub(crate) fn next_offset(&self) -> Option<Offset> {
        let recovering = self.recovery.as_ref()?;
        match thread::current().filter(|hall| self.is_home_of(hall)) {
            Some(hall) => hall.next_offset(),
            None => Some(recovering.core.offset_outside()),
        }
    }

    /// Does something with everybody in the target; on a core, with its own sockets before this returns.
    pub(crate) fn operate(&self, target: &Target<'_>, deed: Deed) {
        if let Some(hall) = thread::current().filter(|hall| self.is_home_of(hall)) {
            return hall.operate(target, deed);
        }
        let operation = Arc::new(Operation::new(target, deed, None));
        for address in self.addresses() {
            address.post_blocking(Mail::Operation(operation.clone()));
        }
    }

    /// Nobody waits for answers to this packet any more: what is kept for it is given back.
    pub(crate) fn unask(&self, id: u64) {
        if let Some(hall) = thread::current().filter(|hall| self.is_home_of(hall)) {
            return hall.unask_everywhere(id);
        }
        for address in self.addresses() {
            // Whoever stops waiting must not wait for that. A core whose mailbox is full finds out by itself, later.
            let _ = address.try_post(Mail::Unasked { id });
        }
    }

    /// An id for a packet that asks for an acknowledgement. The client answers with the id alone, so it is unique on this server.
    pub(crate) fn next_packet_id(&self, core: usize) -> u64 {
        let cores = self.addresses().len().max(1) as u64;
        let count = match self.packet_ids.get(core) {
            Some(ids) => ids.0.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        // What a client's script counts exactly.
        (count * cores + core as u64) & ((1 << 53) - 1)
    }

    /// The same, from anywhere.
    pub(crate) fn next_packet_id_anywhere(&self) -> u64 {
        let hall = thread::current().filter(|hall| self.is_home_of(hall));
        self.next_packet_id(hall.map_or(0, |hall| hall.core()))
    }
}

/// How many ids one core, or whoever asks on its behalf, has given out: on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct PacketIds(AtomicU64);

#[cfg(test)]
mod tests;
