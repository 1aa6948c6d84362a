//! What both databases share of the registry: its format, the reading of its
//! rows, and the sentences for what it refuses.

use std::path::Path;

use gnomon_model::{Description, Position};

use super::{TargetError, TargetErrorKind};
use crate::generation::{
    Generation, GenerationId, GenerationState, ModuleHash, RunReport, RunState,
};
use crate::source::Checkpoint;

/// The format of the registry's tables. It grows with every change that an
/// older Gnomon would misread.
pub(super) const FORMAT: i64 = 1;

/// A generation as the columns of the registry give it.
pub(super) struct StoredGeneration {
    pub(super) id: i64,
    pub(super) projection: String,
    pub(super) module: String,
    pub(super) description: String,
    pub(super) state: String,
    pub(super) run_state: Option<String>,
    pub(super) cause: Option<String>,
    pub(super) checkpoint: String,
    pub(super) position: i64,
    pub(super) host: Option<String>,
    pub(super) dead_letters: i64,
}

impl StoredGeneration {
    /// The generation, or what in its record cannot be read.
    pub(super) fn read(self) -> Result<Generation, TargetError> {
        let id = GenerationId::from_sql(self.id);
        let unreadable = |what: &str| {
            TargetError::new(
                TargetErrorKind::Refused,
                format!("generation {id} has an unreadable {what} in the registry"),
            )
        };
        let report = match &self.run_state {
            None => None,
            Some(name) => Some(RunReport {
                state: RunState::from_name(name).ok_or_else(|| unreadable("run state"))?,
                cause: self.cause,
            }),
        };
        Ok(Generation {
            id,
            projection: self.projection,
            module: ModuleHash::from_stored(self.module),
            description: read_description(&self.description)?,
            state: GenerationState::from_name(&self.state).ok_or_else(|| unreadable("state"))?,
            checkpoint: Checkpoint::from_stored(self.checkpoint),
            position: Position::from_sql(self.position).ok_or_else(|| unreadable("position"))?,
            report,
            dead_letters: u64::try_from(self.dead_letters).unwrap_or(0),
            host: self.host,
        })
    }
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

/// A generation in a state from which it cannot become the live one.
pub(super) fn not_promotable(generation: GenerationId, state: Option<&str>) -> TargetError {
    TargetError::new(
        TargetErrorKind::Refused,
        match state {
            Some(state) => format!("generation {generation} is {state} and cannot be promoted"),
            None => format!("there is no generation {generation}"),
        },
    )
}

/// Which of another projection's tables has this name, if any has.
pub(super) fn other_owner<'a>(others: &'a [(String, Description)], table: &str) -> Option<&'a str> {
    others
        .iter()
        .find(|(_, description)| description.table(table).is_some())
        .map(|(projection, _)| projection.as_str())
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
