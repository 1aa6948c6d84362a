//! One run of a projection over the events of a fixture.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gnomon_databases::error_chain::chain;
use gnomon_guest::{ApplyError, SharedTables};
use gnomon_model::{Description, Event, EventList, Floats, Position};

use super::database::StoredTables;
use super::{Bench, Cut, End, Outcome, TrialError};
use crate::fixture::Tables;
use crate::storage_error::{StorageError, StorageErrorKind};

/// The stricter of the two databases, so that what passes here passes on both.
const FLOATS: Floats = Floats::NotNan;

impl Bench {
    /// Each batch in a fresh instance, into tables in memory.
    pub(super) fn run_fresh(&self, events: &[Event], cut: &Cut) -> Result<Outcome, TrialError> {
        let description = self.guest.description();
        let tables = SharedTables::new(description);
        let never = never();
        let end = run(cut.batches(events, self.batch_events), |batch| {
            let rows = Box::new(tables.clone());
            let written =
                (self.guest).apply(batch, rows, description, FLOATS, self.limits, &never)?;
            tables.commit(written.finish()?);
            Ok(())
        })?;
        Ok(Outcome {
            rows: rows_of(&tables, description),
            end,
        })
    }

    /// One by one in a single instance. `None` if the instance breaks down: a
    /// fresh one for every batch is all that the contract promises.
    pub(super) fn run_kept(&self, events: &[Event]) -> Result<Option<Outcome>, TrialError> {
        let description = self.guest.description();
        let tables = SharedTables::new(description);
        let never = never();
        let mut kept = self.guest.keep(self.limits).map_err(TrialError::Guest)?;
        let end = run(Cut::OneByOne.batches(events, 1), |batch| {
            let rows = Box::new(tables.clone());
            let written = kept.apply(batch, rows, FLOATS, self.limits, &never)?;
            tables.commit(written.finish()?);
            Ok(())
        })?;
        let rows = rows_of(&tables, description);
        Ok((!matches!(end, End::Failed { .. })).then_some(Outcome { rows, end }))
    }

    /// All at once, into a database.
    pub(super) fn run_stored(&self, events: &[Event]) -> Result<Outcome, TrialError> {
        let description = self.guest.description();
        let tables = StoredTables::open(&self.guest, &self.runtime)?;
        let never = never();
        let end = run(Cut::AtOnce.batches(events, self.batch_events), |batch| {
            let rows = Box::new(tables.rows.clone());
            let written =
                (self.guest).apply(batch, rows, description, FLOATS, self.limits, &never)?;
            let writes = written.finish()?;
            let position = batch.last().unwrap_or(Position::START);
            tables.commit(&writes, position).map_err(refused)
        })?;
        Ok(Outcome {
            rows: tables.contents()?,
            end,
        })
    }
}

fn never() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(false))
}

/// A value that the database refuses is the projection's fault.
fn refused(error: StorageError) -> ApplyError {
    match error.kind() {
        StorageErrorKind::Rejected => ApplyError::Failed(chain(&error)),
        StorageErrorKind::Retry | StorageErrorKind::Fenced | StorageErrorKind::Refused => {
            ApplyError::Rows(error)
        }
    }
}

/// Applies batches. Where one fails, its events are applied one by one, to find
/// the one at fault, as a host would.
fn run(
    batches: Vec<&[Event]>,
    mut apply: impl FnMut(&EventList) -> Result<(), ApplyError>,
) -> Result<End, TrialError> {
    for batch in batches {
        let Some(failure) = failure(batch, &mut apply)? else {
            continue;
        };
        if batch.len() == 1 {
            return Ok(failure);
        }
        for event in batch.chunks(1) {
            if let Some(failure) = self::failure(event, &mut apply)? {
                return Ok(failure);
            }
        }
        return Ok(only_together(batch, failure));
    }
    Ok(End::Applied)
}

/// Applies one batch; gives what went wrong, if anything did.
fn failure(
    batch: &[Event],
    apply: &mut impl FnMut(&EventList) -> Result<(), ApplyError>,
) -> Result<Option<End>, TrialError> {
    let events = EventList::from(batch);
    match apply(&events) {
        Ok(()) => Ok(None),
        Err(ApplyError::Rejected { position, message }) => {
            Ok(Some(End::Rejected { position, message }))
        }
        Err(error @ (ApplyError::Failed(_) | ApplyError::TimedOut(_))) => Ok(Some(End::Failed {
            position: events.position(0).filter(|_| batch.len() == 1),
            message: error.to_string(),
        })),
        Err(ApplyError::Rows(error)) => Err(error.into()),
        Err(error @ (ApplyError::Busy | ApplyError::Stopped)) => Err(TrialError::Guest(error)),
    }
}

/// A batch that fails although each of its events can be applied.
fn only_together(batch: &[Event], failure: End) -> End {
    let message = match failure {
        End::Applied => String::new(),
        End::Rejected { position, message } => format!("event {position} was rejected: {message}"),
        End::Failed { message, .. } => message,
    };
    let place = |event: Option<&Event>| event.map_or(Position::START, |event| event.position);
    End::Failed {
        position: None,
        message: format!(
            "events {} to {} can be applied one by one, but not in one batch: {message}",
            place(batch.first()),
            place(batch.last())
        ),
    }
}

fn rows_of(tables: &SharedTables, description: &Description) -> Tables {
    (0..)
        .zip(&description.tables)
        .map(|(number, table)| super::by_key(table, tables.rows(number)))
        .collect()
}
