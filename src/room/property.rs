//! How properties are checked here and in `shard`: always the same cases, and the seed in the message.

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Tries `test`, which panics if the property does not hold, on 256 values of `strategy`; then fails with the seed and the
/// smallest such value that was found.
pub(crate) fn check<S>(seed: u64, strategy: S, test: impl Fn(S::Value))
where
    S: Strategy,
    S::Value: Debug,
{
    let config = Config {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("seed {seed:#x}: {failure}");
    }
}
