//! Targets: where read models live.
//!
//! A target keeps the registry (modules, projections, generations, leases),
//! makes the tables of generations, and commits batches. To add a system, add
//! a file below `target/` and a line to [`open`].
//!
//! What every target has to promise:
//!
//! * [`Writer::commit`] makes rows and checkpoint visible together or not at
//!   all, and only if the checkpoint and the fencing epoch are the expected
//!   ones.
//! * [`Target::promote`] switches all tables of a projection at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_model::{Description, Floats, Key, Position, Row, TableWrites, Value};

use crate::database_url::DatabaseUrl;
use crate::dead_letter::{DeadLetter, DeadLetterAction, DeadLetterChanges, DeadLetterRequest};
use crate::generation::{Generation, GenerationId, Lease, Module, ModuleHash, RunReport};
use crate::source::Checkpoint;

mod identifier;
mod postgres;
mod registry;
mod sqlite;
#[cfg(test)]
mod tests;

pub use postgres::PostgresTarget;
pub use sqlite::SqliteTarget;

/// What to do about a [`TargetError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetErrorKind {
    /// Try again later: a lost connection, a serialization failure, a full
    /// disk. In doubt, an error is of this kind.
    Retry,
    /// The database refuses the batch's values; the event at fault has to be
    /// found.
    Rejected,
    /// Another host owns the generation, or it is gone. Stop at once.
    Fenced,
    /// It will not change by itself: a wrong password, a name that is taken.
    Refused,
}

/// A target cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    kind: TargetErrorKind,
    message: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl TargetError {
    /// An error of this kind, without a cause.
    pub fn new(kind: TargetErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
        }
    }

    /// An error of this kind and what the driver said.
    pub fn caused(
        kind: TargetErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: Some(cause.into()),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> TargetErrorKind {
        self.kind
    }
}

/// The answer to [`Target::acquire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The lease is ours.
    Lease(Lease),
    /// Another host has it.
    HeldBy {
        /// That host.
        host: String,
        /// How long its lease still runs.
        remaining: Duration,
    },
}

/// One batch's effect on a generation.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// What to do to each table.
    pub writes: &'a [TableWrites],
    /// The checkpoint that must stand in the database.
    pub expected: &'a Checkpoint,
    /// The checkpoint that takes its place.
    pub next: &'a Checkpoint,
    /// The position of `next`.
    pub position: Position,
    /// Events that begin or cease to wait.
    pub dead_letters: DeadLetterChanges<'a>,
}

/// What users want of a projection, beside its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The projection.
    pub projection: String,
    /// Whether it is to stand still.
    pub paused: bool,
    /// Grows with every `resume`; a projection that halted tries again.
    pub resumes: i64,
    /// The newest request about its dead letters that waits; zero if none
    /// does.
    pub requests: i64,
}

impl Control {
    /// What is wanted of a projection of which nothing was read yet.
    #[must_use]
    pub fn unknown(projection: &str) -> Self {
        Self {
            projection: projection.to_owned(),
            paused: false,
            resumes: 0,
            requests: 0,
        }
    }
}

/// A database that holds read models.
#[async_trait]
pub trait Target: Send + Sync {
    /// Which floats its columns can hold.
    fn floats(&self) -> Floats;

    /// Claims the right to run generations here at all, until the target is
    /// dropped. Any number of hosts may share a server; a SQLite file has one.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] naming the host that is there already.
    async fn claim(&self) -> Result<(), TargetError> {
        Ok(())
    }

    /// Puts a module into the registry; does nothing if it is there.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn add_module(&self, module: &Module) -> Result<(), TargetError>;

    /// A module of the registry.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, TargetError>;

    /// Makes a generation of a module that is in the registry: its record, its
    /// checkpoint and its empty tables. The projection is registered with its
    /// first generation. All of it in one transaction.
    ///
    /// `newest` is the projection's newest generation that is not dropped, as
    /// the caller knows it.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if a public name of the projection is
    /// taken by somebody else, naming them; [`TargetErrorKind::Retry`] if
    /// `newest` is no longer the newest one, as another host was faster.
    async fn create_generation(
        &self,
        module: &ModuleHash,
        description: &Description,
        newest: Option<GenerationId>,
        start: &Checkpoint,
    ) -> Result<Generation, TargetError>;

    /// All generations that are not dropped, by projection name and number.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn generations(&self) -> Result<Vec<Generation>, TargetError>;

    /// Makes a generation run another module of the registry, which declares
    /// the same version, subscription and tables.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn set_module(
        &self,
        generation: GenerationId,
        module: &ModuleHash,
    ) -> Result<(), TargetError>;

    /// Makes a generation the live one: the public names show its tables, and
    /// the one that was live is retired. One transaction. Does nothing if it
    /// is live already.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if a public name is taken by somebody else.
    async fn promote(&self, generation: GenerationId) -> Result<(), TargetError>;

    /// Takes the lease on a generation, if nobody else holds it. Its fencing
    /// epoch grows, so that whoever held it before can no longer commit.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, TargetError>;

    /// Makes a lease run for `duration` from now.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if it is no longer ours.
    async fn renew(&self, lease: Lease, duration: Duration) -> Result<(), TargetError>;

    /// Gives a lease back, so that another host need not wait for its end.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn release(&self, lease: Lease) -> Result<(), TargetError>;

    /// Records what a runner does.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the lease is no longer ours.
    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), TargetError>;

    /// What users want of every projection. One query, however many there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn controls(&self) -> Result<Vec<Control>, TargetError>;

    /// Makes a projection stand still.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn pause(&self, projection: &str) -> Result<(), TargetError>;

    /// Lets a projection go on that was paused or has halted.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn resume(&self, projection: &str) -> Result<(), TargetError>;

    /// Dead letters of a generation with positions above `after`, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TargetError>;

    /// Asks the host of a generation to do something with its dead letters,
    /// all or those of one stream.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn request(
        &self,
        generation: GenerationId,
        action: DeadLetterAction,
        stream: Option<&str>,
    ) -> Result<(), TargetError>;

    /// The one writer of a generation's tables.
    ///
    /// # Errors
    /// When the database cannot be reached.
    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, TargetError>;
}

/// Reads and writes the tables of one generation. It is used from one thread
/// and, after any error but [`TargetErrorKind::Rejected`], not used again: the
/// caller drops it and asks the target for a new one.
#[async_trait]
pub trait Writer: Send {
    /// The checkpoint as it stands in the database.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the lease is no longer ours.
    async fn checkpoint(&mut self) -> Result<Checkpoint, TargetError>;

    /// The committed rows under these keys of table number `table`, in their
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, TargetError>;

    /// Committed rows by a secondary index, as
    /// [`gnomon_model::CommittedRows::find`] says.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Row>, TargetError>;

    /// Those of these streams that have dead letters.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn parked_streams(&mut self, streams: &[&str]) -> Result<Vec<String>, TargetError>;

    /// Whether the generation has any dead letter.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn has_dead_letters(&mut self) -> Result<bool, TargetError>;

    /// Dead letters of one stream, or of all, with positions above `after`, in
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dead_letters(
        &mut self,
        stream: Option<&str>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TargetError>;

    /// The oldest request about the generation's dead letters.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn next_request(&mut self) -> Result<Option<DeadLetterRequest>, TargetError>;

    /// Commits one batch: rows, dead letters and checkpoint in one transaction, by
    /// compare-and-set on checkpoint and fencing epoch.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the checkpoint or the epoch is not the
    /// expected one, and then nothing was written;
    /// [`TargetErrorKind::Rejected`] if the database refuses a value, and then
    /// nothing was written either. After
    /// [`TargetErrorKind::Retry`] the batch may have been committed or not:
    /// only the checkpoint in the database tells.
    async fn commit(&mut self, commit: Commit<'_>) -> Result<(), TargetError>;
}

/// How long a target may take for a small answer; longer than a statement
/// waits for a lock. A connection that was cut without a word would otherwise
/// hold its caller for ever.
const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Waits for a target's answer, but not for ever.
///
/// # Errors
/// The call's own, or [`TargetErrorKind::Retry`] when the time is up.
pub async fn in_time<T>(
    call: impl Future<Output = Result<T, TargetError>>,
) -> Result<T, TargetError> {
    tokio::time::timeout(ANSWER_TIME_LIMIT, call)
        .await
        .unwrap_or_else(|_| {
            Err(TargetError::new(
                TargetErrorKind::Retry,
                format!("the read-model database did not answer within {ANSWER_TIME_LIMIT:?}"),
            ))
        })
}

/// Opens the target behind a URL, and makes its own tables if they are
/// missing.
///
/// # Errors
/// [`TargetError`] when it cannot be reached or used.
pub async fn open(url: &DatabaseUrl) -> Result<Arc<dyn Target>, TargetError> {
    Ok(match url {
        DatabaseUrl::Sqlite(file) => Arc::new(SqliteTarget::open(file).await?),
        DatabaseUrl::Postgres(server) => Arc::new(PostgresTarget::open(server).await?),
    })
}
