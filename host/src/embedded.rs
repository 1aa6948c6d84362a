//! A host inside of another program.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gnomon_event_store::source::{self, Source};
use gnomon_model::Position;

use crate::configuration::{Configuration, InvalidConfiguration};
use crate::operations::status::{self, ProjectionStatus};
use crate::operations::{Deploy, Deploying, OperationError, Operations, Patience, Wait, Waited};
use crate::registry::RefusedFile;
use crate::shutdown::Shutdown;
use crate::storage::{self, Storage};
use crate::supervisor::{Parts, Scope, StartError, Supervisor};

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GnomonError {
    /// The settings have mistakes.
    #[error(transparent)]
    Configuration(#[from] InvalidConfiguration),
    /// A database, the engine or the directory cannot be used.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

impl From<StartError> for GnomonError {
    fn from(error: StartError) -> Self {
        Self::Operation(error.into())
    }
}

/// What a host is to work with. Neither a file nor the environment is read.
#[derive(Clone, Default)]
#[must_use]
pub struct GnomonBuilder {
    settings: Vec<(String, String)>,
    waits: Option<Duration>,
}

impl GnomonBuilder {
    /// Where the events are: `sqlite:FILE` or `postgres://…`. The host only reads
    /// there.
    pub fn events(self, url: &str) -> Self {
        self.set("events.url", url)
    }

    /// Where the read models and the registry go. It may be the same database.
    pub fn read_models(self, url: &str) -> Self {
        self.set("read-models.url", url)
    }

    /// The directory whose `*.wasm` files are deployed; it is watched.
    pub fn projections_directory(self, directory: &Path) -> Self {
        self.set("projections.directory", &directory.to_string_lossy())
    }

    /// Any key of `gnomon.toml` with its section, and its value as a string:
    /// `limits.memory` and `128MiB`, or `projection.orders.on-error` and `park`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// How long the start waits for databases that are out of reach. Without it, the
    /// start does not wait.
    pub const fn wait_for_databases(mut self, limit: Duration) -> Self {
        self.waits = Some(limit);
        self
    }

    /// Starts the host on the current Tokio runtime, which has to be one of several
    /// threads.
    ///
    /// # Errors
    /// [`GnomonError`]. A module that is refused is not an error; see
    /// [`Gnomon::refused`].
    pub async fn start(self) -> Result<Gnomon, GnomonError> {
        let configuration = Configuration::from_settings(&self.settings)?;
        let patience = self
            .waits
            .map_or_else(Patience::none, |limit| Patience::new(Some(limit)));
        let source = patience
            .ask(async || source::open(&configuration.events).await)
            .await?;
        let storage = patience
            .ask(async || storage::open(&configuration.read_models).await)
            .await?;
        let parts = Parts::new(configuration.clone(), Arc::clone(&source), storage.clone())?;
        let supervisor = Supervisor::start(parts, Scope::Everything, Shutdown::default()).await?;
        Ok(Gnomon {
            supervisor,
            configuration,
            source,
            storage,
        })
    }
}

/// A running host.
///
/// Dropping it stops it: every projection finishes or drops the batch that it is
/// at, and its lease is given back, on the runtime and shortly afterwards.
/// [`Gnomon::stop`] waits for that. If the runtime ends first, leases run out by
/// themselves after some seconds.
pub struct Gnomon {
    supervisor: Supervisor,
    configuration: Configuration,
    source: Arc<dyn Source>,
    storage: Storage,
}

impl Gnomon {
    /// A host with the usual settings; the URLs of both databases are missing.
    pub fn builder() -> GnomonBuilder {
        GnomonBuilder::default()
    }

    /// Operations on the projections of this host's databases.
    #[must_use]
    pub fn operations(&self, patience: Patience) -> Operations {
        Operations::new(
            self.configuration.clone(),
            self.storage.clone(),
            Some(Arc::clone(&self.source)),
            patience,
        )
    }

    /// Deploys a module. It is compiled away from the runtime.
    ///
    /// # Errors
    /// If it is no projection, or does not go with what is deployed.
    pub async fn deploy(&self, module: Vec<u8>) -> Result<Deploying, OperationError> {
        let module = self.supervisor.load(module).await?;
        let deploy = Deploy {
            module,
            hold: false,
        };
        deploy.run(&self.operations(Patience::none())).await
    }

    /// Waits until readers see an event in the read model of a projection: the one
    /// at a position, or the one that is the last at this moment.
    ///
    /// # Errors
    /// When the time is up, or when the projection has halted before that event.
    pub async fn wait(
        &self,
        projection: &str,
        position: Option<Position>,
        limit: Duration,
    ) -> Result<Waited, OperationError> {
        let wait = Wait {
            name: projection.to_owned(),
            position,
        };
        wait.run(&self.operations(Patience::new(Some(limit)))).await
    }

    /// How far every projection is, and why it is not moving.
    ///
    /// # Errors
    /// When the read-model database cannot be read.
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, OperationError> {
        status::all(&self.operations(Patience::none())).await
    }

    /// Modules that do not run. They harm none of the others.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedFile> {
        self.supervisor.refusals()
    }

    /// Stops the host, and waits until every lease is given back.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }
}
