//! The built-in event store: streams of immutable facts with one global order.
//!
//! ```text
//! append, import ──> events (SQLite or PostgreSQL) ──> read_stream, read_all
//!                          │
//!                          └──> source::open ──> projections, follow
//! ```
//!
//! It has the classic schema, so a table that a team already has can be read
//! and written as it is. Events are never changed: the schema refuses it.
//!
//! What is read here is what is visible now. On PostgreSQL a lower position
//! may still be committed later; whoever wants each event once, in order,
//! follows a [`Source`](crate::source::Source), with
//! [`Follow`](crate::source::Follow) for instance.

use std::sync::Arc;

use async_trait::async_trait;
use gnomon_databases::database_url::DatabaseUrl;
use gnomon_model::{Event, EventRef, PAGE_BYTES, Position};
use uuid::Uuid;

mod envelope;
mod error;
mod import;
#[cfg(test)]
mod json_tests;
mod new_event;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

pub use envelope::{Envelope, InvalidEnvelope, PartialEnvelope, write_dead_letter, write_envelope};
pub use error::{EventStoreError, EventStoreErrorKind};
pub use import::{CheckedFile, Imported, LineLimit, Progress};
pub use new_event::{InvalidEvent, NewEvent, StreamId};
pub use postgres::PostgresEventStore;
pub use sqlite::SqliteEventStore;

/// How many events a stream must hold for an append to go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Any number.
    Any,
    /// Exactly this many; zero for a stream that does not exist yet. It is the
    /// version of the last event where versions begin at 1, as they do here.
    Exactly(u64),
}

/// Where an appended event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id.
    pub id: Uuid,
    /// Its place in its stream, from 1.
    pub version: u64,
    /// Its place in the global order.
    pub position: Position,
}

/// The state of a stream at some version, saved so that whoever needs it does
/// not have to read all events again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The stream.
    pub stream: StreamId,
    /// The version of the last event that it takes into account.
    pub version: u64,
    /// One JSON document.
    pub data: String,
    /// When it was saved, in microseconds since the Unix epoch, UTC.
    pub saved_at: i64,
}

/// Events that are read in one go.
#[derive(Default)]
pub(crate) struct Page {
    events: Vec<Event>,
    bytes: usize,
}

impl Page {
    /// Adds an event; says whether there is room for another one.
    pub(crate) fn add(&mut self, event: EventRef<'_>) -> bool {
        self.bytes += event.size();
        self.events.push(event.into());
        self.bytes < PAGE_BYTES
    }

    pub(crate) fn into_events(self) -> Vec<Event> {
        self.events
    }
}

/// Told from time to time how far an import has got.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// A database that holds events.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends events to a stream, all of them or none.
    ///
    /// If all of them are there already, in the same stream and order, it
    /// writes nothing and gives back where they stand: a retry is harmless.
    ///
    /// # Errors
    /// [`EventStoreErrorKind::Conflict`] if the stream does not have the
    /// expected version; [`EventStoreErrorKind::Duplicate`] if an id is taken by
    /// another event.
    async fn append(
        &self,
        stream: &StreamId,
        expected: ExpectedVersion,
        events: &[NewEvent],
    ) -> Result<Vec<Appended>, EventStoreError>;

    /// Events of a stream with a version above `after`, in order: at most
    /// `limit`, and fewer if they fill a page ([`PAGE_BYTES`]). With `None` from
    /// the first one on, which may have version 0 where others write.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Event>, EventStoreError>;

    /// Events with a position above `after` that are visible now, in order: at
    /// most `limit`, and fewer if they fill a page ([`PAGE_BYTES`]).
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Event>, EventStoreError>;

    /// Looks for rows that are never read: without a position, or with one below 1.
    /// A PostgreSQL table without an index along the positions is not looked
    /// through.
    ///
    /// # Errors
    /// [`EventStoreErrorKind::Refused`] if there are some.
    async fn check_positions(&self) -> Result<(), EventStoreError>;

    /// Imports a file in one transaction. Events that are there already, in
    /// the same stream, are left out and counted: a retry is harmless.
    ///
    /// # Errors
    /// [`EventStoreErrorKind::Conflict`] if a version in the file is not the next
    /// one of its stream, [`EventStoreErrorKind::Duplicate`] if an id is taken
    /// in another stream; both name the line. Nothing is imported then.
    async fn import(
        &self,
        file: CheckedFile,
        on_progress: OnProgress,
    ) -> Result<Imported, EventStoreError>;

    /// Saves the snapshot of a stream and replaces the one that is there,
    /// unless that one is newer.
    ///
    /// # Errors
    /// [`EventStoreErrorKind::Invalid`] if the data is not JSON.
    async fn save_snapshot(
        &self,
        stream: &StreamId,
        version: u64,
        data: &str,
    ) -> Result<(), EventStoreError>;

    /// The saved snapshot of a stream.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, EventStoreError>;
}

/// Opens the event store behind a URL, and makes its tables if they are
/// missing.
///
/// # Errors
/// [`EventStoreError`] when it cannot be reached, or when its `events` table
/// lacks a column.
pub async fn open(url: &DatabaseUrl) -> Result<Arc<dyn EventStore>, EventStoreError> {
    Ok(match url {
        DatabaseUrl::Sqlite(file) => Arc::new(SqliteEventStore::open(file).await?),
        DatabaseUrl::SqliteReadOnly(_) => {
            return Err(EventStoreError::refused(format!(
                "the event store {url} is only to be read, as its URL says; to write to it leave \
                 out `?mode=ro`"
            )));
        }
        DatabaseUrl::Postgres(server) => Arc::new(PostgresEventStore::open(server).await?),
    })
}

/// Opens the event store behind a URL to read it. Nothing is made or changed
/// there.
///
/// # Errors
/// [`EventStoreErrorKind::Missing`] when there is none; else as [`open`].
pub async fn open_to_read(url: &DatabaseUrl) -> Result<Arc<dyn EventStore>, EventStoreError> {
    Ok(match url {
        DatabaseUrl::Sqlite(file) | DatabaseUrl::SqliteReadOnly(file) => {
            Arc::new(SqliteEventStore::open_to_read(file).await?)
        }
        DatabaseUrl::Postgres(server) => Arc::new(PostgresEventStore::open_to_read(server).await?),
    })
}
