//! A read model in a SQLite file of its own, written as a host writes it.

use std::sync::Arc;

use gnomon_event_store::source::Checkpoint;
use gnomon_guest::Guest;
use gnomon_model::{Description, Position, TableWrites};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::TrialError;
use crate::dead_letter::DeadLetterChanges;
use crate::fixture::Tables;
use crate::generation::Rate;
use crate::row_cache::{GenerationRows, Step};
use crate::storage::UnregisteredTables;
use crate::storage_error::StorageError;

/// Committed rows that are kept in memory, in bytes; few, so that the database
/// is read as well.
const ROW_CACHE: usize = 64 * 1024;

/// The tables of one generation.
pub(super) struct StoredTables {
    stored: UnregisteredTables,
    description: Arc<Description>,
    pub(super) rows: GenerationRows,
    /// Holds the file, and goes with it.
    _folder: TempDir,
}

impl StoredTables {
    pub(super) fn open(guest: &Guest, runtime: &Handle) -> Result<Self, TrialError> {
        let folder = tempfile::tempdir().map_err(TrialError::Folder)?;
        let description = Arc::clone(guest.description());
        let start = Checkpoint::behind(Position::START);
        let file = folder.path().join("read-models.db");
        let stored = UnregisteredTables::create(&file, &description, &start)?;
        let (_, never) = watch::channel(false);
        let rows = GenerationRows::open(
            stored.writer()?,
            Arc::clone(&description),
            runtime.clone(),
            never,
            ROW_CACHE,
            &start,
        )?;
        Ok(Self {
            stored,
            description,
            rows,
            _folder: folder,
        })
    }

    pub(super) fn commit(
        &self,
        writes: &[TableWrites],
        position: Position,
    ) -> Result<(), StorageError> {
        self.rows.commit(Step {
            writes,
            dead_letters: DeadLetterChanges::default(),
            next: &Checkpoint::behind(position),
            position,
            event: None,
            rate: Rate::default(),
        })
    }

    /// What the file holds.
    pub(super) fn contents(&self) -> Result<Tables, StorageError> {
        let rows = self.stored.rows()?;
        let tables = self.description.tables.iter().zip(rows);
        Ok(tables
            .map(|(table, rows)| super::by_key(table, rows))
            .collect())
    }
}
