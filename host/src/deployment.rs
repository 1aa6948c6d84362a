//! Deployment: what becomes of a module that arrives, from the watched
//! directory or by `gnomon deploy`.

use gnomon_event_store::source::Checkpoint;

use crate::generation::{Generation, GenerationId, Goal, Module};
use crate::registry::{NewGeneration, Registry};
use crate::storage_error::{StorageError, StorageErrorKind};

mod decision;
mod difference;

pub use decision::{Decision, decide};

/// How often a deployment is decided anew where others deploy at the same
/// time.
const ATTEMPTS: usize = 5;

/// What was done with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// It runs already.
    Nothing,
    /// The next batch of these generations runs it.
    Reloaded(Vec<GenerationId>),
    /// A new generation is built with it.
    Building(GenerationId),
}

/// Why a module was not deployed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// It does not go with what is deployed; the sentence says what to do.
    #[error("{0}")]
    Refused(String),
    /// The registry refuses it, or cannot be reached.
    #[error(transparent)]
    Target(#[from] StorageError),
}

/// Deploys a module. Hosts and commands that deploy together decide again
/// where another one was faster. A removed projection comes back.
///
/// # Errors
/// [`DeployError`]; nothing was changed then.
pub async fn deploy(
    registry: &dyn Registry,
    module: &Module,
    start: &Checkpoint,
    goal: Goal,
) -> Result<Deployed, DeployError> {
    let mut attempts = 1;
    loop {
        match try_deploy(registry, module, start, goal).await {
            Err(DeployError::Target(error))
                if error.kind() == StorageErrorKind::Retry && attempts < ATTEMPTS =>
            {
                tracing::debug!("deciding again on `{}`: {error}", module.description.name);
                attempts += 1;
            }
            result => return result,
        }
    }
}

async fn try_deploy(
    registry: &dyn Registry,
    module: &Module,
    start: &Checkpoint,
    goal: Goal,
) -> Result<Deployed, DeployError> {
    let generations = registry.generations().await?;
    let description = &module.description;
    let projection = &description.name;
    let own = || {
        generations
            .iter()
            .filter(|generation| generation.projection == *projection)
    };
    let deployed = match decide(description, &module.hash, &generations) {
        Decision::Refused(reason) => return Err(DeployError::Refused(reason)),
        Decision::Nothing => Deployed::Nothing,
        Decision::HotReload(stale) => {
            registry.add_module(module).await?;
            registry.set_module(&stale, &module.hash).await?;
            Deployed::Reloaded(stale)
        }
        Decision::Build => {
            registry.add_module(module).await?;
            let created = registry
                .create_generation(NewGeneration {
                    projection,
                    module: &module.hash,
                    description,
                    goal,
                    until: None,
                    newest: own().map(|generation| generation.id).max(),
                    start,
                })
                .await?;
            say_what_ended(own(), &created);
            Deployed::Building(created.id)
        }
    };
    if own().any(|generation| generation.is_removed) {
        registry.resume(projection).await?;
    }
    Ok(deployed)
}

/// Says what a new generation ended that was wanted of the projection's others.
fn say_what_ended<'a>(own: impl Iterator<Item = &'a Generation>, created: &Generation) {
    let projection = &created.projection;
    for before in own {
        let (id, version) = (before.id, before.description.version);
        if before.is_candidate() {
            tracing::info!(
                projection,
                "generation {id} (version {version}), which readers have not seen, is dropped for \
                 generation {}",
                created.id
            );
        }
        if before.is_rollback() && created.goal.is_promotion() {
            tracing::info!(projection, "the rollback to generation {id} is cancelled");
        }
    }
}
