//! Which generations go.

use std::cmp::Reverse;

use super::plan::Plan;
use super::snapshot::{Registered, Snapshot};
use crate::generation::{GenerationId, GenerationState, Goal};
use crate::registry::actions::ActionKind;
use crate::storage_error::{StorageError, StorageErrorKind};

/// Drops a generation that readers do not see. Who wants one gone that is gone
/// has what they want.
pub(super) fn drop_generation(
    snapshot: &Snapshot,
    generation: GenerationId,
) -> Result<Plan, StorageError> {
    let mut plan = Plan::default();
    let Some(found) = snapshot.generation(generation) else {
        return Ok(plan);
    };
    if found.standing.state == GenerationState::Live {
        return Err(StorageError::new(
            StorageErrorKind::Refused,
            format!(
                "generation {generation} of `{}` is live: readers see it",
                snapshot.projection
            ),
        ));
    }
    plan.drop(snapshot, found, ActionKind::GenerationDropped);
    Ok(plan)
}

/// Drops what is no longer needed: what an interrupted drop has left, comparisons
/// that nobody attends to, and the retired generations of each projection but the
/// `keep` that were retired last. One that somebody wants back stays.
pub(super) fn tidy(snapshots: &[Snapshot], keep: usize) -> Plan {
    let mut doomed: Vec<(&Snapshot, &Registered)> = Vec::new();
    for snapshot in snapshots {
        let mut resting: Vec<&Registered> = Vec::new();
        for generation in &snapshot.generations {
            let standing = &generation.standing;
            match standing.state {
                GenerationState::Dropped => doomed.push((snapshot, generation)),
                GenerationState::Retired if standing.goal == Goal::Rest => resting.push(generation),
                _ if is_unattended(generation, snapshot.now) => doomed.push((snapshot, generation)),
                _ => {}
            }
        }
        resting.sort_by_key(|generation| Reverse((generation.standing.retired_at, generation.id)));
        doomed.extend(resting.into_iter().skip(keep).map(|old| (snapshot, old)));
    }
    doomed.sort_by_key(|(_, generation)| generation.id);
    let mut plan = Plan::default();
    for (snapshot, generation) in doomed {
        plan.drop(snapshot, generation, ActionKind::Tidied);
    }
    plan
}

fn is_unattended(generation: &Registered, now: i64) -> bool {
    generation.is_built()
        && generation.standing.goal == Goal::Compare
        && generation.attended_until.is_some_and(|until| until < now)
}
