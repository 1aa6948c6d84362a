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
use gnomon_event_store::source::LateEvent;
use gnomon_model::{Description, Floats, Position, Row};

use self::database::Database;
use self::writer::SqliteWriter;
use super::{
    Acquired, Compared, HostNotes, NewGeneration, Overview, PresentHost, Promotion, Target,
    TargetError, TargetErrorKind, Writer,
};
use crate::dead_letter::{DeadLetter, Decided, PageLimits, Skip};
use crate::generation::{Generation, GenerationId, Goal, Lease, Module, ModuleHash, RunReport};

mod cell;
mod comparison;
mod contents;
mod control;
mod database;
mod dead_letters;
mod error;
mod files;
mod generations;
mod history;
mod host_lock;
mod hosts;
mod indexes;
mod lease;
mod migrations;
mod modules;
mod note;
mod place;
mod promotion;
mod removal;
mod skips;
mod statements;
mod tables;
mod user_objects;
mod views;
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

    /// Opens the file if it holds a registry, and makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`], and if the registry is older than this Gnomon.
    pub async fn open_existing(file: &Path) -> Result<Option<Self>, TargetError> {
        let file = file.to_owned();
        let database = blocking(move || Database::open_existing(&file)).await?;
        Ok(database.map(|database| Self {
            database: Arc::new(database),
        }))
    }

    /// All rows of a generation, by table and in no order.
    ///
    /// # Errors
    /// When the file cannot be read, or the generation is gone.
    pub async fn rows(
        &self,
        generation: GenerationId,
        description: &Arc<Description>,
    ) -> Result<Vec<Vec<Row>>, TargetError> {
        let description = Arc::clone(description);
        self.with(move |database| contents::rows(database, generation, &description))
            .await
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

    async fn claim(&self, host: &str) -> Result<(), TargetError> {
        let host = host.to_owned();
        self.with(move |database| lease::claim(database, &host))
            .await
    }

    async fn add_module(&self, module: &Module) -> Result<(), TargetError> {
        let module = module.clone();
        self.with(move |database| modules::add(database, &module))
            .await
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, TargetError> {
        let hash = hash.clone();
        self.with(move |database| modules::one(database, &hash))
            .await
    }

    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, TargetError> {
        let projection = new.projection.to_owned();
        let module = new.module.clone();
        let description = new.description.clone();
        let start = new.start.clone();
        let (goal, until, newest) = (new.goal, new.until, new.newest);
        self.with(move |database| {
            let new = NewGeneration {
                projection: &projection,
                module: &module,
                description: &description,
                goal,
                until,
                newest,
                start: &start,
            };
            generations::create(database, new)
        })
        .await
    }

    async fn generations(&self) -> Result<Vec<Generation>, TargetError> {
        self.with(generations::all).await
    }

    async fn set_module(
        &self,
        generations: &[GenerationId],
        module: &ModuleHash,
    ) -> Result<(), TargetError> {
        let generations = generations.to_vec();
        let module = module.clone();
        self.with(move |database| control::set_module(database, &generations, &module))
            .await
    }

    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), TargetError> {
        self.with(move |database| control::set_goal(database, generation, goal))
            .await
    }

    async fn set_ready(&self, lease: Lease) -> Result<(), TargetError> {
        self.with(move |database| generations::set_ready(database, lease))
            .await
    }

    async fn promote(&self, generation: GenerationId) -> Result<Promotion, TargetError> {
        self.with(move |database| promotion::promote(database, generation))
            .await
    }

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), TargetError> {
        self.with(move |database| control::attend(database, generation, stop_at, duration))
            .await
    }

    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, TargetError> {
        self.with(move |database| comparison::compare(database, left, right, samples))
            .await
    }

    async fn drop_generation(&self, generation: GenerationId) -> Result<(), TargetError> {
        self.with(move |database| removal::drop_generation(database, generation))
            .await
    }

    async fn tidy(&self, keep: usize) -> Result<Vec<GenerationId>, TargetError> {
        self.with(move |database| removal::tidy(database, keep))
            .await
    }

    async fn remove(&self, projection: &str) -> Result<(), TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| control::remove(database, &projection))
            .await
    }

    async fn drop_projection(&self, projection: &str, cascade: bool) -> Result<(), TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| removal::drop_projection(database, &projection, cascade))
            .await
    }

    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), TargetError> {
        let host = host.to_owned();
        let notes = notes.clone();
        self.with(move |database| hosts::announce(database, &host, &notes, duration))
            .await
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, TargetError> {
        self.with(hosts::last_notes).await
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| removal::dropped_at(database, &projection))
            .await
    }

    async fn hosts(&self) -> Result<Vec<PresentHost>, TargetError> {
        self.with(hosts::all).await
    }

    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), TargetError> {
        let file = file.to_owned();
        let module = module.clone();
        self.with(move |database| files::note(database, &file, &module))
            .await
    }

    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, TargetError> {
        self.with(files::all).await
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

    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, TargetError> {
        let leases = leases.to_vec();
        self.with(move |database| lease::renew(database, &leases))
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

    /// A file has one host, so there is nobody to ask.
    async fn request_leases(
        &self,
        _generations: &[GenerationId],
        _host: &str,
        _duration: Duration,
    ) -> Result<(), TargetError> {
        Ok(())
    }

    async fn overview(&self) -> Result<Overview, TargetError> {
        self.with(control::overview).await
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

    async fn accept_history(&self, projection: &str) -> Result<(), TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| history::accept(database, &projection))
            .await
    }

    async fn note_late(&self, late: LateEvent) -> Result<(), TargetError> {
        self.with(move |database| history::note_late(database, late))
            .await
    }

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        self.with(move |database| {
            database.read("read the dead letters in", |connection| {
                dead_letters::page(connection, generation, None, after, limits)
            })
        })
        .await
    }

    async fn request_retry(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
    ) -> Result<(), TargetError> {
        let stream = stream.map(str::to_owned);
        self.with(move |database| {
            database.write("store a request in", |transaction| {
                let stream = stream.as_deref();
                Ok(dead_letters::request_retry(
                    transaction,
                    generation,
                    stream,
                )?)
            })
        })
        .await
    }

    async fn skip(&self, projection: &str, skip: &Skip) -> Result<bool, TargetError> {
        let (projection, skip) = (projection.to_owned(), skip.clone());
        self.with(move |database| skips::add(database, &projection, &skip))
            .await
    }

    async fn skip_dead_letters(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
        decided: Decided<'_>,
    ) -> Result<u64, TargetError> {
        let stream = stream.map(str::to_owned);
        let (actor, reason) = (decided.actor.to_owned(), decided.reason.map(str::to_owned));
        self.with(move |database| {
            let decided = Decided {
                actor: &actor,
                reason: reason.as_deref(),
            };
            skips::add_dead_letters(database, generation, stream.as_deref(), decided)
        })
        .await
    }

    async fn unskip(&self, projection: &str, position: Position) -> Result<bool, TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| skips::remove(database, &projection, position))
            .await
    }

    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, TargetError> {
        let projection = projection.to_owned();
        self.with(move |database| {
            database.read("read the skips in", |connection| {
                skips::page(connection, &projection, after, limit)
            })
        })
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
