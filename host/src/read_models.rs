//! Read models: the rows of generations, their checkpoints and dead letters.
//!
//! A seam: [`crate::storage`] has the read models of each database system.
//! [`Writer::commit`] makes rows and checkpoint visible together or not at all,
//! and only if the checkpoint and the fencing epoch are the expected ones. What
//! is wanted of a generation stands in the [registry](crate::registry).

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use gnomon_event_store::source::{Checkpoint, KnownEvent};
use gnomon_model::{Description, Floats, FoundRows, Key, Position, Row, TableWrites, Value};

use crate::dead_letter::{DeadLetter, DeadLetterChanges, PageLimits, RetryRequest, Skip};
use crate::generation::{GenerationId, Lease, Rate};
use crate::storage_error::{StorageError, StorageErrorKind};

mod compared;
mod history;
pub(crate) mod identifier;

pub use compared::{
    ColumnDifference, Compared, Comparison, Difference, RowDifference, TableComparison,
};
pub use history::KeptHistory;
pub(crate) use history::StoredHistory;

/// One batch's effect on a generation.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// What to do to each table. What is owned may be freed on the way, while
    /// the database works.
    pub writes: Cow<'a, [TableWrites]>,
    /// The checkpoint that must stand in the database.
    pub expected: &'a Checkpoint,
    /// The checkpoint that takes its place.
    pub next: &'a Checkpoint,
    /// The position of `next`.
    pub position: Position,
    /// The last event up to there that the source has shown; `None` leaves the
    /// one that is kept.
    pub event: Option<&'a KnownEvent>,
    /// Events that begin or cease to wait.
    pub dead_letters: DeadLetterChanges<'a>,
    /// For whoever asks how fast it goes.
    pub rate: Rate,
    /// Whether the caller knows that the written tables have no row yet, as
    /// at the beginning of a build. They are then filled in bulk.
    pub into_empty: bool,
}

/// The rows of all generations of one database.
#[async_trait]
pub trait ReadModels: Send + Sync {
    /// Which floats its columns can hold.
    fn floats(&self) -> Floats;

    /// Compares the tables of two generations in one snapshot, if they stand
    /// at the same position; gives at most `samples` differing rows of each
    /// table, in the order of the keys.
    ///
    /// The database does the work, so memory does not grow with the tables.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if one of them is gone.
    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, StorageError>;

    /// Dead letters of a generation with positions above `after`, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError>;

    /// The one writer of a generation's tables.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, StorageError>;
}

/// Reads and writes the tables of one generation. It is used from one thread
/// and, after any error but [`StorageErrorKind::Rejected`], not used again: the
/// caller drops it and asks [`ReadModels`] for a new one.
#[async_trait]
pub trait Writer: Send {
    /// The checkpoint as it stands in the database.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the lease is no longer ours.
    async fn checkpoint(&mut self) -> Result<Checkpoint, StorageError>;

    /// What is kept beside the checkpoint of the history of the source.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the lease is no longer ours.
    async fn history(&mut self) -> Result<KeptHistory, StorageError>;

    /// Changes what is kept, but for a late position: only
    /// [`note_late`](crate::registry::HostRegistry::note_late) and
    /// [`accept_history`](crate::registry::Registry::accept_history) change that.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the lease is no longer ours.
    async fn keep_history(&mut self, kept: &KeptHistory) -> Result<(), StorageError>;

    /// Committed rows by key, as [`gnomon_model::CommittedRows::get_many`] says.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError>;

    /// Committed rows by a secondary index, as
    /// [`gnomon_model::CommittedRows::find`] says. An index that a build has
    /// not made yet is made first.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError>;

    /// Those of these streams that have dead letters.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn parked_streams(&mut self, streams: &[&str]) -> Result<Vec<String>, StorageError>;

    /// How many dead letters the generation has.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn count_dead_letters(&mut self) -> Result<u64, StorageError>;

    /// Dead letters of one stream, or of all, with positions above `after`, in
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dead_letters(
        &mut self,
        stream: Option<&str>,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError>;

    /// The oldest request to apply the generation's dead letters again.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn next_request(&mut self) -> Result<Option<RetryRequest>, StorageError>;

    /// The skips that hold for the generation, with positions above `after`, in
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn skips(&mut self, after: Position, limit: usize) -> Result<Vec<Skip>, StorageError>;

    /// Positions and streams of dead letters that are to be skipped, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn skipped_letters(
        &mut self,
        limit: usize,
    ) -> Result<Vec<(Position, String)>, StorageError>;

    /// Makes the secondary indexes that are missing or were left unusable by an
    /// interrupted attempt. For a build that has caught up.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the lease is no longer ours;
    /// [`StorageErrorKind::Rejected`] if a row cannot be indexed.
    async fn complete(&mut self) -> Result<(), StorageError>;

    /// Commits one batch: rows, dead letters and checkpoint in one transaction, by
    /// compare-and-set on checkpoint and fencing epoch.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the checkpoint or the epoch is not the
    /// expected one, and then nothing was written;
    /// [`StorageErrorKind::Rejected`] if the database refuses a value, and then
    /// nothing was written either. After
    /// [`StorageErrorKind::Retry`] the batch may have been committed or not:
    /// only the checkpoint in the database tells.
    async fn commit(&mut self, commit: Commit<'_>) -> Result<(), StorageError>;
}

/// A number that is not in the projection's description.
pub(crate) fn unknown(what: &str, number: usize) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!("the projection declares no {what} number {number}"),
    )
}
