//! Read models in a PostgreSQL database.
//!
//! The registry is the schema `gnomon`, the tables of generation 7 of
//! `order_summary` are in the schema `gnomon_order_summary_7`, and readers use
//! views with the declared names in the schema `order_summary`.
//!
//! A leaf of an index holds 2,704 bytes: a key, or the values of an index with
//! the key, that are longer are refused here and not in SQLite.

use std::sync::Arc;
use std::time::Duration;

use gnomon_databases::connections::Connections;
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::server::{Connection, Server};
use gnomon_databases::silence::Silence;
use gnomon_event_store::source::LateEvent;
use gnomon_model::{Description, Floats, Position};

use self::error::failed;
use self::writer::PostgresWriter;
use super::{
    Acquired, Compared, HostNotes, NewGeneration, Overview, PresentHost, Promotion, Target,
    TargetError, Writer,
};
use crate::dead_letter::{DeadLetter, Decided, PageLimits, Skip};
use crate::generation::{Generation, GenerationId, Goal, Lease, Module, ModuleHash, RunReport};
use async_trait::async_trait;

mod any_text;
mod binary;
mod commit;
mod comparison;
mod connection;
mod control;
mod copy;
mod dead_letters;
mod dependents;
mod error;
mod failure;
mod files;
mod generations;
mod goals;
mod history;
mod hosts;
mod indexes;
mod lease;
mod migrations;
mod modules;
mod numeric;
mod page;
mod parameters;
mod promotion;
mod public_names;
mod removal;
mod schema;
mod schemas;
mod silence;
mod skips;
mod statements;
mod tables;
mod views;
mod writer;

/// Connections to a read-model database, unless the configuration says another
/// number.
pub(crate) const CONNECTIONS_MAX: usize = 20;

/// A PostgreSQL database that holds read models.
pub struct PostgresTarget {
    /// The URL without its password, for messages.
    place: Arc<str>,
    registry: Connections,
    writers: Connections,
    server: Server,
    silence: Arc<Silence>,
}

impl PostgresTarget {
    /// Connects, and makes the registry if it is missing.
    ///
    /// # Errors
    /// [`super::TargetErrorKind::Refused`] for a wrong password, a database or
    /// a right that is missing, or a registry of a newer Gnomon;
    /// [`super::TargetErrorKind::Retry`] if the server cannot be reached.
    pub async fn open(url: &PostgresUrl) -> Result<Self, TargetError> {
        let (place, server, mut first) = Self::connect(url).await?;
        schema::prepare(&mut first, &place).await?;
        Self::on(url, place, server, first).await
    }

    /// Connects if there is a registry, and makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`], and if the registry is older than this Gnomon.
    pub async fn open_existing(url: &PostgresUrl) -> Result<Option<Self>, TargetError> {
        let (place, server, mut first) = Self::connect(url).await?;
        if !schema::is_prepared(&mut first, &place).await? {
            return Ok(None);
        }
        Self::on(url, place, server, first).await.map(Some)
    }

    async fn connect(url: &PostgresUrl) -> Result<(Arc<str>, Server, Connection), TargetError> {
        let place: Arc<str> = url.to_string().into();
        let server = connection::server(url, &place)?;
        // One connection outside the pools, which try again for a while.
        let first = server
            .connect()
            .await
            .map_err(failed(&place, "connect to"))?;
        Ok((place, server, first))
    }

    async fn on(
        url: &PostgresUrl,
        place: Arc<str>,
        server: Server,
        first: Connection,
    ) -> Result<Self, TargetError> {
        let connections_max = url.connections_max.unwrap_or(CONNECTIONS_MAX);
        let silence = Arc::default();
        let registry = connection::registry_pool(&server, connections_max, &silence);
        let _ = first.close().await;
        Ok(Self {
            place,
            registry,
            writers: connection::writer_pool(&server, connections_max, &silence),
            server,
            silence,
        })
    }
}

#[async_trait]
impl Target for PostgresTarget {
    fn floats(&self) -> Floats {
        Floats::All
    }

    async fn add_module(&self, module: &Module) -> Result<(), TargetError> {
        modules::add(&self.registry, module)
            .await
            .map_err(|failure| failure.into_error(&self.place, "store a module in"))
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, TargetError> {
        modules::get(&self.registry, hash)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read a module from"))
    }

    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, TargetError> {
        generations::create(&self.registry, new)
            .await
            .map_err(|failure| failure.into_error(&self.place, "make a generation in"))
    }

    async fn generations(&self) -> Result<Vec<Generation>, TargetError> {
        generations::all(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the registry of"))
    }

    async fn set_module(
        &self,
        generations: &[GenerationId],
        module: &ModuleHash,
    ) -> Result<(), TargetError> {
        modules::set(&self.registry, generations, module)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set a module in"))
    }

    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), TargetError> {
        goals::set_goal(&self.registry, generation, goal)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set a goal in"))
    }

    async fn set_ready(&self, lease: Lease) -> Result<(), TargetError> {
        goals::set_ready(&self.registry, lease)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a state in"))
    }

    async fn promote(&self, generation: GenerationId) -> Result<Promotion, TargetError> {
        promotion::promote(&self.registry, &self.place, generation).await
    }

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), TargetError> {
        goals::attend(&self.registry, generation, stop_at, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "set an end in"))
    }

    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, TargetError> {
        // It takes as long as the tables are large, and the pools are for what
        // is short.
        let mut own = (self.server.connect())
            .await
            .map_err(failed(&self.place, "connect to"))?;
        let compared = comparison::compare(&mut own, left, right, samples)
            .await
            .map_err(|failure| failure.into_error(&self.place, "compare generations in"))?;
        let _ = own.close().await;
        Ok(compared)
    }

    async fn drop_generation(&self, generation: GenerationId) -> Result<(), TargetError> {
        removal::drop_generation(&self.registry, generation)
            .await
            .map_err(|failure| failure.into_error(&self.place, "drop a generation in"))
    }

    async fn tidy(&self, keep: usize) -> Result<Vec<GenerationId>, TargetError> {
        removal::tidy(&self.registry, keep)
            .await
            .map_err(|failure| failure.into_error(&self.place, "tidy"))
    }

    async fn remove(&self, projection: &str) -> Result<(), TargetError> {
        control::remove(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "remove a projection in"))
    }

    async fn drop_projection(&self, projection: &str, cascade: bool) -> Result<(), TargetError> {
        removal::drop_projection(&self.registry, projection, cascade)
            .await
            .map_err(|failure| failure.into_error(&self.place, "drop a projection in"))
    }

    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), TargetError> {
        hosts::announce(&self.registry, host, notes, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "announce a host in"))
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, TargetError> {
        hosts::last_notes(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the hosts in"))
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, TargetError> {
        removal::dropped_at(&self.registry, projection)
            .await
            .map_err(failed(&self.place, "look for a dropped projection in"))
    }

    async fn hosts(&self) -> Result<Vec<PresentHost>, TargetError> {
        hosts::present(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the hosts in"))
    }

    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), TargetError> {
        files::note(&self.registry, file, module)
            .await
            .map_err(failed(&self.place, "note a file in"))
    }

    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, TargetError> {
        files::noted(&self.registry)
            .await
            .map_err(failed(&self.place, "read the noted files in"))
    }

    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, TargetError> {
        lease::acquire(&self.registry, generation, host, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "take a lease in"))
    }

    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, TargetError> {
        lease::renew(&self.registry, leases)
            .await
            .map_err(|failure| failure.into_error(&self.place, "renew leases in"))
    }

    async fn release(&self, lease: Lease) -> Result<(), TargetError> {
        lease::release(&self.registry, lease)
            .await
            .map_err(|failure| failure.into_error(&self.place, "release a lease in"))
    }

    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), TargetError> {
        lease::report(&self.registry, lease, report)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a run state in"))
    }

    async fn request_leases(
        &self,
        generations: &[GenerationId],
        host: &str,
        duration: Duration,
    ) -> Result<(), TargetError> {
        lease::request(&self.registry, generations, host, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "ask for leases in"))
    }

    async fn overview(&self) -> Result<Overview, TargetError> {
        control::overview(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the controls in"))
    }

    async fn pause(&self, projection: &str) -> Result<(), TargetError> {
        control::pause(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "pause a projection in"))
    }

    async fn resume(&self, projection: &str) -> Result<(), TargetError> {
        control::resume(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "resume a projection in"))
    }

    async fn accept_history(&self, projection: &str) -> Result<(), TargetError> {
        history::accept(&self.registry, projection)
            .await
            .map_err(|failure| failure.into_error(&self.place, "accept the events in"))
    }

    async fn note_late(&self, late: LateEvent) -> Result<(), TargetError> {
        history::note_late(&self.registry, late)
            .await
            .map_err(|failure| failure.into_error(&self.place, "note a late event in"))
    }

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        dead_letters::page(&self.registry, generation, None, after, limits)
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn request_retry(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
    ) -> Result<(), TargetError> {
        dead_letters::request_retry(&self.registry, generation, stream)
            .await
            .map_err(failed(&self.place, "store a request in"))
    }

    async fn skip(&self, projection: &str, skip: &Skip) -> Result<bool, TargetError> {
        skips::add(&self.registry, projection, skip)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record a skip in"))
    }

    async fn skip_dead_letters(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
        decided: Decided<'_>,
    ) -> Result<u64, TargetError> {
        skips::add_dead_letters(&self.registry, generation, stream, decided)
            .await
            .map_err(|failure| failure.into_error(&self.place, "record skips in"))
    }

    async fn unskip(&self, projection: &str, position: Position) -> Result<bool, TargetError> {
        skips::remove(&self.registry, projection, position)
            .await
            .map_err(|failure| failure.into_error(&self.place, "take a skip back in"))
    }

    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, TargetError> {
        skips::page(&self.registry, projection, after, limit)
            .await
            .map_err(failed(&self.place, "read the skips in"))
    }

    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, TargetError> {
        Ok(Box::new(PostgresWriter::new(
            self.writers.clone(),
            self.registry.clone(),
            Arc::clone(&self.silence),
            Arc::clone(&self.place),
            lease,
            description,
        )))
    }
}
