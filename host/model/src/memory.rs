//! Tables in memory, for test benches.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::description::Description;
use crate::schema::Row;
use crate::value::{Key, Value};
use crate::writes::{CommittedRows, FoundRows, PAGE_BYTES, TableWrites, row_size};

/// The tables of one projection, as a database would hold them.
#[derive(Clone, Debug)]
pub struct MemoryTables {
    description: Arc<Description>,
    tables: Vec<BTreeMap<Key, Row>>,
}

impl MemoryTables {
    /// The empty tables of a projection.
    #[must_use]
    pub fn new(description: Arc<Description>) -> Self {
        let tables = description.tables.iter().map(|_| BTreeMap::new()).collect();
        Self {
            description,
            tables,
        }
    }

    /// Does what a batch asks for.
    pub fn commit(&mut self, writes: Vec<TableWrites>) {
        for written in writes {
            let (Some(declared), Some(rows)) = (
                self.description.tables.get(written.table),
                self.tables.get_mut(written.table),
            ) else {
                continue;
            };
            for key in written.deletes {
                rows.remove(&key);
            }
            for row in written.upserts {
                rows.insert(declared.key_of(&row), row);
            }
        }
    }

    /// The rows of table number `table`, in primary-key order.
    pub fn rows(&self, table: usize) -> impl Iterator<Item = &Row> {
        self.tables
            .get(table)
            .into_iter()
            .flat_map(BTreeMap::values)
    }
}

impl PartialEq for MemoryTables {
    /// The same rows.
    fn eq(&self, other: &Self) -> bool {
        self.tables == other.tables
    }
}

impl CommittedRows for MemoryTables {
    type Error = Infallible;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, Infallible> {
        let rows = self.tables.get(table);
        let mut found = Vec::new();
        let mut bytes = 0;
        for key in keys {
            let row = rows.and_then(|rows| rows.get(key)).cloned();
            bytes += row.as_deref().map_or(0, row_size);
            found.push(row);
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(found)
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, Infallible> {
        let Some(declared) = self.description.tables.get(table) else {
            return Ok(FoundRows::default());
        };
        let Some(index) = declared.indexes.get(index) else {
            return Ok(FoundRows::default());
        };
        let mut found = FoundRows::default();
        let mut bytes = 0;
        let matching = self
            .tables
            .get(table)
            .into_iter()
            .flatten()
            .filter(|(key, _)| after.is_none_or(|after| *key > after))
            .map(|(_, row)| row)
            .filter(|row| declared.pick(&index.columns, row) == values);
        for row in matching {
            if found.rows.len() >= limit || bytes >= PAGE_BYTES {
                found.more = true;
                break;
            }
            bytes += row_size(row);
            found.rows.push(row.clone());
        }
        Ok(found)
    }
}
