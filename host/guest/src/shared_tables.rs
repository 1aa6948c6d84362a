//! Tables in memory that a guest reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gnomon_model::{
    CommittedRows, Description, FoundRows, Key, MemoryTables, Row, StorageError, TableWrites, Value,
};

/// Tables in memory. Clones share them.
#[derive(Clone)]
pub struct SharedTables(Arc<Mutex<MemoryTables>>);

impl SharedTables {
    /// Empty tables of a projection.
    #[must_use]
    pub fn new(description: &Arc<Description>) -> Self {
        let tables = MemoryTables::new(Arc::clone(description));
        Self(Arc::new(Mutex::new(tables)))
    }

    /// Takes in what a batch has written.
    pub fn commit(&self, writes: Vec<TableWrites>) {
        self.lock().commit(writes);
    }

    /// The rows of table number `table`.
    #[must_use]
    pub fn rows(&self, table: usize) -> Vec<Row> {
        self.lock().rows(table).cloned().collect()
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
