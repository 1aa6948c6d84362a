//! The registry, in the schema `gnomon`.

use std::time::Duration;

use async_trait::async_trait;
use gnomon_event_store::source::LateEvent;
use gnomon_model::Position;

use super::PostgresStorage;
use super::error::failed;
use super::read_models::dead_letters;
use super::read_models::skips as kept_skips;
use crate::dead_letter::{Decided, Skip};
use crate::generation::{Generation, GenerationId, Goal, Lease, Module, ModuleHash, RunReport};
use crate::registry::{
    Acquired, HostNotes, HostRegistry, NewGeneration, Overview, PresentHost, Promotion, Registry,
};
use crate::storage_error::StorageError;

mod control;
mod files;
mod generations;
mod goals;
mod history;
mod hosts;
mod lease;
mod modules;
mod promotion;
mod removal;
mod skips;

#[async_trait]
impl Registry for PostgresStorage {
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

    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, StorageError> {
        generations::create(&self.registry, new)
            .await
            .map_err(|failure| failure.into_error(&self.place, "make a generation in"))
    }

    async fn generations(&self) -> Result<Vec<Generation>, StorageError> {
        generations::all(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the registry of"))
    }

    async fn set_module(
        &self,
        generations: &[GenerationId],
        module: &ModuleHash,
    ) -> Result<(), StorageError> {
        modules::set(&self.registry, generations, module)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set a module in"))
    }

    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), StorageError> {
        goals::set_goal(&self.registry, generation, goal)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set a goal in"))
    }

    async fn promote(&self, generation: GenerationId) -> Result<Promotion, StorageError> {
        promotion::promote(&self.registry, &self.place, generation).await
    }

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), StorageError> {
        goals::attend(&self.registry, generation, stop_at, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set an end in"))
    }

    async fn drop_generation(&self, generation: GenerationId) -> Result<(), StorageError> {
        removal::drop_generation(&self.registry, generation)
            .await
            .map_err(|failure| failure.into_error(&self.place, "drop a generation in"))
    }

    async fn remove(&self, projection: &str) -> Result<(), StorageError> {
        control::remove(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "remove a projection in"))
    }

    async fn drop_projection(&self, projection: &str, cascade: bool) -> Result<(), StorageError> {
        removal::drop_projection(&self.registry, projection, cascade)
            .await
            .map_err(|failure| failure.into_error(&self.place, "drop a projection in"))
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, StorageError> {
        hosts::last_notes(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the hosts in"))
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, StorageError> {
        removal::dropped_at(&self.registry, projection)
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
        control::overview(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the controls in"))
    }

    async fn pause(&self, projection: &str) -> Result<(), StorageError> {
        control::pause(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "pause a projection in"))
    }

    async fn resume(&self, projection: &str) -> Result<(), StorageError> {
        control::resume(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "resume a projection in"))
    }

    async fn accept_history(&self, projection: &str) -> Result<(), StorageError> {
        history::accept(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "accept the events in"))
    }

    async fn request_retry(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
    ) -> Result<(), StorageError> {
        dead_letters::request_retry(&self.registry, generation, stream)
            .await
            .map_err(failed(&self.place, "store a request in"))
    }

    async fn skip(&self, projection: &str, skip: &Skip) -> Result<bool, StorageError> {
        skips::add(&self.registry, projection, skip)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a skip in"))
    }

    async fn skip_dead_letters(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
        decided: Decided<'_>,
    ) -> Result<u64, StorageError> {
        skips::add_dead_letters(&self.registry, generation, stream, decided)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record skips in"))
    }

    async fn unskip(&self, projection: &str, position: Position) -> Result<bool, StorageError> {
        skips::remove(&self.registry, projection, position)
            .await
            .map_err(|failure| failure.into_error(&self.place, "take a skip back in"))
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
    async fn set_ready(&self, lease: Lease) -> Result<(), StorageError> {
        goals::set_ready(&self.registry, lease)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a state in"))
    }

    async fn tidy(&self, keep: usize) -> Result<Vec<GenerationId>, StorageError> {
        removal::tidy(&self.registry, keep)
            .await
            .map_err(|failure| failure.into_error(&self.place, "tidy"))
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
