//! The supervisor: it deploys the modules of the directory and runs what the
//! registry asks for.
//!
//! ```text
//! projections/*.wasm ──> files ──> deploy ──┐
//!                                           v
//! gnomon deploy, rebuild, … ──────────> registry ──> reconcile ──> one runner per generation
//!                                                                    of this host's share
//! ```
//!
//! The registry in the read-model database is the desired state. A file that
//! was removed from the directory therefore changes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_databases::error_chain::chain;
use gnomon_event_store::source::{BatchLimits, SourceError};
use gnomon_guest::{GuestLimits, LoadError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::leftovers::Leftovers;
use self::loading::LoadedGuests;
use self::refusal::Refusals;
use self::runners::Runners;
use crate::configuration::Limits;
use crate::generation::{GenerationId, Module};
use crate::reader::SharedScan;
use crate::registry::{HostRegistry, Overview, RefusedFile};
use crate::runner::{Controls, Heartbeats, Rhythm};
use crate::shutdown::Shutdown;
use crate::storage_error::{StorageError, StorageErrorKind};

mod directory;
mod files;
mod late;
mod leftovers;
mod loading;
mod parts;
mod presence;
mod refusal;
mod runners;
mod sharing;

pub use loading::load_module;
pub use parts::{Parts, engine};
pub use refusal::Refusal;
pub use runners::{GenerationRun, registry_place};

/// How long a stopping host waits for its runners. What they have not
/// committed by then is done again by the next host.
const STOP_TIME: Duration = Duration::from_secs(4);
/// How often it looks whether they have ended.
const STOP_POLL: Duration = Duration::from_millis(5);
/// How often a host looks for what users want. A host that has nothing to do
/// shall cost its databases no more than five queries a second, and this is
/// the most frequent one beside the look for new events.
const CONTROL_RHYTHM: Rhythm = Rhythm {
    busy: Duration::from_millis(100),
    busy_for: Duration::from_secs(5),
    idle: Duration::from_millis(600),
};
/// The longest time between two looks of a host for what users want.
pub(crate) const CONTROL_LOOK_MAX: Duration = CONTROL_RHYTHM.idle;
/// How long a host that starts waits for commands that hold the read-model
/// file, and how often it looks.
const CLAIM_TIME: Duration = Duration::from_secs(30);
const CLAIM_POLL: Duration = Duration::from_millis(100);
/// How often it is said what a start waits for.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How long the start waits for the files of the directory, so that what they
/// bring runs from the first event on.
const FIRST_LOOK_TIME: Duration = Duration::from_secs(10);
/// The same for who asks for all of them: a large module compiles for long on
/// a busy machine.
const WHOLE_LOOK_TIME: Duration = Duration::from_secs(300);

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The event store cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The read-model database cannot be opened.
    #[error(transparent)]
    Target(#[from] StorageError),
    /// The WebAssembly engine does not start.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
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
}

/// What a host works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The directory, and everything in the registry.
    Everything,
    /// These generations only: a command that cannot leave the work to a host.
    Generations(BTreeSet<GenerationId>),
}

/// What the tasks of a host share.
struct Shared {
    parts: Parts,
    scan: Arc<SharedScan>,
    scope: Scope,
    shutdown: Shutdown,
    controls: Controls,
    heartbeats: Arc<Heartbeats>,
    guests: LoadedGuests,
    refusals: Refusals,
    leftovers: Leftovers,
    runners: Runners,
}

impl Shared {
    fn is_ours(&self, generation: GenerationId) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Generations(ours) => ours.contains(&generation),
        }
    }
}

/// A host at work.
pub struct Supervisor {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    /// Whether all files that were there at the start have been dealt with.
    has_settled: watch::Receiver<bool>,
}

impl Supervisor {
    /// Deploys the directory and starts every generation.
    ///
    /// With [`Scope::Everything`] a database that is locked or out of reach is
    /// waited for until `shutdown` begins.
    ///
    /// # Errors
    /// [`StartError`]. A module that is refused is not an error: it is listed
    /// in [`Supervisor::refusals`].
    pub async fn start(
        mut parts: Parts,
        scope: Scope,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let directory = &parts.configuration.projections_directory;
        if scope == Scope::Everything
            && let Err(source) = std::fs::read_dir(directory)
        {
            return Err(StartError::Directory {
                directory: directory.clone(),
                source,
            });
        }
        parts.storage.registry = parts.storage.registry.acting_as(&parts.host);
        let registry = || Arc::clone(&parts.storage.registry);
        // A command has its own patience.
        let waits = scope == Scope::Everything;
        let claim = || claim(&*parts.storage.registry, &parts.host, &shutdown);
        until_ready(waits, &shutdown, claim).await?;
        let watch = || Controls::watch(registry(), CONTROL_RHYTHM, shutdown.clone());
        let controls = until_ready(waits, &shutdown, watch).await?;
        let shared = Arc::new(Shared {
            heartbeats: Arc::new(Heartbeats::start(&Handle::current(), registry())),
            scan: SharedScan::new(
                Arc::clone(&parts.source),
                batch_limits(&parts.configuration.limits),
            ),
            parts,
            scope,
            shutdown,
            controls,
            guests: LoadedGuests::default(),
            refusals: Refusals::default(),
            leftovers: Leftovers::default(),
            runners: Runners::default(),
        });
        let mut tasks = Vec::new();
        let (sender, mut has_settled) = watch::channel(false);
        if shared.scope == Scope::Everything {
            tasks.push(tokio::spawn(presence::announce(Arc::clone(&shared))));
            tasks.push(tokio::spawn(files::watch(Arc::clone(&shared), sender)));
            let settled = has_settled.wait_for(|settled| *settled);
            // What comes later is deployed while the others run.
            let _ = tokio::time::timeout(FIRST_LOOK_TIME, settled).await;
            tasks.push(tokio::spawn(presence::tidy(Arc::clone(&shared))));
        }
        tasks.push(tokio::spawn(late::watch(Arc::clone(&shared))));
        tasks.push(tokio::spawn(runners::reconcile(Arc::clone(&shared))));
        Ok(Self {
            shared,
            tasks,
            has_settled,
        })
    }

    /// Waits until every module that was in the directory at the start is
    /// deployed or refused.
    pub async fn deploy_all(&self) {
        let mut has_settled = self.has_settled.clone();
        let settled = has_settled.wait_for(|settled| *settled);
        tokio::select! {
            _ = tokio::time::timeout(WHOLE_LOOK_TIME, settled) => {}
            () = self.shared.shutdown.begun() => {}
        }
    }

    /// How every generation stands that runs here.
    #[must_use]
    pub fn runs(&self) -> Vec<GenerationRun> {
        self.shared.runners.runs(&self.shared.controls)
    }

    /// How every generation stands that another host runs, as it was recorded.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn runs_elsewhere(&self) -> Result<Vec<GenerationRun>, StorageError> {
        runners::elsewhere(&self.shared).await
    }

    /// What is wanted of every generation, and who runs it.
    #[must_use]
    pub fn overview(&self) -> Arc<Overview> {
        self.shared.controls.overview()
    }

    /// Whether a generation does not run because its module does not load.
    #[must_use]
    pub fn cannot_run(&self, generation: GenerationId) -> bool {
        let place = runners::registry_place(generation);
        self.shared.refusals.has(&place)
    }

    /// Modules that do not run. They harm none of the others.
    #[must_use]
    pub fn refusals(&self) -> Vec<RefusedFile> {
        self.shared.refusals.all()
    }

    /// Files that nothing runs, as their projections were dropped: a sentence for
    /// each.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        self.shared.leftovers.all()
    }

    /// Loads a module with this host's limits.
    ///
    /// # Errors
    /// [`LoadError`] with what is wrong with it.
    pub async fn load(&self, bytes: Vec<u8>) -> Result<Module, LoadError> {
        let (bytes, guest) = loading::load(&self.shared.parts, bytes).await;
        guest.map(|guest| Module {
            hash: guest.hash().clone(),
            bytes,
            description: (**guest.description()).clone(),
        })
    }

    /// Stops all runners; each finishes or drops the batch that it is at.
    pub async fn stop(mut self) {
        self.shared.shutdown.begin();
        let tasks = std::mem::take(&mut self.tasks);
        let all_ended = async {
            while !self.shared.runners.all_have_ended() {
                tokio::time::sleep(STOP_POLL).await;
            }
            for task in tasks {
                // A task that panicked has ended as well.
                let _ = task.await;
            }
        };
        if tokio::time::timeout(STOP_TIME, all_ended).await.is_err() {
            tracing::warn!("a runner did not stop in time; its batch will be done again");
        }
    }
}

impl Drop for Supervisor {
    /// Tasks and runners end by themselves shortly afterwards.
    fn drop(&mut self) {
        self.shared.shutdown.begin();
    }
}

/// Claims the database. A command that carries something out by itself holds it
/// for a while and announces nothing; it is waited for, another host is not.
async fn claim(
    registry: &dyn HostRegistry,
    host: &str,
    shutdown: &Shutdown,
) -> Result<(), StorageError> {
    let started = Instant::now();
    loop {
        let refused = match registry.claim(host).await {
            Err(error) if error.kind() == StorageErrorKind::Refused => error,
            result => return result,
        };
        let has_waited = started.elapsed() > CLAIM_TIME || shutdown.has_begun();
        if has_waited || !registry.hosts().await?.is_empty() {
            return Err(refused);
        }
        tokio::time::sleep(CLAIM_POLL).await;
    }
}

/// What the database answers; where the host `waits`, what may pass is waited
/// for as long as it lasts, or until the host is to stop.
async fn until_ready<T, F>(
    waits: bool,
    shutdown: &Shutdown,
    ask: impl Fn() -> F,
) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>>,
{
    let mut said: Option<Instant> = None;
    loop {
        let error = match ask().await {
            Err(error) if waits && error.kind() == StorageErrorKind::Retry => error,
            result => return result,
        };
        if shutdown.has_begun() {
            return Err(error);
        }
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!("waiting for the database, trying again: {}", chain(&error));
            said = Some(Instant::now());
        }
        let _ = tokio::time::timeout(CLAIM_POLL, shutdown.begun()).await;
    }
}

/// How much the limits allow to be read at a time.
const fn batch_limits(limits: &Limits) -> BatchLimits {
    BatchLimits {
        events: limits.batch_events,
        bytes: limits.batch_bytes,
        until: None,
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
