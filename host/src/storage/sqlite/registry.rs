//! The registry, in tables named `gnomon_…`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_event_store::source::LateEvent;
use gnomon_model::Position;

use super::SqliteStorage;
use super::read_models::skips as kept_skips;
use crate::dead_letter::Skip;
use crate::generation::{Generation, GenerationId, Lease, Module, ModuleHash, RunReport};
use crate::registry::{
    Acquired, Action, DroppedGeneration, HostNotes, HostRegistry, Outcome, Overview, PresentHost,
    Registry, Request,
};
use crate::storage_error::StorageError;

mod actions;
mod builds;
mod changes;
mod clearing;
mod files;
mod generations;
mod history;
mod hosts;
mod lease;
mod modules;
mod overview;
mod skips;
mod snapshot;

#[async_trait]
impl Registry for SqliteStorage {
    async fn change(&self, request: Request) -> Result<Outcome, StorageError> {
        let actor = Arc::clone(&self.actor);
        self.with(move |database| changes::change(database, &actor, &request))
            .await
    }

    async fn clear(&self, dropped: &DroppedGeneration) -> Result<(), StorageError> {
        let generation = dropped.id;
        self.with(move |database| clearing::clear(database, generation))
            .await
    }

    async fn sweep(&self) -> Result<(), StorageError> {
        self.with(clearing::sweep).await
    }

    async fn add_module(&self, module: &Module) -> Result<(), StorageError> {
        let module = module.clone();
        self.with(move |database| modules::add(database, &module))
            .await
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, StorageError> {
        let hash = hash.clone();
        self.with(move |database| modules::one(database, &hash))
            .await
    }

    async fn generations(&self) -> Result<Vec<Generation>, StorageError> {
        self.with(generations::all).await
    }

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), StorageError> {
        self.with(move |database| builds::attend(database, generation, stop_at, duration))
            .await
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, StorageError> {
        self.with(hosts::last_notes).await
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, StorageError> {
        let projection = projection.to_owned();
        self.with(move |database| clearing::dropped_at(database, &projection))
            .await
    }

    async fn hosts(&self) -> Result<Vec<PresentHost>, StorageError> {
        self.with(hosts::all).await
    }

    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, StorageError> {
        self.with(files::all).await
    }

    async fn overview(&self) -> Result<Overview, StorageError> {
        self.with(overview::overview).await
    }

    async fn actions(
        &self,
        projection: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Action>, StorageError> {
        let projection = projection.map(str::to_owned);
        self.with(move |database| {
            database.read("read the actions in", |connection| {
                actions::newest(connection, projection.as_deref(), limit)
            })
        })
        .await
    }

    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, StorageError> {
        let projection = projection.to_owned();
        self.with(move |database| {
            database.read("read the skips in", |connection| {
                kept_skips::page(connection, &projection, after, limit)
            })
        })
        .await
    }
}

#[async_trait]
impl HostRegistry for SqliteStorage {
    fn acting_as(&self, actor: &str) -> Arc<dyn HostRegistry> {
        Arc::new(Self {
            actor: actor.into(),
            database: Arc::clone(&self.database),
        })
    }

    async fn claim(&self, host: &str) -> Result<(), StorageError> {
        let host = host.to_owned();
        self.with(move |database| lease::claim(database, &host))
            .await
    }

    async fn set_ready(&self, lease: Lease) -> Result<(), StorageError> {
        self.with(move |database| builds::set_ready(database, lease))
            .await
    }

    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), StorageError> {
        let host = host.to_owned();
        let notes = notes.clone();
        self.with(move |database| hosts::announce(database, &host, &notes, duration))
            .await
    }

    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), StorageError> {
        let file = file.to_owned();
        let module = module.clone();
        self.with(move |database| files::note(database, &file, &module))
            .await
    }

    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, StorageError> {
        let host = host.to_owned();
        self.with(move |database| lease::acquire(database, generation, &host, duration))
            .await
    }

    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, StorageError> {
        let leases = leases.to_vec();
        self.with(move |database| lease::renew(database, &leases))
            .await
    }

    async fn release(&self, lease: Lease) -> Result<(), StorageError> {
        self.with(move |database| lease::release(database, lease))
            .await
    }

    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), StorageError> {
        let report = report.clone();
        self.with(move |database| lease::report(database, lease, &report))
            .await
    }

    /// A file has one host, so there is nobody to ask.
    async fn request_leases(
        &self,
        _generations: &[GenerationId],
        _host: &str,
        _duration: Duration,
    ) -> Result<(), StorageError> {
        Ok(())
    }

    async fn note_late(&self, late: LateEvent) -> Result<(), StorageError> {
        self.with(move |database| history::note_late(database, late))
            .await
    }
}
