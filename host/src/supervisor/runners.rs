//! The runners of a host: one for each generation of its share, each with the
//! module that users want.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gnomon_guest::{Guest, LoadError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::loading::load;
use super::refusal::Refusal;
use super::sharing::{self, Candidate};
use super::{Scope, Shared, batch_limits, limits_of_guest};
use crate::generation::{
    Generation, GenerationId, GenerationState, ModuleHash, RunReport, RunState,
};
use crate::registry::{Control, Overview};
use crate::runner::{self, Assignment, Controls, Progress, RunnerHandle};
use crate::storage_error::{StorageError, in_time};

/// How often what failed is tried again.
const LOOK: Duration = Duration::from_millis(250);
/// How soon a runner that has ended may be started again at the earliest: not
/// at once, where another host is in its way.
const START_AGAIN: Duration = Duration::from_millis(500);
/// How long a host may leave a lease free that would be its share. Then it
/// cannot run the generation, and any host that can takes it.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(2);
/// How long a request for a lease counts. It is made again if it is not met.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// A generation that runs here.
struct Running {
    generation: Generation,
    module: ModuleHash,
    guest: watch::Sender<Guest>,
    runner: RunnerHandle,
}

/// How a generation stands, for whoever watches the host in its process.
#[derive(Clone, Debug)]
pub struct GenerationRun {
    /// The generation, as it was when its runner was started.
    pub generation: Generation,
    /// What is wanted of it; `None` when it is gone.
    pub control: Option<Control>,
    /// How far its runner is.
    pub progress: Progress,
}

/// How every active generation stands that another host runs.
///
/// # Errors
/// When the registry cannot be read.
pub(super) async fn elsewhere(shared: &Shared) -> Result<Vec<GenerationRun>, StorageError> {
    let overview = shared.controls.overview();
    let is_elsewhere = |control: &&Control| {
        let holder = control.lease.held_by();
        control.is_active() && holder.is_some_and(|holder| holder != shared.parts.host)
    };
    let others: Vec<&Control> = overview.controls.iter().filter(is_elsewhere).collect();
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let stored = in_time(shared.parts.storage.registry.generations()).await?;
    let run = |generation: Generation| {
        let control = others
            .iter()
            .find(|control| control.generation == generation.id)?;
        Some(GenerationRun::elsewhere(generation, (*control).clone()))
    };
    Ok(stored.into_iter().filter_map(run).collect())
}

/// All runners of a host.
#[derive(Default)]
pub(super) struct Runners(Mutex<BTreeMap<GenerationId, Running>>);

impl Runners {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<GenerationId, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all_have_ended(&self) -> bool {
        self.lock()
            .values()
            .all(|running| running.runner.is_finished())
    }

    pub(super) fn runs(&self, controls: &Controls) -> Vec<GenerationRun> {
        self.lock()
            .values()
            .map(|running| GenerationRun {
                generation: running.generation.clone(),
                control: controls.of(running.generation.id),
                progress: running.runner.progress.borrow().clone(),
            })
            .collect()
    }
}

impl GenerationRun {
    /// How a generation stands that another host runs, as it is recorded.
    fn elsewhere(generation: Generation, control: Control) -> Self {
        let running = RunReport {
            state: RunState::Running,
            cause: None,
        };
        Self {
            progress: Progress {
                // On the host that runs it.
                has_begun: true,
                report: generation.report.clone().unwrap_or(running),
                position: generation.position,
                events: 0,
                is_live: generation.state == GenerationState::Live,
            },
            control: Some(control),
            generation,
        }
    }
}

/// What a loaded module is for.
struct Loaded {
    generation: GenerationId,
    projection: String,
    module: ModuleHash,
    result: Result<Result<Guest, LoadError>, StorageError>,
}

/// Makes the runners what users want, until the host stops.
pub(super) async fn reconcile(shared: Arc<Shared>) {
    let mut controls = shared.controls.clone();
    let mut reconciler = Reconciler {
        shared: Arc::clone(&shared),
        loading: JoinSet::new(),
        wanted: BTreeSet::new(),
        refused: BTreeMap::new(),
        loaded: BTreeMap::new(),
        started: BTreeMap::new(),
        free_since: BTreeMap::new(),
        ended: Arc::default(),
    };
    while !shared.shutdown.has_begun() {
        reconciler.reap().await;
        reconciler.look().await;
        tokio::select! {
            () = shared.shutdown.begun() => {}
            () = controls.changed() => {}
            () = reconciler.ended.notified() => {}
            Some(loaded) = reconciler.loading.join_next() => {
                if let Ok(loaded) = loaded {
                    reconciler.take(loaded);
                }
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

struct Reconciler {
    shared: Arc<Shared>,
    loading: JoinSet<Loaded>,
    /// The modules that are being loaded, by what they are for.
    wanted: BTreeSet<(GenerationId, ModuleHash)>,
    /// The modules that did not load; they are not tried again.
    refused: BTreeMap<GenerationId, ModuleHash>,
    /// The modules of generations that run elsewhere, so that this host can take
    /// over at once.
    loaded: BTreeMap<GenerationId, Guest>,
    /// When runners were started last.
    started: BTreeMap<GenerationId, Instant>,
    /// Since when nobody has these leases.
    free_since: BTreeMap<GenerationId, Instant>,
    /// Told by every runner that ends.
    ended: Arc<Notify>,
}

impl Reconciler {
    /// Forgets runners that have ended. One that is still wanted here is started
    /// again by a later look.
    async fn reap(&self) {
        let before = self.shared.runners.lock().len();
        self.shared
            .runners
            .lock()
            .retain(|_, running| !running.runner.is_finished());
        if self.shared.runners.lock().len() == before {
            return;
        }
        // Why it has ended was not in what was read before.
        self.refresh().await;
    }

    /// Compares what is wanted with what runs.
    async fn look(&mut self) {
        let overview = self.shared.controls.overview();
        self.forget_what_is_gone(&overview);
        let active: Vec<&Control> = overview
            .controls
            .iter()
            .filter(|control| control.is_active() && self.shared.is_ours(control.generation))
            .collect();
        let running: BTreeMap<GenerationId, ModuleHash> = self
            .shared
            .runners
            .lock()
            .iter()
            .map(|(id, running)| (*id, running.module.clone()))
            .collect();
        for control in &active {
            let id = control.generation;
            let module = running.get(&id);
            let module = module.or_else(|| self.loaded.get(&id).map(Guest::hash));
            if module != Some(&control.module) {
                self.provide(control);
            }
        }
        self.note_free(&active);
        let candidates: Vec<Candidate<'_>> = active
            .iter()
            .map(|control| self.candidate(control, &running))
            .collect();
        let host = self.shared.parts.host.clone();
        let share = match &self.shared.scope {
            Scope::Everything => sharing::share(&host, &overview, &candidates),
            Scope::Generations(_) => sharing::alone(&host, &candidates),
        };
        if !share.take.is_empty()
            && let Err(error) = self.start(&share.take).await
        {
            // The next look tries again.
            tracing::warn!(
                "generations {} are not running yet: {error}",
                list(&share.take)
            );
        }
        if !share.ask.is_empty() {
            let registry = &self.shared.parts.storage.registry;
            let asked = in_time(registry.request_leases(&share.ask, &host, REQUEST_TIME)).await;
            if let Err(error) = asked {
                tracing::debug!("no host was asked for its leases: {error}");
            }
            self.refresh().await;
        }
    }

    fn candidate<'a>(
        &self,
        control: &'a Control,
        running: &BTreeMap<GenerationId, ModuleHash>,
    ) -> Candidate<'a> {
        let id = control.generation;
        let is_loaded = (self.loaded.get(&id)).is_some_and(|guest| *guest.hash() == control.module);
        let may_start = (self.started.get(&id)).is_none_or(|last| last.elapsed() > START_AGAIN);
        let free_since = self.free_since.get(&id);
        Candidate {
            control,
            runs_here: running.contains_key(&id),
            can_run: is_loaded && may_start,
            is_left_over: free_since.is_some_and(|since| since.elapsed() > LEFT_OVER_AFTER),
        }
    }

    fn note_free(&mut self, active: &[&Control]) {
        let is_free = |control: &&&Control| control.lease.held_by().is_none();
        let free: BTreeSet<GenerationId> = active
            .iter()
            .filter(is_free)
            .map(|control| control.generation)
            .collect();
        self.free_since.retain(|id, _| free.contains(id));
        for id in free {
            self.free_since.entry(id).or_insert_with(Instant::now);
        }
    }

    fn forget_what_is_gone(&mut self, overview: &Overview) {
        let active: BTreeSet<GenerationId> = overview
            .controls
            .iter()
            .filter(|control| control.is_active())
            .map(|control| control.generation)
            .collect();
        self.loaded.retain(|id, _| active.contains(id));
        self.started.retain(|id, _| active.contains(id));
        let is_gone = |generation: &GenerationId| {
            !(overview.controls.iter()).any(|control| control.generation == *generation)
        };
        let gone: Vec<GenerationId> = self.refused.keys().copied().filter(is_gone).collect();
        for generation in gone {
            self.refused.remove(&generation);
            self.shared.refusals.remove(&registry_place(generation));
        }
    }

    /// Gives a generation its module: at once if it is loaded, or when it is.
    fn provide(&mut self, control: &Control) {
        let Control {
            generation, module, ..
        } = control;
        if self.refused.get(generation) == Some(module)
            || self.wanted.contains(&(*generation, module.clone()))
        {
            return;
        }
        if let Some(guest) = self.shared.guests.get(module) {
            self.supply(*generation, guest);
            return;
        }
        self.wanted.insert((*generation, module.clone()));
        let shared = Arc::clone(&self.shared);
        let (generation, projection, module) =
            (*generation, control.projection.clone(), module.clone());
        self.loading.spawn(async move {
            let result = match shared.parts.storage.registry.module(&module).await {
                Err(error) => Err(error),
                Ok(stored) => {
                    let bytes = stored.map(|module| module.bytes).unwrap_or_default();
                    Ok(load(&shared.parts, bytes).await.1)
                }
            };
            Loaded {
                generation,
                projection,
                module,
                result,
            }
        });
    }

    fn take(&mut self, loaded: Loaded) {
        let Loaded {
            generation,
            projection,
            module,
            result,
        } = loaded;
        self.wanted.remove(&(generation, module.clone()));
        let place = registry_place(generation);
        match result {
            Ok(Ok(guest)) => {
                self.shared.refusals.remove(&place);
                self.refused.remove(&generation);
                self.shared.guests.add(guest.clone());
                self.supply(generation, guest);
            }
            Ok(Err(reason)) => {
                let refusal = Refusal::Registry {
                    projection,
                    module: module.clone(),
                    reason,
                };
                self.shared.refusals.add(place, &refusal);
                self.refused.insert(generation, module);
            }
            // The next look tries again.
            Err(error) => tracing::debug!("module {} was not read: {error}", module.short()),
        }
    }

    /// Runs a generation with this module from its next batch on; keeps the module
    /// where the generation does not run here.
    fn supply(&mut self, generation: GenerationId, guest: Guest) {
        let mut runners = self.shared.runners.lock();
        let Some(running) = runners.get_mut(&generation) else {
            self.loaded.insert(generation, guest);
            return;
        };
        running.module = guest.hash().clone();
        running.guest.send_replace(guest);
        tracing::info!(
            projection = running.generation.projection,
            "the next batch runs module {}",
            running.module.short()
        );
    }

    /// Starts runners for generations with loaded modules.
    async fn start(&mut self, ids: &[GenerationId]) -> anyhow::Result<()> {
        let shared = &self.shared;
        let generations = in_time(shared.parts.storage.registry.generations()).await?;
        for generation in generations {
            let id = generation.id;
            if !ids.contains(&id) {
                continue;
            }
            let Some(guest) = self.loaded.remove(&id) else {
                continue;
            };
            let module = guest.hash().clone();
            let (sender, guest) = watch::channel(guest);
            self.started.insert(id, Instant::now());
            let runner = runner::start(
                assignment(shared, generation.clone(), guest),
                Handle::current(),
                shared.shutdown.clone(),
                Arc::clone(&self.ended),
            )?;
            let running = Running {
                generation,
                module,
                guest: sender,
                runner,
            };
            shared.runners.lock().insert(id, running);
        }
        Ok(())
    }

    /// Reads what was just changed.
    async fn refresh(&self) {
        if let Err(error) = self.shared.controls.refresh().await {
            tracing::debug!("the controls were not read: {error}");
        }
    }
}

fn list(generations: &[GenerationId]) -> String {
    let names: Vec<String> = generations.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// Under what place a refusal of a registered module is listed.
#[must_use]
pub fn registry_place(generation: GenerationId) -> String {
    format!("the registry, generation {generation}")
}

fn assignment(
    shared: &Shared,
    generation: Generation,
    guest: watch::Receiver<Guest>,
) -> Assignment {
    let parts = &shared.parts;
    let limits = parts.configuration.limits_of(&generation.projection);
    Assignment {
        guest_limits: limits_of_guest(&limits),
        batch_limits: batch_limits(&limits),
        row_cache: limits.row_cache,
        build_window: limits.build_window,
        lease_time: limits.lease_time,
        on_error: parts.configuration.on_error(&generation.projection),
        max_dead_letters: (parts.configuration).max_dead_letters(&generation.projection),
        generation,
        guest,
        source: Arc::clone(&parts.source),
        scan: Arc::clone(&shared.scan),
        storage: parts.storage.clone(),
        host: parts.host.clone(),
        controls: shared.controls.clone(),
        heartbeats: Arc::clone(&shared.heartbeats),
    }
}
