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

use async_trait::async_trait;
use gnomon_model::{Description, Floats, Position};
use sqlx::{Connection, PgPool};

use self::error::failed;
use self::writer::PostgresWriter;
use super::{Acquired, Control, Target, TargetError, Writer};
use crate::database_url::PostgresUrl;
use crate::dead_letter::{DeadLetter, DeadLetterAction};
use crate::generation::{Generation, GenerationId, Lease, Module, ModuleHash, RunReport};
use crate::silence::Silence;
use crate::source::Checkpoint;

mod binary;
mod connection;
mod control;
mod dead_letters;
mod error;
mod failure;
mod generations;
mod lease;
mod numeric;
mod schema;
mod silence;
mod statements;
mod tables;
mod writer;

/// A PostgreSQL database that holds read models.
pub struct PostgresTarget {
    /// The URL without its password, for messages.
    place: Arc<str>,
    registry: PgPool,
    writers: PgPool,
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
        let place: Arc<str> = url.to_string().into();
        let options = connection::options(url, &place)?;
        let mut first = connection::connect(&options)
            .await
            .map_err(failed(&place, "connect to"))?;
        schema::prepare(&mut first, &place).await?;
        // The server notices a connection that ends without a word, too.
        let _ = first.close().await;
        let silence = Arc::default();
        Ok(Self {
            place,
            registry: connection::registry_pool(options.clone(), &silence),
            writers: connection::writer_pool(options, &silence),
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
        generations::add_module(&self.registry, module)
            .await
            .map_err(|failure| failure.into_error(&self.place, "store a module in"))
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, TargetError> {
        generations::module(&self.registry, hash)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read a module from"))
    }

    async fn create_generation(
        &self,
        module: &ModuleHash,
        description: &Description,
        newest: Option<GenerationId>,
        start: &Checkpoint,
    ) -> Result<Generation, TargetError> {
        generations::create(&self.registry, module, description, newest, start)
            .await
            .map_err(|failure| failure.into_error(&self.place, "create a generation in"))
    }

    async fn generations(&self) -> Result<Vec<Generation>, TargetError> {
        generations::all(&self.registry)
            .await
            .map_err(|failure| failure.into_error(&self.place, "read the registry of"))
    }

    async fn set_module(
        &self,
        generation: GenerationId,
        module: &ModuleHash,
    ) -> Result<(), TargetError> {
        generations::set_module(&self.registry, generation, module)
            .await
            .map_err(failed(&self.place, "change a module in"))
    }

    async fn promote(&self, generation: GenerationId) -> Result<(), TargetError> {
        generations::promote(&self.registry, generation)
            .await
            .map_err(|failure| failure.into_error(&self.place, "promote a generation in"))
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

    async fn renew(&self, lease: Lease, duration: Duration) -> Result<(), TargetError> {
        lease::renew(&self.registry, lease, duration)
            .await
            .map_err(|failure| failure.into_error(&self.place, "renew a lease in"))
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

    async fn controls(&self) -> Result<Vec<Control>, TargetError> {
        control::all(&self.registry)
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

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        dead_letters::page(&self.registry, generation, None, after, limit)
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn request(
        &self,
        generation: GenerationId,
        action: DeadLetterAction,
        stream: Option<&str>,
    ) -> Result<(), TargetError> {
        control::request(&self.registry, generation, action, stream)
            .await
            .map_err(|failure| failure.into_error(&self.place, "store a request in"))
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
