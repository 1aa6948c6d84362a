//! A commit whose connection falls silent. It must not be cut short while the
//! server works on it, however long that takes, and not be waited for when no
//! answer will come. So the server is asked over another connection.
//!
//! The question is about the checkpoint's row: a commit locks it first and to
//! its end. Where nobody holds it, the commit is over or has never begun. The
//! server ends a transaction that waits for its client, so a commit that was
//! cut off in the middle does not hold it for long.

use std::time::Duration;

use super::failure::Failure;
use crate::connections::Connections;
use crate::generation::GenerationId;
use crate::silence::Silence;

/// How long a commit may take before the server is asked, and how often from
/// then on.
const ASK_AFTER: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long the server may take to say so.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Waits for a commit. Where the server is not at work on it, it may have been
/// made or not: only the checkpoint tells.
pub(super) async fn unless_silent<T>(
    commit: impl Future<Output = Result<T, Failure>>,
    generation: GenerationId,
    registry: &Connections,
    silence: &Silence,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        committed = commit => committed,
        () = nobody_commits(generation, registry) => {
            silence.notice();
            Err(sqlx::Error::Io(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                "the connection is silent, and the server does not work on the commit",
            ))
            .into())
        }
    }
}

async fn nobody_commits(generation: GenerationId, registry: &Connections) {
    tokio::time::sleep(ASK_AFTER).await;
    loop {
        let asked = tokio::time::timeout(ANSWER_TIME, is_free(generation, registry)).await;
        if matches!(asked, Ok(Ok(true))) {
            return;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether no transaction holds the checkpoint's row.
async fn is_free(generation: GenerationId, registry: &Connections) -> sqlx::Result<bool> {
    let free: Option<i32> = sqlx::query_scalar(
        "SELECT 1 FROM gnomon.checkpoints WHERE generation = $1 FOR SHARE SKIP LOCKED",
    )
    .bind(generation.to_sql())
    .fetch_optional(registry)
    .await?;
    Ok(free.is_some())
}
