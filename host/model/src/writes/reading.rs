//! Reads of the batch: committed rows under what is pending.

use std::sync::Arc;

use super::pending::Pending;
use super::{
    BatchWrites, CommittedRows, FIND_PAGE_ROWS, WriteError, declared, row_size, unknown_table,
};
use crate::schema::{ENTRY_BYTES_MAX, Row, Violation};
use crate::value::{Key, KeyMap, Value};

/// How many rows are read by key in one round trip. What is too much is seen
/// before all of it is in memory.
const READ_ROWS: usize = 1_000;

impl BatchWrites {
    /// The rows under checked keys, as the batch sees them.
    pub(super) fn read<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Row>>, WriteError<C::Error>> {
        let unread: Vec<Key> = {
            let pending = self.pending(table)?;
            let is_unread = |key: &&Key| matches!(pending.rows.get(*key), Some(Pending::Unread(_)));
            keys.iter().filter(is_unread).cloned().collect()
        };
        self.read_changed(committed, table, unread)?;
        let mut reply = Vec::with_capacity(keys.len());
        let mut bytes = 0;
        for keys in keys.chunks(READ_ROWS) {
            let fetched = self.fetch(committed, table, keys)?;
            for key in keys {
                let row = match fetched.get(key) {
                    Some(row) => row.clone(),
                    None => self.pending(table)?.known(key),
                };
                bytes += row.as_deref().map_or(0, row_size);
                self.budget.check_reply(bytes)?;
                reply.push(row);
            }
        }
        Ok(reply)
    }

    /// The committed rows under those of these keys that the batch did not
    /// write, each once.
    fn fetch<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        keys: &[Key],
    ) -> Result<KeyMap<Option<Row>>, WriteError<C::Error>> {
        let pending = self.pending(table)?;
        let mut untouched: Vec<Key> = keys
            .iter()
            .filter(|key| !pending.rows.contains_key(*key) && may_exist(key.values()))
            .cloned()
            .collect();
        untouched.sort_unstable();
        untouched.dedup();
        let mut fetched = KeyMap::default();
        let mut bytes = 0;
        let mut keys = untouched.into_iter();
        while !keys.as_slice().is_empty() {
            let rows = committed
                .get_many(table, keys.as_slice())
                .map_err(WriteError::Rows)?;
            bytes += rows
                .iter()
                .flatten()
                .map(|row| row_size(row))
                .sum::<usize>();
            // All of them are part of the reply.
            self.budget.check_reply(bytes)?;
            let count = rows.len().max(1);
            fetched.extend(keys.by_ref().take(count).zip(rows));
        }
        Ok(fetched)
    }

    /// Reads every row of a table that has unread changes.
    pub(super) fn read_unread<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
    ) -> Result<(), WriteError<C::Error>> {
        let keys = std::mem::take(&mut self.pending(table)?.unread);
        self.read_changed(committed, table, keys)
    }

    /// Reads those of these rows that have unread changes, and applies them.
    pub(super) fn read_changed<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        mut keys: Vec<Key>,
    ) -> Result<(), WriteError<C::Error>> {
        let description = Arc::clone(&self.description);
        let declared = declared(&description, table)?;
        let floats = self.floats;
        let pending = self.pending(table)?;
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| matches!(pending.rows.get(key), Some(Pending::Unread(_))));
        if keys.is_empty() {
            return Ok(());
        }
        let mut left = keys.as_slice();
        while !left.is_empty() {
            let asked = left.get(..READ_ROWS).unwrap_or(left);
            let rows = committed.get_many(table, asked).map_err(WriteError::Rows)?;
            let (read, rest) = left.split_at(rows.len().clamp(1, left.len()));
            left = rest;
            self.budget
                .hold(rows.iter().flatten().map(|row| row_size(row)).sum())?;
            let pending = self.tables.get_mut(table);
            let pending = pending.ok_or_else(|| unknown_table(table))?;
            for (key, row) in read.iter().zip(rows) {
                let Some(Pending::Unread(unread)) = pending.rows.remove(key) else {
                    continue;
                };
                if let Some(row) = unread.apply(declared, key, row, floats, &mut self.budget)? {
                    pending.know(declared, key.clone(), Some(row));
                }
            }
        }
        Ok(())
    }

    /// Checks the arguments of a find and makes every pending row findable.
    pub(super) fn prepare_find<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        columns: &[String],
        values: Vec<Value>,
    ) -> Result<(usize, Vec<Value>), WriteError<C::Error>> {
        let (index, values) = self
            .declared(table)?
            .checked_index(columns, values, self.floats)?;
        self.read_unread(committed, table)?;
        let description = Arc::clone(&self.description);
        let declared = declared(&description, table)?;
        self.pending(table)?.build_index(declared, index);
        Ok((index, values))
    }

    /// The rows found among the next `limit` committed ones after a key, and
    /// the pending ones between them.
    pub(super) fn find_page<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundPage, WriteError<C::Error>> {
        if !may_exist(values) {
            return Ok(FoundPage::default());
        }
        let page = committed
            .find(table, index, values, after, limit)
            .map_err(WriteError::Rows)?;
        let description = Arc::clone(&self.description);
        let declared = declared(&description, table)?;
        let pending = self.pending(table)?;
        let mut rows: Vec<(Key, Row)> = page
            .rows
            .into_iter()
            .map(|row| (declared.key_of(&row), row))
            .collect();
        let last = rows
            .last()
            .map(|(key, _)| key.clone())
            .filter(|_| page.more);
        rows.retain(|(key, _)| !pending.rows.contains_key(key));
        let matching = pending
            .found_by
            .get(&index)
            .and_then(|keys_by_values| keys_by_values.get(values));
        for key in matching.into_iter().flatten() {
            let is_in_page = after.is_none_or(|after| key > after)
                && last.as_ref().is_none_or(|last| key <= last);
            if is_in_page && let Some(row) = pending.known(key) {
                rows.push((key.clone(), row));
            }
        }
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(FoundPage {
            rows: rows.into_iter().map(|(_, row)| row).collect(),
            last,
        })
    }

    pub(super) fn for_each_found<C: CommittedRows>(
        &mut self,
        committed: &mut C,
        table: usize,
        columns: &[String],
        values: Vec<Value>,
        mut change: impl FnMut(&mut Self, Key, Row) -> Result<(), Violation>,
    ) -> Result<(), WriteError<C::Error>> {
        let (index, values) = self.prepare_find(committed, table, columns, values)?;
        let mut after = None;
        loop {
            let page = self.find_page(
                committed,
                table,
                index,
                &values,
                after.as_ref(),
                FIND_PAGE_ROWS,
            )?;
            for row in page.rows {
                let key = self.declared(table)?.key_of(&row);
                change(self, key, row)?;
            }
            if page.last.is_none() {
                return Ok(());
            }
            after = page.last;
        }
    }
}

/// Whether a row with these values in its key or in an index may exist.
fn may_exist(values: &[Value]) -> bool {
    values.iter().map(Value::content_bytes).sum::<usize>() <= ENTRY_BYTES_MAX
}

/// One page of a find.
#[derive(Default)]
pub(super) struct FoundPage {
    pub(super) rows: Vec<Row>,
    /// Where the next page begins; `None` after the last one.
    pub(super) last: Option<Key>,
}
