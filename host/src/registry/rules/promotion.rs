//! Which generation readers see.

use super::plan::{Change, Plan, PlannedAction};
use super::snapshot::{Contest, Registered, Snapshot, Wish};
use crate::generation::{GenerationId, GenerationState, Goal, Obstacle, ObstacleKind};
use crate::registry::Promotion;
use crate::registry::actions::ActionKind;

/// Makes a generation the live one, if that is wanted and it can be. The one
/// that was live is retired, and takes over nothing: what was asked of its dead
/// letters is asked of the new one. Other rollbacks that were wanted are over.
pub(super) fn promote(snapshot: &Snapshot, generation: GenerationId) -> Plan {
    let Some(candidate) = snapshot
        .generation(generation)
        .filter(|_| snapshot.wish != Some(Wish::Removed))
    else {
        return Plan::answer(Promotion::NotWanted);
    };
    match candidate.standing.state {
        GenerationState::Live => return Plan::answer(Promotion::Done),
        GenerationState::Dropped => return Plan::answer(Promotion::NotWanted),
        _ if !candidate.standing.goal.is_promotion() => {
            return Plan::answer(Promotion::NotWanted);
        }
        _ => {}
    }
    let live = snapshot.live();
    if live.is_some()
        && let Some(contest) = &snapshot.contest
    {
        if is_behind(candidate, contest) {
            return Plan::answer(Promotion::Behind);
        }
        if let Some(reason) = parked_alone(snapshot, candidate, contest) {
            return give_up(snapshot, generation, reason);
        }
    }
    let mut changes = Vec::new();
    if let Some(live) = live {
        changes.push(Change::put(live, |standing| {
            standing.state = GenerationState::Retired;
            standing.goal = Goal::Rest;
            standing.retired_at = Some(snapshot.now);
        }));
        changes.push(Change::MoveRequests {
            from: live.id,
            to: Some(generation),
        });
    }
    changes.push(Change::put(candidate, |standing| {
        standing.state = GenerationState::Live;
        standing.goal = Goal::Rest;
        standing.obstacle = None;
        standing.retired_at = None;
    }));
    changes.extend(end_rollbacks(snapshot, Some(generation)));
    // Last, because readers wait from here on.
    changes.push(Change::Show {
        generation,
        instead_of: live.map(|live| live.id),
        cascade: candidate.standing.goal == Goal::PromoteCascade,
        command: match candidate.standing.state {
            GenerationState::Retired => "rollback",
            _ => "promote",
        },
    });
    let kind = match candidate.standing.state {
        GenerationState::Retired => ActionKind::RolledBack,
        _ => ActionKind::Promoted,
    };
    let action = PlannedAction {
        position: snapshot.contest.and_then(|contest| contest.candidate),
        ..PlannedAction::to(snapshot, candidate, kind)
    };
    Plan {
        promotion: Some(Promotion::Done),
        ..Plan::of(changes, action)
    }
}

/// The live generation that a candidate would replace, if it is one that
/// somebody wants: how the two compare has to be known then.
pub(crate) fn contender(snapshot: &Snapshot, candidate: GenerationId) -> Option<GenerationId> {
    let is_wanted = |found: &Registered| found.standing.goal.is_promotion();
    snapshot
        .generation(candidate)
        .filter(|found| is_wanted(found))?;
    snapshot.live().map(|live| live.id)
}

/// Records why a generation is not promoted. Whoever wants it has to say so
/// again.
pub(crate) fn give_up(snapshot: &Snapshot, generation: GenerationId, reason: String) -> Plan {
    let candidate = snapshot.generation(generation);
    let put = candidate.map(|candidate| {
        Change::put(candidate, |standing| {
            standing.goal = match standing.state {
                GenerationState::Retired => Goal::Rest,
                _ => Goal::Hold,
            };
            standing.obstacle = Some(Obstacle {
                kind: ObstacleKind::Refused,
                reason: reason.clone(),
            });
        })
    });
    let refusal = candidate.map(|candidate| PlannedAction {
        detail: Some(reason.clone()),
        ..PlannedAction::to(snapshot, candidate, ActionKind::PromotionRefused)
    });
    Plan {
        changes: put.into_iter().collect(),
        actions: refusal.into_iter().collect(),
        promotion: Some(Promotion::Refused(reason)),
        ..Plan::default()
    }
}

/// Ends the rollbacks that are wanted, but for the one to this generation.
pub(super) fn end_rollbacks(
    snapshot: &Snapshot,
    except: Option<GenerationId>,
) -> impl Iterator<Item = Change> {
    snapshot
        .generations
        .iter()
        .filter(move |other| Some(other.id) != except)
        .filter(|other| other.standing.state == GenerationState::Retired)
        .filter(|other| other.standing.goal != Goal::Rest)
        .map(|other| {
            Change::put(other, |standing| {
                standing.goal = Goal::Rest;
                standing.obstacle = None;
            })
        })
}

/// Whether readers would see the read model go back. A copy, and one that ends
/// at a position, show an earlier time on purpose.
fn is_behind(candidate: &Registered, contest: &Contest) -> bool {
    // A live one that has read what the store has lost can be any distance ahead.
    !candidate.has_end && !candidate.is_copy && contest.candidate < contest.live
}

/// Why a candidate is not promoted by itself that parked events which the live
/// generation did not. Somebody who asked for it by name wants it all the same,
/// and a retired one was seen before.
fn parked_alone(snapshot: &Snapshot, candidate: &Registered, contest: &Contest) -> Option<String> {
    let may_have_parked =
        candidate.standing.is_insisted || candidate.standing.state == GenerationState::Retired;
    let first = contest.first_parked_alone.filter(|_| !may_have_parked)?;
    let projection = &snapshot.projection;
    let wait = match contest.parked_alone {
        1 => format!(
            "1 event waits in its dead-letter table that does not wait in that of the live \
             generation, at position {first}"
        ),
        events => format!(
            "{events} events wait in its dead-letter table that do not wait in that of the live \
             generation, the first of them at position {first}"
        ),
    };
    Some(format!(
        "{wait}; `gnomon dead-letters list {projection} --candidate` shows what waits, `gnomon diff \
         {projection}` the rows, and `gnomon promote {projection}` promotes it all the same"
    ))
}
