//! What both databases share of the registry: its format, the reading of its
//! rows, and the sentences for what it refuses.

use std::path::Path;

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Description, Position};

use super::{Control, SeenLease, TargetError, TargetErrorKind};
use crate::generation::{
    Generation, GenerationId, GenerationState, Goal, ModuleHash, Obstacle, ObstacleKind, Rate,
    RunReport, RunState,
};

/// The format of the registry's tables. It grows with every change that an
/// older Gnomon would misread.
pub(super) const FORMAT: i64 = 3;

/// A generation as the columns of the registry give it.
pub(super) struct StoredGeneration {
    pub(super) id: i64,
    pub(super) projection: String,
    pub(super) module: String,
    pub(super) description: String,
    pub(super) state: String,
    pub(super) goal: String,
    pub(super) until: Option<i64>,
    pub(super) obstacle: Option<String>,
    pub(super) obstacle_kind: Option<String>,
    pub(super) is_removed: bool,
    /// Positions per second.
    pub(super) rate: Option<f64>,
    pub(super) event_rate: Option<f64>,
    /// Microseconds since the Unix epoch.
    pub(super) retired_at: Option<i64>,
    pub(super) run_state: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) checkpoint: String,
    pub(super) position: i64,
    pub(super) host: Option<String>,
    pub(super) dead_letters: i64,
    pub(super) applied_late: i64,
    pub(super) changed_skips: i64,
}

impl StoredGeneration {
    /// The generation, or what in its record cannot be read.
    pub(super) fn read(self) -> Result<Generation, TargetError> {
        let id = GenerationId::from_sql(self.id);
        let unreadable = |what: &str| unreadable(id, what);
        let report = match &self.run_state {
            None => None,
            Some(name) => Some(RunReport {
                state: RunState::from_name(name).ok_or_else(|| unreadable("run state"))?,
                cause: self.cause,
            }),
        };
        let obstacle = match self.obstacle {
            None => None,
            Some(reason) => Some(Obstacle {
                kind: (self.obstacle_kind.as_deref())
                    .and_then(ObstacleKind::from_name)
                    .ok_or_else(|| unreadable("kind of obstacle"))?,
                reason,
            }),
        };
        let mut description = read_description(&self.description)?;
        let named = std::mem::replace(&mut description.name, self.projection.clone());
        Ok(Generation {
            id,
            copy_of: (named != self.projection).then_some(named),
            projection: self.projection,
            module: ModuleHash::from_stored(self.module),
            description,
            state: GenerationState::from_name(&self.state).ok_or_else(|| unreadable("state"))?,
            goal: Goal::from_name(&self.goal).ok_or_else(|| unreadable("goal"))?,
            until: read_position(id, "end", self.until)?,
            obstacle,
            is_removed: self.is_removed,
            rate: (self.event_rate.zip(self.rate))
                .map(|(events, positions)| Rate { events, positions }),
            retired_at: self.retired_at,
            checkpoint: Checkpoint::from_stored(self.checkpoint),
            position: Position::from_sql(self.position).ok_or_else(|| unreadable("position"))?,
            report,
            dead_letters: u64::try_from(self.dead_letters).unwrap_or(0),
            applied_late: u64::try_from(self.applied_late).unwrap_or(0),
            changed_skips: u64::try_from(self.changed_skips).unwrap_or(0),
            host: self.host,
        })
    }
}

/// What users want of a generation, as the columns of the registry give it.
pub(super) struct StoredControl {
    pub(super) projection: String,
    pub(super) generation: i64,
    pub(super) module: String,
    pub(super) state: String,
    pub(super) goal: String,
    pub(super) until: Option<i64>,
    pub(super) stop_at: Option<i64>,
    pub(super) paused: bool,
    pub(super) resumes: i64,
    pub(super) requests: i64,
    pub(super) skips: i64,
    pub(super) lease: SeenLease,
}

impl StoredControl {
    /// The control, or what in its record cannot be read.
    pub(super) fn read(self) -> Result<Control, TargetError> {
        let generation = GenerationId::from_sql(self.generation);
        Ok(Control {
            projection: self.projection,
            generation,
            module: ModuleHash::from_stored(self.module),
            state: GenerationState::from_name(&self.state)
                .ok_or_else(|| unreadable(generation, "state"))?,
            goal: Goal::from_name(&self.goal).ok_or_else(|| unreadable(generation, "goal"))?,
            until: read_position(generation, "end", self.until)?,
            stop_at: read_position(generation, "end", self.stop_at)?,
            paused: self.paused,
            resumes: self.resumes,
            requests: self.requests,
            skips: self.skips,
            lease: self.lease,
        })
    }
}

fn read_position(
    generation: GenerationId,
    what: &str,
    stored: Option<i64>,
) -> Result<Option<Position>, TargetError> {
    stored
        .map(|stored| Position::from_sql(stored).ok_or_else(|| unreadable(generation, what)))
        .transpose()
}

fn unreadable(generation: GenerationId, what: &str) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!("generation {generation} has an unreadable {what} in the registry"),
    )
}

/// The description that was stored with a module.
pub(super) fn read_description(text: &str) -> Result<Description, TargetError> {
    serde_json::from_str(text).map_err(|error| {
        TargetError::caused(
            TargetErrorKind::Refused,
            "the registry holds a module description that cannot be read",
            error,
        )
    })
}

/// The text under which a description is stored.
pub(super) fn stored_description(description: &Description) -> Result<String, TargetError> {
    serde_json::to_string(description).map_err(|error| {
        TargetError::caused(
            TargetErrorKind::Refused,
            "the module's description cannot be stored",
            error,
        )
    })
}

/// Refuses a registry that would have to be brought up to date first, for those
/// who only look.
pub(super) fn check_is_current(format: i64, place: &str) -> Result<(), TargetError> {
    if format >= FORMAT {
        return check_format(format, place);
    }
    Err(TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "the registry in {place} is of an older Gnomon (format {format}, this one has {FORMAT}); \
             `gnomon run` or `gnomon deploy` brings it up to date"
        ),
    ))
}

/// Whether this Gnomon may use a registry of this format.
pub(super) fn check_format(format: i64, place: &str) -> Result<(), TargetError> {
    if format <= FORMAT {
        return Ok(());
    }
    Err(TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "{place} was written by a newer Gnomon (registry format {format}, this one reads up to \
             {FORMAT}); use that version"
        ),
    ))
}

pub(super) fn unknown_projection(projection: &str) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!("there is no projection `{projection}`; `gnomon status` lists all"),
    )
}

/// The same for one that was dropped.
pub(crate) fn dropped_projection(projection: &str) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "`{projection}` was dropped with all that it had, so there is nothing to act on; \
             `gnomon deploy FILE` builds it again, and so does writing its file again \
             into the projections directory"
        ),
    )
}

/// The same for one that was removed, and whose tables are kept.
pub(crate) fn removed_projection(projection: &str) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "`{projection}` was removed, so no host runs it; `gnomon resume {projection}` brings it \
             back"
        ),
    )
}

pub(super) fn unknown_module(module: &ModuleHash) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "module {} is not in the registry; add it first",
            module.short()
        ),
    )
}

/// The lease is gone, or the checkpoint is not the expected one.
pub(super) fn fenced(generation: GenerationId) -> TargetError {
    TargetError::new(
        TargetErrorKind::Fenced,
        format!(
            "generation {generation} is no longer ours: another host took it, or it was dropped"
        ),
    )
}

/// Refuses a new generation that was decided upon before another one came.
pub(super) fn check_newest(
    projection: &str,
    known: Option<GenerationId>,
    found: Option<GenerationId>,
) -> Result<(), TargetError> {
    if known == found {
        return Ok(());
    }
    Err(TargetError::new(
        TargetErrorKind::Retry,
        format!("another host deployed `{projection}` at the same time"),
    ))
}

/// A generation that is gone, or never was.
pub(super) fn unknown_generation(generation: GenerationId) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!("there is no generation {generation}; it was dropped, or never made"),
    )
}

/// Whether a generation in this state can have this goal: a candidate any, a
/// retired one promotion or rest, and any other none.
pub(super) fn check_goal(
    generation: GenerationId,
    state: GenerationState,
    before: Goal,
    goal: Goal,
) -> Result<(), TargetError> {
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
    Err(TargetError::new(
        TargetErrorKind::Refused,
        format!("generation {generation} {reason}"),
    ))
}

/// The command that promotes a generation in this state.
pub(super) const fn promoting(state: GenerationState) -> &'static str {
    match state {
        GenerationState::Retired => "rollback",
        _ => "promote",
    }
}

/// Why a candidate that was to be promoted is held: somebody wants to go back
/// to an earlier generation.
pub(super) fn overtaken_by(projection: &str, rollback: GenerationId) -> String {
    format!(
        "a rollback to generation {rollback} was asked for since; `gnomon promote {projection}` \
         promotes this one after all"
    )
}

/// Why a candidate is not promoted by itself that parked events which the live
/// generation did not: so many, from this position on. `None` if it parked none.
pub(super) fn parked_alone(projection: &str, events: i64, first: Option<i64>) -> Option<String> {
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

/// A file name for a message.
pub(super) fn shown(file: &Path) -> String {
    format!("`{}`", file.display())
}

/// A number that is not in the projection's description.
pub(super) fn unknown(what: &str, number: usize) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        format!("the projection declares no {what} number {number}"),
    )
}
