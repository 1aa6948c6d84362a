//! Which events a projection skips.

use gnomon_model::Position;

use super::{RecordedSkip, decided_by, shown};
use crate::operations::{OperationError, Operations};
use crate::registry::Registry as _;

/// Skips that are read in one go.
const PAGE: usize = 500;

/// The decisions of a projection to skip events, page by page.
#[derive(Clone, Debug)]
pub struct Skips {
    decided_by: String,
    after: Position,
}

impl Skips {
    /// Those that hold for a projection.
    ///
    /// # Errors
    /// If there is no such projection.
    pub async fn of(operations: &Operations, name: &str) -> Result<Self, OperationError> {
        let own = operations.generations(name).await?;
        Ok(Self {
            decided_by: decided_by(shown(&own)?).to_owned(),
            after: Position::START,
        })
    }

    /// The next ones, in order; none at the end.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next(
        &mut self,
        operations: &Operations,
    ) -> Result<Vec<RecordedSkip>, OperationError> {
        let registry = operations.registry();
        let page = registry.skips(&self.decided_by, self.after, PAGE).await?;
        if let Some(last) = page.last() {
            self.after = last.position;
        }
        Ok(page.into_iter().map(RecordedSkip::from).collect())
    }
}
