//! Comparisons of two generations, row by row.

use gnomon_model::Position;
use serde::Serialize;

use self::helper::Helper;
use self::meeting::Meeting;
use super::times::{COMPARED_FOR, HELP_LOOK};
use super::waiting::{Verdict, Waiting, ensure_it_moves};
use super::{OperationError, Operations};
use crate::generation::{Generation, GenerationId, GenerationState, Goal};
use crate::read_models::{Comparison, TableComparison};
use crate::registry::Registry as _;

mod diff;
mod helper;
mod meeting;
mod verify;

pub use diff::Diff;
pub use meeting::ComparisonError;
pub use verify::Verify;

/// Differing rows of each table that a result has.
const SAMPLES: usize = 20;

/// Two generations of a projection, compared at one position.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ComparedGenerations {
    /// The projection.
    pub name: String,
    /// The live generation: the left side.
    pub live: GenerationId,
    /// The candidate, if that is the right side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<GenerationId>,
    /// The rebuilt generation, if that is the right side. It is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<GenerationId>,
    /// Whether all rows are the same.
    pub equal: bool,
    /// Where both stood.
    pub position: Position,
    /// Events that a retry applied to the live one out of the global order.
    pub applied_late: u64,
    /// Decisions to skip an event that came too late for the live one.
    pub changed_skips: u64,
    /// One entry for each table that either has, by name.
    pub tables: Vec<TableComparison>,
    /// Why the live one may differ without any drift, as sentences.
    #[serde(skip)]
    pub deviations: Vec<String>,
}

impl ComparedGenerations {
    fn new(live: &Generation, comparison: Comparison) -> Self {
        Self {
            name: live.projection.clone(),
            live: live.id,
            candidate: None,
            rebuilt: None,
            equal: comparison.is_equal(),
            position: comparison.position,
            applied_late: live.applied_late,
            changed_skips: live.changed_skips,
            tables: comparison.tables,
            deviations: live.deviations(),
        }
    }
}

/// Compares the two, and does what a host would do if none is there, or if the one
/// that is there goes away meanwhile.
async fn compare(
    operations: &Operations,
    live: &Generation,
    other: &Generation,
) -> Result<Comparison, OperationError> {
    let time_is_up = operations.patience().end();
    tokio::pin!(time_is_up);
    let both = [live.id, other.id];
    let mut helper = Helper::start_if_needed(operations, &both).await?;
    loop {
        let nobody_else_works = helper.is_some();
        let compared = tokio::select! {
            compared = meet(operations, live, other, nobody_else_works) => Some(compared),
            () = all_hosts_gone(operations), if !nobody_else_works => None,
            () = &mut time_is_up => Some(Err(OperationError::TimedOut(format!(
                "{}: generations {} and {} were not compared within {:?}",
                live.projection,
                live.id,
                other.id,
                operations.patience().limit().unwrap_or_default()
            )))),
        };
        if let Some(compared) = compared {
            Helper::stop(helper).await;
            return compared;
        }
        helper = Helper::start_if_needed(operations, &both).await?;
    }
}

/// Waits until no host is there any more.
async fn all_hosts_gone(operations: &Operations) {
    // A database that is out of reach says nothing about hosts.
    while operations.has_host().await.unwrap_or(true) {
        tokio::time::sleep(HELP_LOOK).await;
    }
}

/// Brings the second generation to where the first is, and compares them.
async fn meet(
    operations: &Operations,
    live: &Generation,
    other: &Generation,
    nobody_else_works: bool,
) -> Result<Comparison, OperationError> {
    let is_apart = other.goal == Goal::Compare;
    // If nobody moves the live one, the other must not go past it.
    let stop_at = (is_apart || nobody_else_works).then_some(live.position);
    wait_for_build(operations, live.position, other, stop_at).await?;
    if stop_at.is_some() && !nobody_else_works {
        // The live one may have gone on meanwhile; this one follows.
        let registry = operations.registry();
        registry.attend(other.id, None, COMPARED_FOR).await?;
    }
    // The times of a meeting are not those of an outage, so it begins again.
    let meeting = Meeting::new(operations.storage().clone(), live.id, other.id);
    operations
        .patience()
        .ask(async || meeting.compare(SAMPLES).await)
        .await
}

/// Waits until a generation has got as far as the live one was.
async fn wait_for_build(
    operations: &Operations,
    goal: Position,
    other: &Generation,
    stop_at: Option<Position>,
) -> Result<(), OperationError> {
    let name = &other.projection;
    let waiting = Waiting {
        operations,
        generation: other.id,
        projection: name,
        goal,
        needs_host: false,
    };
    let attending = async {
        loop {
            if stop_at.is_some() {
                let registry = operations.registry();
                registry.attend(other.id, stop_at, COMPARED_FOR).await?;
            }
            tokio::time::sleep(COMPARED_FOR / 4).await;
        }
        #[expect(unreachable_code, reason = "gives the loop its type")]
        Ok::<(), OperationError>(())
    };
    let built = waiting.wait(|found| {
        let found = found.ok_or_else(|| {
            OperationError::NotPossible(format!(
                "{name}: generation {} was dropped meanwhile",
                other.id
            ))
        })?;
        if found.state == GenerationState::Live {
            return Err(OperationError::NotPossible(format!(
                "{name}: generation {} was promoted meanwhile; deploy or rebuild with --hold to \
                 compare first",
                other.id
            )));
        }
        ensure_it_moves(found)?;
        Ok(if found.position >= goal {
            Verdict::Over(())
        } else {
            Verdict::NotYet
        })
    });
    tokio::select! {
        built = built => built,
        attended = attending => attended,
    }
}
