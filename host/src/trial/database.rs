//! A read model in a SQLite file of its own, written as a host writes it.

use std::sync::Arc;
use std::time::Duration;

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Description, Position, TableWrites};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::TrialError;
use crate::dead_letter::DeadLetterChanges;
use crate::fixture::Tables;
use crate::generation::{Goal, Lease, Module, Rate};
use crate::guest::Guest;
use crate::row_cache::{GenerationRows, Step};
use crate::target::{
    Acquired, NewGeneration, SqliteTarget, Target as _, TargetError, TargetErrorKind,
};

/// Nobody else wants the lease.
const LEASE_TIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Committed rows that are kept in memory, in bytes; few, so that the database
/// is read as well.
const ROW_CACHE: usize = 64 * 1024;

/// The tables of one generation.
pub(super) struct StoredTables {
    target: SqliteTarget,
    lease: Lease,
    description: Arc<Description>,
    pub(super) rows: GenerationRows,
    runtime: Handle,
    /// Holds the file, and goes with it.
    _folder: TempDir,
}

impl StoredTables {
    pub(super) fn open(guest: &Guest, runtime: &Handle) -> Result<Self, TrialError> {
        let folder = tempfile::tempdir().map_err(TrialError::Folder)?;
        let description = Arc::clone(guest.description());
        let start = Checkpoint::behind(Position::START);
        let (target, lease, writer) = runtime.block_on(async {
            let target = SqliteTarget::open(&folder.path().join("read-models.db")).await?;
            let module = Module {
                hash: guest.hash().clone(),
                // It runs from memory here.
                bytes: Vec::new(),
                description: description.as_ref().clone(),
            };
            target.add_module(&module).await?;
            let new = NewGeneration {
                projection: &description.name,
                module: guest.hash(),
                description: &description,
                goal: Goal::Hold,
                until: None,
                newest: None,
                start: &start,
            };
            let generation = target.create_generation(new).await?;
            target.claim("trial").await?;
            let acquired = target.acquire(generation.id, "gnomon test", LEASE_TIME);
            let Acquired::Lease(lease) = acquired.await? else {
                let message = "somebody else holds the lease";
                return Err(TargetError::new(TargetErrorKind::Refused, message));
            };
            let writer = target.writer(lease, Arc::clone(&description)).await?;
            Ok((target, lease, writer))
        })?;
        let (_, never) = watch::channel(false);
        let rows = GenerationRows::open(
            writer,
            Arc::clone(&description),
            runtime.clone(),
            never,
            ROW_CACHE,
            &start,
        )?;
        Ok(Self {
            target,
            lease,
            description,
            rows,
            runtime: runtime.clone(),
            _folder: folder,
        })
    }

    pub(super) fn commit(
        &self,
        writes: &[TableWrites],
        position: Position,
    ) -> Result<(), TargetError> {
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
    pub(super) fn contents(&self) -> Result<Tables, TargetError> {
        let rows = self.target.rows(self.lease.generation, &self.description);
        let rows = self.runtime.block_on(rows)?;
        let tables = self.description.tables.iter().zip(rows);
        Ok(tables
            .map(|(table, rows)| super::by_key(table, rows))
            .collect())
    }
}
