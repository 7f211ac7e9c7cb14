//! What goes wrong, how often, and the dice.

/// How often each fault happens, in thousandths of its occasions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Received bytes come in a piece of random size.
    pub(crate) cut: u32,
    /// The completions of one enter come in another order (never those of one connection and kind).
    pub(crate) reorder: u32,
    /// A send takes only some of its bytes.
    pub(crate) short_send: u32,
    /// A send waits for some turns.
    pub(crate) delay_send: u32,
    /// A send fails, and the connection with it.
    pub(crate) fail_send: u32,
    /// There is no buffer for a receive this turn.
    pub(crate) starve: u32,
    /// A connection is reset while bytes wait to be received.
    pub(crate) reset: u32,
    /// What was asked to end or to move (shutdown, stop, close, rename, detach, attach) ends or moves only some turns later.
    pub(crate) late: u32,
    /// A core is woken for nothing.
    pub(crate) wake: u32,
    /// A detach or an attach fails, and the connection with it.
    pub(crate) fail_move: u32,
    /// Accepting fails.
    pub(crate) fail_accept: u32,
    /// Bytes that may wait for the client before a send waits in turn. 0 stands for 64 KiB.
    pub(crate) window: usize,
}

impl Faults {
    /// Nothing goes wrong.
    pub(crate) const NONE: Faults = Faults {
        cut: 0,
        reorder: 0,
        short_send: 0,
        delay_send: 0,
        fail_send: 0,
        starve: 0,
        reset: 0,
        late: 0,
        wake: 0,
        fail_move: 0,
        fail_accept: 0,
        window: 0,
    };

    /// Whatever may happen on a healthy connection: every byte arrives in the end.
    pub(crate) const ROUGH: Faults = Faults {
        cut: 500,
        reorder: 500,
        short_send: 200,
        delay_send: 300,
        starve: 200,
        late: 500,
        wake: 100,
        fail_accept: 100,
        window: 1000,
        ..Faults::NONE
    };

    /// Connections break, too.
    pub(crate) const HARSH: Faults = Faults {
        fail_send: 10,
        reset: 10,
        fail_move: 10,
        ..Faults::ROUGH
    };

    pub(super) fn window(&self) -> usize {
        if self.window == 0 {
            64 * 1024
        } else {
            self.window
        }
    }
}

/// splitmix64: small, and the same on every machine.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True `per_mille` times in a thousand. Draws nothing for 0, so a fault that is off changes no run.
    pub(super) fn hits(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < per_mille as usize
    }
}
