//! Operations: what users ask of projections, by any surface.
//!
//! A surface, such as the command line, parses a request, calls an operation, and
//! shows its result. An operation is a struct of options with a method `run`, over
//! [`Operations`]: the databases, and how long to wait for them. Its result can be
//! serialized; its error says what to do; and a [`Watcher`] is told what happens
//! meanwhile.

use std::sync::Arc;

use gnomon_databases::spelling::near;
use gnomon_event_store::source::{self, Source, SourceError};

use self::patient::Patient;
use crate::configuration::Configuration;
use crate::generation::{Generation, Generations, Module};
use crate::registry::{self, Registry as _};
use crate::storage::{self, Storage};

pub mod status;

mod comparison;
mod control;
mod dead_letters;
mod deploy;
mod error;
mod history;
mod overtaken;
mod patience;
mod patient;
mod progress;
mod promote;
mod rebuild;
mod remove;
mod rollback;
mod switch;
#[cfg(test)]
mod tests;
mod times;
mod undeployed;
mod wait;
mod waiting;

pub use comparison::{ComparedGenerations, ComparisonError, Diff, Verify};
pub use control::{DesiredState, Pause, Resume};
pub use dead_letters::{
    DeadLetters, Discard, DiscardOne, Discarded, RecordedSkip, Retried, Retry, Skip, Skipped,
    Skips, Unskip, Unskipped,
};
pub use deploy::{Deploy, DeployAction, Deploying};
pub use error::{MayPass, OperationError};
pub use history::{History, RecordedAction};
pub use overtaken::{Overtaken, OvertakenCandidate};
pub use patience::Patience;
pub use progress::{Moving, Progress, Watcher};
pub use promote::Promote;
pub use rebuild::{PastCopy, Rebuild, Rebuilding, Until, UntilError};
pub use remove::{Remove, Removed, RemovedPart};
pub use rollback::{CancelRollback, CancelledRollbacks, Rollback};
pub use switch::{SwitchRequest, Switched};
pub use wait::{Wait, Waited};

/// What operations work with: the registry and the read models, the event store,
/// and how long to wait for them.
pub struct Operations {
    configuration: Configuration,
    registry: Patient,
    /// That of a host that is there; otherwise each operation opens its own.
    source: Option<Arc<dyn Source>>,
}

impl Operations {
    /// Operations on databases that are open.
    #[must_use]
    pub fn new(
        configuration: Configuration,
        storage: Storage,
        source: Option<Arc<dyn Source>>,
        patience: Patience,
    ) -> Self {
        Self {
            configuration,
            registry: Patient::new(storage, patience),
            source,
        }
    }

    /// Opens the registry; `None` if there is none. Creates nothing, wherever a
    /// mistyped URL leads.
    ///
    /// # Errors
    /// When the database refuses it, or is out of reach.
    pub async fn find(
        configuration: &Configuration,
        patience: Patience,
    ) -> Result<Option<Self>, OperationError> {
        let url = &configuration.read_models;
        let found = patience
            .ask(async || storage::open_existing(url).await)
            .await?;
        Ok(found.map(|storage| Self::new(configuration.clone(), storage, None, patience)))
    }

    /// The same.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] if there is no registry.
    pub async fn open(
        configuration: &Configuration,
        patience: Patience,
    ) -> Result<Self, OperationError> {
        Self::find(configuration, patience).await?.ok_or_else(|| {
            OperationError::NotFound(storage::no_registry(&configuration.read_models))
        })
    }

    /// The same, but waits for the registry if a host that is just starting may
    /// create it: if there are modules in the projections directory.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] if there is no registry when the time is up.
    pub async fn open_when_created(
        configuration: &Configuration,
        patience: Patience,
    ) -> Result<Self, OperationError> {
        let url = &configuration.read_models;
        loop {
            let found = patience
                .ask(async || storage::open_existing(url).await)
                .await?;
            if let Some(storage) = found {
                return Ok(Self::new(configuration.clone(), storage, None, patience));
            }
            if patience.is_over() || undeployed::files(configuration).next().is_none() {
                return Err(OperationError::NotFound(storage::no_registry(url)));
            }
            tokio::time::sleep(times::DIRECTORY_LOOK).await;
        }
    }

    /// Opens the registry, and creates it if there is none.
    ///
    /// # Errors
    /// When the database refuses it, or is out of reach.
    pub async fn create(
        configuration: &Configuration,
        patience: Patience,
    ) -> Result<Self, OperationError> {
        let storage = patience
            .ask(async || storage::open(&configuration.read_models).await)
            .await?;
        Ok(Self::new(configuration.clone(), storage, None, patience))
    }

    /// What is wanted; a database that is out of reach is asked again.
    const fn registry(&self) -> &Patient {
        &self.registry
    }

    /// The read-model database itself.
    const fn storage(&self) -> &Storage {
        self.registry.storage()
    }

    fn patience(&self) -> &Patience {
        self.registry.patience()
    }

    /// The event store; one that is out of reach is asked again.
    async fn source(&self) -> Result<Arc<dyn Source>, OperationError> {
        self.patience().ask(async || self.source_once().await).await
    }

    /// The same, asked once.
    async fn source_once(&self) -> Result<Arc<dyn Source>, SourceError> {
        match &self.source {
            Some(source) => Ok(Arc::clone(source)),
            None => source::open(&self.configuration.events).await,
        }
    }

    /// The generations of a projection.
    ///
    /// # Errors
    /// [`OperationError::NotFound`] if there is no such projection.
    async fn generations(&self, name: &str) -> Result<Generations, OperationError> {
        let all = self.registry.generations().await?;
        let own = Generations::of(name, &all);
        if !own.is_empty() {
            return Ok(own);
        }
        if self.registry.dropped_at(name).await?.is_some() {
            return Err(registry::dropped_projection(name).into());
        }
        let known = all.iter().map(|generation| &*generation.projection);
        Err(OperationError::NotFound(unknown(name, known)))
    }

    /// The module of a generation.
    async fn module(&self, generation: &Generation) -> Result<Module, OperationError> {
        let module = self.registry.module(&generation.module).await?;
        module.ok_or_else(|| {
            OperationError::NotFound(
                "the registry has lost the module of the projection; deploy it again".to_owned(),
            )
        })
    }

    /// Whether some host is there to do the work.
    async fn has_host(&self) -> Result<bool, OperationError> {
        Ok(!self.registry.hosts().await?.is_empty())
    }
}

/// Refuses a projection that was removed: nothing that is asked of it would happen
/// until somebody brings it back.
fn ensure_wanted(own: &Generations) -> Result<(), OperationError> {
    if own.is_removed() {
        return Err(registry::removed_projection(own.projection()).into());
    }
    Ok(())
}

/// What to say of a projection that nobody knows, if these are known.
#[must_use]
pub fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let meant = near(name, known).map_or_else(
        || "; ".to_owned(),
        |near| format!("; did you mean `{near}`? "),
    );
    format!("there is no projection `{name}`{meant}`gnomon status` lists all")
}
