//! Deploy: a module into the registry.

use gnomon_event_store::source;
use gnomon_guest::{GuestEngine, LoadError};
use serde::Serialize;

use super::overtaken::{Overtaken, numbers};
use super::switch::until_live;
use super::{OperationError, Operations, Switched};
use crate::configuration::Configuration;
use crate::deployment::{Deployed, deploy};
use crate::generation::{Generation, GenerationId, Generations, Goal, Module, ModuleHash};
use crate::registry::Registry as _;
use crate::supervisor::load_module;

/// Deploys a module.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The module.
    pub module: Module,
    /// Whether a new generation waits for `gnomon promote` when it has caught up.
    pub hold: bool,
}

/// What was done with a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeployAction {
    /// It is deployed already.
    Nothing,
    /// The next batch runs it.
    Reloaded,
    /// A new generation is being built with it.
    Building,
}

/// A module that is in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Deploying {
    /// The projection.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of the module.
    pub module: ModuleHash,
    /// What was done.
    pub action: DeployAction,
    /// The generations that run it from the next batch on, or that is being built.
    pub generations: Vec<GenerationId>,
    /// What the request ended.
    pub overtaken: Overtaken,
    /// Whether a host is there to run it.
    pub has_host: bool,
    /// Rollbacks that are still wanted.
    #[serde(skip)]
    pub rollbacks: Vec<GenerationId>,
}

impl Deploy {
    /// Loads a module as every host does.
    ///
    /// # Errors
    /// [`LoadError`] with what is wrong with it.
    pub fn load(
        engine: &GuestEngine,
        bytes: Vec<u8>,
        configuration: &Configuration,
    ) -> Result<Self, LoadError> {
        let guest = load_module(engine, &bytes, &configuration.limits_of_loading())?;
        let module = Module {
            hash: guest.hash().clone(),
            bytes,
            description: (**guest.description()).clone(),
        };
        Ok(Self {
            module,
            hold: false,
        })
    }

    /// Puts it into the registry, from which every host takes it.
    ///
    /// # Errors
    /// If it does not go with what is deployed.
    pub async fn run(self, operations: &Operations) -> Result<Deploying, OperationError> {
        let registry = operations.registry();
        let start = source::start(&operations.configuration.events);
        let goal = if self.hold { Goal::Hold } else { Goal::Promote };
        let description = &self.module.description;
        let before = Generations::of(&description.name, &registry.generations().await?);
        let deployed = deploy(registry, &self.module, &start, goal).await?;
        let (action, generations) = match deployed {
            Deployed::Nothing => (DeployAction::Nothing, Vec::new()),
            Deployed::Reloaded(generations) => (DeployAction::Reloaded, generations),
            Deployed::Building(generation) => (DeployAction::Building, vec![generation]),
        };
        let (overtaken, rollbacks) = match action {
            DeployAction::Building => (Overtaken::by_new(&before, !self.hold), Vec::new()),
            DeployAction::Nothing | DeployAction::Reloaded => {
                (Overtaken::default(), numbers(before.rollbacks()))
            }
        };
        Ok(Deploying {
            name: description.name.clone(),
            version: description.version,
            module: self.module.hash,
            action,
            generations,
            overtaken,
            has_host: operations.has_host().await?,
            rollbacks,
        })
    }
}

impl Deploying {
    /// Waits until readers see it; `None` if they do already. A module that was
    /// deployed before may be one that is still being built.
    ///
    /// # Errors
    /// When that is not to happen, or not in time.
    pub async fn until_live(
        &self,
        operations: &Operations,
    ) -> Result<Option<Switched>, OperationError> {
        let name = &self.name;
        let generation = match (self.action, self.generations.first()) {
            (DeployAction::Building, Some(generation)) => *generation,
            _ => {
                let own = operations.generations(name).await?;
                let candidate = own
                    .candidate()
                    .filter(|candidate| candidate.module == self.module);
                let Some(candidate) = candidate else {
                    return Ok(None);
                };
                ensure_not_held(candidate)?;
                candidate.id
            }
        };
        until_live(operations, name, generation).await.map(Some)
    }
}

fn ensure_not_held(candidate: &Generation) -> Result<(), OperationError> {
    if candidate.goal.is_promotion() || candidate.obstacle.is_some() {
        return Ok(());
    }
    let name = &candidate.projection;
    Err(OperationError::NotPossible(format!(
        "{name}: generation {} of this module is held, so readers do not see it before \
         `gnomon promote {name}`",
        candidate.id
    )))
}
