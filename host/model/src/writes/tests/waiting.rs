//! Rows that wait in memory, before committed ones. A page of them is small: how
//! large one is, whoever has the rows decides.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::change::Resized;
use crate::description::Description;
use crate::memory::MemoryTables;
use crate::schema::Row;
use crate::value::{Key, Value};
use crate::writes::{CommittedRows, FoldedRows, FoundRows, TableWrites};

/// The most rows of a page.
const PAGE_ROWS: usize = 2;

/// A table of such rows.
#[derive(Clone, PartialEq)]
pub(super) struct Waiting {
    pub(super) committed: MemoryTables,
    folded: BTreeMap<Key, Option<Row>>,
}

impl Waiting {
    pub(super) fn new(description: &Arc<Description>) -> Self {
        Self {
            committed: MemoryTables::new(Arc::clone(description)),
            folded: BTreeMap::new(),
        }
    }

    pub(super) fn flush(&mut self) {
        let mut written = TableWrites::default();
        for (key, row) in std::mem::take(&mut self.folded) {
            match row {
                Some(row) => written.upserts.push(row),
                None => written.deletes.push(key),
            }
        }
        self.committed.commit(vec![written]);
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        let mut all = self.clone();
        all.flush();
        all.committed.rows(0).cloned().collect()
    }
}

impl CommittedRows for Waiting {
    type Error = Infallible;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, Infallible> {
        let keys = keys.get(..PAGE_ROWS).unwrap_or(keys);
        let committed = self.committed.get_many(table, keys)?;
        let folded = keys.iter().map(|key| self.folded.get(key).cloned());
        Ok(folded
            .zip(committed)
            .map(|(folded, committed)| folded.unwrap_or(committed))
            .collect())
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, Infallible> {
        self.flush();
        let limit = limit.min(PAGE_ROWS);
        self.committed.find(table, index, values, after, limit)
    }
}

impl FoldedRows for Waiting {
    fn folded(&self, _: usize, key: &Key) -> Option<&Row> {
        self.folded.get(key)?.as_ref()
    }

    fn change(&mut self, _: usize, key: &Key, change: impl FnOnce(&mut Row) -> Resized) {
        let row = self.folded.get_mut(key).unwrap().as_mut().unwrap();
        let size = |row: &Row| row.iter().map(Value::size).sum::<usize>();
        let old = size(row);
        let Resized { before, after } = change(row);
        assert_eq!(size(row) + before, old + after);
    }

    fn set(&mut self, _: usize, key: Key, row: Option<Row>) {
        self.folded.insert(key, row);
    }
}
