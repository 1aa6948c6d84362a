//! What is wanted of a projection as a whole.

use super::plan::{Change, Plan, PlannedAction};
use super::promotion::end_rollbacks;
use super::snapshot::{Snapshot, Wish};
use crate::registry::actions::ActionKind;
use crate::registry::refusal::{dropped_projection, unknown_projection};
use crate::storage_error::StorageError;

/// It stands still. One that was removed does so already.
pub(super) fn pause(snapshot: &Snapshot, projection: &str) -> Result<Plan, StorageError> {
    if snapshot.wish == Some(Wish::Removed) {
        return Err(unknown_projection(projection));
    }
    check_known(snapshot, projection)?;
    let action = PlannedAction::on(snapshot, ActionKind::Paused);
    Ok(Plan::of(vec![Change::Want(Wish::Paused)], action))
}

/// It goes on, comes back if it was removed, and tries again what it halted on.
pub(super) fn resume(snapshot: &Snapshot, projection: &str) -> Result<Plan, StorageError> {
    check_known(snapshot, projection)?;
    let changes = vec![Change::Want(Wish::Running), Change::TryAgain];
    let action = PlannedAction::on(snapshot, ActionKind::Resumed);
    Ok(Plan::of(changes, action))
}

/// The event store is right as it is now.
pub(super) fn accept_history(snapshot: &Snapshot, projection: &str) -> Result<Plan, StorageError> {
    let mut plan = resume(snapshot, projection)?;
    plan.changes.insert(0, Change::ForgetHistory);
    plan.actions = vec![PlannedAction::on(snapshot, ActionKind::HistoryAccepted)];
    Ok(plan)
}

/// No host runs it, so a rollback that was wanted is over.
pub(super) fn remove(snapshot: &Snapshot, projection: &str) -> Result<Plan, StorageError> {
    check_known(snapshot, projection)?;
    let mut changes = vec![Change::Want(Wish::Removed)];
    changes.extend(end_rollbacks(snapshot, None));
    let action = PlannedAction::on(snapshot, ActionKind::Removed);
    Ok(Plan::of(changes, action))
}

/// It goes, with all its generations.
pub(super) fn drop_projection(
    snapshot: &Snapshot,
    projection: &str,
    cascade: bool,
) -> Result<Plan, StorageError> {
    check_known(snapshot, projection)?;
    let changes = vec![Change::Want(Wish::Removed), Change::NoteDropped(true)];
    let mut plan = Plan::of(changes, PlannedAction::on(snapshot, ActionKind::Dropped));
    for generation in &snapshot.generations {
        plan.drop(snapshot, generation, ActionKind::GenerationDropped);
    }
    // Last, because readers wait from here on.
    plan.changes
        .extend(snapshot.live().map(|live| Change::Hide {
            live: live.id,
            cascade,
        }));
    Ok(plan)
}

pub(super) fn check_known(snapshot: &Snapshot, projection: &str) -> Result<(), StorageError> {
    match snapshot.wish {
        Some(_) => Ok(()),
        None if snapshot.was_dropped => Err(dropped_projection(projection)),
        None => Err(unknown_projection(projection)),
    }
}
