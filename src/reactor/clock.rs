//! The one place that reads the time.

#![forbid(unsafe_code)]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic milliseconds since it was made. A copy has the same origin, so every core of a server gets a copy of one clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The same moment on the wall clock: milliseconds since 1970.
    origin_unix_ms: u64,
}

impl Clock {
    /// A clock that starts now, at zero.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the place that reads the time for all others"
    )]
    pub(crate) fn start() -> Clock {
        Clock {
            origin: Instant::now(),
            origin_unix_ms: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
        }
    }

    /// A moment of this clock as the wall clock had it when this one started, in milliseconds since 1970: what is set there since then does not
    /// show, so that moments keep their order.
    pub(crate) fn unix_ms(&self, at_ms: u64) -> u64 {
        self.origin_unix_ms.saturating_add(at_ms)
    }

    /// Milliseconds since the start.
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the place that reads the time for all others"
    )]
    pub(crate) fn now_ms(&self) -> u64 {
        Instant::now()
            .saturating_duration_since(self.origin)
            .as_millis() as u64
    }
}

/// Milliseconds on tokio's clock, which a test may have stopped.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct VirtualClock {
    origin: tokio::time::Instant,
}

#[cfg(feature = "testing")]
impl VirtualClock {
    /// A clock that starts now, at zero.
    pub(crate) fn start() -> VirtualClock {
        VirtualClock {
            origin: tokio::time::Instant::now(),
        }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_agree_and_never_go_back() {
        let clock = Clock::start();
        let copy = clock;
        let mut last = 0;
        for _ in 0..1000 {
            let (first, second) = (clock.now_ms(), copy.now_ms());
            assert!(last <= first && first <= second);
            last = second;
        }
    }
}
