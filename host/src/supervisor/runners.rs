//! The runners of a host: one for each generation that users want something
//! of, each with the module that they want.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::loading::load;
use super::refusal::Refusal;
use super::{Shared, batch_limits, limits_of_guest};
use crate::generation::{Generation, GenerationId, ModuleHash};
use crate::guest::{Guest, LoadError};
use crate::runner::{self, Assignment, Controls, Progress, RunnerHandle};
use crate::target::{Control, TargetError, in_time};

/// How often what failed is tried again.
const LOOK: Duration = Duration::from_millis(250);

/// A generation that runs here.
struct Running {
    generation: Generation,
    module: ModuleHash,
    guest: watch::Sender<Guest>,
    runner: RunnerHandle,
}

/// How a generation stands, for whoever watches the host in its process.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The generation, as it was when its runner was started.
    pub generation: Generation,
    /// What is wanted of it; `None` when it is gone.
    pub control: Option<Control>,
    /// How far its runner is.
    pub progress: Progress,
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

    pub(super) fn standings(&self, controls: &Controls) -> Vec<Standing> {
        self.lock()
            .values()
            .map(|running| Standing {
                generation: running.generation.clone(),
                control: controls.of(running.generation.id),
                progress: running.runner.progress.borrow().clone(),
            })
            .collect()
    }
}

/// What a loaded module is for.
struct Loaded {
    generation: GenerationId,
    projection: String,
    module: ModuleHash,
    result: Result<Result<Guest, LoadError>, TargetError>,
}

/// Makes the runners what users want, until the host stops.
pub(super) async fn reconcile(shared: Arc<Shared>) {
    let mut controls = shared.controls.clone();
    let mut reconciler = Reconciler {
        shared: Arc::clone(&shared),
        loading: JoinSet::new(),
        wanted: BTreeSet::new(),
        refused: BTreeMap::new(),
        ended: Arc::default(),
    };
    while !shared.shutdown.has_begun() {
        reconciler.reap();
        reconciler.look().await;
        tokio::select! {
            () = shared.shutdown.begun() => {}
            () = controls.changed() => {}
            () = reconciler.ended.notified() => {}
            Some(loaded) = reconciler.loading.join_next() => {
                if let Ok(loaded) = loaded {
                    reconciler.take(loaded).await;
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
    /// Told by every runner that ends.
    ended: Arc<Notify>,
}

impl Reconciler {
    /// Forgets runners that have ended. One that is still wanted is started
    /// again by the next look.
    fn reap(&self) {
        self.shared
            .runners
            .lock()
            .retain(|_, running| !running.runner.is_finished());
    }

    /// Compares what is wanted with what runs.
    async fn look(&mut self) {
        let controls = self.shared.controls.all();
        for control in controls.iter() {
            if !control.is_active() || !self.shared.is_ours(control.generation) {
                continue;
            }
            let running = self
                .shared
                .runners
                .lock()
                .get(&control.generation)
                .map(|running| running.module.clone());
            if running.as_ref() != Some(&control.module) {
                self.provide(control).await;
            }
        }
        let is_gone = |generation: &GenerationId| {
            !controls
                .iter()
                .any(|control| control.generation == *generation)
        };
        let gone: Vec<GenerationId> = self.refused.keys().copied().filter(is_gone).collect();
        for generation in gone {
            self.refused.remove(&generation);
            self.shared.refusals.remove(&registry_place(generation));
        }
    }

    /// Gives a generation its module: at once if it is loaded, or when it is.
    async fn provide(&mut self, control: &Control) {
        let Control {
            generation, module, ..
        } = control;
        if self.refused.get(generation) == Some(module)
            || self.wanted.contains(&(*generation, module.clone()))
        {
            return;
        }
        if let Some(guest) = self.shared.guests.get(module) {
            self.run(*generation, guest).await;
            return;
        }
        self.wanted.insert((*generation, module.clone()));
        let shared = Arc::clone(&self.shared);
        let (generation, projection, module) =
            (*generation, control.projection.clone(), module.clone());
        self.loading.spawn(async move {
            let result = match shared.parts.target.module(&module).await {
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

    async fn take(&mut self, loaded: Loaded) {
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
                self.run(generation, guest).await;
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

    /// Runs a generation with this module from its next batch on.
    async fn run(&self, generation: GenerationId, guest: Guest) {
        if let Some(running) = self.shared.runners.lock().get_mut(&generation) {
            running.module = guest.hash().clone();
            running.guest.send_replace(guest);
            tracing::info!(
                projection = running.generation.projection,
                "the next batch runs module {}",
                running.module.short()
            );
            return;
        }
        if let Err(error) = self.start(generation, guest).await {
            // The next look tries again.
            tracing::warn!("generation {generation} is not running yet: {error}");
        }
    }

    async fn start(&self, id: GenerationId, guest: Guest) -> anyhow::Result<()> {
        let shared = &self.shared;
        let generations = in_time(shared.parts.target.generations()).await?;
        let Some(generation) = generations.into_iter().find(|stored| stored.id == id) else {
            return Ok(());
        };
        let module = guest.hash().clone();
        let (sender, guest) = watch::channel(guest);
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
        Ok(())
    }
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
        convoy: Arc::clone(&shared.convoy),
        target: Arc::clone(&parts.target),
        host: parts.host.clone(),
        controls: shared.controls.clone(),
        heartbeats: Arc::clone(&shared.heartbeats),
    }
}
