//! Tables in memory that a guest reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gnomon_model::{
    CommittedRows, Description, FoundRows, Key, MemoryTables, Row, TableWrites, Value,
};

use crate::fixture::Tables;
use crate::storage_error::StorageError;

/// Tables in memory. Clones share them.
#[derive(Clone)]
pub(crate) struct SharedTables(Arc<Mutex<MemoryTables>>);

impl SharedTables {
    pub(crate) fn new(description: &Arc<Description>) -> Self {
        let tables = MemoryTables::new(Arc::clone(description));
        Self(Arc::new(Mutex::new(tables)))
    }

    pub(crate) fn commit(&self, writes: Vec<TableWrites>) {
        self.lock().commit(writes);
    }

    pub(super) fn rows(&self, description: &Description) -> Tables {
        let tables = self.lock();
        (0..)
            .zip(&description.tables)
            .map(|(number, table)| super::by_key(table, tables.rows(number).cloned()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, MemoryTables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommittedRows for SharedTables {
    type Error = StorageError;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        let Ok(rows) = self.lock().get_many(table, keys);
        Ok(rows)
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        let Ok(rows) = self.lock().find(table, index, values, after, limit);
        Ok(rows)
    }
}
