//! The registry, in the schema `gnomon`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_event_store::source::LateEvent;
use gnomon_model::Position;

use super::PostgresStorage;
use super::error::failed;
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
impl Registry for PostgresStorage {
    async fn change(&self, request: Request) -> Result<Outcome, StorageError> {
        changes::change(&self.registry, &self.place, &self.actor, &request).await
    }

    async fn clear(&self, dropped: &DroppedGeneration) -> Result<(), StorageError> {
        clearing::clear(&self.registry, dropped)
            .await
            .map_err(|failure| failure.into_error(&self.place, "drop a generation in"))
    }

    async fn sweep(&self) -> Result<(), StorageError> {
        clearing::sweep(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "tidy"))
    }

    async fn add_module(&self, module: &Module) -> Result<(), StorageError> {
        modules::add(&self.registry, module)
            .await
            .map_err(|failure| failure.into_error(&self.place, "store a module in"))
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, StorageError> {
        modules::get(&self.registry, hash)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read a module from"))
    }

    async fn generations(&self) -> Result<Vec<Generation>, StorageError> {
        generations::all(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the registry of"))
    }

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), StorageError> {
        builds::attend(&self.registry, generation, stop_at, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set an end in"))
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, StorageError> {
        hosts::last_notes(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the hosts in"))
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, StorageError> {
        clearing::dropped_at(&self.registry, projection)
            .await
            .map_err(failed(&self.place, "look for a dropped projection in"))
    }

    async fn hosts(&self) -> Result<Vec<PresentHost>, StorageError> {
        hosts::present(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the hosts in"))
    }

    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, StorageError> {
        files::noted(&self.registry)
            .await
            .map_err(failed(&self.place, "read the noted files in"))
    }

    async fn overview(&self) -> Result<Overview, StorageError> {
        overview::overview(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the controls in"))
    }

    async fn actions(
        &self,
        projection: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Action>, StorageError> {
        actions::newest(&self.registry, projection, limit)
            .await
            .map_err(failed(&self.place, "read the actions in"))
    }

    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, StorageError> {
        kept_skips::page(&self.registry, projection, after, limit)
            .await
            .map_err(failed(&self.place, "read the skips in"))
    }
}

#[async_trait]
impl HostRegistry for PostgresStorage {
    fn acting_as(&self, actor: &str) -> Arc<dyn HostRegistry> {
        Arc::new(Self {
            actor: actor.into(),
            ..self.clone()
        })
    }

    async fn set_ready(&self, lease: Lease) -> Result<(), StorageError> {
        builds::set_ready(&self.registry, lease)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a state in"))
    }

    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), StorageError> {
        hosts::announce(&self.registry, host, notes, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "announce a host in"))
    }

    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), StorageError> {
        files::note(&self.registry, file, module)
            .await
            .map_err(failed(&self.place, "note a file in"))
    }

    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, StorageError> {
        lease::acquire(&self.registry, generation, host, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "take a lease in"))
    }

    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, StorageError> {
        lease::renew(&self.registry, leases)
            .await
            .map_err(|failure| failure.into_error(&self.place, "renew leases in"))
    }

    async fn release(&self, lease: Lease) -> Result<(), StorageError> {
        lease::release(&self.registry, lease)
            .await
            .map_err(|failure| failure.into_error(&self.place, "release a lease in"))
    }

    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), StorageError> {
        lease::report(&self.registry, lease, report)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a run state in"))
    }

    async fn request_leases(
        &self,
        generations: &[GenerationId],
        host: &str,
        duration: Duration,
    ) -> Result<(), StorageError> {
        lease::request(&self.registry, generations, host, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "ask for leases in"))
    }

    async fn note_late(&self, late: LateEvent) -> Result<(), StorageError> {
        history::note_late(&self.registry, late)
            .await
            .map_err(|failure| failure.into_error(&self.place, "note a late event in"))
    }
}
