//! Chance that can be repeated.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use std::ops::Range;
use std::time::Duration;

/// Random numbers from a seed that a failed test shows.
pub struct Chance {
    /// What `GNOMON_TEST_SEED` has to be for the same numbers.
    pub seed: u64,
    random: Xoshiro256PlusPlus,
}

impl Chance {
    /// From `GNOMON_TEST_SEED`, or from a new seed.
    #[must_use]
    pub fn new() -> Self {
        let seed = number("GNOMON_TEST_SEED").unwrap_or_else(rand::random);
        // Seen when the test fails, and in a soak.
        anstream::println!("GNOMON_TEST_SEED={seed}");
        Self::from_seed(seed)
    }

    /// From this seed, whatever the environment says.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self {
            seed,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
        }
    }

    /// A number of a range.
    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.random.random_range(range)
    }

    /// Some milliseconds.
    pub fn time(&mut self, milliseconds: Range<u64>) -> Duration {
        Duration::from_millis(self.number(milliseconds))
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}

/// How many rounds a test takes: normally `usual`, in a soak
/// `GNOMON_SOAK_ROUNDS`.
#[must_use]
pub fn rounds(usual: u64) -> u64 {
    number("GNOMON_SOAK_ROUNDS").unwrap_or(usual)
}

/// Whether this is a soak.
#[must_use]
pub fn is_soak() -> bool {
    number("GNOMON_SOAK_ROUNDS").is_some()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
    )
}
