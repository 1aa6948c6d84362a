//! Unskip: a decision to leave an event out is taken back.

use gnomon_model::Position;
use serde::Serialize;

use super::{decided_by, shown};
use crate::operations::{OperationError, Operations};
use crate::registry::Registry as _;

/// Takes the decision to skip an event back.
#[derive(Clone, Debug)]
pub struct Unskip {
    /// The projection.
    pub name: String,
    /// The position of the event.
    pub position: Position,
}

/// A decision that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unskipped {
    /// The projection.
    pub name: String,
    /// The position of the event.
    pub global_position: Position,
    /// Whether the generation that readers see has left the event out, so that
    /// only a rebuild applies it.
    pub rebuild_needed: bool,
}

impl Unskip {
    /// Takes it back.
    ///
    /// # Errors
    /// If the projection does not skip the event.
    pub async fn run(self, operations: &Operations) -> Result<Unskipped, OperationError> {
        let Self { name, position } = self;
        let own = operations.generations(&name).await?;
        let shown = shown(&own)?;
        let registry = operations.registry();
        if !registry.unskip(decided_by(shown), position).await? {
            return Err(OperationError::NotFound(format!(
                "{name} does not skip event {position}; `gnomon dead-letters skips {name}` shows \
                 what it skips"
            )));
        }
        let rebuild_needed = shown.position >= position;
        Ok(Unskipped {
            name,
            global_position: position,
            rebuild_needed,
        })
    }
}
