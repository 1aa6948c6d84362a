//! Trials: a projection on a fixture, as hosts would run it, and in every other
//! way that must make no difference.
//!
//! ```text
//! events ──┬─ one by one, twice ───────────────────────> not the same? not deterministic
//!          ├─ one by one, in one instance that is kept ─> not the same? hidden state
//!          ├─ all at once, into a SQLite file ─────────┐
//!          └─ in random batches ───────────────────────┴> not the same? depends on the cut
//! ```
//!
//! Each batch runs in the guest layer of the host, with its limits, and through
//! its write buffer. One of the runs goes the whole way into a database, so the
//! rows that all others are compared with are those that a database holds.

use gnomon_guest::{ApplyError, Guest, GuestLimits};
use gnomon_model::{Position, Row};
use tokio::runtime::Handle;

use crate::fixture::{Fixture, Tables};
use crate::storage_error::StorageError;

mod cut;
mod database;
mod difference;
mod finding;
mod run;

pub use cut::Cut;
pub use difference::{Change, Difference, RowDifference};
pub use finding::{Finding, Unlike};

/// How often a fixture is cut at random.
const RANDOM_CUTS: usize = 4;

/// What became of the events of a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The rows, up to the event that could not be applied.
    pub rows: Tables,
    /// How it ended.
    pub end: End,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All events were applied.
    Applied,
    /// The projection rejected an event.
    Rejected {
        /// The event.
        position: Position,
        /// What it said.
        message: String,
    },
    /// It broke the contract or a limit.
    Failed {
        /// The event, or `None` where it takes several in one batch.
        position: Option<Position>,
        /// What the host says.
        message: String,
    },
}

/// A fixture was tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What came of the events, one by one.
    pub outcome: Outcome,
    /// What is wrong; nothing if it is as expected.
    pub findings: Vec<Finding>,
}

/// A fixture cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The host's own part failed.
    #[error("the test bench failed: {0}")]
    Guest(ApplyError),
    /// The database failed.
    #[error("the test bench's database failed")]
    Database(#[from] StorageError),
    /// There is no room for the database.
    #[error("there is no folder for the test bench's database")]
    Folder(#[source] std::io::Error),
}

/// A projection that fixtures are tried on.
pub struct Bench {
    guest: Guest,
    limits: GuestLimits,
    /// As many events as a host puts into a batch.
    batch_events: usize,
    runtime: Handle,
}

impl Bench {
    /// A bench for a projection. It blocks on `runtime`, so it must not be
    /// used from one of its threads.
    #[must_use]
    pub const fn new(
        guest: Guest,
        limits: GuestLimits,
        batch_events: usize,
        runtime: Handle,
    ) -> Self {
        Self {
            guest,
            limits,
            batch_events,
            runtime,
        }
    }

    /// The projection.
    #[must_use]
    pub const fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Tries a fixture in all ways. The seed makes the random cuts.
    ///
    /// # Errors
    /// [`TrialError`] when the bench itself fails.
    pub fn try_fixture(&self, fixture: &Fixture, seed: u64) -> Result<Trial, TrialError> {
        let description = self.guest.description();
        let events = fixture.events_for(description);
        let outcome = self.run_fresh(&events, &Cut::OneByOne)?;
        // A trap or a time-out is reported as it is: trying it in other ways
        // takes long and says no more.
        let unlike = match outcome.end {
            End::Failed { .. } => None,
            _ => quietly(|| self.try_otherwise(&events, &outcome, seed))?,
        };
        let findings = match unlike {
            Some(unlike) => vec![Finding::Unlike(unlike)],
            None => finding::unexpected(fixture, &outcome, description),
        };
        Ok(Trial { outcome, findings })
    }

    /// The first way in which the outcome is another one.
    fn try_otherwise(
        &self,
        events: &[gnomon_model::Event],
        outcome: &Outcome,
        seed: u64,
    ) -> Result<Option<Unlike>, TrialError> {
        let description = self.guest.description();
        let unlike = |found: &Outcome| difference::between(outcome, found, description);
        if let Some(difference) = unlike(&self.run_fresh(events, &Cut::OneByOne)?) {
            return Ok(Some(Unlike::Again(difference)));
        }
        if let Some(kept) = self.run_kept(events)?
            && let Some(difference) = unlike(&kept)
        {
            return Ok(Some(Unlike::Kept(difference)));
        }
        let stored = self.run_stored(events)?;
        if let Some(difference) = unlike(&stored) {
            return Ok(Some(Unlike::Cut(Cut::AtOnce, difference, seed)));
        }
        for cut in Cut::random(events.len(), self.batch_events, seed).take(RANDOM_CUTS) {
            if let Some(difference) = unlike(&self.run_fresh(events, &cut)?) {
                return Ok(Some(Unlike::Cut(cut, difference, seed)));
            }
        }
        Ok(None)
    }
}

/// What the projection logs was logged in the first run.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::new(), work)
}

/// Sorts the rows of a table by their keys.
fn by_key(
    table: &gnomon_model::Table,
    rows: impl IntoIterator<Item = Row>,
) -> crate::fixture::TableRows {
    rows.into_iter()
        .map(|row| (table.key_of(&row), row))
        .collect()
}
