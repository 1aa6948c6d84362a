//! Dead letters, and the decisions to leave events out.

use std::time::Instant;

use gnomon_model::Position;

use super::times::{BETWEEN_LEASES, LOOK, REQUEST_TIME_LIMIT};
use super::{OperationError, Operations};
use crate::dead_letter::{DeadLetter, PageLimits};
use crate::generation::{Generation, GenerationId, Generations};

mod discard;
mod retry;
mod skip;
mod skips;
mod unskip;

pub use discard::{Discard, DiscardOne, Discarded};
pub use retry::{Retried, Retry};
pub use skip::{RecordedSkip, Skip, Skipped};
pub use skips::Skips;
pub use unskip::{Unskip, Unskipped};

/// The dead letters of a generation, page by page.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    generation: GenerationId,
    /// How many there were at the start.
    count: u64,
    after: Position,
}

impl DeadLetters {
    /// Those of a projection: of the generation that stands for it, or of its
    /// candidate.
    ///
    /// # Errors
    /// If there is no such projection or candidate.
    pub async fn of(
        operations: &Operations,
        name: &str,
        of_candidate: bool,
    ) -> Result<Self, OperationError> {
        let own = operations.generations(name).await?;
        let generation = if of_candidate {
            let candidate = own.candidate();
            candidate.ok_or_else(|| OperationError::NotFound(format!("{name} has no candidate")))?
        } else {
            shown(&own)?
        };
        Ok(Self {
            generation: generation.id,
            count: generation.dead_letters,
            after: Position::START,
        })
    }

    /// How many there were at the start.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The next ones, in order; none at the end.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next(
        &mut self,
        operations: &Operations,
    ) -> Result<Vec<DeadLetter>, OperationError> {
        let page = operations
            .storage()
            .read_models
            .dead_letters(self.generation, self.after, PageLimits::USUAL)
            .await?;
        if let Some(last) = page.last() {
            self.after = last.event.position;
        }
        Ok(page)
    }
}

/// The generation that stands for a projection.
fn shown(own: &Generations) -> Result<&Generation, OperationError> {
    own.shown().ok_or_else(|| {
        OperationError::NotFound(format!(
            "{} has no generation; deploy a module for it first",
            own.projection()
        ))
    })
}

/// The projection whose decisions hold for a generation.
fn decided_by(generation: &Generation) -> &str {
    let own = &generation.projection;
    generation.copy_of.as_ref().unwrap_or(own)
}

/// The position in front of this one.
fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1)).unwrap_or(Position::START)
}

/// How many events were applied late meanwhile.
fn late_since(before: &Generation, after: &Generation) -> u64 {
    let earlier = match before.id == after.id {
        true => before.applied_late,
        false => 0,
    };
    after.applied_late.saturating_sub(earlier)
}

/// Waits until the hosts of a projection have done something; says whether they
/// have. If it has no host, there is nobody to wait for.
async fn wait_until(
    operations: &Operations,
    name: &str,
    is_done: impl AsyncFn(&Generations) -> Result<bool, OperationError>,
) -> Result<bool, OperationError> {
    let started = Instant::now();
    let mut without_lease: Option<Instant> = None;
    loop {
        let own = operations.generations(name).await?;
        if is_done(&own).await? {
            return Ok(true);
        }
        if own.iter().any(|generation| generation.host.is_some()) {
            without_lease = None;
        } else {
            let since = *without_lease.get_or_insert_with(Instant::now);
            if since.elapsed() >= BETWEEN_LEASES || !operations.has_host().await? {
                return Ok(false);
            }
        }
        if started.elapsed() >= REQUEST_TIME_LIMIT {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::operations::Patience;
    use crate::operations::tests::{NAME, operations};
    use crate::registry::HostNotes;

    #[tokio::test]
    async fn a_host_between_two_leases_is_waited_for_and_nobody_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let operations = operations(&directory, Patience::none()).await;
        let looks = async || {
            let looks = Cell::new(0);
            let is_done = wait_until(&operations, NAME, async |_| {
                looks.set(looks.get() + 1);
                Ok(looks.get() > 3)
            });
            (is_done.await.unwrap(), looks.get())
        };
        assert_eq!(looks().await, (false, 1));
        let notes = HostNotes::default();
        let long = Duration::from_secs(600);
        let registry = &operations.storage().registry;
        registry.announce("host", &notes, long).await.unwrap();
        assert_eq!(looks().await, (true, 4));
        // Not one that has nothing to do with the projection.
        let never = wait_until(&operations, NAME, async |_| Ok(false));
        assert!(!never.await.unwrap());
    }
}
