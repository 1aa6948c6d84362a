//! One attempt to apply events, and who is to blame when it fails.

use gnomon_model::{Position, TableWrites};

use super::Runner;
use super::cut::{self, Cut, Verdict};
use super::session::{Blamed, End};
use crate::event_list::EventList;
use crate::guest::{ApplyError, describe_event};
use crate::row_cache::GenerationRows;
use crate::target::TargetErrorKind;

/// What became of it.
pub(super) enum Attempt {
    /// The guest did it; nothing is committed yet.
    Applied(Vec<TableWrites>),
    /// The guest could not do it.
    Failed {
        /// The place of the event at fault in the list, where the guest says.
        place: Option<usize>,
        message: String,
    },
}

/// Lets the guest apply events, none of which are parked.
pub(super) fn attempt(
    runner: &Runner,
    rows: &GenerationRows,
    events: &EventList,
) -> Result<Attempt, End> {
    if events.is_empty() {
        return Ok(Attempt::Applied(Vec::new()));
    }
    let assignment = &runner.assignment;
    // A guest that searches an index has what is folded committed first.
    let folded_to = rows.folded_to();
    let guest = assignment.guest.borrow().clone();
    let applied = guest.apply(
        events,
        Box::new(rows.clone()),
        assignment.target.floats(),
        assignment.guest_limits,
        runner.shutdown.flag(),
    );
    match applied {
        Ok(writes) => Ok(Attempt::Applied(writes)),
        Err(ApplyError::Rejected { position, message }) => Ok(Attempt::Failed {
            place: events.place(position),
            message,
        }),
        Err(ApplyError::Failed(message)) => Ok(Attempt::Failed {
            place: None,
            message,
        }),
        Err(ApplyError::Rows(error)) => Err(match folded_to {
            Some(end) if error.kind() == TargetErrorKind::Rejected => End::unfold(end),
            _ => error.into(),
        }),
        Err(ApplyError::Busy) => Err(End::Retry(ApplyError::Busy.to_string())),
        Err(ApplyError::Stopped) => Err(End::Stopped),
    }
}

/// A list that failed is cut, or its first event is at fault. Only a first
/// event is ever blamed: what is before the culprit has been committed by then.
pub(super) fn verdict(
    events: &EventList,
    place: Option<usize>,
    last: Position,
    message: String,
) -> Result<Cut, Blamed> {
    let verdict = match place {
        Some(place) => cut::before(place, events.position(place).unwrap_or(last)),
        None => cut::halve(events.len(), last),
    };
    match verdict {
        Verdict::Cut(cut) => Ok(cut),
        Verdict::FirstEvent => Err(Blamed {
            position: events.position(0).unwrap_or(last),
            event: events.get(0).map(describe_event).unwrap_or_default(),
            message,
        }),
    }
}
