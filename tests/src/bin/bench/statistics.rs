//! What many times have in common.

use std::time::Duration;

use serde::Serialize;

/// Times in milliseconds, from the shortest to the longest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(Vec<f64>);

/// Their summary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) min_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let times = times.into_iter();
        let mut milliseconds: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        milliseconds.sort_by(f64::total_cmp);
        Self(milliseconds)
    }
}

impl Times {
    /// Those of several measurements.
    pub(crate) fn together(all: Vec<Self>) -> Self {
        let mut milliseconds: Vec<f64> = all.into_iter().flat_map(|times| times.0).collect();
        milliseconds.sort_by(f64::total_cmp);
        Self(milliseconds)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest that so many per cent of all do not exceed; zero without
    /// any.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary {
            min_ms: self.percentile(0),
            p50_ms: self.percentile(50),
            p99_ms: self.percentile(99),
            max_ms: self.percentile(100),
        }
    }
}

impl Summary {
    /// The columns of [`Summary::cells`].
    pub(crate) fn cells(&self) -> [String; 4] {
        [self.min_ms, self.p50_ms, self.p99_ms, self.max_ms].map(|time| format!("{time:.1} ms"))
    }
}

/// How many a second.
#[expect(clippy::cast_precision_loss, reason = "a rate needs no 16 digits")]
pub(crate) fn rate(count: i64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// The middle of some numbers; zero without any.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Times = (1..=200).rev().map(Duration::from_millis).collect();
        let summary = times.summary();
        assert_eq!((times.len(), summary.min_ms), (200, 1.0));
        assert_eq!((summary.p50_ms, summary.p99_ms), (100.0, 198.0));
        assert_eq!(summary.max_ms, 200.0);
        assert_eq!(Times::default().percentile(50), 0.0);
    }

    #[test]
    fn one_slow_run_does_not_move_the_median() {
        assert_eq!(median(vec![900.0, 2.0, 3.0]), 3.0);
    }
}
