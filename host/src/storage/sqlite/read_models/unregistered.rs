//! The tables of one generation that no registry knows: to try a projection.

use std::path::Path;
use std::sync::Arc;

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Description, Position, Row};
use rusqlite::params;

use super::tables::{self, physical_name};
use super::writer::{SqliteWriter, read_row};
use crate::generation::{GenerationId, Lease};
use crate::read_models::Writer;
use crate::read_models::identifier::column_names;
use crate::storage::sqlite::database::{Database, connect};
use crate::storage::sqlite::error::failed;
use crate::storage_error::StorageError;

/// The one generation of the file, under an epoch that nobody else takes.
const LEASE: Lease = Lease {
    generation: GenerationId::from_sql(1),
    epoch: 1,
};

/// Empty tables in a SQLite file of their own, and what is written to them.
pub struct UnregisteredTables {
    database: Database,
    description: Arc<Description>,
}

impl UnregisteredTables {
    /// Creates the file and the tables.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(
        file: &Path,
        description: &Arc<Description>,
        start: &Checkpoint,
    ) -> Result<Self, StorageError> {
        let database = Database::open(file)?;
        let mut connection = connect(&database.file)?;
        let mut attempt = || {
            // No generation is registered that the checkpoint could refer to.
            connection.pragma_update(None, "foreign_keys", false)?;
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT INTO gnomon_checkpoints (generation, checkpoint, position, epoch)
                 VALUES (?1, ?2, ?3, ?4)",
                params![
                    LEASE.generation.to_sql(),
                    start.as_str(),
                    Position::START.to_sql(),
                    LEASE.epoch
                ],
            )?;
            tables::create(&transaction, LEASE.generation, description)?;
            transaction.commit()
        };
        attempt().map_err(failed(&database.file, "create tables in"))?;
        Ok(Self {
            database,
            description: Arc::clone(description),
        })
    }

    /// The writer of the tables.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn writer(&self) -> Result<Box<dyn Writer>, StorageError> {
        let description = Arc::clone(&self.description);
        Ok(Box::new(SqliteWriter::open(
            &self.database,
            LEASE,
            description,
        )?))
    }

    /// The rows of each table, in no order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn rows(&self) -> Result<Vec<Vec<Row>>, StorageError> {
        let connection = connect(&self.database.file)?;
        let tables = self.description.tables.iter().map(|table| {
            let columns: Vec<usize> = (0..table.columns.len()).collect();
            let columns = column_names(table, &columns).join(", ");
            let name = physical_name(LEASE.generation, table);
            connection
                .prepare(&format!("SELECT {columns} FROM {name}"))?
                .query_map([], |row| read_row(&table.columns, row))?
                .collect()
        });
        tables
            .collect::<rusqlite::Result<_>>()
            .map_err(failed(&self.database.file, "read rows from"))
    }
}
