//! Remove: a projection, or its candidate, stops.

use serde::Serialize;

use super::{OperationError, Operations};
use crate::generation::GenerationId;
use crate::registry::Registry as _;

/// Stops a projection, or a part of it.
#[derive(Clone, Debug)]
pub struct Remove {
    /// The projection.
    pub name: String,
    /// What goes.
    pub part: RemovedPart,
}

/// What goes of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedPart {
    /// The generation that is being built.
    Candidate,
    /// The work on it; its tables and views stay, and `gnomon resume` brings it
    /// back.
    Work,
    /// Everything that it has, its tables and views too.
    Everything {
        /// Whether views of users that depend on its views go too.
        cascade: bool,
    },
}

/// What is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Removed {
    /// The projection.
    pub name: String,
    /// `removed`, `dropped` or `candidate dropped`.
    pub done: &'static str,
    /// The candidate; null if it was not that.
    pub generation: Option<GenerationId>,
}

impl Remove {
    /// Removes it.
    ///
    /// # Errors
    /// If it is not there, or if views of users stand in the way.
    pub async fn run(self, operations: &Operations) -> Result<Removed, OperationError> {
        let name = self.name;
        let own = operations.generations(&name).await?;
        let registry = operations.registry();
        let mut generation = None;
        let done = match self.part {
            RemovedPart::Candidate => {
                let candidate = own
                    .candidate()
                    .ok_or_else(|| OperationError::NotFound(format!("{name} has no candidate")))?;
                registry.drop_generation(candidate.id).await?;
                generation = Some(candidate.id);
                "candidate dropped"
            }
            RemovedPart::Everything { cascade } => {
                registry.drop_projection(&name, cascade).await?;
                "dropped"
            }
            RemovedPart::Work => {
                registry.remove(&name).await?;
                "removed"
            }
        };
        Ok(Removed {
            name,
            done,
            generation,
        })
    }
}
