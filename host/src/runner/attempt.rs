//! One attempt to apply events, and who is to blame when it fails.

use gnomon_model::{Position, TableWrites};

use super::Runner;
use super::cut::{self, Cut, Verdict};
use super::session::{Blamed, End};
use crate::event_list::EventList;
use crate::guest::{ApplyError, Written, describe_event};
use crate::row_cache::GenerationRows;
use crate::target::TargetErrorKind;

/// Events that a guest could not apply.
pub(super) struct Failed {
    /// The place of the event at fault in the list, where the guest says.
    pub(super) place: Option<usize>,
    pub(super) message: String,
}

/// Lets the guest apply events, none of which are parked. Nothing is committed
/// yet, nor folded.
pub(super) fn attempt(
    runner: &Runner,
    rows: &GenerationRows,
    events: &EventList,
) -> Result<Result<Written, Failed>, End> {
    let assignment = &runner.assignment;
    // A guest that searches an index has what is folded committed first.
    let folded_to = rows.folded_to();
    let guest = assignment.guest.borrow().clone();
    let applied = guest.apply(
        events,
        Box::new(rows.clone()),
        rows.description(),
        assignment.target.floats(),
        assignment.guest_limits,
        runner.shutdown.flag(),
    );
    match (applied, folded_to) {
        (Err(ApplyError::Rows(error)), Some(end)) if error.kind() == TargetErrorKind::Rejected => {
            Err(End::unfold(end))
        }
        (applied, _) => blame(events, applied),
    }
}

/// Finishes what the guest wrote, to commit it.
pub(super) fn finish(
    events: &EventList,
    written: Result<Written, Failed>,
) -> Result<Result<Vec<TableWrites>, Failed>, End> {
    match written {
        Ok(written) => blame(events, written.finish()),
        Err(failed) => Ok(Err(failed)),
    }
}

/// Tells what the events are to blame for from what ends the session.
pub(super) fn blame<T>(
    events: &EventList,
    done: Result<T, ApplyError>,
) -> Result<Result<T, Failed>, End> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(ApplyError::Rejected { position, message }) => Ok(Err(Failed {
            place: events.place(position),
            message,
        })),
        Err(ApplyError::Failed(message)) => Ok(Err(Failed {
            place: None,
            message,
        })),
        Err(ApplyError::Rows(error)) => Err(error.into()),
        Err(ApplyError::Busy) => Err(End::Retry(ApplyError::Busy.to_string())),
        Err(ApplyError::Stopped) => Err(End::Stopped),
    }
}

/// A list that failed is cut, or its first event is at fault. Only a first
/// event is ever blamed: what is before the culprit has been committed by then.
pub(super) fn verdict(events: &EventList, failed: Failed, last: Position) -> Result<Cut, Blamed> {
    let verdict = match failed.place {
        Some(place) => cut::before(place, events.position(place).unwrap_or(last)),
        None => cut::halve(events.len(), last),
    };
    match verdict {
        Verdict::Cut(cut) => Ok(cut),
        Verdict::FirstEvent => Err(Blamed {
            position: events.position(0).unwrap_or(last),
            event: events.get(0).map(describe_event).unwrap_or_default(),
            message: failed.message,
        }),
    }
}
