//! Events in a PostgreSQL table that anyone may write.
//!
//! One task per source looks after the frontier (see [`frontier`]); readers
//! never look beyond it, so they need no locks and no transactions.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, TryStreamExt as _};
use gnomon_model::{Position, Subscription};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::{mpsc, oneshot, watch};

use super::batch::{Filling, nothing_new, window_end};
use super::{Batch, BatchLimits, Checkpoint, Frontier, Source, SourceError};
use crate::connections::Connections;
use crate::database_url::PostgresUrl;
use crate::event_store::postgres::{
    Layout, NO_ID, connect, event_columns, layout, pool, read_event, require, sql_limit,
    store_error,
};
use crate::silence::Silence;

mod blockers;
mod checks;
mod copied;
mod frontier;
mod pace;
mod rolled_back;
mod samples;
mod session;
#[cfg(test)]
mod tests;

use copied::Copied;

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
/// Up to so many positions are read by a prepared statement: to plan a `COPY`
/// takes longer than they do.
const FEW_POSITIONS: u64 = 200;

/// How long a `COPY` is left alone before what has come is taken, and how many
/// events must be missing: more than a server sends in that time.
const GULP_TIME: Duration = Duration::from_millis(1);
const GULP_EVENTS: usize = 800;

/// The part of a stream's id before its first `-`.
const CATEGORY: &str = "split_part(stream_id, '-', 1)";

/// A PostgreSQL table of events as a source.
pub struct PostgresSource {
    pool: Connections,
    layout: Layout,
    url: PostgresUrl,
    frontier: watch::Receiver<Frontier>,
    looks: mpsc::Sender<oneshot::Sender<Result<Frontier, SourceError>>>,
    silence: Arc<Silence>,
}

impl PostgresSource {
    /// Connects, checks that the table can be read without loss, and starts to
    /// watch it. Nothing is changed in its database.
    ///
    /// # Errors
    /// [`SourceError`] if the server cannot be reached, or with the reason why
    /// the table cannot be read without loss.
    pub async fn open(url: &PostgresUrl) -> Result<Self, SourceError> {
        let mut connection = connect(url).await?;
        checks::refuse_standby(&mut connection, url).await?;
        require(&mut connection, url).await?;
        let layout = layout(&mut connection, url).await?;
        let (looks, requests) = mpsc::channel(16);
        let silence = Arc::default();
        let frontier = frontier::watch(url.clone(), requests, Arc::clone(&silence)).await?;
        let _ = connection.close().await;
        // One watches, the others read.
        let readers = url
            .connections_max
            .map_or(CONNECTIONS_MAX, |connections| connections.saturating_sub(1));
        Ok(Self {
            pool: pool(url, readers.max(1), &ALONG_THE_INDEX, &silence)?,
            layout,
            url: url.clone(),
            frontier,
            looks,
            silence,
        })
    }

    /// Reads what was prepared on this connection before: the best for few
    /// events, which come one by one.
    async fn read_few(
        &self,
        (after, end): (Position, Position),
        subscription: &Subscription,
        filling: &mut Filling,
    ) -> Result<(), sqlx::Error> {
        let statement = format!(
            "SELECT {} FROM events WHERE global_position > $1 AND global_position <= $2 \
             AND (cardinality($3::text[]) = 0 OR event_type = ANY ($3)) \
             AND (cardinality($4::text[]) = 0 OR {CATEGORY} = ANY ($4)) \
             ORDER BY global_position LIMIT $5",
            event_columns(&self.layout, subscription.metadata)
        );
        let mut lent = self.pool.lend().await?;
        let mut rows = sqlx::query(AssertSqlSafe(statement))
            .bind(after.to_sql())
            .bind(end.to_sql())
            .bind(&subscription.event_types)
            .bind(&subscription.categories)
            .bind(sql_limit(filling.wanted()))
            .fetch(&mut *lent);
        let (mut id, mut has_room) = (NO_ID, true);
        while let Some(row) = rows.try_next().await? {
            has_room = has_room && filling.add(read_event(&row, &self.layout, &mut id)?);
        }
        drop(rows);
        lent.end();
        Ok(())
    }

    /// Reads by a `COPY`, which sends rows with less ado than a query; it has no
    /// parameters and cannot be prepared.
    async fn read_many(
        &self,
        (after, end): (Position, Position),
        subscription: &Subscription,
        filling: &mut Filling,
    ) -> Result<(), sqlx::Error> {
        let mut conditions = format!(
            "global_position > {} AND global_position <= {}",
            after.to_sql(),
            end.to_sql()
        );
        for (column, names) in [
            ("event_type", &subscription.event_types),
            (CATEGORY, &subscription.categories),
        ] {
            if !names.is_empty() {
                let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
                conditions += &format!(" AND {column} = ANY (ARRAY[{}])", names.join(", "));
            }
        }
        let statement = format!(
            "COPY (SELECT {} FROM events WHERE {conditions} ORDER BY global_position LIMIT {}) \
             TO STDOUT (FORMAT BINARY)",
            event_columns(&self.layout, subscription.metadata),
            sql_limit(filling.wanted()),
        );
        let mut lent = self.pool.lend().await?;
        let mut messages = lent.copy_out_raw(&statement).await?;
        let (mut copied, mut cells) = (Copied::default(), Vec::new());
        let (mut id, mut has_room) = (NO_ID, true);
        while let Some(message) = next(&mut messages, filling.missing()).await? {
            copied.push(message);
            while let Some(row) = copied.next(&mut cells).map_err(sqlx::Error::Decode)? {
                has_room = has_room && filling.add(read_event(&row, &self.layout, &mut id)?);
            }
        }
        drop(messages);
        copied.check_end().map_err(sqlx::Error::Decode)?;
        lent.end();
        Ok(())
    }

    fn error(&self, error: sqlx::Error) -> SourceError {
        store_error(&format!("read events from {}", self.url), error).into()
    }
}

/// The next message of a `COPY` that still lacks so many events. While that are
/// many, more than one message is waited for: a server sends 8 KiB at a time,
/// and to wake for each of them costs both sides more than to take it.
async fn next(
    messages: &mut BoxStream<'_, sqlx::Result<Bytes>>,
    missing: usize,
) -> sqlx::Result<Option<Bytes>> {
    if let Some(message) = messages.try_next().now_or_never() {
        return message;
    }
    if missing > GULP_EVENTS {
        tokio::time::sleep(GULP_TIME).await;
    }
    messages.try_next().await
}

/// A text as a constant that no setting of the server reads differently, and
/// nothing inside can end. An expression would be evaluated for each row.
fn literal(text: &str) -> String {
    let mut literal = "E'".to_owned();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' => literal.push(character),
            _ => literal += &format!("\\U{:08x}", u32::from(character)),
        }
    }
    literal + "'"
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
        let (answer, answered) = oneshot::channel();
        let asked = self.looks.send(answer).await;
        match (asked, answered.await) {
            (Ok(()), Ok(frontier)) => frontier,
            _ => Err(SourceError::refused(
                "the event store is no longer watched; open it again",
            )),
        }
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
        let range = (after, end);
        let read = || async {
            let mut filling = Filling::new(limits);
            if end.get() - after.get() <= FEW_POSITIONS {
                self.read_few(range, subscription, &mut filling).await?;
            } else {
                self.read_many(range, subscription, &mut filling).await?;
            }
            Ok(filling.finish(end, safe))
        };
        self.silence
            .retry(read)
            .await
            .map_err(|error| self.error(error))
    }

    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError> {
        let row = sqlx::query(
            "SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM events \
             WHERE global_position > $1 ORDER BY global_position LIMIT 1",
        )
        .bind(position.to_sql())
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.error(error))?;
        row.map(|row| row.try_get(0).map_err(|error| self.error(error)))
            .transpose()
    }

    async fn position_at(&self, time: i64) -> Result<Position, SourceError> {
        let position: Option<i64> = sqlx::query_scalar(
            "SELECT global_position::bigint FROM events \
             WHERE created_at <= to_timestamp($1::numeric / 1000000) \
             ORDER BY global_position DESC LIMIT 1",
        )
        .bind(time)
        .fetch_optional(&self.pool)
        .await
        .map_err(|error| self.error(error))?;
        Ok(position
            .and_then(Position::from_sql)
            .unwrap_or(Position::START))
    }
}
