//! Retry: dead letters are applied again.

use serde::Serialize;

use super::{late_since, shown, wait_until};
use crate::operations::{OperationError, Operations};
use crate::registry::Registry as _;

/// Applies the dead letters of a projection again, with the code of its module
/// today.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The projection.
    pub name: String,
    /// Only those of this stream.
    pub stream: Option<String>,
}

/// What came of a retry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retried {
    /// The projection.
    pub name: String,
    /// `retry`.
    pub action: &'static str,
    /// The stream, if it was only that one.
    pub stream: Option<String>,
    /// Whether a host has done it.
    pub done: bool,
    /// How many still wait.
    pub dead_letters: u64,
    /// How many waited before.
    #[serde(skip)]
    pub dead_letters_before: u64,
    /// Events that were applied out of the global order.
    pub applied_late: u64,
}

impl Retry {
    /// Requests it, and waits until a host has done it.
    ///
    /// # Errors
    /// If there is no such projection.
    pub async fn run(self, operations: &Operations) -> Result<Retried, OperationError> {
        let Self { name, stream } = self;
        let own = operations.generations(&name).await?;
        let before = shown(&own)?;
        let registry = operations.registry();
        registry.request_retry(before.id, stream.as_deref()).await?;
        let done = wait_until(operations, &name, async |_| {
            let controls = registry.controls().await?;
            let waits = controls
                .iter()
                .any(|control| control.projection == name && control.requests > 0);
            Ok(!waits)
        })
        .await?;
        let own = operations.generations(&name).await?;
        let after = shown(&own)?;
        Ok(Retried {
            name,
            action: "retry",
            stream,
            done,
            dead_letters: after.dead_letters,
            dead_letters_before: before.dead_letters,
            applied_late: late_since(before, after),
        })
    }
}
