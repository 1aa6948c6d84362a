//! Asking a database that is out of reach again, until the time is up.

use std::error::Error;
use std::time::{Duration, Instant};

use super::output;
use crate::comparison::ComparisonError;
use crate::source::{SourceError, SourceErrorKind};
use crate::target::{TargetError, TargetErrorKind};
use crate::telemetry::chain;

/// How long after a failure the database is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How often it is said what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// An error that may be over by itself.
pub(super) trait MayPass: Error + Send + Sync + 'static {
    /// Whether a later try may succeed.
    fn may_pass(&self) -> bool;
}

impl MayPass for TargetError {
    fn may_pass(&self) -> bool {
        self.kind() == TargetErrorKind::Retry
    }
}

impl MayPass for SourceError {
    fn may_pass(&self) -> bool {
        self.kind() == SourceErrorKind::Retry
    }
}

impl MayPass for ComparisonError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Target(error) if error.may_pass())
    }
}

/// How long a command puts up with lost connections. What it waits for happens
/// elsewhere, so a connection that is lost meanwhile changes nothing.
pub(super) struct Patience {
    /// `None` for as long as it takes.
    limit: Option<Duration>,
    started: Instant,
    said: Option<Instant>,
}

impl Patience {
    /// From now on, for that long.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            started: Instant::now(),
            said: None,
        }
    }

    /// How long it has been.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    /// Asks until there is an answer, an error that stays, or no time left.
    pub(super) async fn ask<T, E: MayPass>(
        &mut self,
        ask: impl AsyncFn() -> Result<T, E>,
    ) -> anyhow::Result<T> {
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.may_pass() => error,
                Err(error) => return Err(error.into()),
            };
            if self.is_over() {
                let limit = self.limit.unwrap_or_default();
                return Err(anyhow::Error::new(error).context(format!(
                    "the database was out of reach when {limit:?} were up"
                )));
            }
            if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
                output::say(&format!(
                    "the database is out of reach, trying again: {}",
                    chain(&error)
                ));
                self.said = Some(Instant::now());
            }
            let left = self
                .limit
                .map_or(AGAIN_AFTER, |limit| limit.saturating_sub(self.elapsed()));
            tokio::time::sleep(left.min(AGAIN_AFTER)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn failing(
        kind: TargetErrorKind,
        times: usize,
    ) -> impl AsyncFn() -> Result<usize, TargetError> {
        let asked = Cell::new(0);
        async move || {
            asked.set(asked.get() + 1);
            if asked.get() > times {
                Ok(asked.get())
            } else {
                Err(TargetError::new(kind, "no"))
            }
        }
    }

    #[tokio::test]
    async fn a_lost_connection_is_waited_out() {
        let mut patience = Patience::new(None);
        let asked = patience.ask(failing(TargetErrorKind::Retry, 2)).await;
        assert_eq!(asked.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_stays_ends_it_at_once_and_what_passes_when_the_time_is_up() {
        let mut patience = Patience::new(None);
        let refused = patience.ask(failing(TargetErrorKind::Refused, 1)).await;
        assert_eq!(refused.unwrap_err().to_string(), "no");
        let mut patience = Patience::new(Some(Duration::from_millis(1)));
        let late = patience.ask(failing(TargetErrorKind::Retry, usize::MAX));
        let late = tokio::time::timeout(Duration::from_secs(60), late).await;
        let late = late.expect("it goes on when the time is up").unwrap_err();
        assert!(late.to_string().contains("1ms"), "{late}");
    }

    #[test]
    fn what_passes_for_a_database_passes_for_whoever_asks_it() {
        for (kind, may_pass) in [
            (TargetErrorKind::Retry, true),
            (TargetErrorKind::Refused, false),
            (TargetErrorKind::Fenced, false),
        ] {
            let error = TargetError::new(kind, "no");
            assert_eq!(error.may_pass(), may_pass, "{kind:?}");
            assert_eq!(ComparisonError::Target(error).may_pass(), may_pass);
        }
        assert!(SourceError::retry("no", "no").may_pass());
        assert!(!SourceError::refused("no").may_pass());
    }
}
