//! Secondary indexes. A build makes them when it has caught up, or when its
//! projection asks for rows by one.

use gnomon_model::Description;
use rusqlite::{Connection, TransactionBehavior};

use super::checkpoint::is_ours;
use super::tables::physical_name;
use crate::generation::Lease;
use crate::read_models::{identifier::column_names, identifier::quoted};

/// Which indexes of a generation are known to be there.
pub(super) struct KnownIndexes(Vec<Vec<bool>>);

impl KnownIndexes {
    /// None yet.
    pub(super) fn none(description: &Description) -> Self {
        let indexes = description.tables.iter().map(|table| &table.indexes);
        Self(indexes.map(|indexes| vec![false; indexes.len()]).collect())
    }

    pub(crate) fn has(&self, table: usize, index: usize) -> bool {
        let known = self.0.get(table).and_then(|table| table.get(index));
        known.copied().unwrap_or(false)
    }

    pub(crate) fn add(&mut self, table: usize, index: usize) {
        let known = self.0.get_mut(table).and_then(|table| table.get_mut(index));
        if let Some(known) = known {
            *known = true;
        }
    }
}

/// Makes an index if it is missing, in a transaction of its own; says whether
/// the lease is ours. SQLite leaves nothing of an index that was interrupted.
pub(crate) fn make(
    connection: &mut Connection,
    lease: Lease,
    description: &Description,
    table: usize,
    index: usize,
) -> rusqlite::Result<bool> {
    let Some(table) = description.tables.get(table) else {
        return Ok(true);
    };
    let Some(columns) = table.indexes.get(index).map(|index| &index.columns) else {
        return Ok(true);
    };
    let name = format!("gnomon_index_{}_{}_{index}", lease.generation, table.name);
    if exists(connection, &name)? {
        return Ok(true);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !is_ours(&transaction, lease)? {
        return Ok(false);
    }
    transaction.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS {} ON {} ({})",
        quoted(&name),
        physical_name(lease.generation, table),
        column_names(table, columns).join(", "),
    ))?;
    transaction.commit()?;
    Ok(true)
}

fn exists(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1")?
        .exists([name])
}
