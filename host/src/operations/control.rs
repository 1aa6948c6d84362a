//! Pause and resume: what is wanted of a projection as a whole.

use serde::Serialize;

use super::{OperationError, Operations};
use crate::registry::Registry as _;

/// Makes a projection stand still. Readers still see its rows.
#[derive(Clone, Debug)]
pub struct Pause {
    /// The projection.
    pub name: String,
}

/// Lets a projection continue that is paused, was removed, or has halted.
#[derive(Clone, Debug)]
pub struct Resume {
    /// The projection.
    pub name: String,
    /// Whether to take the event store as it is now for the right one: the rows
    /// stay as they are.
    pub accept_history: bool,
}

/// What is wanted of a projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DesiredState {
    /// The projection.
    pub name: String,
    /// `running` or `paused`.
    pub desired_state: &'static str,
    /// Dead letters that are events of the event store as it was before its
    /// history was accepted.
    #[serde(skip)]
    pub stale_dead_letters: u64,
}

impl Pause {
    /// Requests it.
    ///
    /// # Errors
    /// If the projection was removed.
    pub async fn run(self, operations: &Operations) -> Result<DesiredState, OperationError> {
        let name = self.name;
        let own = operations.generations(&name).await?;
        if own.is_removed() {
            return Err(OperationError::NotPossible(format!(
                "{name} was removed, so it stands still already; `gnomon resume {name}` brings it \
                 back"
            )));
        }
        operations.registry().pause(&name).await?;
        Ok(DesiredState {
            name,
            desired_state: "paused",
            stale_dead_letters: 0,
        })
    }
}

impl Resume {
    /// Requests it.
    ///
    /// # Errors
    /// If there is no such projection.
    pub async fn run(self, operations: &Operations) -> Result<DesiredState, OperationError> {
        let name = self.name;
        let own = operations.generations(&name).await?;
        let mut stale_dead_letters = 0;
        if self.accept_history {
            operations.registry().accept_history(&name).await?;
            stale_dead_letters = own.iter().map(|generation| generation.dead_letters).sum();
        } else {
            operations.registry().resume(&name).await?;
        }
        Ok(DesiredState {
            name,
            desired_state: "running",
            stale_dead_letters,
        })
    }
}
