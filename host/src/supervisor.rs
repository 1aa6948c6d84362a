//! The supervisor: it deploys the modules of the directory and runs every
//! generation of the registry.
//!
//! ```text
//! projections/*.wasm ──> load ──> decide ──> registry ──> one runner per generation
//! ```
//!
//! The registry in the read-model database is the desired state. A file that
//! was removed from the directory therefore changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::configuration::{Configuration, Limits};
use crate::deployment::{Decision, decide};
use crate::generation::{Generation, GenerationState, Module, ModuleHash};
use crate::guest::{Guest, GuestEngine, GuestLimits, LoadError};
use crate::runner::{self, Assignment, RunnerHandle};
use crate::shutdown::Shutdown;
use crate::source::{BatchLimits, Source, SourceError};
use crate::target::{Control, Target, TargetError, TargetErrorKind, in_time};

/// How long a stopping host waits for its runners. What they have not
/// committed by then is done again by the next host.
const STOP_TIME: Duration = Duration::from_secs(4);

/// How often a deployment is decided anew before the host gives it up.
const DEPLOY_ATTEMPTS: usize = 5;

/// How often a host looks for what users want.
const CONTROL_POLL: Duration = Duration::from_millis(250);

/// Why a module of the directory does not run.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file cannot be read.
    #[error("{} cannot be read", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It is not a projection.
    #[error("{} is refused: {reason}", .file.display())]
    Module {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: LoadError,
    },
    /// Two files bear one name.
    #[error(
        "{} and {} are both projections named `{name}`; keep one of them",
        .first.display(),
        .second.display()
    )]
    SameName {
        /// The projection's name.
        name: String,
        /// A file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// It does not go with what is deployed.
    #[error("{} is refused: {reason}", .file.display())]
    Deployment {
        /// The file.
        file: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The target refuses it.
    #[error("{} cannot be deployed", .file.display())]
    Target {
        /// The file.
        file: PathBuf,
        /// What the target says.
        #[source]
        reason: TargetError,
    },
    /// A module of the registry no longer loads.
    #[error("projection `{projection}`: module {} of the registry is refused: {reason}", .module.short())]
    Registry {
        /// The projection.
        projection: String,
        /// The module.
        module: ModuleHash,
        /// What is wrong with it.
        #[source]
        reason: LoadError,
    },
}

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The event store cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The read-model database cannot be opened.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The directory of projections cannot be read.
    #[error(
        "the directory of projections, {}, cannot be read; make it, or set projections.directory",
        .directory.display()
    )]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// wasmtime does not start.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// No thread for a runner.
    #[error("a runner cannot be started")]
    Thread(#[from] io::Error),
}

/// A host at work.
pub struct Supervisor {
    /// The generations that run, each with its runner.
    pub running: Vec<(Generation, RunnerHandle)>,
    /// Modules that do not run. They harm none of the others.
    pub refusals: Vec<Refusal>,
    shutdown: Shutdown,
}

/// What a host works with.
pub struct Parts {
    /// The configuration.
    pub configuration: Configuration,
    /// Where events come from.
    pub source: Arc<dyn Source>,
    /// Where read models live.
    pub target: Arc<dyn Target>,
    /// Loads modules.
    pub engine: GuestEngine,
    /// This host's name, unique among hosts.
    pub host: String,
}

impl Supervisor {
    /// Deploys the directory and starts every generation.
    ///
    /// # Errors
    /// [`StartError`]. A module that is refused is not an error: it is listed
    /// in [`Supervisor::refusals`].
    pub async fn start(parts: Parts, shutdown: Shutdown) -> Result<Self, StartError> {
        let parts = Arc::new(parts);
        parts.target.claim().await?;
        let mut guests = HashMap::new();
        let mut refusals = deploy_directory(&parts, &mut guests).await?;
        let controls = watch_controls(Arc::clone(&parts.target), &shutdown).await?;
        let mut running = Vec::new();
        for generation in parts.target.generations().await? {
            let is_active = matches!(
                generation.state,
                GenerationState::Building | GenerationState::Live
            );
            if !is_active {
                continue;
            }
            let guest = match guests.get(&generation.module) {
                Some(guest) => Guest::clone(guest),
                None => match load_registered(&parts, &generation).await? {
                    Ok(guest) => guest,
                    Err(refusal) => {
                        refusals.push(refusal);
                        continue;
                    }
                },
            };
            let assignment = assignment(&parts, generation.clone(), guest, controls.clone());
            let handle = runner::start(assignment, Handle::current(), shutdown.clone())?;
            running.push((generation, handle));
        }
        Ok(Self {
            running,
            refusals,
            shutdown,
        })
    }

    /// Stops all runners; each finishes or drops the batch that it is at.
    pub async fn stop(self) {
        self.shutdown.begin();
        let all_ended = async {
            while !self.running.iter().all(|(_, runner)| runner.is_finished()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(STOP_TIME, all_ended).await.is_err() {
            tracing::warn!("a runner did not stop in time; its batch will be done again");
        }
    }
}

/// Keeps what users want of every projection up to date.
async fn watch_controls(
    target: Arc<dyn Target>,
    shutdown: &Shutdown,
) -> Result<watch::Receiver<Vec<Control>>, TargetError> {
    let (sender, receiver) = watch::channel(target.controls().await?);
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        while !shutdown.has_begun() {
            tokio::time::sleep(CONTROL_POLL).await;
            match in_time(target.controls()).await {
                Ok(controls) => {
                    sender.send_if_modified(|known| {
                        let news = *known != controls;
                        *known = controls;
                        news
                    });
                }
                // The runners meet the same failure and show it.
                Err(error) => tracing::debug!("the controls were not read: {error}"),
            }
        }
    });
    Ok(receiver)
}

/// Loads and deploys every module of the directory.
async fn deploy_directory(
    parts: &Arc<Parts>,
    guests: &mut HashMap<ModuleHash, Guest>,
) -> Result<Vec<Refusal>, StartError> {
    let directory = &parts.configuration.projections_directory;
    let files = modules_in(directory).map_err(|source| StartError::Directory {
        directory: directory.clone(),
        source,
    })?;
    let mut refusals = Vec::new();
    let mut by_name: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files {
        let loaded = load_file(parts, &file).await;
        let (bytes, guest) = match loaded {
            Ok(loaded) => loaded,
            Err(refusal) => {
                refusals.push(refusal);
                continue;
            }
        };
        let name = guest.description().name.clone();
        if let Some(first) = by_name.get(&name) {
            refusals.push(Refusal::SameName {
                name,
                first: first.clone(),
                second: file,
            });
            continue;
        }
        by_name.insert(name, file.clone());
        match deploy(parts, &file, bytes, &guest).await {
            Ok(()) => {
                guests.insert(guest.hash().clone(), guest);
            }
            Err(refusal) => refusals.push(refusal),
        }
    }
    Ok(refusals)
}

/// Deploys a module. Hosts that start together decide again where another one
/// was faster.
async fn deploy(parts: &Parts, file: &Path, bytes: Vec<u8>, guest: &Guest) -> Result<(), Refusal> {
    let module = Module {
        hash: guest.hash().clone(),
        bytes,
        description: (**guest.description()).clone(),
    };
    let mut attempts = 1;
    loop {
        match try_deploy(parts, file, &module).await {
            Err(Refusal::Target { reason, .. })
                if reason.kind() == TargetErrorKind::Retry && attempts < DEPLOY_ATTEMPTS =>
            {
                tracing::debug!("deploying {} again: {reason}", file.display());
                attempts += 1;
            }
            result => return result,
        }
    }
}

async fn try_deploy(parts: &Parts, file: &Path, module: &Module) -> Result<(), Refusal> {
    let refused = |reason| Refusal::Target {
        file: file.to_owned(),
        reason,
    };
    let target = &parts.target;
    let generations = target.generations().await.map_err(refused)?;
    let description = &module.description;
    let decision = decide(description, &module.hash, &generations);
    if let Decision::Refused(reason) = decision {
        return Err(Refusal::Deployment {
            file: file.to_owned(),
            reason,
        });
    }
    match decision {
        Decision::Nothing | Decision::Refused(_) => {}
        Decision::HotReload(generation) => {
            target.add_module(module).await.map_err(refused)?;
            target
                .set_module(generation, &module.hash)
                .await
                .map_err(refused)?;
        }
        Decision::Build => {
            let newest = generations
                .iter()
                .filter(|generation| generation.projection == description.name)
                .map(|generation| generation.id)
                .max();
            target.add_module(module).await.map_err(refused)?;
            target
                .create_generation(&module.hash, description, newest, &parts.source.start())
                .await
                .map_err(refused)?;
        }
    }
    Ok(())
}

async fn load_file(parts: &Arc<Parts>, file: &Path) -> Result<(Vec<u8>, Guest), Refusal> {
    let bytes = tokio::fs::read(file)
        .await
        .map_err(|source| Refusal::File {
            file: file.to_owned(),
            source,
        })?;
    let (bytes, loaded) = load(parts, bytes).await;
    match loaded {
        Ok(guest) => Ok((bytes, guest)),
        Err(reason) => Err(Refusal::Module {
            file: file.to_owned(),
            reason,
        }),
    }
}

async fn load_registered(
    parts: &Arc<Parts>,
    generation: &Generation,
) -> Result<Result<Guest, Refusal>, TargetError> {
    let bytes = parts
        .target
        .module(&generation.module)
        .await?
        .map(|module| module.bytes)
        .unwrap_or_default();
    let (_, loaded) = load(parts, bytes).await;
    Ok(loaded.map_err(|reason| Refusal::Registry {
        projection: generation.projection.clone(),
        module: generation.module.clone(),
        reason,
    }))
}

/// Compiling takes up to 14 s, so it must not hold up the runtime.
async fn load(parts: &Arc<Parts>, bytes: Vec<u8>) -> (Vec<u8>, Result<Guest, LoadError>) {
    let parts = Arc::clone(parts);
    let loading = tokio::task::spawn_blocking(move || {
        // Whose limits apply is known only when the module has said its name.
        let limits = limits_of_guest(&parts.configuration.limits);
        let loaded = parts.engine.load(&bytes, limits);
        (bytes, loaded)
    });
    loading.await.unwrap_or_else(|error| {
        let reason = format!("the compiler failed: {error}");
        (Vec::new(), Err(LoadError::Malformed(reason)))
    })
}

fn assignment(
    parts: &Parts,
    generation: Generation,
    guest: Guest,
    controls: watch::Receiver<Vec<Control>>,
) -> Assignment {
    let limits = parts.configuration.limits_of(&generation.projection);
    Assignment {
        guest_limits: limits_of_guest(&limits),
        batch_limits: BatchLimits {
            events: limits.batch_events,
            bytes: limits.batch_bytes,
        },
        row_cache: limits.row_cache,
        lease_time: limits.lease_time,
        on_error: parts.configuration.on_error(&generation.projection),
        generation,
        guest,
        source: Arc::clone(&parts.source),
        target: Arc::clone(&parts.target),
        host: parts.host.clone(),
        controls,
    }
}

/// What the limits allow one call of a projection.
#[must_use]
pub const fn limits_of_guest(limits: &Limits) -> GuestLimits {
    GuestLimits {
        memory: limits.memory,
        time: limits.batch_time,
        writes: gnomon_model::WriteLimits {
            writes: limits.batch_writes,
            bytes: limits.batch_write_bytes,
            // A row is about twice as large here as it is in the guest.
            reply_bytes: (limits.memory as u64).saturating_mul(2),
        },
        reads: limits.batch_reads,
        log_bytes: limits.log_bytes,
    }
}

/// The `*.wasm` files of a directory, by name.
fn modules_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
