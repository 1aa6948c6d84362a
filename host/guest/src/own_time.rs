//! The time that a call takes of its own.
//!
//! It is processor time: on a busy machine, or on a build's thread, which lets
//! all others go first, any call takes long, and the same events must give the
//! same rows there. Time in which the database answers is not the guest's
//! either, and some databases answer on the guest's thread.
//!
//! ```text
//! wall clock   |--guest--|  others run  |--guest--|  database  |--guest--|
//! processor    |=========|              |=========|== or none =|=========|
//! ```
//!
//! Both what the thread has computed and what has passed outside of the database
//! are at least the guest's own time, so in each stretch between two looks the
//! shorter one counts. A look is one question to the kernel, at the start and
//! with every tick.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What the clocks say of the current thread.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Processor time of the thread.
    computed: Duration,
    clock: Instant,
    /// Since the start of the call.
    waited: Duration,
}

impl Reading {
    fn now(waited: Duration) -> Self {
        let computed = clock_gettime(ClockId::ThreadCPUTime);
        Self {
            // It does not run backwards, so it is no time before the thread's start.
            computed: computed.try_into().unwrap_or_default(),
            clock: Instant::now(),
            waited,
        }
    }
}

/// The own time of a call, on the thread on which it was started.
#[derive(Debug)]
pub(super) struct OwnTime {
    last: Reading,
    taken: Duration,
}

impl OwnTime {
    pub(super) fn start() -> Self {
        Self {
            last: Reading::now(Duration::ZERO),
            taken: Duration::ZERO,
        }
    }

    /// What the call has taken until now, if it has waited so long for rows.
    pub(super) fn taken(&mut self, waited: Duration) -> Duration {
        self.add(Reading::now(waited))
    }

    fn add(&mut self, now: Reading) -> Duration {
        let last = std::mem::replace(&mut self.last, now);
        let computed = now.computed.saturating_sub(last.computed);
        let outside = now
            .clock
            .saturating_duration_since(last.clock)
            .saturating_sub(now.waited.saturating_sub(last.waited));
        self.taken += computed.min(outside);
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_what_the_guest_computes_counts() {
        let mut time = OwnTime::start();
        let mut now = time.last;
        // Computed, passed and waited since the look before, and then taken.
        for (computed, passed, waited, taken) in [
            (10, 10, 0, 10),
            // Others ran.
            (2, 20_000, 0, 12),
            // The database is a server.
            (3, 5_000, 4_997, 15),
            // It answers on this thread.
            (900, 900, 895, 20),
            // A bit of everything.
            (500, 9_000, 450, 520),
            (0, 9_000, 0, 520),
            (480, 480, 0, 1_000),
        ] {
            now.computed += computed * MS;
            now.clock += passed * MS;
            now.waited += waited * MS;
            assert_eq!(time.add(now), taken * MS, "{now:?}");
        }
    }

    #[test]
    fn a_thread_that_is_not_run_takes_no_time() {
        let began = Instant::now();
        let mut time = OwnTime::start();
        std::thread::sleep(100 * MS);
        let asleep = time.taken(Duration::ZERO);
        assert!(asleep < began.elapsed() / 2, "{asleep:?}");
        // And one that computes comes to an end.
        while time.taken(Duration::ZERO) < asleep + 20 * MS {}
        assert!(began.elapsed() >= 120 * MS);
    }
}
