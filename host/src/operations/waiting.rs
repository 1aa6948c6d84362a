//! Waiting for what hosts do.

use std::time::Instant;

use gnomon_model::Position;

use super::progress::{Moving, Progress};
use super::times::{HOST_COMES, HOST_LOOK, LOOK};
use super::{OperationError, Operations, status};
use crate::generation::{Generation, GenerationId, GenerationState, RunState};
use crate::registry::Registry as _;

/// What becomes of a generation that is waited for.
pub(super) enum Verdict<T> {
    /// This; the wait is over.
    Over(T),
    /// The wait continues.
    NotYet,
}

/// A generation that is waited for.
pub(super) struct Waiting<'a> {
    pub(super) operations: &'a Operations,
    pub(super) generation: GenerationId,
    pub(super) projection: &'a str,
    /// Where it is going.
    pub(super) goal: Position,
    /// Whether a host has to do the work, rather than the caller, which then
    /// looks at the time itself.
    pub(super) needs_host: bool,
}

impl Waiting<'_> {
    /// Waits for `judge` to say that it is over. It is given `None` when the
    /// generation is gone.
    pub(super) async fn wait<T>(
        &self,
        mut judge: impl FnMut(Option<&Generation>) -> Result<Verdict<T>, OperationError>,
    ) -> Result<T, OperationError> {
        let patience = self.operations.patience();
        let mut hosts = HostLook::default();
        loop {
            let generations = self.operations.registry().generations().await?;
            let found = generations
                .iter()
                .find(|generation| generation.id == self.generation);
            if let Verdict::Over(result) = judge(found)? {
                patience.tell(Progress::Arrived {
                    generation: self.generation,
                });
                return Ok(result);
            }
            if let Some(found) = found {
                patience.tell(Progress::Moving(Moving::new(found, self.goal)));
            }
            if self.needs_host {
                if patience.is_over() {
                    return Err(self.too_late(found).await?);
                }
                let must_come = patience.limit().is_none();
                hosts.look(self.operations, must_come).await?;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn too_late(&self, found: Option<&Generation>) -> Result<OperationError, OperationError> {
        let limit = self.operations.patience().limit().unwrap_or_default();
        let name = self.projection;
        let Some(found) = found else {
            return Ok(OperationError::NotFound(format!(
                "{name}: generation {} is gone",
                self.generation
            )));
        };
        let cause = status::state_of(found, self.operations.has_host().await?)
            .1
            .map_or_else(String::new, |cause| format!(" ({cause})"));
        Ok(OperationError::TimedOut(format!(
            "{name}: generation {} is {} at position {} after {limit:?}{cause}; the request stays in \
             the registry, and `gnomon status {name}` shows its progress{}",
            found.id,
            found.state.name(),
            found.position,
            how_to_end(found)
        )))
    }
}

/// Looks whether a host is there to do what is waited for, and tells if none is.
#[derive(Default)]
pub(super) struct HostLook {
    looked: Option<Instant>,
    /// Since when none is there.
    absent: Option<Instant>,
}

impl HostLook {
    /// Looks once a second. If nobody set a limit, the wait for a host has one all
    /// the same.
    ///
    /// # Errors
    /// When no host has come.
    pub(super) async fn look(
        &mut self,
        operations: &Operations,
        must_come: bool,
    ) -> Result<(), OperationError> {
        if self.looked.is_some_and(|last| last.elapsed() < HOST_LOOK) {
            return Ok(());
        }
        let has_host = operations.has_host().await?;
        self.looked = Some(Instant::now());
        if has_host {
            self.absent = None;
            return Ok(());
        }
        let absent = *self.absent.get_or_insert_with(|| {
            operations.patience().tell(Progress::NoHost);
            Instant::now()
        });
        if must_come && absent.elapsed() >= HOST_COMES {
            return Err(OperationError::TimedOut(format!(
                "no host has come within {HOST_COMES:?}; start one with `gnomon run`; the request \
                 stays in the registry"
            )));
        }
        Ok(())
    }
}

/// Ends a wait for a generation that has halted.
pub(super) fn ensure_it_moves(found: &Generation) -> Result<(), OperationError> {
    let Some(report) = found
        .report
        .as_ref()
        .filter(|report| report.state == RunState::Halted && found.host.is_some())
    else {
        return Ok(());
    };
    Err(OperationError::NotPossible(format!(
        "{}: generation {} cannot {}: {}{}",
        found.projection,
        found.id,
        if found.state == GenerationState::Retired {
            "catch up"
        } else {
            "be built"
        },
        report.cause.as_deref().unwrap_or("no reason was recorded"),
        how_to_end(found)
    )))
}

/// How a rollback that stays wanted is ended.
fn how_to_end(found: &Generation) -> String {
    if found.state != GenerationState::Retired {
        return String::new();
    }
    format!(
        "; the rollback stays requested, and `gnomon rollback {} --cancel` ends it",
        found.projection
    )
}
