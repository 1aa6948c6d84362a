//! Committed rows as one call may read them: so many, and on the database's
//! time.

use std::time::{Duration, Instant};

use gnomon_model::{CommittedRows, Key, Row, Value};

use super::instance::ReadRows;
use crate::target::TargetError;

/// Why rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The database cannot be read.
    #[error(transparent)]
    Target(TargetError),
    /// The batch read too many.
    #[error(
        "a batch may read {0} rows, questions included, this one read more (limits.batch-reads)"
    )]
    TooMany(u64),
}

/// The rows, and what the call has read so far.
pub(super) struct BoundedRows {
    rows: Box<dyn ReadRows>,
    reads: u64,
    reads_max: u64,
    waited: Duration,
}

impl BoundedRows {
    pub(super) fn new(rows: Box<dyn ReadRows>, reads_max: u64) -> Self {
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

    /// Runs one round trip, and counts it.
    fn ask<R>(
        &mut self,
        question: impl FnOnce(&mut dyn ReadRows) -> Result<R, TargetError>,
        count: impl FnOnce(&R) -> usize,
    ) -> Result<R, ReadError> {
        let asked = Instant::now();
        let answer = question(&mut *self.rows);
        self.waited += asked.elapsed();
        let answer = answer.map_err(ReadError::Target)?;
        self.reads = self.reads.saturating_add(1 + count(&answer) as u64);
        if self.reads > self.reads_max {
            return Err(ReadError::TooMany(self.reads_max));
        }
        Ok(answer)
    }
}

impl CommittedRows for BoundedRows {
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
    ) -> Result<Vec<Row>, ReadError> {
        self.ask(
            |rows| rows.find(table, index, values, after, limit),
            Vec::len,
        )
    }
}
