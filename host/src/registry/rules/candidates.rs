//! New generations, and what is wanted of those that are not live.

use super::plan::{Change, Plan, PlannedAction};
use super::promotion::end_rollbacks;
use super::snapshot::{Registered, Snapshot, Wish};
use crate::generation::{GenerationId, GenerationState, Goal, ModuleHash, Obstacle, ObstacleKind};
use crate::registry::actions::ActionKind;
use crate::registry::refusal::{removed_projection, unknown_generation};
use crate::registry::request::Creation;
use crate::storage_error::{StorageError, StorageErrorKind};

/// How long a comparison is kept before anybody has attended to it, in
/// microseconds.
const UNATTENDED_MICROSECONDS: i64 = 60_000_000;

/// A new generation. The projection is registered with its first one, and comes
/// back if it was removed. Candidates make room for a candidate, comparisons for
/// a comparison. One that is to be promoted ends the rollbacks that were wanted.
pub(super) fn create(snapshot: &Snapshot, new: &Creation) -> Result<Plan, StorageError> {
    let is_comparison = new.goal == Goal::Compare;
    if new.newest != snapshot.newest() {
        return Err(StorageError::new(
            StorageErrorKind::Retry,
            format!(
                "another host deployed `{}` at the same time",
                new.projection
            ),
        ));
    }
    let is_removed = snapshot.wish == Some(Wish::Removed);
    if is_comparison && is_removed {
        return Err(removed_projection(&new.projection));
    }
    let mut plan = Plan::default();
    if snapshot.wish.is_none() || is_removed {
        plan.changes.push(Change::Want(Wish::Running));
    }
    if snapshot.was_dropped {
        plan.changes.push(Change::NoteDropped(false));
    }
    let replaced = snapshot
        .generations
        .iter()
        .filter(|other| other.is_built())
        .filter(|other| (other.standing.goal == Goal::Compare) == is_comparison);
    let replaced: Vec<&Registered> = replaced.collect();
    for other in &replaced {
        plan.changes.push(Change::Drop(other.id));
        plan.actions.push(PlannedAction {
            detail: Some("replaced by a newer one".to_owned()),
            ..PlannedAction::to(snapshot, other, ActionKind::GenerationDropped)
        });
    }
    if new.goal.is_promotion() {
        plan.changes.extend(end_rollbacks(snapshot, None));
    }
    plan.changes.push(Change::Create {
        was_registered: snapshot.wish.is_some(),
        attended_until: is_comparison.then(|| snapshot.now.saturating_add(UNATTENDED_MICROSECONDS)),
    });
    plan.changes
        .extend(replaced.iter().map(|from| Change::MoveRequests {
            from: from.id,
            to: None,
        }));
    plan.actions.push(PlannedAction {
        position: new.until,
        module: Some(new.module.clone()),
        detail: (new.goal == Goal::Hold).then(|| "held".to_owned()),
        ..PlannedAction::on(snapshot, kind_of(snapshot, new))
    });
    Ok(plan)
}

fn kind_of(snapshot: &Snapshot, new: &Creation) -> ActionKind {
    let has_module = |known: &Registered| known.module == new.module;
    if new.goal == Goal::Compare {
        ActionKind::Compared
    } else if new.description.name != new.projection {
        ActionKind::Copied
    } else if snapshot.generations.iter().any(has_module) {
        ActionKind::Rebuilt
    } else {
        ActionKind::Deployed
    }
}

/// A hot reload: what halted is tried again.
pub(super) fn set_module(
    snapshot: &Snapshot,
    generations: &[GenerationId],
    module: &ModuleHash,
) -> Plan {
    let mut plan = Plan::default();
    for generation in generations.iter().filter_map(|id| snapshot.generation(*id)) {
        plan.changes.push(Change::SetModule {
            generation: generation.id,
            module: module.clone(),
        });
        plan.actions.push(PlannedAction {
            module: Some(module.clone()),
            ..PlannedAction::to(snapshot, generation, ActionKind::HotReloaded)
        });
    }
    if !plan.changes.is_empty() {
        plan.changes.push(Change::TryAgain);
    }
    plan
}

/// What is wanted of a generation that is not live, and forgets what was in the
/// way of its last promotion. A projection has one next live generation: who
/// wants a promotion ends those that were wanted before.
pub(super) fn set_goal(
    snapshot: &Snapshot,
    generation: GenerationId,
    goal: Goal,
) -> Result<Plan, StorageError> {
    let found = snapshot
        .generation(generation)
        .ok_or_else(|| unknown_generation(generation))?;
    check_goal(found, goal)?;
    let mut changes = vec![Change::put(found, |standing| {
        standing.goal = goal;
        standing.obstacle = None;
        standing.is_insisted = goal.is_promotion();
    })];
    if goal.is_promotion() {
        changes.extend(end_rollbacks(snapshot, Some(generation)));
        let others = snapshot.generations.iter();
        let others = others.filter(|other| other.id != generation && other.is_built());
        changes.extend(
            others
                .filter(|other| other.standing.goal.is_promotion())
                .map(|other| overtake(snapshot, other, generation)),
        );
    }
    let kind = match (found.standing.state, goal.is_promotion()) {
        (GenerationState::Retired, true) => ActionKind::RollbackRequested,
        (GenerationState::Retired, false) => ActionKind::RollbackCancelled,
        (_, true) => ActionKind::PromotionRequested,
        (_, false) => ActionKind::PromotionHeld,
    };
    Ok(Plan::of(changes, PlannedAction::to(snapshot, found, kind)))
}

/// Holds a candidate that was to be promoted, as another promotion is wanted
/// since.
fn overtake(snapshot: &Snapshot, held: &Registered, by: GenerationId) -> Change {
    let projection = &snapshot.projection;
    Change::put(held, |standing| {
        standing.goal = Goal::Hold;
        standing.obstacle = Some(Obstacle {
            kind: ObstacleKind::Overtaken,
            reason: format!(
                "a rollback to generation {by} was asked for since; `gnomon promote {projection}` \
                 promotes this one after all"
            ),
        });
    })
}

/// Whether a generation can have a goal: a candidate any, a retired one
/// promotion or rest, and any other none.
fn check_goal(found: &Registered, goal: Goal) -> Result<(), StorageError> {
    let generation = found.id;
    let reason = match (found.standing.state, found.standing.goal, goal) {
        (GenerationState::Building | GenerationState::Ready, Goal::Compare, _) => {
            "is built to be compared only"
        }
        (GenerationState::Building | GenerationState::Ready, ..)
        | (GenerationState::Retired, _, Goal::Rest | Goal::Promote | Goal::PromoteCascade) => {
            return Ok(());
        }
        (GenerationState::Retired, ..) => "is retired and can only rest or be promoted",
        (GenerationState::Live, ..) => "is live already",
        (GenerationState::Dropped, ..) => "was dropped",
    };
    Err(StorageError::new(
        StorageErrorKind::Refused,
        format!("generation {generation} {reason}"),
    ))
}
