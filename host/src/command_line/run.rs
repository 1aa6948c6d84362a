//! `gnomon run`: the host.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use indicatif::ProgressBar;

use super::{Context, progress, watching};
use crate::generation::{GenerationId, GenerationState, Goal, RunState};
use crate::operations::Patience;
use crate::registry::Registry;
use crate::shutdown::Shutdown;
use crate::storage_error::in_time;
use crate::supervisor::{GenerationRun, Parts, Scope, Supervisor, registry_place};

mod opening;
mod report;

use report::Ended;

/// How often progress is looked at, while somebody waits for it or sees it.
const LOOK: Duration = Duration::from_millis(20);
/// How often what other hosts run is looked at.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(200);
/// How often whether there is anything to see.
const IDLE_LOOK: Duration = Duration::from_millis(500);
/// How long the end waits for a database that is out of reach, to say how
/// everything stands.
const REPORT_TIME: Duration = Duration::from_secs(10);
/// How far behind a generation is before a bar is drawn for it.
const BAR_FROM: u64 = 1_000;

/// Runs the projections
///
/// Loads every *.wasm of the projections directory, builds what is new, and
/// follows the event store. The host watches the directory and deploys a new or
/// changed file when it is complete. It waits for a database that cannot be
/// reached. Ctrl-C or SIGTERM ends it; the host finishes or drops the current
/// batch, and nothing is lost.
///
/// With --until-caught-up it exits with 0 only if every projection, and every
/// generation that is being built, has reached the event that was the last one at
/// the start. It exits with 1 if one has halted, is paused before that event, or
/// was not promoted, if a module or file is refused, if there is no projection, if
/// a database cannot be reached at the start, or after Ctrl-C or SIGTERM. A
/// removed projection, and a candidate that you hold, count as done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon run                        until Ctrl-C
  gnomon run --until-caught-up      until every projection has reached the end of the events")]
pub(super) struct Run {
    /// Ends when every projection has reached the event that was the last one
    /// at the start; exits with 1 if one of them cannot
    #[arg(long)]
    until_caught_up: bool,
}

/// A generation that runs, or has run, in this process.
struct Outcome {
    run: GenerationRun,
    /// From the start of the host to the goal, or to its end.
    time: Duration,
}

/// What was seen of the projections until the host ended.
struct Watched {
    outcomes: BTreeMap<GenerationId, Outcome>,
    /// Whether all of them have got as far as they can.
    has_settled: bool,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let shutdown = Shutdown::default();
        shutdown.on_signals()?;
        let configuration = context.configuration()?.clone();
        let waits = !self.until_caught_up;
        let Some(opened) = opening::open(&configuration, waits, &shutdown).await? else {
            self.say_stopped(context, &shutdown);
            return Ok(ExitCode::from(u8::from(self.until_caught_up)));
        };
        let goal = opened.head;
        let registry = Arc::clone(&opened.storage.registry);
        let parts = Parts::new(configuration.clone(), opened.source, opened.storage)?;
        let started = Instant::now();
        let start = Supervisor::start(parts, Scope::Everything, shutdown.clone());
        let supervisor = match start.await {
            Err(_) if shutdown.has_begun() => {
                self.say_stopped(context, &shutdown);
                return Ok(ExitCode::from(u8::from(self.until_caught_up)));
            }
            started => started?,
        };
        if self.until_caught_up {
            supervisor.deploy_all().await;
        }
        let projections: Vec<String> = supervisor
            .overview()
            .controls
            .iter()
            .filter(|control| control.is_active())
            .map(|control| control.projection.clone())
            .collect();
        let has_work = !projections.is_empty();
        let leftovers = supervisor.leftovers();
        let advice = if leftovers.is_empty() {
            format!(
                "no projection to run; build one with `gnomon build`, and put its .wasm into {}",
                configuration.projections_directory.display()
            )
        } else {
            format!("no projection to run: {}", leftovers.join("; "))
        };
        if !has_work && self.until_caught_up {
            supervisor.stop().await;
            anyhow::bail!(advice);
        }
        context.say(&report::serving(&configuration, projections));
        if !has_work {
            tracing::warn!("{advice}");
        }
        let watched = self.watch(&supervisor, goal, started, &shutdown).await;
        if !self.until_caught_up {
            supervisor.stop().await;
            self.say_stopped(context, &shutdown);
            return Ok(ExitCode::SUCCESS);
        }
        let all = ended(&supervisor, &*registry, goal, &watched).await;
        let refused = supervisor.refusals().len();
        let has_settled = watched.has_settled;
        supervisor.stop().await;
        let all = all?;
        report::print(context, &all)?;
        let signal = (!has_settled).then(|| shutdown.signal().unwrap_or("a signal"));
        let (text, is_done) = report::ended(&all, goal, refused, signal);
        context.say(&text);
        Ok(ExitCode::from(u8::from(!is_done)))
    }

    fn say_stopped(&self, context: &Context, shutdown: &Shutdown) {
        let signal = shutdown.signal().unwrap_or("a signal");
        context.say(&if self.until_caught_up {
            format!("ended: {signal} came before everything had caught up")
        } else {
            format!("ended by {signal}; the next start continues from here")
        });
    }

    /// Shows progress until the host ends: at a signal, or with
    /// `--until-caught-up` when no projection can get further.
    async fn watch(
        &self,
        supervisor: &Supervisor,
        goal: Position,
        started: Instant,
        shutdown: &Shutdown,
    ) -> Watched {
        let mut bars: BTreeMap<GenerationId, ProgressBar> = BTreeMap::new();
        let mut watched = Watched {
            outcomes: BTreeMap::new(),
            has_settled: false,
        };
        let mut elsewhere = Elsewhere::default();
        loop {
            let mut runs = supervisor.runs();
            if self.until_caught_up {
                runs.extend(elsewhere.look(supervisor, &runs).await);
            }
            let running = |id: &GenerationId| runs.iter().any(|now| now.generation.id == *id);
            bars.retain(|id, bar| {
                let goes_on = running(id);
                if !goes_on {
                    bar.finish_and_clear();
                }
                goes_on
            });
            for run in &runs {
                draw(&mut bars, run, goal);
                let id = run.generation.id;
                let has_arrived = watched
                    .outcomes
                    .get(&id)
                    .is_some_and(|known: &Outcome| is_done(&known.run, goal));
                if !has_arrived {
                    let run = run.clone();
                    let time = started.elapsed();
                    watched.outcomes.insert(id, Outcome { run, time });
                }
            }
            if self.until_caught_up && all_are_settled(supervisor, &runs, goal) {
                watched.has_settled = true;
                break;
            }
            let look = if self.until_caught_up || !bars.is_empty() {
                LOOK
            } else {
                IDLE_LOOK
            };
            if tokio::time::timeout(look, shutdown.begun()).await.is_ok() {
                break;
            }
        }
        for bar in bars.values() {
            bar.finish_and_clear();
        }
        watched
    }
}

/// What other hosts run, as it was last seen.
#[derive(Default)]
struct Elsewhere {
    runs: Vec<GenerationRun>,
    looked: Option<Instant>,
}

impl Elsewhere {
    /// All of it that does not run here.
    async fn look(
        &mut self,
        supervisor: &Supervisor,
        here: &[GenerationRun],
    ) -> Vec<GenerationRun> {
        let is_due = (self.looked).is_none_or(|last| last.elapsed() > LOOK_ELSEWHERE);
        if is_due && let Ok(runs) = supervisor.runs_elsewhere().await {
            self.runs = runs;
            self.looked = Some(Instant::now());
        }
        let runs_here = |other: &GenerationRun| {
            (here.iter()).any(|run| run.generation.id == other.generation.id)
        };
        let others = self.runs.iter().filter(|other| !runs_here(other));
        others.cloned().collect()
    }
}

/// How every generation stands that is wanted. One that was replaced meanwhile
/// is of no interest.
async fn ended(
    supervisor: &Supervisor,
    registry: &dyn Registry,
    goal: Position,
    watched: &Watched,
) -> anyhow::Result<Vec<Ended>> {
    let stored = Patience::new(Some(REPORT_TIME))
        .watched_by(watching::watcher())
        .ask(async || in_time(registry.generations()).await)
        .await?;
    let refusals = supervisor.refusals();
    let overview = supervisor.overview();
    let wanted = (overview.controls.iter()).filter(|control| control.is_active());
    Ok(wanted
        .filter_map(|control| {
            let id = control.generation;
            let generation = stored.iter().find(|stored| stored.id == id)?.clone();
            let outcome = watched.outcomes.get(&id);
            let refusal = refusals
                .iter()
                .find(|refused| refused.place == registry_place(id));
            let may_rest = generation.is_held_by_users();
            let cause = match (refusal, outcome) {
                (Some(refusal), _) => Some(refusal.reason.clone()),
                // Why it is held.
                _ if generation.obstacle.is_some() => {
                    let obstacle = generation.obstacle.as_ref();
                    obstacle.map(|obstacle| obstacle.reason.clone())
                }
                (None, Some(outcome)) => outcome.run.progress.report.cause.clone(),
                (None, None) => Some("it was not started".to_owned()),
            };
            let has_arrived = outcome.is_some_and(|outcome| is_done(&outcome.run, goal));
            Some(Ended {
                is_done: has_arrived && refusal.is_none() && may_rest,
                progress: outcome.map(|outcome| outcome.run.progress.clone()),
                time: outcome.map_or(Duration::ZERO, |outcome| outcome.time),
                generation,
                cause,
            })
        })
        .collect())
}

/// Draws how far a generation is that has some way to go.
fn draw(bars: &mut BTreeMap<GenerationId, ProgressBar>, run: &GenerationRun, goal: Position) {
    let GenerationRun {
        generation,
        progress,
        ..
    } = run;
    let position = progress.position.get();
    if is_done(run, goal) || has_stopped(run) {
        if let Some(bar) = bars.remove(&generation.id) {
            bar.finish_and_clear();
        }
        return;
    }
    let bar = match bars.get(&generation.id) {
        Some(bar) => bar,
        None if goal.get().saturating_sub(position) < BAR_FROM => return,
        None => bars
            .entry(generation.id)
            .or_insert_with(|| progress::bar(&generation.projection, goal.get())),
    };
    bar.set_position(position);
}

/// Whether every generation that is wanted has got as far as it can.
fn all_are_settled(supervisor: &Supervisor, runs: &[GenerationRun], goal: Position) -> bool {
    let all_run = supervisor
        .overview()
        .controls
        .iter()
        .filter(|control| control.is_active())
        .all(|control| {
            supervisor.cannot_run(control.generation)
                || runs
                    .iter()
                    .any(|run| run.generation.id == control.generation)
        });
    all_run
        && runs
            .iter()
            .all(|run| is_done(run, goal) || has_stopped(run))
}

/// Whether a generation has got as far as it is to get.
fn is_done(run: &GenerationRun, goal: Position) -> bool {
    let Some(control) = &run.control else {
        return true;
    };
    let goal = control.until.map_or(goal, |until| until.min(goal));
    let has_arrived = match control.state {
        GenerationState::Live => true,
        GenerationState::Ready => matches!(control.goal, Goal::Hold | Goal::Compare),
        _ => !control.is_active(),
    };
    let progress = &run.progress;
    // One that halts may stand where the goal is and yet refuse to run: the store
    // is another one.
    let runs = progress.has_begun && progress.report.state != RunState::Halted;
    has_arrived && progress.position >= goal && (runs || !control.is_active())
}

/// Whether it stands still until somebody does something about it.
fn has_stopped(run: &GenerationRun) -> bool {
    matches!(
        run.progress.report.state,
        RunState::Halted | RunState::Paused
    )
}
