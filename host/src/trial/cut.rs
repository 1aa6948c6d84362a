//! Ways to cut events into batches.

use std::fmt;

use gnomon_model::Event;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// A message with more would help nobody.
const SIZES_SHOWN: usize = 20;

/// A way to cut events into batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// A batch for each event.
    OneByOne,
    /// As many in a batch as a host would put there.
    AtOnce,
    /// Batches of these sizes.
    Sizes(Vec<usize>),
}

impl Cut {
    /// Random cuts, without end; the same seed gives the same ones.
    pub(super) fn random(
        events: usize,
        batch_events: usize,
        seed: u64,
    ) -> impl Iterator<Item = Self> {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(seed);
        std::iter::repeat_with(move || {
            // Small batches in one cut, large ones in the next.
            let largest = chance.random_range(2..=events.clamp(2, batch_events.max(2)));
            let mut sizes = Vec::new();
            let mut left = events;
            while left > 0 {
                let size = chance.random_range(1..=largest).min(left);
                sizes.push(size);
                left -= size;
            }
            Self::Sizes(sizes)
        })
    }

    /// The batches.
    pub(super) fn batches<'a>(&self, events: &'a [Event], batch_events: usize) -> Vec<&'a [Event]> {
        match self {
            Self::OneByOne => events.chunks(1).collect(),
            Self::AtOnce => events.chunks(batch_events.max(1)).collect(),
            Self::Sizes(sizes) => {
                let mut left = events;
                sizes
                    .iter()
                    .filter_map(|size| {
                        let (batch, rest) = left.split_at_checked(*size)?;
                        left = rest;
                        Some(batch)
                    })
                    .collect()
            }
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneByOne => formatter.write_str("one by one"),
            Self::AtOnce => formatter.write_str("all at once"),
            Self::Sizes(sizes) => {
                let shown = sizes.iter().take(SIZES_SHOWN).map(usize::to_string);
                let shown: Vec<String> = shown.collect();
                let more = if sizes.len() > SIZES_SHOWN {
                    ", …"
                } else {
                    ""
                };
                write!(formatter, "in batches of {}{more}", shown.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_cuts_take_every_event_once_and_follow_the_seed() {
        for events in [0, 1, 2, 7, 5_000] {
            let cuts: Vec<Cut> = Cut::random(events, 1_000, 7).take(20).collect();
            for cut in &cuts {
                let Cut::Sizes(sizes) = cut else {
                    panic!("{cut:?}")
                };
                assert_eq!(sizes.iter().sum::<usize>(), events);
                assert!(sizes.iter().all(|size| (1..=1_000).contains(size)));
            }
            let again: Vec<Cut> = Cut::random(events, 1_000, 7).take(20).collect();
            assert_eq!(cuts, again);
        }
        assert_ne!(
            Cut::random(100, 1_000, 7).next(),
            Cut::random(100, 1_000, 8).next()
        );
    }
}
