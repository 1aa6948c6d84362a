//! Asking a database that is out of reach again, until the time is up.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gnomon_databases::error_chain::chain;

use super::error::{MayPass, OperationError};
use super::progress::{Progress, Watcher};
use super::times::ASK_AGAIN_AFTER;

/// How long an operation waits for databases that are out of reach, and for what
/// it requested.
pub struct Patience {
    /// `None` for as long as it takes.
    limit: Option<Duration>,
    started: Instant,
    /// Whether it was said that the database is out of reach, and it has not
    /// answered since.
    has_said: AtomicBool,
    watcher: Watcher,
}

impl Patience {
    /// From now on, for that long; `None` is for as long as it takes.
    #[must_use]
    pub fn new(limit: Option<Duration>) -> Self {
        Self {
            limit,
            started: Instant::now(),
            has_said: AtomicBool::new(false),
            watcher: Watcher::default(),
        }
    }

    /// For an operation that does not wait.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Some(Duration::ZERO))
    }

    /// The same, and `watcher` is told what happens meanwhile.
    #[must_use]
    pub fn watched_by(self, watcher: Watcher) -> Self {
        Self { watcher, ..self }
    }

    /// Tells the caller what happens.
    pub(super) fn tell(&self, progress: Progress) {
        self.watcher.tell(progress);
    }

    /// How long it has been.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
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
    ///
    /// # Errors
    /// The last one.
    pub async fn ask<T, E>(&self, ask: impl AsyncFn() -> Result<T, E>) -> Result<T, OperationError>
    where
        E: MayPass,
        OperationError: From<E>,
    {
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
                return Err(match late {
                    Some(late) => OperationError::OutOfReach {
                        late,
                        error: Box::new(error),
                    },
                    None => error.into(),
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
            let cause = chain(error);
            self.tell(Progress::OutOfReach { cause });
        }
        let left = self.limit.map_or(ASK_AGAIN_AFTER, |limit| {
            limit.saturating_sub(self.elapsed())
        });
        tokio::time::sleep(left.min(ASK_AGAIN_AFTER)).await;
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
    use crate::storage_error::{StorageError, StorageErrorKind};

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

    #[tokio::test]
    async fn who_does_not_wait_is_told_the_error_itself() {
        let asked = Patience::none()
            .ask(failing(StorageErrorKind::Retry, 1))
            .await;
        assert_eq!(asked.unwrap_err().to_string(), "no");
    }
}
