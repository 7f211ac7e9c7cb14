//! Renaming, detaching and attaching on the fake kernel.

use std::net::Shutdown;

use super::super::{FakeClient, Faults, Network};
use super::*;
use crate::reactor::{Reactor, SendBuffer, Wait};

const FROM: ConnKey = ConnKey {
    slot: 1,
    generation: 4,
};
#[allow(dead_code)]
const TO: ConnKey = ConnKey {
    slot: 9,
    generation: 2,
};

/// A connection whose other end a core has taken in.
fn one(faults: Faults, seed: u64) -> (Network, Fake, FakeClient, Descriptor) {
    let network = Network::new(seed, faults);
    let mut reactor = network.reactor(0);
    let (client, socket) = network.connect_outside();
    reactor.attach(socket, 77);
    let descriptor = until(&mut reactor, |completion| match completion {
        Completion::Attached { token, result } => {
            assert_eq!(token, 77);
            Some(result.unwrap().0)
        }
        _ => None,
    });
    (network, reactor, client, descriptor)
}

fn until<T>(
    reactor: &mut Fake,
    mut wanted: impl FnMut(Completion<super::super::FakeBuffer>) -> Option<T>,
) -> T {
    for _ in 0..1000 {
        reactor.enter(Wait::No).unwrap();
        while let Some(completion) = reactor.next() {
            if let Some(found) = wanted(completion) {
                return found;
            }
        }
    }
    panic!("waited in vain")
}

fn closed(reactor: &mut Fake, key: ConnKey) {
    until(reactor, |completion| match completion {
        Completion::Closed { key: of } => {
            assert_eq!(of, key);
            Some(())
        }
        _ => None,
    });
}

#[allow(dead_code)]
fn bytes() -> SendBuffer {
    SendBuffer::Copied(vec![1, 2, 3])
}

#[test]
fn what_comes_from_outside_is_like_an_accepted_connection() {
    let (network, mut reactor, client, descriptor) = one(Faults::NONE, 0);
    client.send(b"hello");
    reactor.receive(FROM, descriptor);
    until(&mut reactor, |completion| match completion {
        Completion::Received { key, buffer } => {
            assert_eq!((key, &*buffer), (FROM, &b"hello"[..]));
            Some(())
        }
        _ => None,
    });
    client.finish();
    until(&mut reactor, |completion| {
        matches!(completion, Completion::ReceiveEnded { .. }).then_some(())
    });
    reactor.shutdown(FROM, descriptor, Shutdown::Write);
    reactor.close(FROM, descriptor);
    closed(&mut reactor, FROM);
    assert!(client.is_closed() && !client.was_reset());
    network.check_quiescent();
}
