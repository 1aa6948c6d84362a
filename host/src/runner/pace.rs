//! How fast a runner goes through its source.

use std::time::{Duration, Instant};

use gnomon_model::Position;

/// Over how long the pace is averaged, roughly.
const AVERAGED_OVER: Duration = Duration::from_secs(3);

/// Positions per second, averaged over the last seconds.
#[derive(Debug)]
pub(super) struct Pace {
    from: Position,
    since: Instant,
    rate: f64,
}

impl Pace {
    pub(super) fn start(position: Position) -> Self {
        Self {
            from: position,
            since: Instant::now(),
            rate: 0.0,
        }
    }

    /// Takes note of a position that was reached, and gives the rate.
    pub(super) fn reached(&mut self, position: Position) -> f64 {
        let passed = position.get().saturating_sub(self.from.get());
        let time = self.since.elapsed().as_secs_f64().max(1e-6);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 16 digits")]
        let now = passed as f64 / time;
        let weight = if self.rate == 0.0 {
            1.0
        } else {
            (time / AVERAGED_OVER.as_secs_f64()).min(1.0)
        };
        self.rate = (now - self.rate).mul_add(weight, self.rate);
        self.from = position;
        self.since = Instant::now();
        self.rate
    }
}
