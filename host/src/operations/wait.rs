//! Wait: until the read model holds an event.

use gnomon_model::Position;
use serde::Serialize;

use super::times::{DIRECTORY_LOOK, QUICK_LOOK};
use super::undeployed::Undeployed;
use super::waiting::HostLook;
use super::{OperationError, Operations, Progress, status};
use crate::generation::{Generation, GenerationState, Generations, RunState};
use crate::registry::Registry as _;

/// Waits until readers see an event in a read model.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The projection. A host that is there may be about to deploy it.
    pub name: String,
    /// The event's position; `None` is that of the last event there is.
    pub position: Option<Position>,
}

/// A read model holds an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Waited {
    /// The projection.
    pub name: String,
    /// How far it has got.
    pub position: Position,
    /// How long that took.
    pub waited_seconds: f64,
}

impl Wait {
    /// Waits for it.
    ///
    /// # Errors
    /// When the time is up, when the projection has halted before the event, or
    /// when nothing may bring such a projection.
    pub async fn run(self, operations: &Operations) -> Result<Waited, OperationError> {
        let patience = operations.patience();
        let goal = match self.position {
            Some(position) => position,
            None => {
                let source = operations.source().await?;
                patience.ask(async || source.look().await).await?.head
            }
        };
        let mut hosts = HostLook::default();
        let mut has_told = false;
        loop {
            let all = operations.registry().generations().await?;
            let own = Generations::of(&self.name, &all);
            let shown = own.shown();
            let goal = self.goal_of(shown, goal)?;
            if let Some(shown) = shown
                && shown.state == GenerationState::Live
                && shown.position >= goal
            {
                return Ok(Waited {
                    name: self.name,
                    position: shown.position,
                    waited_seconds: patience.elapsed().as_secs_f64(),
                });
            }
            if let Some(halted) = shown.and_then(|shown| shown.report.as_ref())
                && halted.state == RunState::Halted
            {
                return Err(OperationError::NotPossible(format!(
                    "{} halted before event {goal}: {}",
                    self.name,
                    halted.cause.as_deref().unwrap_or("no reason was recorded")
                )));
            }
            if own.is_empty() {
                let undeployed = Undeployed::look(operations).await?;
                let file = match undeployed.may_bring(&self.name, &all) {
                    Ok(file) => file,
                    // A host may have deployed it between the two looks.
                    Err(_) if self.has_come(operations).await? => continue,
                    Err(error) => return Err(error),
                };
                if !std::mem::replace(&mut has_told, true) {
                    let name = self.name.clone();
                    patience.tell(Progress::Undeployed { name, file });
                }
            }
            if patience.is_over() {
                return Err(self.too_late(operations, shown, goal).await?);
            }
            hosts.look(operations, false).await?;
            let look = if own.is_empty() {
                DIRECTORY_LOOK
            } else {
                QUICK_LOOK
            };
            tokio::time::sleep(look).await;
        }
    }

    /// Whether somebody knows the projection by this time.
    async fn has_come(&self, operations: &Operations) -> Result<bool, OperationError> {
        let generations = operations.registry().generations().await?;
        Ok(!Generations::of(&self.name, &generations).is_empty())
    }

    /// Where it is to get to. A copy never gets past its last event.
    fn goal_of(
        &self,
        shown: Option<&Generation>,
        goal: Position,
    ) -> Result<Position, OperationError> {
        let Some(until) = shown.and_then(|shown| shown.until) else {
            return Ok(goal);
        };
        if self.position.is_some() && goal > until {
            return Err(OperationError::NotPossible(format!(
                "{} is a copy that ends at event {until}, so it never holds event {goal}",
                self.name
            )));
        }
        Ok(goal.min(until))
    }

    async fn too_late(
        &self,
        operations: &Operations,
        shown: Option<&Generation>,
        goal: Position,
    ) -> Result<OperationError, OperationError> {
        let name = &self.name;
        let limit = operations.patience().limit().unwrap_or_default();
        let Some(shown) = shown else {
            return Ok(OperationError::TimedOut(format!(
                "there was no projection `{name}` within {limit:?}; `gnomon status` lists all"
            )));
        };
        let (state, cause) = status::state_of(shown, operations.has_host().await?);
        let cause = match cause {
            Some(cause) => format!(": {cause}"),
            None if state == RunState::Paused => {
                format!(": it is paused, and `gnomon resume {name}` resumes it")
            }
            None => String::new(),
        };
        Ok(OperationError::TimedOut(format!(
            "{name} is at position {} ({}) and did not reach {goal} within {limit:?}{cause}",
            shown.position,
            shown.state.name(),
        )))
    }
}
