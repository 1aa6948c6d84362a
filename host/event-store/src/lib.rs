//! An event store in PostgreSQL or SQLite: streams of immutable facts with one
//! global order.
//!
//! ```text
//! append, import ──> events (SQLite or PostgreSQL) ──> read_stream, read_all
//!                          │
//!                          └──> source::open ──> projections, follow
//! ```
//!
//! * [`store`]: appending and reading events.
//! * [`source`]: following a table of events, each event once and in order.
//!
//! Both stand on `table`, which knows the names of the columns and how rows become
//! events, and they know nothing of each other.
//!
//! ```
//! use gnomon_event_store::{ExpectedVersion, NewEvent, StreamId};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let directory = tempfile::tempdir()?;
//! let url = format!("sqlite:{}", directory.path().join("events.db").display());
//! let store = gnomon_event_store::open(&url.parse()?).await?;
//!
//! let order = StreamId::new("order-1")?;
//! let placed = NewEvent::new("OrderPlaced", r#"{"total": 42}"#)?;
//! store.append(&order, ExpectedVersion::Exactly(0), &[placed]).await?;
//!
//! let events = store.read_stream(&order, None, 100).await?;
//! assert_eq!(events[0].event_type, "OrderPlaced");
//! assert_eq!(events[0].version, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is read from the store is what is visible now. On PostgreSQL a lower
//! position may still be committed later. To get each event once and in order,
//! open a [`Source`](source::Source).

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod source;
pub mod store;
mod table;
#[cfg(test)]
mod test_database;
mod timestamp;

pub use store::{
    Appended, CheckedFile, Envelope, EventStore, EventStoreError, EventStoreErrorKind,
    ExpectedVersion, Imported, InvalidEnvelope, InvalidEvent, LineLimit, NewEvent, OnProgress,
    PartialEnvelope, PostgresEventStore, Progress, Snapshot, SqliteEventStore, StreamId, open,
    open_to_read, write_dead_letter, write_envelope,
};
pub use table::{EVENT_BYTES_MAX, NAME_BYTES_MAX};
pub use timestamp::{InvalidTimestamp, format_timestamp, parse_any_year, parse_timestamp};
