//! Events in a PostgreSQL table that anyone may write.
//!
//! One task per source looks after the frontier (see [`frontier`]); readers
//! never look beyond it, so they need no locks and no transactions.

use std::sync::Arc;

use async_trait::async_trait;
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::silence::Silence;
use gnomon_model::{Position, Subscription};
use tokio::sync::{mpsc, oneshot, watch};

use super::batch::{Filling, empty_until, nothing_new, window_end};
use super::{
    Batch, BatchLimits, Checkpoint, Frontier, History, KnownEvent, Source, SourceError,
    SourceErrorKind,
};
use crate::table::Layout;
use crate::table::postgres::{Attempts, connect, require, table_error};

mod blockers;
mod checks;
mod copied;
mod definition;
mod frontier;
mod guard;
mod pace;
mod reading;
mod rolled_back;
mod samples;
mod session;
mod statements;
#[cfg(test)]
mod tests;
mod tripwire;

use definition::{Access, Newest};
use frontier::Request;

/// Connections for reading; other projections wait for their turn.
const CONNECTIONS_MAX: usize = 8;

/// Batches are read along the index of the positions. Without statistics, as
/// after a large import, the planner would rather collect and sort everything
/// up to the frontier, for each batch anew (measured: 7,000 events/s). As the
/// plan is the same for a table of any size, it is made once. What is switched
/// off and has no substitute is so dear to the planner that it would compile
/// it.
const ALONG_THE_INDEX: [(&str, &str); 5] = [
    ("enable_sort", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// A PostgreSQL table of events as a source.
pub struct PostgresSource {
    access: Arc<Newest>,
    url: PostgresUrl,
    frontier: watch::Receiver<Frontier>,
    looks: mpsc::Sender<Request>,
    silence: Arc<Silence>,
    history: Arc<History>,
}

impl PostgresSource {
    /// Connects, checks that the table can be read without loss, and starts to
    /// watch it. Nothing is changed in its database.
    ///
    /// # Errors
    /// [`SourceError`] if the server cannot be reached, or with the reason why
    /// the table cannot be read without loss.
    pub async fn open(url: &PostgresUrl) -> Result<Self, SourceError> {
        Self::open_table(url, Layout::built_in()).await
    }

    /// Opens a table of this layout.
    pub(super) async fn open_table(url: &PostgresUrl, layout: Layout) -> Result<Self, SourceError> {
        let mut connection = connect(url).await?;
        checks::refuse_standby(&mut connection, url, &layout.table).await?;
        require(&mut connection, url, &layout.table).await?;
        let (looks, requests) = mpsc::channel(16);
        let (silence, history) = (Arc::default(), Arc::default());
        let (frontier, access) = frontier::watch(
            url.clone(),
            Arc::new(layout),
            requests,
            Arc::clone(&silence),
            Arc::clone(&history),
        )
        .await?;
        let _ = connection.close().await;
        Ok(Self {
            access,
            url: url.clone(),
            frontier,
            looks,
            silence,
            history,
        })
    }

    /// Asks the table something, and once more where it may be another than was
    /// believed: the server refuses the question, or the answer has other types.
    async fn asked<T, F>(&self, ask: impl Fn(Access) -> F) -> Result<T, SourceError>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let mut has_doubted = false;
        loop {
            let access = self.access.get();
            let asked = self.silence.retry(|| ask(access.clone())).await;
            let error = match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => self.error(error),
            };
            if has_doubted || error.kind() != SourceErrorKind::Refused {
                return Err(error);
            }
            has_doubted = true;
            self.request(true).await?;
            tracing::debug!(%error, "the table was looked at anew, asking again");
        }
    }

    /// Asks the frontier's task for a look, and with doubts for one at the
    /// table's definition as well.
    async fn request(&self, doubts: bool) -> Result<Frontier, SourceError> {
        let (answer, answered) = oneshot::channel();
        let asked = self.looks.send(Request { answer, doubts }).await;
        match (asked, answered.await) {
            (Ok(()), Ok(frontier)) => frontier,
            _ => Err(SourceError::refused(
                "the event store is no longer watched; open it again",
            )),
        }
    }

    fn error(&self, error: sqlx::Error) -> SourceError {
        table_error(&format!("read events from {}", self.url), error).into()
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn start(&self) -> Checkpoint {
        Checkpoint::behind(Position::START)
    }

    fn position(&self, checkpoint: &Checkpoint) -> Result<Position, SourceError> {
        checkpoint.number()
    }

    fn behind(&self, position: Position) -> Checkpoint {
        Checkpoint::behind(position)
    }

    fn frontier(&self) -> watch::Receiver<Frontier> {
        self.frontier.clone()
    }

    async fn look(&self) -> Result<Frontier, SourceError> {
        self.request(false).await
    }

    async fn read(
        &self,
        after: &Checkpoint,
        subscription: &Subscription,
        limits: BatchLimits,
    ) -> Result<Batch, SourceError> {
        let after = after.number()?;
        let safe = limits.end(self.frontier.borrow().safe);
        if safe <= after {
            return Ok(nothing_new(after));
        }
        let end = window_end(after, safe);
        let attempts = &Attempts::new(self.access.caution());
        let (filled, end) = self
            .asked(|access| async move {
                let mut filling = Filling::new(limits);
                let range = (after, end);
                let end =
                    reading::read(&access, range, subscription, attempts, &mut filling).await?;
                if end == safe || !filling.is_empty() {
                    return Ok((filling, end));
                }
                let next = reading::next_position(&access, end, safe).await?;
                Ok((filling, empty_until(next, safe)))
            })
            .await?;
        Ok(filled.finish(end, safe))
    }

    fn history(&self) -> &Arc<History> {
        &self.history
    }

    async fn last_event(&self, up_to: Position) -> Result<Option<KnownEvent>, SourceError> {
        let row = self.asked(|access| async move {
            sqlx::query_as::<_, (i64, String)>(access.statement(|all| &all.last_event))
                .bind(up_to.to_sql())
                .fetch_optional(&access.pool)
                .await
        });
        Ok(row.await?.and_then(|(position, id)| {
            let position = Position::from_sql(position)?;
            Some(KnownEvent { position, id })
        }))
    }

    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError> {
        let recorded_at = self.asked(|access| async move {
            sqlx::query_scalar::<_, Option<i64>>(access.statement(|all| &all.recorded_after))
                .bind(position.to_sql())
                .fetch_optional(&access.pool)
                .await
        });
        Ok(recorded_at.await?.flatten())
    }

    async fn position_at(&self, time: i64) -> Result<Position, SourceError> {
        let position: Option<i64> = self
            .asked(|access| async move {
                sqlx::query_scalar(access.statement(|all| &all.position_at))
                    .bind(time)
                    .fetch_optional(&access.pool)
                    .await
            })
            .await?;
        Ok(position
            .and_then(Position::from_sql)
            .unwrap_or(Position::START))
    }
}
