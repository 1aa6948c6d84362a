//! The event store in a SQLite file.
//!
//! SQLite has one writer at a time, so the order of positions is the order of
//! commits, and a reader that sees position 7 has seen all that will ever be
//! below it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gnomon_model::{Event, Position, json};
use rusqlite::{Connection, OptionalExtension as _, params};
use shared::Shared;

use super::{
    Appended, CheckedFile, EventStore, EventStoreError, ExpectedVersion, Imported, InvalidEvent,
    NewEvent, OnProgress, Page, Snapshot, StreamId,
};
use crate::table::sqlite::{
    Columns, Scratch, blocking, event_columns, open_to_read, read_event, refuse_unruly, table_error,
};
use crate::table::{EVENT_BYTES_MAX, Layout, sql_limit};
use crate::timestamp::{format_timestamp, parse_stored};

mod append;
mod import;
mod schema;
mod shared;

use schema::open_or_make;

/// An event store in a SQLite file.
pub struct SqliteEventStore {
    connection: Shared,
    columns: Arc<Columns>,
    file: Arc<PathBuf>,
}

impl SqliteEventStore {
    /// Opens a file, and makes it and its tables if they are missing.
    ///
    /// # Errors
    /// [`Refused`](crate::EventStoreErrorKind::Refused) if the file is no database, or its
    /// `events` table lacks a column.
    pub async fn open(file: &Path) -> Result<Self, EventStoreError> {
        let file = Arc::new(file.to_owned());
        let path = Arc::clone(&file);
        let (connection, columns) = blocking(move || open_or_make(&path)).await?;
        Ok(Self {
            connection: Shared::new(connection),
            columns: Arc::new(columns),
            file,
        })
    }

    /// Opens a file that holds events, to read them only.
    ///
    /// # Errors
    /// [`Missing`](crate::EventStoreErrorKind::Missing) if there is no such file or no table
    /// `events` in it.
    pub async fn open_to_read(file: &Path) -> Result<Self, EventStoreError> {
        let file = Arc::new(file.to_owned());
        let path = Arc::clone(&file);
        let layout = Arc::new(Layout::built_in());
        let (connection, columns) = blocking(move || open_to_read(&path, &layout)).await?;
        Ok(Self {
            connection: Shared::new(connection),
            columns: Arc::new(columns),
            file,
        })
    }

    /// Runs blocking work on the connection, apart from the async threads.
    async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection, &Columns) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        let connection = self.connection.clone();
        let columns = Arc::clone(&self.columns);
        let file = Arc::clone(&self.file);
        blocking(move || {
            connection
                .with(|connection| work(connection, &columns))
                .map_err(|failure| failure.in_file(doing, &file))
        })
        .await
    }
}

/// What went wrong inside, before it is known which file it was.
enum Failure {
    Sqlite(rusqlite::Error),
    Store(EventStoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<EventStoreError> for Failure {
    fn from(error: EventStoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    fn in_file(self, doing: &str, file: &Path) -> EventStoreError {
        match self {
            Self::Store(error) => error,
            Self::Sqlite(error) => table_error(doing, file, error).into(),
        }
    }
}

/// The events of a page.
fn page(mut rows: rusqlite::Rows<'_>, columns: &Columns) -> rusqlite::Result<Vec<Event>> {
    let (mut page, mut scratch) = (Page::default(), Scratch::default());
    while let Some(row) = rows.next()? {
        if !page.add(read_event(row, columns, &mut scratch)?) {
            break;
        }
    }
    Ok(page.into_events())
}

#[async_trait]
impl EventStore for SqliteEventStore {
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Result<Vec<Appended>, EventStoreError> {
        let stream = stream.clone();
        let events = events.to_vec();
        self.with("append to", move |connection, columns| {
            append::append(connection, columns, &stream, expected, &events)
        })
        .await
    }

    async fn check_positions(&self) -> Result<(), EventStoreError> {
        let file = Arc::clone(&self.file);
        self.with("read", move |connection, columns| {
            Ok(refuse_unruly(connection, &file, &columns.layout).map_err(EventStoreError::from)?)
        })
        .await
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Event>, EventStoreError> {
        let stream = stream.clone();
        self.with("read", move |connection, columns| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {} FROM events AS e WHERE e.stream_id = ?1 AND e.version > ?2 \
                 ORDER BY e.version LIMIT ?3",
                event_columns(columns, true)
            ))?;
            let after = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
            Ok(page(
                statement.query(params![stream.as_str(), after, sql_limit(limit)])?,
                columns,
            )?)
        })
        .await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Event>, EventStoreError> {
        self.with("read", move |connection, columns| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {} FROM events AS e WHERE e.global_position > ?1 \
                 ORDER BY e.global_position LIMIT ?2",
                event_columns(columns, true)
            ))?;
            Ok(page(
                statement.query(params![after.to_sql(), sql_limit(limit)])?,
                columns,
            )?)
        })
        .await
    }

    async fn import(
        &self,
        file: CheckedFile,
        on_progress: OnProgress,
    ) -> Result<Imported, EventStoreError> {
        self.with("import into", move |connection, columns| {
            import::import(connection, columns, &file, &on_progress)
        })
        .await
    }

    async fn save_snapshot(
        &self,
        stream: &StreamId,
        version: u64,
        data: &str,
    ) -> Result<(), EventStoreError> {
        let stream = stream.clone();
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        let data = json::normalise(data, EVENT_BYTES_MAX).map_err(|cause| InvalidEvent::Json {
            what: "data of the snapshot",
            cause,
        })?;
        self.with("save a snapshot in", move |connection, _| {
            connection.execute_batch(schema::SNAPSHOTS)?;
            connection.execute(
                "INSERT INTO snapshots (stream_id, stream_type, snapshot_data, version, created_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (stream_id) DO UPDATE SET snapshot_data = excluded.snapshot_data, \
                   version = excluded.version, created_at = excluded.created_at \
                 WHERE excluded.version >= snapshots.version",
                params![
                    stream.as_str(),
                    stream.category(),
                    data,
                    version,
                    format_timestamp(now()),
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, EventStoreError> {
        let stream = stream.clone();
        self.with("load a snapshot from", move |connection, _| {
            if !connection.table_exists(None, "snapshots")? {
                return Ok(None);
            }
            let row = connection
                .query_row(
                    "SELECT version, snapshot_data, created_at FROM snapshots WHERE stream_id = ?1",
                    [stream.as_str()],
                    |row| {
                        Ok(Snapshot {
                            stream: stream.clone(),
                            version: row.get::<_, i64>(0)?.try_into().unwrap_or(0),
                            data: row.get(1)?,
                            saved_at: parse_stored(row.get_ref(2)?.as_str()?).unwrap_or_default(),
                        })
                    },
                )
                .optional()?;
            Ok(row)
        })
        .await
    }
}

/// Microseconds since the Unix epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
