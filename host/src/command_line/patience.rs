//! Asking a database that is out of reach again, until the time is up.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gnomon_databases::error_chain::chain;
use gnomon_event_store::source::{SourceError, SourceErrorKind};

use super::output;
use crate::operations::meeting::ComparisonError;
use crate::storage_error::{StorageError, StorageErrorKind};
use crate::supervisor::StartError;

/// How long after a failure the database is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// An error that may be over by itself.
pub(super) trait MayPass: Error + Send + Sync + 'static {
    /// Whether a later try may succeed.
    fn may_pass(&self) -> bool;
}

impl MayPass for StorageError {
    fn may_pass(&self) -> bool {
        self.kind() == StorageErrorKind::Retry
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

impl MayPass for StartError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Source(error) => error.may_pass(),
            Self::Target(error) => error.may_pass(),
            Self::Directory { .. } => false,
        }
    }
}

/// Whether a later try may succeed where a host did not start.
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    let target = error.downcast_ref().is_some_and(StorageError::may_pass);
    let source = error.downcast_ref().is_some_and(SourceError::may_pass);
    target || source || error.downcast_ref().is_some_and(StartError::may_pass)
}

/// How long a command puts up with databases that are out of reach.
pub(super) struct Patience {
    /// `None` for as long as it takes.
    limit: Option<Duration>,
    started: Instant,
    /// Whether it was said that the database is out of reach, and it has not
    /// answered since.
    has_said: AtomicBool,
}

impl Patience {
    /// From now on, for that long.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            started: Instant::now(),
            has_said: AtomicBool::new(false),
        }
    }

    /// For a command that does not wait.
    pub(super) fn none() -> Self {
        Self::new(Some(Duration::ZERO))
    }

    /// How long it has been.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long it may take.
    pub(super) const fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Whether the time is up.
    pub(super) fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed() >= limit)
    }

    /// Waits until the time is up.
    pub(super) async fn end(&self) {
        match self.limit {
            Some(limit) => tokio::time::sleep(limit.saturating_sub(self.elapsed())).await,
            None => std::future::pending().await,
        }
    }

    /// Asks until there is an answer, an error that stays, or no time left.
    pub(super) async fn ask<T, E: MayPass>(
        &self,
        ask: impl AsyncFn() -> Result<T, E>,
    ) -> anyhow::Result<T> {
        loop {
            let error = match ask().await {
                Ok(answer) => {
                    self.has_answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if !error.may_pass() || !self.has_another_try(&error).await {
                let late = error.may_pass().then(|| self.too_late()).flatten();
                let error = anyhow::Error::new(error);
                return Err(match late {
                    Some(late) => error.context(late),
                    None => error,
                });
            }
        }
    }

    /// The database answers.
    pub(super) fn has_answered(&self) {
        self.has_said.store(false, Ordering::Relaxed);
    }

    /// Says once why the database is asked again, and waits a moment; gives
    /// whether there is time for that.
    pub(super) async fn has_another_try(
        &self,
        error: &(dyn Error + Send + Sync + 'static),
    ) -> bool {
        if self.is_over() {
            return false;
        }
        if !self.has_said.swap(true, Ordering::Relaxed) {
            output::say(&format!(
                "the database is out of reach, trying again: {}",
                chain(error)
            ));
        }
        let left = self
            .limit
            .map_or(AGAIN_AFTER, |limit| limit.saturating_sub(self.elapsed()));
        tokio::time::sleep(left.min(AGAIN_AFTER)).await;
        true
    }

    /// What to say of a database that did not come back in time; nothing where
    /// nobody waited for it.
    pub(super) fn too_late(&self) -> Option<String> {
        self.limit
            .filter(|limit| !limit.is_zero())
            .map(|limit| format!("the database was out of reach when {limit:?} were up"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn failing(
        kind: StorageErrorKind,
        times: usize,
    ) -> impl AsyncFn() -> Result<usize, StorageError> {
        let asked = Cell::new(0);
        async move || {
            asked.set(asked.get() + 1);
            if asked.get() > times {
                Ok(asked.get())
            } else {
                Err(StorageError::new(kind, "no"))
            }
        }
    }

    #[tokio::test]
    async fn a_lost_connection_is_waited_out() {
        let patience = Patience::new(None);
        let asked = patience.ask(failing(StorageErrorKind::Retry, 2)).await;
        assert_eq!(asked.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_stays_ends_it_at_once_and_what_passes_when_the_time_is_up() {
        let patience = Patience::new(None);
        let refused = patience.ask(failing(StorageErrorKind::Refused, 1)).await;
        assert_eq!(refused.unwrap_err().to_string(), "no");
        let patience = Patience::new(Some(Duration::from_millis(1)));
        let late = patience.ask(failing(StorageErrorKind::Retry, usize::MAX));
        let late = tokio::time::timeout(Duration::from_secs(60), late).await;
        let late = late.expect("it goes on when the time is up").unwrap_err();
        assert!(late.to_string().contains("1ms"), "{late}");
    }

    #[test]
    fn what_passes_for_a_database_passes_for_whoever_asks_it() {
        for (kind, may_pass) in [
            (StorageErrorKind::Retry, true),
            (StorageErrorKind::Refused, false),
            (StorageErrorKind::Fenced, false),
        ] {
            let error = StorageError::new(kind, "no");
            assert_eq!(error.may_pass(), may_pass, "{kind:?}");
            assert_eq!(ComparisonError::Target(error).may_pass(), may_pass);
        }
        assert!(SourceError::retry("no", "no").may_pass());
        assert!(!SourceError::refused("no").may_pass());
    }

    #[tokio::test]
    async fn who_does_not_wait_is_told_the_error_itself() {
        let asked = Patience::none()
            .ask(failing(StorageErrorKind::Retry, 1))
            .await;
        assert_eq!(asked.unwrap_err().to_string(), "no");
    }
}
