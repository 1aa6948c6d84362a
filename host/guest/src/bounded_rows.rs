//! Committed rows as one call may read them: so many, and on the database's
//! time.

use std::ops::DerefMut;
use std::time::{Duration, Instant};

use gnomon_model::{CommittedRows, FoldedRows, FoundRows, Key, Resized, Row, StorageError, Value};

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The database cannot be read.
    #[error(transparent)]
    Target(StorageError),
    /// The batch read too many.
    #[error(
        "a batch may read {0} rows, questions included, this one read more (limits.batch-reads)"
    )]
    TooMany(u64),
}

/// The rows, and what the call has read so far.
pub(super) struct BoundedRows<R> {
    rows: R,
    reads: u64,
    reads_max: u64,
    waited: Duration,
}

impl<R> BoundedRows<R> {
    pub(super) fn new(rows: R, reads_max: u64) -> Self {
        Self {
            rows,
            reads: 0,
            reads_max,
            waited: Duration::ZERO,
        }
    }

    /// How long the call has waited for rows.
    pub(super) const fn waited(&self) -> Duration {
        self.waited
    }

    /// Goes on counting on other rows.
    pub(super) fn on<S>(self, rows: S) -> BoundedRows<S> {
        BoundedRows {
            rows,
            reads: self.reads,
            reads_max: self.reads_max,
            waited: self.waited,
        }
    }
}

impl<R: DerefMut<Target: CommittedRows<Error = StorageError>>> BoundedRows<R> {
    /// Runs one round trip, and counts it.
    fn ask<A>(
        &mut self,
        question: impl FnOnce(&mut R::Target) -> Result<A, StorageError>,
        count: impl FnOnce(&A) -> usize,
    ) -> Result<A, ReadError> {
        let asked = Instant::now();
        let answer = question(&mut self.rows);
        self.waited += asked.elapsed();
        let answer = answer.map_err(ReadError::Target)?;
        self.reads = self.reads.saturating_add(1 + count(&answer) as u64);
        if self.reads > self.reads_max {
            return Err(ReadError::TooMany(self.reads_max));
        }
        Ok(answer)
    }
}

impl<R: DerefMut<Target: CommittedRows<Error = StorageError>>> CommittedRows for BoundedRows<R> {
    type Error = ReadError;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, ReadError> {
        self.ask(|rows| rows.get_many(table, keys), Vec::len)
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, ReadError> {
        self.ask(
            |rows| rows.find(table, index, values, after, limit),
            |found| found.rows.len(),
        )
    }
}

/// What is in memory is not read from the database.
impl<R: DerefMut<Target: FoldedRows<Error = StorageError>>> FoldedRows for BoundedRows<R> {
    fn folded(&self, table: usize, key: &Key) -> Option<&Row> {
        self.rows.folded(table, key)
    }

    fn change(&mut self, table: usize, key: &Key, change: impl FnOnce(&mut Row) -> Resized) {
        self.rows.change(table, key, change);
    }

    fn set(&mut self, table: usize, key: Key, row: Option<Row>) {
        self.rows.set(table, key, row);
    }
}
