//! What the seed decides for a whole run.

use crate::reactor::fake::Faults;
use crate::wire::xorshift::Xorshift;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finale {
    /// Every client leaves, each in its own way.
    Exodus,
    /// No client gives a sign of life any more, and all run into the timeouts.
    Silence,
    /// The cores are shut down, one after the other, while the others work on.
    Shutdown,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) cores: usize,
    pub(super) clients: usize,
    pub(super) steps: usize,
    pub(super) faults: Faults,
    /// Connections may break by themselves.
    pub(super) harsh: bool,
    /// Mails that a mailbox holds.
    pub(super) capacity: usize,
    pub(super) max_unsent: usize,
    pub(super) max_unsent_cut: usize,
    pub(super) finale: Finale,
}

impl Plan {
    pub(super) fn new(dice: &mut Xorshift) -> Plan {
        let mut faults = [Faults::NONE, Faults::ROUGH, Faults::ROUGH, Faults::HARSH][dice.below(4)];
        if dice.below(3) == 0 {
            faults.window = [200, 4000, 64 * 1024][dice.below(3)];
        }
        let slow_is_cut = dice.below(4) == 0;
        let max_unsent = [500, 3000, 20_000, 1 << 20][dice.below(4)];
        Plan {
            cores: 2 + dice.below(3),
            clients: 10 + dice.below(20),
            steps: 100 + dice.below(150),
            faults,
            harsh: faults.reset > 0,
            capacity: [2, 5, 64, 4096][dice.below(4)],
            max_unsent,
            max_unsent_cut: if slow_is_cut {
                max_unsent.max(6000)
            } else {
                64 << 20
            },
            finale: [Finale::Exodus, Finale::Silence, Finale::Shutdown][dice.below(3)],
        }
    }

    /// Whether a receiver that is too slow may be cut in this run.
    pub(super) fn cuts(&self) -> bool {
        self.max_unsent_cut < 64 << 20
    }
}
