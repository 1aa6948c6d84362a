//! How fast a runner goes through its source.

use std::time::{Duration, Instant};

use gnomon_model::Position;

use crate::generation::Rate;

/// Over how long the pace is averaged, roughly.
const AVERAGED_OVER: Duration = Duration::from_secs(3);
/// What came within a shorter time than this says nothing of a second.
const FIRST_MIN: Duration = Duration::from_secs(1);

/// Events and positions per second, averaged over the last seconds.
#[derive(Debug)]
pub(super) struct Pace {
    from: Position,
    since: Instant,
    rate: Option<Rate>,
}

impl Pace {
    pub(super) fn start(position: Position) -> Self {
        Self {
            from: position,
            since: Instant::now(),
            rate: None,
        }
    }

    /// Takes note of a position that was reached with so many events, and gives
    /// the rate. What was reached before, such as by a commit that failed, does
    /// not count again.
    pub(super) fn reached(&mut self, position: Position, events: usize) -> Rate {
        self.reached_after(self.since.elapsed(), position, events)
    }

    fn reached_after(&mut self, time: Duration, position: Position, events: usize) -> Rate {
        let positions = position.get().saturating_sub(self.from.get());
        let time = match self.rate {
            None => time.max(FIRST_MIN),
            Some(_) => time.max(Duration::from_micros(1)),
        };
        let time = time.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 16 digits")]
        let now = match positions {
            0 => Rate::default(),
            _ => Rate {
                events: events as f64 / time,
                positions: positions as f64 / time,
            },
        };
        let weight = (time / AVERAGED_OVER.as_secs_f64()).min(1.0);
        let rate = self.rate.map_or(now, |before| Rate {
            events: (now.events - before.events).mul_add(weight, before.events),
            positions: (now.positions - before.positions).mul_add(weight, before.positions),
        });
        self.rate = Some(rate);
        self.from = self.from.max(position);
        self.since = Instant::now();
        rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reached(pace: &mut Pace, time: Duration, position: u64, events: usize) -> (f64, f64) {
        let rate = pace.reached_after(time, Position::new(position).unwrap(), events);
        (rate.events, rate.positions)
    }

    #[test]
    fn it_counts_events_and_not_the_positions_between_them() {
        let mut pace = Pace::start(Position::START);
        assert_eq!(reached(&mut pace, SECOND, 10_000, 5), (5.0, 10_000.0));
        assert_eq!(reached(&mut pace, 3 * SECOND, 10_012, 12), (4.0, 4.0));
        assert_eq!(
            reached(&mut pace, 3 * SECOND, 20_012, 0),
            (0.0, 10_000.0 / 3.0)
        );
    }

    #[test]
    fn the_first_event_is_no_rate_of_thousands() {
        let mut pace = Pace::start(Position::START);
        assert_eq!(reached(&mut pace, SECOND / 1_000, 1, 1), (1.0, 1.0));
    }

    #[test]
    fn what_is_done_again_counts_once() {
        let mut pace = Pace::start(Position::START);
        assert_eq!(reached(&mut pace, 3 * SECOND, 300, 300), (100.0, 100.0));
        assert_eq!(reached(&mut pace, 3 * SECOND, 150, 150), (0.0, 0.0));
        assert_eq!(reached(&mut pace, 3 * SECOND, 300, 150), (0.0, 0.0));
        assert_eq!(reached(&mut pace, 3 * SECOND, 600, 300), (100.0, 100.0));
    }
}
