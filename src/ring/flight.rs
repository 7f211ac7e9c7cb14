//! What the kernel reads while it sends, or writes while it adopts a socket: owned here from submission to completion, at an address that
//! does not move.

#![forbid(unsafe_code)]

use super::tag::GENERATIONS;

/// Places in one chunk. A chunk is never moved or freed before the flight itself is, and places are used again last-in-first-out.
const CHUNK: usize = 64;

struct Place<L> {
    /// Counts the uses of this place, so that a completion that came twice is recognised.
    generation: u32,
    load: Option<L>,
}

/// The loads of all operations of one kind in flight. A load sits still until it is taken out again, so even bytes that lie inside the load itself
/// may be lent to the kernel.
pub(super) struct Flight<L> {
    chunks: Vec<Box<[Place<L>]>>,
    vacant: Vec<u32>,
    in_flight: usize,
}

impl<L> Flight<L> {
    pub(super) fn new() -> Flight<L> {
        Flight {
            chunks: Vec::new(),
            vacant: Vec::new(),
            in_flight: 0,
        }
    }

    /// Loads that were put and not taken yet.
    pub(super) fn len(&self) -> usize {
        self.in_flight
    }

    /// Takes a load in. Gives its place, the place's generation, and the load where it now lies.
    pub(super) fn put(&mut self, load: L) -> (u32, u32, &L) {
        if self.vacant.is_empty() {
            self.grow();
        }
        let slot = self.vacant.pop().unwrap_or_default();
        self.in_flight += 1;
        let place = &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK];
        debug_assert!(place.load.is_none(), "a vacant place is empty");
        place.generation = (place.generation + 1) % GENERATIONS;
        (slot, place.generation, place.load.insert(load))
    }

    /// Gives a load back, once.
    pub(super) fn take(&mut self, slot: u32, generation: u32) -> Option<L> {
        let place = self
            .chunks
            .get_mut(slot as usize / CHUNK)?
            .get_mut(slot as usize % CHUNK)?;
        if place.generation != generation {
            return None;
        }
        let load = place.load.take()?;
        self.in_flight -= 1;
        self.vacant.push(slot);
        Some(load)
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        self.chunks.push(
            (0..CHUNK)
                .map(|_| Place {
                    generation: 0,
                    load: None,
                })
                .collect(),
        );
        self.vacant.extend((first..first + CHUNK as u32).rev());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_stays_where_it_is_while_others_come_and_go() {
        let mut flight = Flight::new();
        let (slot, generation, load) = flight.put([7u8; 16]);
        let address = load.as_ptr();
        let others: Vec<_> = (0..1000u32)
            .map(|n| {
                let (slot, generation, _) = flight.put([n as u8; 16]);
                (slot, generation)
            })
            .collect();
        assert_eq!(flight.len(), 1001);
        for (slot, generation) in others {
            assert!(flight.take(slot, generation).is_some());
        }
        let place = &flight.chunks[slot as usize / CHUNK][slot as usize % CHUNK];
        assert_eq!(place.load.as_ref().map(|load| load.as_ptr()), Some(address));
        assert_eq!(flight.take(slot, generation), Some([7; 16]));
        assert_eq!(flight.len(), 0);
    }

    #[test]
    fn a_load_comes_back_once() {
        let mut flight = Flight::new();
        let (slot, generation, _) = flight.put("first");
        assert_eq!(flight.take(slot, generation), Some("first"));
        assert_eq!(flight.take(slot, generation), None);
        let (again, next, _) = flight.put("second");
        assert_eq!((again, next), (slot, generation + 1));
        assert_eq!(flight.take(slot, generation), None);
        assert_eq!(flight.take(u32::MAX, 0), None);
        assert_eq!(flight.take(again, next), Some("second"));
    }
}
