//! The sentences for what the registry refuses.

use crate::generation::{GenerationId, GenerationState, Goal, ModuleHash};
use crate::storage_error::{StorageError, StorageErrorKind};

pub(crate) fn unknown_projection(projection: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!("there is no projection `{projection}`; `gnomon status` lists all"),
    )
}

/// The same for one that was dropped.
pub(crate) fn dropped_projection(projection: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "`{projection}` was dropped with all that it had, so there is nothing to act on; \
             `gnomon deploy FILE` builds it again, and so does writing its file again \
             into the projections directory"
        ),
    )
}

/// The same for one that was removed, and whose tables are kept.
pub(crate) fn removed_projection(projection: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "`{projection}` was removed, so no host runs it; `gnomon resume {projection}` brings it \
             back"
        ),
    )
}

pub(crate) fn unknown_module(module: &ModuleHash) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "module {} is not in the registry; add it first",
            module.short()
        ),
    )
}

/// The lease is gone, or the checkpoint is not the expected one.
pub(crate) fn fenced(generation: GenerationId) -> StorageError {
    StorageError::new(
        StorageErrorKind::Fenced,
        format!(
            "generation {generation} is no longer ours: another host took it, or it was dropped"
        ),
    )
}

/// Refuses a new generation that was decided upon before another one came.
pub(crate) fn check_newest(
    projection: &str,
    known: Option<GenerationId>,
    found: Option<GenerationId>,
) -> Result<(), StorageError> {
    if known == found {
        return Ok(());
    }
    Err(StorageError::new(
        StorageErrorKind::Retry,
        format!("another host deployed `{projection}` at the same time"),
    ))
}

/// A generation that is gone, or never was.
pub(crate) fn unknown_generation(generation: GenerationId) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!("there is no generation {generation}; it was dropped, or never made"),
    )
}

/// Whether a generation in this state can have this goal: a candidate any, a
/// retired one promotion or rest, and any other none.
pub(crate) fn check_goal(
    generation: GenerationId,
    state: GenerationState,
    before: Goal,
    goal: Goal,
) -> Result<(), StorageError> {
    let reason = match (state, before, goal) {
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

/// The command that promotes a generation in this state.
pub(crate) const fn promoting(state: GenerationState) -> &'static str {
    match state {
        GenerationState::Retired => "rollback",
        _ => "promote",
    }
}

/// Why a candidate that was to be promoted is held: somebody wants to go back
/// to an earlier generation.
pub(crate) fn overtaken_by(projection: &str, rollback: GenerationId) -> String {
    format!(
        "a rollback to generation {rollback} was asked for since; `gnomon promote {projection}` \
         promotes this one after all"
    )
}

/// Why a candidate is not promoted by itself that parked events which the live
/// generation did not: so many, from this position on. `None` if it parked none.
pub(crate) fn parked_alone(projection: &str, events: i64, first: Option<i64>) -> Option<String> {
    let first = first?;
    let wait = match events {
        1 => format!(
            "1 event waits in its dead-letter table that does not wait in that of the live \
             generation, at position {first}"
        ),
        _ => format!(
            "{events} events wait in its dead-letter table that do not wait in that of the live \
             generation, the first of them at position {first}"
        ),
    };
    Some(format!(
        "{wait}; `gnomon dead-letters list {projection} --candidate` shows what waits, `gnomon diff \
         {projection}` the rows, and `gnomon promote {projection}` promotes it all the same"
    ))
}
