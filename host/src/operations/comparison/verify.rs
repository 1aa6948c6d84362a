//! Verify: a rebuild beside the live generation.

use gnomon_event_store::source;

use super::{ComparedGenerations, compare};
use crate::generation::{Generation, Goal};
use crate::operations::patient::Patient;
use crate::operations::times::COMPARED_FOR;
use crate::operations::{OperationError, Operations, Patience, ensure_wanted};
use crate::read_models::Comparison;
use crate::registry::{NewGeneration, Registry as _};

/// Rebuilds a read model separately, and compares it with the live one.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The projection.
    pub name: String,
}

impl Verify {
    /// Rebuilds, compares, and drops what was rebuilt. If no host is there, this
    /// process does the work.
    ///
    /// # Errors
    /// If there is no live generation, or if the rebuild halts or takes too long.
    pub async fn run(self, operations: &Operations) -> Result<ComparedGenerations, OperationError> {
        let name = &self.name;
        let own = operations.generations(name).await?;
        ensure_wanted(&own)?;
        let live = own.live().ok_or_else(|| {
            OperationError::NotFound(format!("{name} has no live generation to verify"))
        })?;
        let module = operations.module(live).await?;
        let rebuilt = operations
            .registry()
            .create_generation(NewGeneration {
                projection: name,
                module: &module.hash,
                description: &module.description,
                goal: Goal::Compare,
                until: live.until,
                newest: own.newest(),
                start: &source::start(&operations.configuration.events),
            })
            .await?;
        let compared = attend_and_compare(operations, live, &rebuilt).await;
        // A host drops it later if this fails.
        let dropping = Patience::new(Some(COMPARED_FOR));
        let dropping = Patient::new(operations.storage().clone(), dropping);
        if let Err(error) = dropping.drop_generation(rebuilt.id).await {
            tracing::debug!("generation {} is dropped later: {error}", rebuilt.id);
        }
        Ok(ComparedGenerations {
            rebuilt: Some(rebuilt.id),
            ..ComparedGenerations::new(live, compared?)
        })
    }
}

async fn attend_and_compare(
    operations: &Operations,
    live: &Generation,
    rebuilt: &Generation,
) -> Result<Comparison, OperationError> {
    operations
        .registry()
        .attend(rebuilt.id, Some(live.position), COMPARED_FOR)
        .await?;
    compare(operations, live, rebuilt).await
}
