//! Errors of the database of registry and read models, and how long it may take.

use std::time::Duration;

pub use gnomon_model::{StorageError, StorageErrorKind};

/// How long the database may take for a small answer; longer than a statement
/// waits for a lock. A connection that was cut without a word would otherwise
/// hold its caller for ever.
const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Waits for the database's answer, but not for ever.
///
/// # Errors
/// The call's own, or [`StorageErrorKind::Retry`] when the time is up.
pub async fn in_time<T>(
    call: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    tokio::time::timeout(ANSWER_TIME_LIMIT, call)
        .await
        .unwrap_or_else(|_| {
            Err(StorageError::new(
                StorageErrorKind::Retry,
                format!("the read-model database did not answer within {ANSWER_TIME_LIMIT:?}"),
            ))
        })
}
