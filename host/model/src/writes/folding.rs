//! Batches that are folded into rows in memory, to be committed together.

use super::pending::Pending;
use super::{BatchWrites, CommittedRows, WriteError, declared, row_size};
use crate::change::Resized;
use crate::schema::Row;
use crate::value::Key;

/// Rows in memory, before the committed ones that they hide.
pub trait FoldedRows: CommittedRows {
    /// The row in memory under a key, if one is there.
    fn folded(&self, table: usize, key: &Key) -> Option<&Row>;

    /// Changes the row in memory under a key.
    fn change(&mut self, table: usize, key: &Key, change: impl FnOnce(&mut Row) -> Resized);

    /// Puts a row into memory, or that there is none.
    fn set(&mut self, table: usize, key: Key, row: Option<Row>);
}

impl BatchWrites {
    /// Does to the rows in memory what the batch does. It gives the rows that
    /// [`Self::finish`] would have given, without copying and sorting those that
    /// are there.
    ///
    /// # Errors
    /// As [`Self::finish`]; nothing is changed then.
    pub fn fold<F: FoldedRows>(mut self, rows: &mut F) -> Result<(), WriteError<F::Error>> {
        for table in 0..self.tables.len() {
            match self.prepare_fold(rows, table) {
                // Of several rows that cannot be changed so, the same one is to
                // blame whether they are folded or not.
                Err(error @ WriteError::Violation(_)) => {
                    return Err(self.finish(rows).err().unwrap_or(error));
                }
                prepared => prepared?,
            }
        }
        for (table, pending) in self.tables.into_iter().enumerate() {
            for (key, pending) in pending.rows {
                match pending {
                    Pending::Known(row) => rows.set(table, key, row),
                    Pending::Unread(unread) => {
                        rows.change(table, &key, |row| unread.make(row));
                    }
                }
            }
        }
        Ok(())
    }

    /// Checks the changes that can be made where the rows are, and makes the
    /// others on copies. Afterwards nothing can fail any more.
    fn prepare_fold<F: FoldedRows>(
        &mut self,
        rows: &mut F,
        table: usize,
    ) -> Result<(), WriteError<F::Error>> {
        let declared = declared(&self.description, table)?;
        let mut copied = Vec::new();
        let mut bytes = 0;
        for (key, pending) in self.tables.get(table).into_iter().flat_map(|of| &of.rows) {
            let Pending::Unread(unread) = pending else {
                continue;
            };
            match rows.folded(table, key).zip(unread.plain(declared)) {
                Some((row, changes)) => {
                    changes.check(declared, row)?;
                    bytes += row_size(row);
                }
                None => copied.push(key.clone()),
            }
        }
        self.budget.hold(bytes)?;
        self.read_changed(rows, table, copied)
    }
}
