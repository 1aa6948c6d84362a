//! How often the frontier is looked at.
//!
//! A foreign writer tells nobody, and [`append`](crate::store) only tells
//! readers that may be asleep, so the reader looks by itself: more than once a
//! millisecond while something happens, and the less often the longer nothing
//! has happened. `docs/explanation/reading.md` has what that gives and costs.

use std::time::{Duration, Instant};

/// Between two looks while something happens. With the look itself it is less
/// than a millisecond.
const SHORTEST: Duration = Duration::from_micros(500);
/// Longer waits are left to the runtime. It counts in milliseconds and rounds
/// up, as the wait for its sockets does, and would make two of the shortest.
const LEFT_TO_THE_RUNTIME: Duration = Duration::from_millis(5);
/// Between two looks while a transaction stays open that holds the frontier
/// back: what waits behind it should not wait much longer.
const LONGEST_BEHIND_A_WRITER: Duration = Duration::from_millis(20);
/// Between two looks while nothing happens at all.
const LONGEST: Duration = Duration::from_millis(500);
/// The time since the last movement is so many times the interval.
const QUIET_INTERVALS: u32 = 40;

/// When to look again.
pub(super) struct Pace {
    moved: Instant,
}

impl Pace {
    pub(super) fn start() -> Self {
        Self {
            moved: Instant::now(),
        }
    }

    /// Notes that head or frontier have moved.
    pub(super) fn moved(&mut self) {
        self.moved = Instant::now();
    }

    /// How long to wait before the next look.
    pub(super) fn interval(&self, behind_a_writer: bool) -> Duration {
        interval(self.moved.elapsed(), behind_a_writer)
    }
}

/// Waits for an interval. Dropping it ends the wait.
pub(super) async fn rest(interval: Duration) {
    if interval < LEFT_TO_THE_RUNTIME {
        let sleep = tokio::task::spawn_blocking(move || std::thread::sleep(interval));
        // It fails only when the runtime is shutting down, and everything ends.
        let _ = sleep.await;
    } else {
        tokio::time::sleep(interval).await;
    }
}

fn interval(quiet: Duration, behind_a_writer: bool) -> Duration {
    let longest = if behind_a_writer {
        LONGEST_BEHIND_A_WRITER
    } else {
        LONGEST
    };
    (quiet / QUIET_INTERVALS).clamp(SHORTEST, longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::postgres::QUIET;

    #[test]
    fn the_longer_it_is_quiet_the_less_often_it_looks() {
        let second = Duration::from_secs(1);
        assert_eq!(interval(Duration::ZERO, false), SHORTEST);
        assert_eq!(interval(second, false), Duration::from_millis(25));
        assert_eq!(interval(second, true), LONGEST_BEHIND_A_WRITER);
        assert_eq!(interval(3_600 * second, false), LONGEST);
    }

    #[test]
    fn who_is_not_notified_does_not_sleep_for_long() {
        // Up to here an append wakes nobody.
        assert!(interval(QUIET, false) <= Duration::from_millis(5));
    }
}
