//! A commit, or another long step of a writer, whose connection falls silent.
//! It must not be cut short while the server works on it, however long that
//! takes, and not be waited for when no answer will come. So the server is
//! asked over another connection.
//!
//! The question is about the session and the checkpoint's row: a commit locks
//! it first and to its end. Where nobody holds it and the session does nothing,
//! the commit is over or has never begun. A session that does something may
//! still wait for a table that somebody else has locked. The server ends a
//! transaction that waits for its client, so a commit that was cut off in the
//! middle does not hold it for long; but not one that waits for the rows of a
//! `COPY`, for which no time-out counts. That session is ended from here.

use std::sync::Arc;
use std::time::Duration;

use gnomon_databases::connections::{Connections, Lent};
use gnomon_databases::silence::Silence;
use gnomon_model::Description;

use super::tables::schema_name;
use crate::generation::GenerationId;
use crate::storage::postgres::failure::Failure;

/// How long a commit may take before the server is asked, and how often from
/// then on.
const ASK_AFTER: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long the server may take to say so.
const ANSWER_TIME: Duration = Duration::from_secs(2);
/// After so many answers in a row by which a `COPY` waits for its client at the
/// same byte, nothing more is on its way.
const STANDSTILLS: u32 = 3;

/// Where the server is asked about what a writer does.
pub(super) struct Asking {
    pub(crate) generation: GenerationId,
    pub(crate) description: Arc<Description>,
    pub(crate) registry: Connections,
    pub(crate) silence: Arc<Silence>,
}

impl Asking {
    /// Waits for work on a connection. Where the server does not work on it, it
    /// may have been done or not: of a commit only the checkpoint tells.
    pub(super) async fn unless_silent<T, W>(
        &self,
        lent: Lent,
        work: impl FnOnce(Lent) -> W,
    ) -> Result<T, Failure>
    where
        W: Future<Output = Result<T, Failure>>,
    {
        let process = lent.process();
        tokio::select! {
            biased;
            done = work(lent) => done,
            () = nobody_works(self, process) => {
                self.silence.notice();
                Err(sqlx::Error::Io(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "the connection is silent, and the server does not work on what was asked",
                ))
                .into())
            }
        }
    }
}

async fn nobody_works(asking: &Asking, process: i32) {
    tokio::time::sleep(ASK_AFTER).await;
    let mut last = None;
    let mut standstills = 0;
    loop {
        let asked = tokio::time::timeout(ANSWER_TIME, is_free(asking, process)).await;
        if matches!(asked, Ok(Ok(true))) {
            return;
        }
        let asked = tokio::time::timeout(ANSWER_TIME, waiting_copy(asking)).await;
        let waiting = asked.ok().and_then(Result::ok).flatten();
        standstills = match &waiting {
            Some(copy) if last.as_ref() == Some(copy) => standstills + 1,
            _ => 0,
        };
        if let Some(copy) = waiting.as_ref().filter(|_| standstills >= STANDSTILLS) {
            let ended = tokio::time::timeout(ANSWER_TIME, copy.end(&asking.registry)).await;
            if matches!(ended, Ok(Ok(()))) {
                tracing::warn!(
                    projection = asking.description.name,
                    "the connection of a bulk copy is silent, its session was ended"
                );
            }
        }
        last = waiting;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Whether no transaction holds the checkpoint's row, and the session has waited
/// for its client for a while: between two statements it does so for a moment.
async fn is_free(asking: &Asking, process: i32) -> sqlx::Result<bool> {
    let free: Option<i32> = sqlx::query_scalar(
        "SELECT 1 FROM gnomon.checkpoints WHERE generation = $1 AND NOT EXISTS (
             SELECT FROM pg_stat_activity WHERE pid = $2
             AND (state = 'active' OR state_change > clock_timestamp() - interval '1 s'))
         FOR SHARE SKIP LOCKED",
    )
    .bind(asking.generation.to_sql())
    .bind(process)
    .fetch_optional(&asking.registry)
    .await?;
    Ok(free.is_some())
}

/// A session that waits for the rows of a `COPY` from its client.
#[derive(PartialEq, Eq)]
struct WaitingCopy {
    process: i32,
    bytes: i64,
}

impl WaitingCopy {
    async fn end(&self, registry: &Connections) -> sqlx::Result<()> {
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(self.process)
            .execute(registry)
            .await?;
        Ok(())
    }
}

/// The session that copies into one of the generation's tables, if it waits
/// for its client.
async fn waiting_copy(asking: &Asking) -> sqlx::Result<Option<WaitingCopy>> {
    let found: Option<(i32, i64)> = sqlx::query_as(
        "SELECT p.pid, p.bytes_processed FROM pg_stat_progress_copy p
         JOIN pg_stat_activity a ON a.pid = p.pid AND a.wait_event = 'ClientRead'
         JOIN pg_class c ON c.oid = p.relid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE p.datname = current_database() AND n.nspname = $1 LIMIT 1",
    )
    .bind(schema_name(&asking.description.name, asking.generation))
    .fetch_optional(&asking.registry)
    .await?;
    Ok(found.map(|(process, bytes)| WaitingCopy { process, bytes }))
}
