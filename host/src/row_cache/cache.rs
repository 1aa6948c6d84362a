//! Copies of committed rows, of bounded size, the least used ones dropped.

use std::sync::Arc;

use gnomon_model::{Description, Key, Row, TableWrites, Value};
use hashlink::LruCache;

/// The copies of each table; `None` is a key that has no row.
pub(super) struct Cache {
    description: Arc<Description>,
    tables: Vec<LruCache<Key, Option<Row>>>,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    pub(super) fn new(description: Arc<Description>, bytes_max: usize) -> Self {
        let tables = description.tables.iter();
        Self {
            tables: tables.map(|_| LruCache::new_unbounded()).collect(),
            description,
            bytes: 0,
            bytes_max,
        }
    }

    /// How much it holds at most, in bytes.
    pub(super) const fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// The rows under these keys, where it is known whether there is one.
    pub(super) fn get_many(&mut self, table: usize, keys: &[Key]) -> Vec<Option<Option<Row>>> {
        match self.tables.get_mut(table) {
            Some(cache) => keys.iter().map(|key| cache.get(key).cloned()).collect(),
            None => vec![None; keys.len()],
        }
    }

    pub(super) fn remember(&mut self, table: usize, key: Key, row: Option<Row>) {
        let Some(cache) = self.tables.get_mut(table) else {
            return;
        };
        self.bytes += entry_bytes(&key, row.as_ref());
        let key_bytes = key.size();
        if let Some(old) = cache.insert(key, row) {
            self.bytes = self
                .bytes
                .saturating_sub(key_bytes + row_bytes(old.as_ref()));
        }
        while self.bytes > self.bytes_max {
            let Some((key, row)) = cache.remove_lru() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(entry_bytes(&key, row.as_ref()));
        }
    }

    pub(super) fn remember_writes(&mut self, writes: &TableWrites) {
        let description = Arc::clone(&self.description);
        for (key, row) in entries(&description, writes) {
            self.remember(writes.table, key, row.cloned());
        }
    }

    /// As [`Self::remember_writes`], of writes that nobody needs any more.
    pub(super) fn remember_own(&mut self, writes: TableWrites) {
        let description = Arc::clone(&self.description);
        let Some(declared) = description.tables.get(writes.table) else {
            return;
        };
        for row in writes.upserts {
            self.remember(writes.table, declared.key_of(&row), Some(row));
        }
        for key in writes.deletes {
            self.remember(writes.table, key, None);
        }
    }

    /// As much as there is room for, in an empty cache. The rows are copied: a
    /// few that stay where all others are freed would keep most of the memory.
    pub(super) fn remember_some(&mut self, writes: &[TableWrites]) {
        let description = Arc::clone(&self.description);
        for writes in writes {
            for (key, row) in entries(&description, writes) {
                if self.bytes + entry_bytes(&key, row) > self.bytes_max {
                    return;
                }
                self.remember(writes.table, key, row.cloned());
            }
        }
    }

    pub(super) fn forget(&mut self) {
        for cache in &mut self.tables {
            cache.clear();
        }
        self.bytes = 0;
    }
}

/// What is under each key that is written.
fn entries<'a>(
    description: &'a Description,
    writes: &'a TableWrites,
) -> impl Iterator<Item = (Key, Option<&'a Row>)> {
    let declared = description.tables.get(writes.table);
    let rows = declared.into_iter().flat_map(|declared| {
        writes
            .upserts
            .iter()
            .map(|row| (declared.key_of(row), Some(row)))
    });
    rows.chain(writes.deletes.iter().map(|key| (key.clone(), None)))
}

fn entry_bytes(key: &Key, row: Option<&Row>) -> usize {
    key.size() + row_bytes(row)
}

fn row_bytes(row: Option<&Row>) -> usize {
    /// What a list node and a hash table slot cost.
    const ENTRY_BYTES: usize = 64;
    ENTRY_BYTES + row.map_or(0, |row| row.iter().map(Value::size).sum())
}
