//! One attempt to apply events, and who is to blame when it fails.

use std::time::Duration;

use gnomon_guest::{ApplyError, Written};
use gnomon_model::{EventList, Position, TableWrites};

use super::Runner;
use super::outcome::SessionEnd;
use crate::row_cache::GenerationRows;
use crate::storage_error::StorageErrorKind;

/// Events that a guest could not apply.
pub(super) struct Failed {
    /// What is known of the event at fault.
    pub(super) at: Fault,
    pub(super) message: String,
}

/// What a failure says about the event at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is the one at this place in the list.
    Place(usize),
    /// It is one of them.
    Somewhere,
    /// They took longer than they were given; one of them may never end.
    Time,
}

/// Lets the guest apply events, none of which are parked. Nothing is committed
/// yet, nor folded. The guest is given so much time.
pub(super) fn attempt(
    runner: &Runner,
    rows: &GenerationRows,
    events: &EventList,
    time: Duration,
) -> Result<Result<Written, Failed>, SessionEnd> {
    if let Some((place, reason)) = events.first_unreadable() {
        return Ok(Err(Failed {
            at: Fault::Place(place),
            message: reason.to_owned(),
        }));
    }
    let assignment = &runner.assignment;
    // A guest that searches an index has what is folded committed first.
    let folded_to = rows.folded_to();
    let guest = assignment.guest.borrow().clone();
    let mut limits = assignment.guest_limits;
    limits.time = time;
    let applied = guest.apply(
        events,
        Box::new(rows.clone()),
        rows.description(),
        assignment.storage.read_models.floats(),
        limits,
        runner.shutdown.flag(),
    );
    match (applied, folded_to) {
        (Err(ApplyError::Rows(error)), Some(end)) if error.kind() == StorageErrorKind::Rejected => {
            Err(SessionEnd::unfold(end))
        }
        (applied, _) => blame(events, applied),
    }
}

/// Finishes what the guest wrote, to commit it.
pub(super) fn finish(
    events: &EventList,
    written: Result<Written, Failed>,
) -> Result<Result<Vec<TableWrites>, Failed>, SessionEnd> {
    match written {
        Ok(written) => blame(events, written.finish()),
        Err(failed) => Ok(Err(failed)),
    }
}

/// Tells what the events are to blame for from what ends the session.
pub(super) fn blame<T>(
    events: &EventList,
    done: Result<T, ApplyError>,
) -> Result<Result<T, Failed>, SessionEnd> {
    let failed = |at, message| Ok(Err(Failed { at, message }));
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(ApplyError::Rejected { position, message }) => failed(place(events, position), message),
        Err(ApplyError::Failed(message)) => failed(Fault::Somewhere, message),
        Err(error @ ApplyError::TimedOut(_)) => failed(Fault::Time, error.to_string()),
        Err(ApplyError::Rows(error)) => Err(error.into()),
        Err(ApplyError::Busy) => Err(SessionEnd::Retry(ApplyError::Busy.to_string())),
        Err(ApplyError::Stopped) => Err(SessionEnd::Stopped),
    }
}

fn place(events: &EventList, position: Position) -> Fault {
    events
        .place(position)
        .map_or(Fault::Somewhere, Fault::Place)
}
