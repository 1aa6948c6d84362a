//! Read models in a SQLite file.
//!
//! The registry's tables are named `gnomon_…`, the tables of generation 7
//! `gnomon_7_…`, and readers use views with the declared names.
//!
//! One host works on a file at a time; readers and commands are never kept
//! out. The file is in WAL mode with `synchronous = NORMAL`: after a power
//! loss the last commits may be missing, each as a whole with its checkpoint,
//! and they are then done again. A crash of the process loses nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_model::{Description, Floats, Position};

use self::database::Database;
use self::writer::SqliteWriter;
use super::{Acquired, Control, Target, TargetError, TargetErrorKind, Writer};
use crate::dead_letter::{DeadLetter, DeadLetterAction};
use crate::generation::{Generation, GenerationId, Lease, Module, ModuleHash, RunReport};
use crate::source::Checkpoint;

mod cell;
mod control;
mod database;
mod dead_letters;
mod error;
mod generations;
mod host_lock;
mod lease;
mod note;
mod tables;
mod writer;

/// A SQLite file that holds read models.
pub struct SqliteTarget {
    database: Arc<Database>,
}

impl SqliteTarget {
    /// Opens the file and makes it if it is missing. Commands do this beside
    /// a running host; only [`Target::acquire`] claims the file.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if the file is not ours to write, is no
    /// database, or was written by a newer Gnomon.
    pub async fn open(file: &Path) -> Result<Self, TargetError> {
        let file = file.to_owned();
        let database = blocking(move || Database::open(&file)).await?;
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// Does work that waits for the disk, away from the async threads.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, TargetError> + Send + 'static,
    ) -> Result<T, TargetError> {
        let database = Arc::clone(&self.database);
        blocking(move || work(&database)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TargetError> + Send + 'static,
) -> Result<T, TargetError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(TargetError::caused(
                TargetErrorKind::Retry,
                "the work on the read-model file was cut off",
                error,
            ))
        })
}

#[async_trait]
impl Target for SqliteTarget {
    fn floats(&self) -> Floats {
        Floats::NotNan
    }

    async fn claim(&self) -> Result<(), TargetError> {
        self.with(lease::claim).await
    }

    async fn add_module(&self, module: &Module) -> Result<(), TargetError> {
        let module = module.clone();
        self.with(move |database| generations::add_module(database, &module))
            .await
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, TargetError> {
        let hash = hash.clone();
        self.with(move |database| generations::module(database, &hash))
            .await
    }

    async fn create_generation(
        &self,
        module: &ModuleHash,
        description: &Description,
        newest: Option<GenerationId>,
        start: &Checkpoint,
    ) -> Result<Generation, TargetError> {
        let (module, description, start) = (module.clone(), description.clone(), start.clone());
        self.with(move |database| {
            generations::create(database, &module, &description, newest, &start)
        })
        .await
    }

    async fn generations(&self) -> Result<Vec<Generation>, TargetError> {
        self.with(generations::all).await
    }

    async fn set_module(
        &self,
        generation: GenerationId,
        module: &ModuleHash,
    ) -> Result<(), TargetError> {
        let module = module.clone();
        self.with(move |database| generations::set_module(database, generation, &module))
            .await
    }

    async fn promote(&self, generation: GenerationId) -> Result<(), TargetError> {
        self.with(move |database| generations::promote(database, generation))
            .await
    }

    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, TargetError> {
        let host = host.to_owned();
        self.with(move |database| lease::acquire(database, generation, &host, duration))
            .await
    }

    async fn renew(&self, lease: Lease, duration: Duration) -> Result<(), TargetError> {
        self.with(move |database| lease::renew(database, lease, duration))
            .await
    }

    async fn release(&self, lease: Lease) -> Result<(), TargetError> {
        self.with(move |database| lease::release(database, lease))
            .await
    }

    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), TargetError> {
        let report = report.clone();
        self.with(move |database| lease::report(database, lease, &report))
            .await
    }

    async fn controls(&self) -> Result<Vec<Control>, TargetError> {
        self.with(control::all).await
    }

    async fn pause(&self, projection: &str) -> Result<(), TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| control::pause(database, &projection))
            .await
    }

    async fn resume(&self, projection: &str) -> Result<(), TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| control::resume(database, &projection))
            .await
    }

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        self.with(move |database| {
            database.read("read the dead letters in", |connection| {
                dead_letters::page(connection, generation, None, after, limit)
            })
        })
        .await
    }

    async fn request(
        &self,
        generation: GenerationId,
        action: DeadLetterAction,
        stream: Option<&str>,
    ) -> Result<(), TargetError> {
        let stream = stream.map(str::to_owned);
        self.with(move |database| control::request(database, generation, action, stream.as_deref()))
            .await
    }

    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, TargetError> {
        let writer = self
            .with(move |database| SqliteWriter::open(database, lease, description))
            .await?;
        Ok(Box::new(writer))
    }
}
