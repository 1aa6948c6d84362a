//! Diff: the candidate beside the live generation.

use super::{ComparedGenerations, compare};
use crate::operations::{OperationError, Operations, ensure_wanted};

/// Compares the candidate of a projection with the live generation.
#[derive(Clone, Debug)]
pub struct Diff {
    /// The projection.
    pub name: String,
}

impl Diff {
    /// Waits for a candidate that is being built, and compares both at one
    /// position.
    ///
    /// # Errors
    /// If there are no two generations to compare, or not in time.
    pub async fn run(self, operations: &Operations) -> Result<ComparedGenerations, OperationError> {
        let name = &self.name;
        let own = operations.generations(name).await?;
        ensure_wanted(&own)?;
        let candidate = own.candidate().ok_or_else(|| {
            OperationError::NotFound(format!(
                "{name} has no candidate; `gnomon rebuild {name} --hold` or `gnomon deploy --hold` \
                 creates one"
            ))
        })?;
        let live = own.live().ok_or_else(|| {
            OperationError::NotFound(format!("{name} has no live generation to compare with"))
        })?;
        let comparison = compare(operations, live, candidate).await?;
        Ok(ComparedGenerations {
            candidate: Some(candidate.id),
            ..ComparedGenerations::new(live, comparison)
        })
    }
}
