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

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_databases::database_url::DatabaseUrl;
use gnomon_event_store::source::{Checkpoint, KnownEvent, LateEvent};
use gnomon_model::{Description, Floats, FoundRows, Key, Position, Row, TableWrites, Value};

use crate::dead_letter::{DeadLetter, DeadLetterChanges, Decided, PageLimits, RetryRequest, Skip};
use crate::generation::{
    Generation, GenerationId, Goal, Lease, Module, ModuleHash, Rate, RunReport,
};

mod compared;
mod desired;
mod failure;
mod history;
mod identifier;
mod postgres;
mod registry;
mod sqlite;
#[cfg(test)]
mod tests;

pub use compared::{
    ColumnDifference, Compared, Comparison, Difference, RowDifference, TableComparison,
};
pub use desired::{
    Control, HostNotes, NewGeneration, Overview, PresentHost, Promotion, RefusedFile, SeenLease,
};
pub use failure::{TargetError, TargetErrorKind};
pub use history::KeptHistory;
pub use postgres::PostgresTarget;
pub(crate) use registry::{dropped_projection, removed_projection};
pub use sqlite::SqliteTarget;

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
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// What to do to each table. What is owned may be freed on the way, while
    /// the database works.
    pub writes: Cow<'a, [TableWrites]>,
    /// The checkpoint that must stand in the database.
    pub expected: &'a Checkpoint,
    /// The checkpoint that takes its place.
    pub next: &'a Checkpoint,
    /// The position of `next`.
    pub position: Position,
    /// The last event up to there that the source has shown; `None` leaves the
    /// one that is kept.
    pub event: Option<&'a KnownEvent>,
    /// Events that begin or cease to wait.
    pub dead_letters: DeadLetterChanges<'a>,
    /// For whoever asks how fast it goes.
    pub rate: Rate,
    /// Whether the caller knows that the written tables have no row yet, as
    /// at the beginning of a build. They are then filled in bulk.
    pub into_empty: bool,
}

/// A database that holds read models.
#[async_trait]
pub trait Target: Send + Sync {
    /// Which floats its columns can hold.
    fn floats(&self) -> Floats;

    /// Claims the right to run generations here at all for a host, until the
    /// target is dropped. Any number of hosts may share a server; a SQLite file
    /// has one.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] naming the host that is there already;
    /// [`TargetErrorKind::Retry`] if the claim holds, but the database is not
    /// ready for it: it has to be made again.
    async fn claim(&self, _host: &str) -> Result<(), TargetError> {
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
    /// checkpoint and its empty tables, without secondary indexes. The
    /// projection is registered with its first generation, and comes back if
    /// it was removed. Another candidate of the projection, which this one
    /// replaces, becomes [`crate::generation::GenerationState::Dropped`]; one
    /// with [`Goal::Compare`] replaces only such ones, and brings nothing back. If it is to be promoted,
    /// promotions of retired generations that were wanted before are over. All
    /// of it in one transaction.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if a public name of the projection is
    /// taken by somebody else, naming them, or if one for comparison is of a
    /// removed projection; [`TargetErrorKind::Retry`] if
    /// `newest` is no longer the newest one, as another host was faster.
    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, TargetError>;

    /// All generations that are not dropped, by projection name and number;
    /// those of removed projections too.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn generations(&self) -> Result<Vec<Generation>, TargetError>;

    /// Makes generations run another module of the registry, which declares
    /// the same version, subscription and tables, in whatever order. Their own
    /// descriptions stay as they are. What they halted on is tried
    /// again: the projection's `resumes` grows.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn set_module(
        &self,
        generations: &[GenerationId],
        module: &ModuleHash,
    ) -> Result<(), TargetError>;

    /// Says what is wanted of a candidate or a retired generation, and forgets
    /// what was in the way of its last promotion. Of a retired one only
    /// promotion or [`Goal::Rest`] can be wanted.
    ///
    /// A projection has one next live generation: who wants a promotion ends
    /// the promotions that were wanted before. A retired generation rests
    /// then, and a candidate is held, with the newer wish as its obstacle.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if it is neither, or is gone.
    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), TargetError>;

    /// Records that a generation that was being built has caught up. Does
    /// nothing in any other state.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the lease is no longer ours.
    async fn set_ready(&self, lease: Lease) -> Result<(), TargetError>;

    /// Makes a generation the live one if its goal is a promotion: the public
    /// names show its tables, and the one that was live is retired, its goal
    /// and the new one's [`Goal::Rest`]. The promotions of other retired
    /// generations that were wanted before are over. One transaction.
    ///
    /// It waits only briefly for readers' locks, so that readers do not queue
    /// behind it; then [`TargetErrorKind::Retry`] says so.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn promote(&self, generation: GenerationId) -> Result<Promotion, TargetError>;

    /// Makes a generation stand still at a position, or before it, for a
    /// while; `None` ends that. A generation with [`Goal::Compare`] that
    /// nobody attends to is dropped by [`Target::tidy`].
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if it is gone.
    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), TargetError>;

    /// Compares the tables of two generations in one snapshot, if they stand
    /// at the same position; gives at most `samples` differing rows of each
    /// table, in the order of the keys.
    ///
    /// The database does the work, so memory does not grow with the tables.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if one of them is gone.
    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, TargetError>;

    /// Drops a generation that is not live, with its tables. What a crash
    /// interrupts, [`Target::tidy`] finishes.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if it is live.
    async fn drop_generation(&self, generation: GenerationId) -> Result<(), TargetError>;

    /// Drops what is no longer needed: retired generations of each projection
    /// but the newest `keep`, comparisons that nobody attends to, what an
    /// interrupted drop has left, and modules that nothing refers to for an
    /// hour. Gives the generations that are gone.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn tidy(&self, keep: usize) -> Result<Vec<GenerationId>, TargetError>;

    /// Stops the work on a projection. Its tables and views stay as they are,
    /// until [`Target::resume`] brings it back. A promotion of a retired
    /// generation that was wanted is over.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn remove(&self, projection: &str) -> Result<(), TargetError>;

    /// Removes a projection with everything that it has: generations, views,
    /// dead letters. With `cascade`, views of users that stand on its views go
    /// too.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection, or, without
    /// `cascade`, naming the views that stand in the way.
    async fn drop_projection(&self, projection: &str, cascade: bool) -> Result<(), TargetError>;

    /// Says that a host is there, for `duration`, and what it has to tell.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), TargetError>;

    /// Says that a host is there no longer, and what it had to tell last.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn leave(&self, host: &str, notes: &HostNotes) -> Result<(), TargetError> {
        self.announce(host, notes, Duration::ZERO).await
    }

    /// What the hosts that are there have to tell; where none is, what those
    /// told that were there last. A host that announces itself ends what those
    /// before it told.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn last_notes(&self) -> Result<Vec<HostNotes>, TargetError>;

    /// When a projection was dropped that has not come back since, in
    /// microseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, TargetError>;

    /// The hosts that are there, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn hosts(&self) -> Result<Vec<PresentHost>, TargetError>;

    /// Remembers which module a file of a watched directory held when it was
    /// last deployed, so that it is no news after a restart.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), TargetError>;

    /// What [`Target::note_file`] was told, by file.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, TargetError>;

    /// Takes the lease on a generation, if no other host holds it or has asked
    /// for it. Its fencing
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

    /// Makes leases run on from now, each for its duration, and gives those
    /// that are no longer ours. One query, however many there are.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, TargetError>;

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

    /// Asks the hosts that hold leases on these generations to give them back for
    /// `host`, which nobody else can take them before for `duration`. What
    /// another host has asked for already is left to it.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn request_leases(
        &self,
        generations: &[GenerationId],
        host: &str,
        duration: Duration,
    ) -> Result<(), TargetError>;

    /// What is wanted of every generation, who runs it, and which hosts are
    /// there. One query, however many there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn overview(&self) -> Result<Overview, TargetError>;

    /// What is wanted of every generation: a part of [`Target::overview`].
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn controls(&self) -> Result<Vec<Control>, TargetError> {
        Ok(self.overview().await?.controls)
    }

    /// Makes a projection stand still.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn pause(&self, projection: &str) -> Result<(), TargetError>;

    /// Lets a projection go on that was paused, was removed, or has halted.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn resume(&self, projection: &str) -> Result<(), TargetError>;

    /// Takes the event store of a projection as it is now for the right one:
    /// forgets which event stands at the checkpoints of its generations, and
    /// what was found to be wrong, and lets it try again.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn accept_history(&self, projection: &str) -> Result<(), TargetError>;

    /// Notes that an event came too late, for all generations that have passed
    /// its position as a hole.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn note_late(&self, late: LateEvent) -> Result<(), TargetError>;

    /// Dead letters of a generation with positions above `after`, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, TargetError>;

    /// Asks the host of a generation to apply its dead letters again, all or
    /// those of one stream. A generation that takes the place of this one takes
    /// the request over.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn request_retry(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
    ) -> Result<(), TargetError>;

    /// Records the decision to leave an event out, for every generation of a
    /// projection; says whether it is new.
    ///
    /// # Errors
    /// [`TargetErrorKind::Refused`] if there is no such projection.
    async fn skip(&self, projection: &str, skip: &Skip) -> Result<bool, TargetError>;

    /// Records that decision for dead letters of a generation: those of one
    /// stream, or all. Gives how many they are. Its host leaves them out then.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn skip_dead_letters(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
        decided: Decided<'_>,
    ) -> Result<u64, TargetError>;

    /// Takes a decision to leave an event out back; says whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn unskip(&self, projection: &str, position: Position) -> Result<bool, TargetError>;

    /// Decisions to leave an event out that belong to a projection, with
    /// positions above `after`, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, TargetError>;

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

    /// What is kept beside the checkpoint of the history of the source.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the lease is no longer ours.
    async fn history(&mut self) -> Result<KeptHistory, TargetError>;

    /// Changes what is kept, but for a late position: only
    /// [`Target::note_late`] and [`Target::accept_history`] change that.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the lease is no longer ours.
    async fn keep_history(&mut self, kept: &KeptHistory) -> Result<(), TargetError>;

    /// Committed rows by key, as [`gnomon_model::CommittedRows::get_many`] says.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, TargetError>;

    /// Committed rows by a secondary index, as
    /// [`gnomon_model::CommittedRows::find`] says. An index that a build has
    /// not made yet is made first.
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
    ) -> Result<FoundRows, TargetError>;

    /// Those of these streams that have dead letters.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn parked_streams(&mut self, streams: &[&str]) -> Result<Vec<String>, TargetError>;

    /// How many dead letters the generation has.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn count_dead_letters(&mut self) -> Result<u64, TargetError>;

    /// Dead letters of one stream, or of all, with positions above `after`, in
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dead_letters(
        &mut self,
        stream: Option<&str>,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, TargetError>;

    /// The oldest request to apply the generation's dead letters again.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn next_request(&mut self) -> Result<Option<RetryRequest>, TargetError>;

    /// The skips that hold for the generation, with positions above `after`, in
    /// order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn skips(&mut self, after: Position, limit: usize) -> Result<Vec<Skip>, TargetError>;

    /// Positions and streams of dead letters that are to be skipped, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn skipped_letters(
        &mut self,
        limit: usize,
    ) -> Result<Vec<(Position, String)>, TargetError>;

    /// Makes the secondary indexes that are missing or were left unusable by an
    /// interrupted attempt. For a build that has caught up.
    ///
    /// # Errors
    /// [`TargetErrorKind::Fenced`] if the lease is no longer ours;
    /// [`TargetErrorKind::Rejected`] if a row cannot be indexed.
    async fn complete(&mut self) -> Result<(), TargetError>;

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
        DatabaseUrl::SqliteReadOnly(_) => return Err(only_to_read(url)),
        DatabaseUrl::Postgres(server) => Arc::new(PostgresTarget::open(server).await?),
    })
}

/// Opens the target behind a URL if its own tables are there, and makes nothing.
///
/// # Errors
/// [`TargetError`] when it cannot be reached or used, or when its tables are
/// older than this Gnomon.
pub async fn open_existing(url: &DatabaseUrl) -> Result<Option<Arc<dyn Target>>, TargetError> {
    Ok(match url {
        DatabaseUrl::SqliteReadOnly(_) => return Err(only_to_read(url)),
        DatabaseUrl::Sqlite(file) => SqliteTarget::open_existing(file)
            .await?
            .map(|target| Arc::new(target) as Arc<dyn Target>),
        DatabaseUrl::Postgres(server) => PostgresTarget::open_existing(server)
            .await?
            .map(|target| Arc::new(target) as Arc<dyn Target>),
    })
}

/// Commands write to the registry, and hosts to the rows.
fn only_to_read(url: &DatabaseUrl) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "the read models {url} cannot be opened only to be read; leave out `?mode=ro`, which is \
             for events"
        ),
    )
}

/// What to say where [`open_existing`] finds nothing.
#[must_use]
pub fn no_registry(url: &DatabaseUrl) -> String {
    format!(
        "there are no projections at {url}; `gnomon run` and `gnomon deploy` create the registry \
         there, if `read-models.url` is right"
    )
}
