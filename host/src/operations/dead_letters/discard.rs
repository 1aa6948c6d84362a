//! Discard: events that wait are left out permanently.

use gnomon_model::{Position, readable};
use serde::Serialize;

use super::skip::{Skipped, decide, decision, waiting};
use super::{shown, wait_until};
use crate::dead_letter::{Decided, PageLimits};
use crate::generation::Generation;
use crate::operations::{OperationError, Operations};
use crate::registry::Registry as _;

/// Skips one event that waits.
#[derive(Clone, Debug)]
pub struct DiscardOne {
    /// The projection.
    pub name: String,
    /// The position of the event.
    pub position: Position,
    /// Why.
    pub reason: Option<String>,
    /// Who decides it.
    pub actor: String,
}

impl DiscardOne {
    /// Records the decision, and waits until hosts have carried it out.
    ///
    /// # Errors
    /// If the event does not wait.
    pub async fn run(self, operations: &Operations) -> Result<Skipped, OperationError> {
        let Self { name, position, .. } = self;
        let own = operations.generations(&name).await?;
        let event = waiting(operations, shown(&own)?, position).await?;
        let event = event.ok_or_else(|| {
            OperationError::NotFound(format!(
                "event {position} does not wait among the dead letters of {name}; `gnomon \
                 dead-letters skip {name} --position {position}` skips one that does not"
            ))
        })?;
        decide(operations, &own, decision(&event, self.reason, self.actor)).await
    }
}

/// Skips all events that wait, or those of one stream.
#[derive(Clone, Debug)]
pub struct Discard {
    /// The projection.
    pub name: String,
    /// Only those of this stream.
    pub stream: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Who decides it.
    pub actor: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Discarded {
    /// The projection.
    pub name: String,
    /// `discard`.
    pub action: &'static str,
    /// The stream, if it was only that one.
    pub stream: Option<String>,
    /// How many events are skipped.
    pub skipped: u64,
    /// Whether a host has done it.
    pub done: bool,
    /// How many dead letters still wait.
    pub dead_letters: u64,
}

impl Discard {
    /// Records the decisions, and waits until hosts have carried them out.
    ///
    /// # Errors
    /// If no event of the stream waits.
    pub async fn run(self, operations: &Operations) -> Result<Discarded, OperationError> {
        let Self { name, stream, .. } = self;
        let own = operations.generations(&name).await?;
        let before = shown(&own)?;
        let decided = Decided {
            actor: &self.actor,
            reason: self.reason.as_deref(),
        };
        let skipped = operations
            .registry()
            .skip_dead_letters(before.id, stream.as_deref(), decided)
            .await?;
        if let Some(stream) = &stream
            && skipped == 0
        {
            return Err(OperationError::NotFound(format!(
                "{name}: no event of stream {} waits; `gnomon dead-letters list {name}` shows those \
                 that do",
                readable::name(stream)
            )));
        }
        // Others may come to wait meanwhile, behind these.
        let done = wait_until(operations, &name, async |now| {
            let last = before.position;
            Ok(!waits_up_to(operations, shown(now)?, stream.as_deref(), last).await?)
        })
        .await?;
        let now = operations.generations(&name).await?;
        let dead_letters = shown(&now)?.dead_letters;
        Ok(Discarded {
            name,
            action: "discard",
            stream,
            skipped,
            done,
            dead_letters,
        })
    }
}

/// Whether an event of a stream, or of any, waits up to a position.
async fn waits_up_to(
    operations: &Operations,
    generation: &Generation,
    stream: Option<&str>,
    last: Position,
) -> Result<bool, OperationError> {
    let mut after = Position::START;
    loop {
        let page = operations
            .storage()
            .read_models
            .dead_letters(generation.id, after, PageLimits::USUAL)
            .await?;
        let Some(end) = page.last() else {
            return Ok(false);
        };
        after = end.event.position;
        let waits = page.iter().any(|letter| {
            letter.event.position <= last
                && stream.is_none_or(|stream| letter.event.stream_id == stream)
        });
        if waits || after >= last {
            return Ok(waits);
        }
    }
}
