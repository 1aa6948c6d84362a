//! Another generation becomes the one that readers see: what promotions and
//! rollbacks share.

use gnomon_model::Position;
use serde::Serialize;

use super::overtaken::Overtaken;
use super::waiting::{Verdict, Waiting, ensure_it_moves};
use super::{OperationError, Operations};
use crate::generation::{Generation, GenerationId, GenerationState, Generations, Goal};
use crate::registry::{Promotion, Registry as _};

/// A request, which is in the registry, that readers see another generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SwitchRequest {
    /// The projection.
    pub name: String,
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// Where it stood.
    pub state: GenerationState,
    /// What the request ended.
    pub overtaken: Overtaken,
}

/// What became of a request that readers see another generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Switched {
    /// The projection.
    pub name: String,
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// Where it stands: `live`, or not yet because no host is there to let it
    /// catch up.
    pub state: GenerationState,
}

impl Switched {
    fn new(generation: &Generation, state: GenerationState) -> Self {
        Self {
            name: generation.projection.clone(),
            generation: generation.id,
            version: generation.description.version,
            state,
        }
    }

    /// Whether readers see the generation.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state == GenerationState::Live
    }
}

impl SwitchRequest {
    pub(super) async fn make(
        operations: &Operations,
        own: &Generations,
        generation: &Generation,
        cascade: bool,
    ) -> Result<Self, OperationError> {
        let goal = if cascade {
            Goal::PromoteCascade
        } else {
            Goal::Promote
        };
        operations.registry().set_goal(generation.id, goal).await?;
        Ok(Self {
            name: generation.projection.clone(),
            generation: generation.id,
            version: generation.description.version,
            state: generation.state,
            overtaken: Overtaken::by_promotion(own, generation.id),
        })
    }

    /// Waits until a host has done it, or does it if there is no host.
    ///
    /// # Errors
    /// When it is not to happen any more, or not in time.
    pub async fn carry_out(self, operations: &Operations) -> Result<Switched, OperationError> {
        if operations.has_host().await? {
            return until_live(operations, &self.name, self.generation).await;
        }
        // Nobody moves it, so this process may switch as well as a host.
        let is_complete = self.state != GenerationState::Building;
        let promotion = if is_complete {
            operations.registry().promote(self.generation).await?
        } else {
            Promotion::Behind
        };
        let state = match promotion {
            Promotion::Done => GenerationState::Live,
            // It stays wanted, but readers do not see it.
            Promotion::Behind => self.state,
            Promotion::Refused(reason) => return Err(refused(&self.name, &reason)),
            Promotion::NotWanted => return Err(overtaken(&self.name, self.generation)),
        };
        Ok(Switched {
            name: self.name,
            generation: self.generation,
            version: self.version,
            state,
        })
    }
}

/// Waits until readers see a generation.
pub(super) async fn until_live(
    operations: &Operations,
    name: &str,
    generation: GenerationId,
) -> Result<Switched, OperationError> {
    let own = Generations::of(name, &operations.registry().generations().await?);
    let furthest = own.iter().map(|known| known.position).max();
    let waiting = Waiting {
        operations,
        generation,
        projection: name,
        goal: furthest.unwrap_or(Position::START),
        needs_host: true,
    };
    waiting
        .wait(|found| {
            let found = found.ok_or_else(|| {
                OperationError::NotPossible(format!(
                    "{name}: generation {generation} was dropped before readers saw it"
                ))
            })?;
            if found.state == GenerationState::Live {
                return Ok(Verdict::Over(Switched::new(found, GenerationState::Live)));
            }
            if let Some(obstacle) = &found.obstacle {
                return Err(refused(name, &obstacle.reason));
            }
            if !found.goal.is_promotion() {
                return Err(overtaken(name, generation));
            }
            ensure_it_moves(found)?;
            Ok(Verdict::NotYet)
        })
        .await
}

fn refused(name: &str, reason: &str) -> OperationError {
    OperationError::NotPossible(format!("{name}: it is not promoted: {reason}"))
}

fn overtaken(name: &str, generation: GenerationId) -> OperationError {
    OperationError::NotPossible(format!(
        "{name}: generation {generation} will not be promoted, because a newer request came first; \
         `gnomon status {name}` shows it"
    ))
}
