//! The event store in PostgreSQL.
//!
//! An append is one statement, without a transaction round it: the unique
//! index on stream and version decides between two that run at the same time,
//! and the loser looks again.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use gnomon_databases::connections::Connections;
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::server::Connection;
use gnomon_model::{Event, PayloadRef, Position, json};
use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row as _};

use super::{
    Appended, CheckedFile, EventStore, EventStoreError, ExpectedVersion, Imported, InvalidEvent,
    NewEvent, OnProgress, Page, Snapshot, StreamId,
};

use crate::table::postgres::{
    Attempts, Care, Caution, Columns, Length, Scratch, columns, connect, event_columns, pool,
    position_column, read_event, read_keys, refuse_unruly, require, table_error, withheld,
};
use crate::table::{EVENT_BYTES_MAX, Layout, sql_limit};

mod append;
mod import;
mod schema;
mod waking;

use schema::ensure;
use waking::Waking;

/// Connections that appends and reads may use at the same time.
const CONNECTIONS_MAX: usize = 16;

type PreparedQuery = Query<'static, Postgres, PgArguments>;

/// The events that are read.
enum Part<'a> {
    /// Those of a stream behind a version.
    Stream(&'a StreamId, Option<u64>),
    /// All behind a position.
    All(Position),
}

impl Part<'_> {
    const fn condition(&self) -> &'static str {
        match self {
            Self::Stream(..) => "e.stream_id = $1 AND e.version > $2 ORDER BY e.version LIMIT $3",
            Self::All(_) => "e.global_position > $1 ORDER BY e.global_position LIMIT $2",
        }
    }

    fn bind(&self, query: PreparedQuery) -> PreparedQuery {
        match self {
            Self::Stream(stream, after) => query
                .bind(stream.as_str().to_owned())
                .bind(after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX))),
            Self::All(after) => query.bind(after.to_sql()),
        }
    }
}

/// An event store in PostgreSQL.
pub struct PostgresEventStore {
    pool: Connections,
    columns: Columns,
    url: PostgresUrl,
    waking: Waking,
    caution: Arc<Caution>,
}

impl PostgresEventStore {
    /// Connects, and makes the tables if they are missing.
    ///
    /// # Errors
    /// [`EventStoreErrorKind::Refused`](super::EventStoreErrorKind::Refused) if
    /// the password is wrong, or the `events` table lacks a column.
    pub async fn open(url: &PostgresUrl) -> Result<Self, EventStoreError> {
        // One connection by hand first: the pool tries again until its
        // time-out, and then no longer knows why.
        let mut connection = connect(url).await?;
        ensure(&mut connection, url).await?;
        Self::on(connection, url).await
    }

    /// Connects, to read only.
    ///
    /// # Errors
    /// [`EventStoreErrorKind::Missing`](super::EventStoreErrorKind::Missing) if
    /// there is no table `events`; else as [`Self::open`].
    pub async fn open_to_read(url: &PostgresUrl) -> Result<Self, EventStoreError> {
        let mut connection = connect(url).await?;
        require(&mut connection, url, &Layout::built_in().table).await?;
        Self::on(connection, url).await
    }

    async fn on(mut connection: Connection, url: &PostgresUrl) -> Result<Self, EventStoreError> {
        let layout = Arc::new(Layout::built_in());
        let columns = columns(&mut connection, url, &layout).await?;
        let connections_max = url.connections_max.unwrap_or(CONNECTIONS_MAX);
        let pool = pool(url, &columns, connections_max, &[], &Arc::default())?;
        let _ = connection.close().await;
        Ok(Self {
            pool,
            columns,
            url: url.clone(),
            waking: Waking::default(),
            caution: Arc::default(),
        })
    }

    /// The events of a page: those of the condition, in the order of a column. The
    /// server that fails for what one of them holds is asked again with more care.
    async fn page(&self, part: Part<'_>, limit: usize) -> Result<Vec<Event>, EventStoreError> {
        let attempts = Attempts::new(&self.caution);
        let (mut care, mut reason) = (attempts.begin(), String::new());
        loop {
            let read = self.page_with(&part, limit, care, &reason).await;
            let more = match &read {
                Ok((_, false)) => None,
                Ok((_, true)) => attempts.too_long(care),
                Err(error) => {
                    reason = withheld(error);
                    attempts.after(care, error)
                }
            };
            match more {
                Some(more) => care = more,
                None => {
                    let (events, _) = read.map_err(|error| self.error("read", error))?;
                    return Ok(events);
                }
            }
        }
    }

    /// One attempt to read a page, and whether an event is too long. A connection
    /// whose answer was not read to its end is closed.
    async fn page_with(
        &self,
        part: &Part<'_>,
        limit: usize,
        care: Care,
        reason: &str,
    ) -> sqlx::Result<(Vec<Event>, bool)> {
        let columns = event_columns(&self.columns, true, care);
        let limit = sql_limit(care.limit(limit));
        let mut lent = self.pool.lend().await?;
        let statement = format!(
            "SELECT {columns} FROM events AS e WHERE {}",
            part.condition()
        );
        let query = part.bind(sqlx::query(AssertSqlSafe(statement))).bind(limit);
        let mut rows = query.fetch(&mut *lent);
        let (mut page, mut scratch) = (Page::default(), Scratch::default());
        let (mut is_whole, mut has_too_long) = (true, false);
        while is_whole && let Some(row) = rows.try_next().await? {
            let event = match care {
                Care::Keys => read_keys(&row, &self.columns, &mut scratch, reason.to_owned())?,
                _ => read_event(&row, &self.columns, &mut scratch)?,
            };
            let is_readable = !matches!(event.data, PayloadRef::Unreadable(_));
            is_whole = page.add(event);
            let length = match is_readable {
                true => Length::Fits,
                false => Length::of(&row, &self.columns)?,
            };
            has_too_long |= length != Length::Fits;
            // What is behind it may be as long, and is sent as well.
            is_whole &= length != Length::Sent;
        }
        drop(rows);
        if is_whole {
            lent.end();
        }
        Ok((page.into_events(), has_too_long))
    }

    fn error(&self, doing: &str, error: sqlx::Error) -> EventStoreError {
        store_error(&format!("{doing} {}", self.url), error)
    }
}

/// An error of the driver, with what was being done and where.
fn store_error(doing: &str, error: sqlx::Error) -> EventStoreError {
    table_error(doing, error).into()
}

#[async_trait]
impl EventStore for PostgresEventStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Result<Vec<Appended>, EventStoreError> {
        let appended = append::append(self, stream, expected, events).await?;
        self.waking
            .appended(&self.pool, self.columns.layout.channel)
            .await;
        Ok(appended)
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Event>, EventStoreError> {
        self.page(Part::Stream(stream, after), limit).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Event>, EventStoreError> {
        self.page(Part::All(after), limit).await
    }

    async fn check_positions(&self) -> Result<(), EventStoreError> {
        let checking = |error| self.error("look at the table `events` of", error);
        let mut lent = self.pool.lend().await.map_err(checking)?;
        let layout = &self.columns.layout;
        let column = position_column(&mut lent, &self.url, layout).await?;
        refuse_unruly(&mut lent, &self.url, layout, &column.unruly(layout)).await?;
        lent.end();
        Ok(())
    }

    async fn import(
        &self,
        file: CheckedFile,
        on_progress: OnProgress,
    ) -> Result<Imported, EventStoreError> {
        let imported = import::import(self, file, on_progress).await?;
        self.waking
            .appended(&self.pool, self.columns.layout.channel)
            .await;
        Ok(imported)
    }

    async fn save_snapshot(
        &self,
        stream: &StreamId,
        version: u64,
        data: &str,
    ) -> Result<(), EventStoreError> {
        let data = json::normalise(data, EVENT_BYTES_MAX).map_err(|cause| InvalidEvent::Json {
            what: "data of the snapshot",
            cause,
        })?;
        let saving = |error| self.error("save a snapshot in", error);
        let mut lent = self.pool.lend().await.map_err(saving)?;
        let ensured = schema::ensure_snapshots(&mut lent).await;
        lent.end_with(ensured).map_err(saving)?;
        sqlx::query(
            "INSERT INTO snapshots (stream_id, stream_type, snapshot_data, version, created_at) \
             VALUES ($1, $2, $3::text::jsonb, $4, clock_timestamp()) \
             ON CONFLICT (stream_id) DO UPDATE SET snapshot_data = excluded.snapshot_data, \
               version = excluded.version, created_at = excluded.created_at \
             WHERE excluded.version >= snapshots.version",
        )
        .bind(stream.as_str())
        .bind(stream.category())
        .bind(data)
        .bind(i64::try_from(version).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await
        .map_err(saving)?;
        Ok(())
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, EventStoreError> {
        let loading = |error| self.error("load a snapshot from", error);
        let mut lent = self.pool.lend().await.map_err(loading)?;
        let is_there = schema::has_snapshots(&mut lent).await;
        if !lent.end_with(is_there).map_err(loading)? {
            return Ok(None);
        }
        sqlx::query(
            "SELECT version::bigint, snapshot_data::text, \
               (extract(epoch FROM created_at) * 1000000)::bigint \
             FROM snapshots WHERE stream_id = $1",
        )
        .bind(stream.as_str())
        .try_map(|row: PgRow| {
            Ok(Snapshot {
                stream: stream.clone(),
                version: row.try_get::<i64, _>(0)?.try_into().unwrap_or(0),
                data: row.try_get(1)?,
                saved_at: row.try_get(2)?,
            })
        })
        .fetch_optional(&self.pool)
        .await
        .map_err(loading)
    }
}
