//! The write buffer: what one batch does to its tables, one entry per row.
//!
//! ```text
//! put ────────────────┐
//! remove ─────────────┤            ┌─ Known(row or none) ──┬─> finish ─> TableWrites
//! patch, merge ───────┼─> per row ─┤                       │   (sorted by key)
//! patch-where, … ─────┘            └─ Unread(changes) ─────┴─> fold ─> rows in memory
//! ```
//!
//! A `patch` or `merge` on a row that was not read yet waits as folded
//! changes. All such rows are read in one round trip: when the batch is
//! finished, or when a `find` needs them. Where many batches are committed
//! together, the changes are made in the rows that wait for that ([`FoldedRows`]).

use std::sync::Arc;

use crate::budget::Budget;
use crate::change::{Change, Changes};
use crate::description::Description;
use crate::schema::{Row, Table, Violation, shown};
use crate::value::{Floats, Key, Value};

mod folding;
mod pending;
mod reading;
#[cfg(test)]
mod tests;

pub use folding::FoldedRows;

use pending::{Pending, PendingTable};

/// How many committed rows `find` and its kin read in one round trip.
const FIND_PAGE_ROWS: usize = 1_000;
/// A page of committed rows ends with the one that reaches so many bytes: a
/// row can be as large as all that a batch may write.
pub const PAGE_BYTES: usize = 8 << 20;

/// The rows as they stood before the batch.
pub trait CommittedRows {
    /// What goes wrong when they are read.
    type Error;

    /// The rows under the first of these keys of table number `table`, in their
    /// order: under all of them, or so many, at least one, that the rows fill a
    /// page ([`PAGE_BYTES`]).
    ///
    /// # Errors
    /// When the database cannot be read.
    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, Self::Error>;

    /// Rows of table number `table` in which the columns of its index number
    /// `index` equal `values` (a null equals a null), in primary-key order,
    /// with keys above `after`, at most `limit`; fewer if they fill a page
    /// ([`PAGE_BYTES`]).
    ///
    /// # Errors
    /// When the database cannot be read.
    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, Self::Error>;
}

/// Committed rows that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundRows {
    /// In primary-key order.
    pub rows: Vec<Row>,
    /// Whether there may be more behind them.
    pub more: bool,
}

/// Why a call of a guest failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError<E> {
    /// The guest broke its schema or a limit.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The committed rows could not be read.
    #[error("the read model cannot be read")]
    Rows(E),
}

/// How much one batch may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteLimits {
    /// Calls that write; each row that a `patch-where` or `remove-where`
    /// touches counts as one.
    pub writes: u64,
    /// Bytes of all values that were passed to them, and of the committed rows
    /// that they change.
    pub bytes: u64,
    /// Bytes of rows that one read may give.
    pub reply_bytes: u64,
}

impl WriteLimits {
    /// No limit, for tests.
    pub const NONE: Self = Self {
        writes: u64::MAX,
        bytes: u64::MAX,
        reply_bytes: u64::MAX,
    };
}

/// What a batch does to one table, each row at most once, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableWrites {
    /// The table's number in the description.
    pub table: usize,
    /// Rows to insert, or to put in the place of those under their keys.
    pub upserts: Vec<Row>,
    /// Keys of rows to remove, where there are any.
    pub deletes: Vec<Key>,
}

/// The write buffer of one batch.
#[derive(Debug)]
pub struct BatchWrites {
    description: Arc<Description>,
    floats: Floats,
    budget: Budget,
    tables: Vec<PendingTable>,
}

impl BatchWrites {
    /// An empty buffer for the tables of a projection.
    #[must_use]
    pub fn new(description: Arc<Description>, floats: Floats, limits: WriteLimits) -> Self {
        let tables = description
            .tables
            .iter()
            .map(|_| PendingTable::default())
            .collect();
        Self {
            description,
            floats,
            budget: Budget::new(limits),
            tables,
        }
    }

    /// A declared table.
    #[must_use]
    pub fn schema(&self, table: usize) -> Option<&Table> {
        self.description.tables.get(table)
    }

    /// The number of a declared table.
    ///
    /// # Errors
    /// [`Violation::UnknownTable`].
    pub fn table(&self, name: &str) -> Result<usize, Violation> {
        self.description
            .table(name)
            .ok_or_else(|| Violation::UnknownTable(shown(name)))
    }

    /// The row under a key.
    ///
    /// # Errors
    /// [`WriteError`] for a key that breaks the schema, or a failed read.
    pub fn get<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        key: Vec<Value>,
    ) -> Result<Option<Row>, WriteError<C::Error>> {
        let key = self.declared(table)?.checked_key(key, self.floats)?;
        let mut rows = self.read(committed, table, vec![key])?;
        Ok(rows.pop().flatten())
    }

    /// The rows under many keys, in their order, in one round trip.
    ///
    /// # Errors
    /// As [`BatchWrites::get`].
    pub fn get_many<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Option<Row>>, WriteError<C::Error>> {
        let declared = self.declared(table)?;
        let keys = keys
            .into_iter()
            .map(|key| declared.checked_key(key, self.floats))
            .collect::<Result<Vec<_>, _>>()?;
        self.read(committed, table, keys)
    }

    /// Rows in which the columns of a declared index equal `values`, in
    /// primary-key order, at most `limit`. A null finds nulls.
    ///
    /// # Errors
    /// As [`BatchWrites::get`], and [`Violation::MissingIndex`].
    pub fn find<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        columns: &[String],
        values: Vec<Value>,
        limit: usize,
    ) -> Result<Vec<Row>, WriteError<C::Error>> {
        let (index, values) = self.prepare_find(committed, table, columns, values)?;
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut after = None;
        while found.len() < limit {
            let page_rows = (limit - found.len()).min(FIND_PAGE_ROWS);
            let page =
                self.find_page(committed, table, index, &values, after.as_ref(), page_rows)?;
            bytes += page.rows.iter().map(|row| row_size(row)).sum::<usize>();
            self.budget.check_reply(bytes)?;
            found.extend(page.rows);
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Inserts a row, or replaces the one under its key.
    ///
    /// # Errors
    /// [`WriteError`] for a row that breaks the schema, or a broken limit.
    pub fn put<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        mut row: Row,
    ) -> Result<(), WriteError<C::Error>> {
        let declared = self.declared(table)?;
        declared.check_row(&mut row, self.floats, self.budget.room())?;
        let key = declared.key_of(&row);
        self.budget.write(row_size(&row))?;
        self.replace(committed, table, key, Some(row))
    }

    /// Removes the row under a key, if there is one.
    ///
    /// # Errors
    /// [`WriteError`] for a key that breaks the schema, or a broken limit.
    pub fn remove<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        key: Vec<Value>,
    ) -> Result<(), WriteError<C::Error>> {
        let declared = self.declared(table)?;
        let key = declared.checked_key(key, self.floats)?;
        let may_exist = declared.check_key_length(&key).is_ok();
        self.budget.write(key.size())?;
        match may_exist {
            true => self.replace(committed, table, key, None),
            false => Ok(()),
        }
    }

    /// Changes the row under a key; without such a row, does nothing.
    ///
    /// # Errors
    /// [`WriteError`] for a key or a change that breaks the schema, a sum that
    /// overflows, or a broken limit. An overflow of a row that was not read
    /// yet shows when it is read, at the latest in [`BatchWrites::finish`].
    pub fn patch(
        &mut self,
        table: usize,
        key: Vec<Value>,
        changes: Vec<Change<'_>>,
    ) -> Result<(), Violation> {
        self.change(table, key, changes, false)
    }

    /// Changes the row under a key; without such a row, creates it first, each
    /// column at its zero.
    ///
    /// # Errors
    /// As [`BatchWrites::patch`].
    pub fn merge(
        &mut self,
        table: usize,
        key: Vec<Value>,
        changes: Vec<Change<'_>>,
    ) -> Result<(), Violation> {
        self.change(table, key, changes, true)
    }

    /// [`BatchWrites::patch`] on every row that [`BatchWrites::find`] would
    /// give without a limit.
    ///
    /// # Errors
    /// As [`BatchWrites::find`] and [`BatchWrites::patch`].
    pub fn patch_where<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        columns: &[String],
        values: Vec<Value>,
        changes: Vec<Change<'_>>,
    ) -> Result<(), WriteError<C::Error>> {
        let room = self.budget.room();
        let changes = Changes::checked(self.declared(table)?, changes, self.floats, room)?;
        self.budget.write(changes.size())?;
        let description = Arc::clone(&self.description);
        let floats = self.floats;
        self.for_each_found(committed, table, columns, values, |writes, key, mut row| {
            let declared = declared(&description, table)?;
            writes.budget.write(changes.size() + row_size(&row))?;
            changes
                .clone()
                .apply(declared, &mut row, floats, &mut writes.budget)?;
            writes.know(table, key, Some(row))
        })
    }

    /// [`BatchWrites::remove`] on every row that [`BatchWrites::find`] would
    /// give without a limit.
    ///
    /// # Errors
    /// As [`BatchWrites::find`] and [`BatchWrites::remove`].
    pub fn remove_where<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        columns: &[String],
        values: Vec<Value>,
    ) -> Result<(), WriteError<C::Error>> {
        self.budget.write(values.iter().map(Value::size).sum())?;
        self.for_each_found(committed, table, columns, values, |writes, key, _| {
            writes.budget.write(key.size())?;
            writes.know(table, key, None)
        })
    }

    /// Ends the batch: reads the rows that still have unread changes and gives
    /// what the database has to do, only for tables that were written.
    ///
    /// # Errors
    /// [`WriteError`] for an overflow or a failed read.
    pub fn finish<C: CommittedRows>(
        mut self,
        committed: &mut C,
    ) -> Result<Vec<TableWrites>, WriteError<C::Error>> {
        for table in 0..self.tables.len() {
            self.read_unread(committed, table)?;
        }
        let mut written = Vec::new();
        for (table, pending) in self.tables.into_iter().enumerate() {
            let mut upserts = Vec::new();
            let mut deletes = Vec::new();
            for (key, row) in pending.rows {
                match row {
                    Pending::Known(Some(row)) => upserts.push((key, row)),
                    Pending::Known(None) => deletes.push(key),
                    Pending::Unread(_) => {}
                }
            }
            if upserts.is_empty() && deletes.is_empty() {
                continue;
            }
            upserts.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            deletes.sort_unstable();
            written.push(TableWrites {
                table,
                upserts: upserts.into_iter().map(|(_, row)| row).collect(),
                deletes,
            });
        }
        Ok(written)
    }

    fn declared(&self, table: usize) -> Result<&Table, Violation> {
        declared(&self.description, table)
    }

    fn pending(&mut self, table: usize) -> Result<&mut PendingTable, Violation> {
        self.tables
            .get_mut(table)
            .ok_or_else(|| unknown_table(table))
    }

    /// Puts a row, or none, in the place of whatever is under its key.
    fn replace<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        key: Key,
        row: Option<Row>,
    ) -> Result<(), WriteError<C::Error>> {
        // Changes that could overflow must still be seen to overflow, as they
        // would in a batch that ends before this call.
        if let Some(Pending::Unread(unread)) = self.pending(table)?.rows.get(&key)
            && unread.can_fail()
        {
            self.read_changed(committed, table, vec![key.clone()])?;
        }
        self.know(table, key, row)?;
        Ok(())
    }

    fn change(
        &mut self,
        table: usize,
        key: Vec<Value>,
        changes: Vec<Change<'_>>,
        create: bool,
    ) -> Result<(), Violation> {
        let declared = self.declared(table)?;
        let key = declared.checked_key(key, self.floats)?;
        let changes = Changes::checked(declared, changes, self.floats, self.budget.room())?;
        self.budget.write(key.size() + changes.size())?;
        let declared = self::declared(&self.description, table)?;
        match declared.check_key_length(&key) {
            Err(too_long) if create => return Err(too_long),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let pending = self.tables.get_mut(table);
        pending.ok_or_else(|| unknown_table(table))?.change(
            declared,
            key,
            changes,
            create,
            self.floats,
            &mut self.budget,
        )
    }

    fn know(&mut self, table: usize, key: Key, row: Option<Row>) -> Result<(), Violation> {
        let declared = declared(&self.description, table)?;
        let pending = self.tables.get_mut(table);
        pending
            .ok_or_else(|| unknown_table(table))?
            .know(declared, key, row);
        Ok(())
    }
}

/// What a row holds, in bytes.
#[must_use]
pub fn row_size(row: &[Value]) -> usize {
    row.iter().map(Value::size).sum()
}

fn declared(description: &Description, table: usize) -> Result<&Table, Violation> {
    description
        .tables
        .get(table)
        .ok_or_else(|| unknown_table(table))
}

fn unknown_table(number: usize) -> Violation {
    Violation::UnknownTable(format!("number {number}"))
}
