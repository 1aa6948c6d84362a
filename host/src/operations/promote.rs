//! Promote: readers see the candidate.

use super::{OperationError, Operations, SwitchRequest};

/// Makes the candidate of a projection the live generation when it has caught up.
#[derive(Clone, Debug)]
pub struct Promote {
    /// The projection.
    pub name: String,
    /// Whether to drop views of users that depend on columns which the candidate
    /// lacks.
    pub cascade: bool,
}

impl Promote {
    /// Requests it.
    ///
    /// # Errors
    /// If there is no candidate.
    pub async fn request(&self, operations: &Operations) -> Result<SwitchRequest, OperationError> {
        let name = &self.name;
        let own = operations.generations(name).await?;
        let candidate = own.candidate().ok_or_else(|| {
            OperationError::NotFound(format!(
                "{name} has no candidate; `gnomon rebuild {name}` or `gnomon deploy` creates one"
            ))
        })?;
        SwitchRequest::make(operations, &own, candidate, self.cascade).await
    }
}
