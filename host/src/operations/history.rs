//! What users and hosts have done to projections.

use gnomon_event_store::format_timestamp;
use gnomon_model::Position;
use serde::Serialize;

use super::{OperationError, Operations};
use crate::generation::{GenerationId, ModuleHash};
use crate::registry::{Action, Registry as _};

/// Reads the newest actions.
#[derive(Clone, Debug)]
pub struct History {
    /// Only those on this projection.
    pub name: Option<String>,
    /// How many at most.
    pub limit: usize,
}

/// Something that a user or a host did to a projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordedAction {
    /// When.
    pub at: String,
    /// The user and the machine, or the host.
    pub actor: String,
    /// What.
    pub action: String,
    /// The projection.
    pub projection: String,
    /// The generation, if it was one.
    pub generation: Option<GenerationId>,
    /// The position of the event, or that of the generation.
    pub position: Option<Position>,
    /// The module of the generation.
    pub module: Option<ModuleHash>,
    /// Why, or what else there is to know.
    pub detail: Option<String>,
}

impl History {
    /// Reads them; the newest is last.
    ///
    /// # Errors
    /// If there has never been such a projection.
    pub async fn run(self, operations: &Operations) -> Result<Vec<RecordedAction>, OperationError> {
        let name = self.name.as_deref();
        let actions = operations.registry().actions(name, self.limit).await?;
        if let Some(name) = name
            && actions.is_empty()
            && self.limit > 0
        {
            // One of before actions were recorded has none.
            operations.generations(name).await?;
        }
        Ok(actions.into_iter().map(RecordedAction::from).collect())
    }
}

impl From<Action> for RecordedAction {
    fn from(action: Action) -> Self {
        Self {
            at: format_timestamp(action.at),
            actor: action.actor,
            action: action.kind,
            projection: action.projection,
            generation: action.generation,
            position: action.position,
            module: action.module,
            detail: action.detail,
        }
    }
}
