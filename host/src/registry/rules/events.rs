//! Decisions about single events.

use gnomon_model::Position;

use super::plan::{Change, Plan, PlannedAction};
use super::projections::check_known;
use super::snapshot::Snapshot;
use crate::dead_letter::Skip;
use crate::generation::GenerationId;
use crate::registry::actions::ActionKind;
use crate::registry::refusal::unknown_generation;
use crate::storage_error::StorageError;

/// Leaves an event out, in every generation of the projection.
pub(super) fn skip(
    snapshot: &Snapshot,
    projection: &str,
    skip: &Skip,
) -> Result<Plan, StorageError> {
    check_known(snapshot, projection)?;
    let action = PlannedAction {
        position: Some(skip.position),
        detail: skip.reason.clone(),
        ..PlannedAction::on(snapshot, ActionKind::EventSkipped)
    };
    Ok(Plan::of(vec![Change::Decide], action))
}

/// Leaves an event out no longer.
pub(super) fn unskip(snapshot: &Snapshot, position: Position) -> Plan {
    let action = PlannedAction {
        position: Some(position),
        ..PlannedAction::on(snapshot, ActionKind::EventUnskipped)
    };
    Plan::of(vec![Change::Decide], action)
}

/// Something that is asked of a generation's dead letters, or of those of one
/// stream.
pub(super) fn dead_letters(
    snapshot: &Snapshot,
    generation: GenerationId,
    stream: Option<&str>,
    kind: ActionKind,
) -> Result<Plan, StorageError> {
    let found = snapshot
        .generation(generation)
        .ok_or_else(|| unknown_generation(generation))?;
    let action = PlannedAction {
        detail: stream.map(|stream| format!("stream {stream}")),
        ..PlannedAction::to(snapshot, found, kind)
    };
    Ok(Plan::of(vec![Change::Decide], action))
}
