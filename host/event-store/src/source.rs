//! Sources: where events come from.
//!
//! A source yields the events after a checkpoint, and says through its
//! [`Frontier`] how far they are final. One task per source looks after the
//! frontier, however many projections read: a projection asks for events only
//! when the frontier has moved past its checkpoint.
//!
//! To add a system, add a file below `source/` and a line to [`open`].

use std::sync::Arc;

use async_trait::async_trait;
use gnomon_databases::database_url::DatabaseUrl;
use gnomon_model::{EventPage, Position, Subscription};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::table::{TableError, TableErrorKind};

mod batch;
mod follow;
mod history;
#[cfg(test)]
mod layouts;
mod postgres;
mod sqlite;
#[cfg(test)]
mod strange_tables;
#[cfg(test)]
mod tests;

pub use follow::Follow;
pub use history::{Alarm, History, KnownEvent, LateEvent};
pub use postgres::PostgresSource;
pub use sqlite::SqliteSource;

/// How far a generation has got in its source. Only the source can read it;
/// the read models store it beside the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(String);

impl Checkpoint {
    /// A checkpoint as its source wrote it.
    #[must_use]
    pub const fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The checkpoint behind a position, for sources whose checkpoint is one
    /// number: SQLite and PostgreSQL.
    #[must_use]
    pub fn behind(position: Position) -> Self {
        Self(position.to_string())
    }

    /// The text to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The position of a checkpoint that is one number.
    fn number(&self) -> Result<Position, SourceError> {
        self.0.parse().ok().and_then(Position::new).ok_or_else(|| {
            SourceError::refused(format!(
                "`{}` is no checkpoint of this event store, which counts positions; was the \
                     source of the events changed? Rebuild the projection from the new one",
                self.0
            ))
        })
    }
}

/// How far a source has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    /// Every event up to here is final: no position at or below it can still
    /// be committed.
    pub safe: Position,
    /// The highest position that was handed out.
    pub head: Position,
    /// Positions up to `safe` that were handed out and rolled back since the
    /// source was opened. They are counted a moment after `safe` has passed
    /// them. Always zero where positions are not handed out before the commit.
    pub rolled_back: u64,
    /// Why `safe` stays behind `head`, as a sentence; `None` where it is not
    /// so, or has been so for a moment only.
    pub waiting_for: Option<String>,
    /// Why the store cannot be looked at, as a sentence. It is tried again and
    /// again.
    pub out_of_reach: Option<String>,
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events.
    pub events: usize,
    /// Bytes of their payloads and names, roughly. One event may be larger.
    pub bytes: usize,
    /// The last position that may be in it; `None` for no end.
    pub until: Option<Position>,
}

impl BatchLimits {
    /// How far one may read where events are final up to `safe`.
    fn end(self, safe: Position) -> Position {
        self.until.map_or(safe, |until| until.min(safe))
    }
}

/// Events in position order, and where the next batch begins.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Those after the checkpoint that the subscription wants.
    pub events: Arc<EventPage>,
    /// The checkpoint behind the batch. It also passes the events that the
    /// subscription left out.
    pub next: Checkpoint,
    /// The position of `next`.
    pub position: Position,
    /// Whether the batch reaches to the frontier as it was when it was read, or
    /// to the end that the limits set.
    pub caught_up: bool,
}

/// What to do about a [`SourceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Try again later: a lost connection, a busy database.
    Retry,
    /// It will not change by itself: a table that cannot be read without loss,
    /// a wrong password, a malformed checkpoint.
    Refused,
}

/// A source cannot be opened or read. All who read together get the same.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    kind: SourceErrorKind,
    message: String,
    #[source]
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// An error that a later try may not meet.
    pub fn retry(
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind: SourceErrorKind::Retry,
            message: message.into(),
            cause: Some(cause.into().into()),
        }
    }

    /// An error that stays until somebody changes something.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            kind: SourceErrorKind::Refused,
            message: message.into(),
            cause: None,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> SourceErrorKind {
        self.kind
    }
}

impl From<TableError> for SourceError {
    fn from(error: TableError) -> Self {
        Self {
            kind: match error.kind {
                // The application may be about to make it.
                TableErrorKind::Retry | TableErrorKind::Missing => SourceErrorKind::Retry,
                TableErrorKind::Refused => SourceErrorKind::Refused,
            },
            message: error.message,
            cause: error.cause,
        }
    }
}

/// A store of events with one global order.
#[async_trait]
pub trait Source: Send + Sync {
    /// The checkpoint before the first event.
    fn start(&self) -> Checkpoint;

    /// The position that a checkpoint stands for.
    ///
    /// # Errors
    /// [`SourceErrorKind::Refused`] for a checkpoint of another source.
    fn position(&self, checkpoint: &Checkpoint) -> Result<Position, SourceError>;

    /// The checkpoint behind the event at a position, for what was read in one
    /// go and is applied in parts.
    fn behind(&self, position: Position) -> Checkpoint;

    /// The frontier, kept up to date until the last receiver is gone.
    fn frontier(&self) -> watch::Receiver<Frontier>;

    /// The frontier as it is now, for a caller who looks once. It may take its
    /// time, but not longer than the open writers do.
    ///
    /// # Errors
    /// When the store cannot be reached.
    async fn look(&self) -> Result<Frontier, SourceError>;

    /// The next batch after a checkpoint, none of it beyond the frontier. An
    /// empty batch that is not beyond its checkpoint means that there is
    /// nothing new.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn read(
        &self,
        after: &Checkpoint,
        subscription: &Subscription,
        limits: BatchLimits,
    ) -> Result<Batch, SourceError>;

    /// What it remembers of the events that it showed, and what has shown it
    /// since that the store is another.
    fn history(&self) -> &Arc<History>;

    /// The last event at or below a position; `None` if there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn last_event(&self, up_to: Position) -> Result<Option<KnownEvent>, SourceError>;

    /// When the first event after this position was recorded, in microseconds
    /// since the Unix epoch; `None` at the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError>;

    /// The position of the last event that was recorded at this time or
    /// before, in microseconds since the Unix epoch; [`Position::START`] if
    /// there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn position_at(&self, time: i64) -> Result<Position, SourceError>;
}

/// The checkpoint before the first event of the source behind a URL.
#[must_use]
pub fn start(url: &DatabaseUrl) -> Checkpoint {
    match url {
        DatabaseUrl::Sqlite(_) | DatabaseUrl::SqliteReadOnly(_) | DatabaseUrl::Postgres(_) => {
            Checkpoint::behind(Position::START)
        }
    }
}

/// Opens the source behind a URL and starts to watch its frontier.
///
/// # Errors
/// [`SourceError`] when it cannot be reached, or when its table cannot be read
/// without loss.
pub async fn open(url: &DatabaseUrl) -> Result<Arc<dyn Source>, SourceError> {
    Ok(match url {
        DatabaseUrl::Sqlite(file) | DatabaseUrl::SqliteReadOnly(file) => {
            Arc::new(SqliteSource::open(file).await?)
        }
        DatabaseUrl::Postgres(server) => Arc::new(PostgresSource::open(server).await?),
    })
}
