//! Rollback: readers see again what they saw before.

use serde::Serialize;

use super::overtaken::numbers;
use super::{OperationError, Operations, SwitchRequest};
use crate::generation::{GenerationId, Goal};
use crate::registry::Registry as _;

/// Makes the generation that was retired last the live one when it has caught up.
#[derive(Clone, Debug)]
pub struct Rollback {
    /// The projection.
    pub name: String,
    /// Whether to drop views of users that depend on columns which that generation
    /// lacks.
    pub cascade: bool,
}

impl Rollback {
    /// Requests it.
    ///
    /// # Errors
    /// If there is no retired generation.
    pub async fn request(&self, operations: &Operations) -> Result<SwitchRequest, OperationError> {
        let name = &self.name;
        let own = operations.generations(name).await?;
        let retired = own.retired().ok_or_else(|| {
            OperationError::NotFound(format!(
                "{name} has no retired generation to go back to; projections.keep-generations says \
                 how many are kept"
            ))
        })?;
        SwitchRequest::make(operations, &own, retired, self.cascade).await
    }
}

/// Cancels rollbacks that have not happened yet.
#[derive(Clone, Debug)]
pub struct CancelRollback {
    /// The projection.
    pub name: String,
}

/// Rollbacks that were cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CancelledRollbacks {
    /// The projection.
    pub name: String,
    /// The generations that readers do not go back to.
    pub cancelled: Vec<GenerationId>,
}

impl CancelRollback {
    /// Cancels them.
    ///
    /// # Errors
    /// If there is none.
    pub async fn run(self, operations: &Operations) -> Result<CancelledRollbacks, OperationError> {
        let name = self.name;
        let own = operations.generations(&name).await?;
        let cancelled = numbers(own.rollbacks());
        if cancelled.is_empty() {
            return Err(OperationError::NotFound(format!(
                "{name}: there is no rollback to cancel; `gnomon status {name}` shows what was asked \
                 for"
            )));
        }
        for generation in &cancelled {
            operations
                .registry()
                .set_goal(*generation, Goal::Rest)
                .await?;
        }
        Ok(CancelledRollbacks { name, cancelled })
    }
}
