//! `gnomon run`: the host.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use indicatif::ProgressBar;
use serde_json::json;

use super::{Context, host, progress, style};
use crate::generation::{Generation, GenerationId, GenerationState, Goal, RunState};
use crate::runner::Progress;
use crate::shutdown::Shutdown;
use crate::supervisor::{Parts, Scope, Standing, Supervisor};

mod opening;

/// How often progress is looked at, while somebody waits for it or sees it.
const LOOK: Duration = Duration::from_millis(20);
/// How often whether there is anything to see.
const IDLE_LOOK: Duration = Duration::from_millis(500);
/// How far behind a generation is before a bar is drawn for it.
const BAR_FROM: u64 = 1_000;

/// Runs the projections
///
/// Loads every *.wasm of the projections directory, builds what is new, and
/// follows the event store. The directory is watched: a file that is new or
/// changed is deployed when it is complete. A database that cannot be reached
/// is waited for. Ctrl-C or SIGTERM ends it; a batch that is under way is
/// finished or dropped, and nothing is lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon run                        until Ctrl-C
  gnomon run --until-caught-up      until every projection has reached the end of the events")]
pub(super) struct Run {
    /// Ends when every projection has reached the event that was the last one
    /// at the start; exits with 1 if one of them cannot, or if a database
    /// cannot be reached at the start
    #[arg(long)]
    until_caught_up: bool,
}

/// How a generation stood when the host ended.
struct Outcome {
    standing: Standing,
    /// From the start of the host to the goal, or to its end.
    time: Duration,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let shutdown = Shutdown::default();
        shutdown.on_signals()?;
        let configuration = context.configuration()?.clone();
        let waits = !self.until_caught_up;
        let Some(opened) = opening::open(&configuration, waits, &shutdown).await? else {
            return Ok(ExitCode::from(u8::from(self.until_caught_up)));
        };
        let goal = opened.head;
        let directory = configuration.projections_directory.clone();
        let parts = Parts {
            configuration,
            source: opened.source,
            target: opened.target,
            engine: Arc::new(host::engine()?),
            host: host::name(),
        };
        let started = Instant::now();
        let supervisor = Supervisor::start(parts, Scope::Everything, shutdown.clone()).await?;
        if self.until_caught_up {
            supervisor.deploy_all().await;
        }
        let has_work = supervisor
            .controls()
            .iter()
            .any(|control| control.is_active());
        let leftovers = supervisor.leftovers();
        let advice = if leftovers.is_empty() {
            format!(
                "no projection to run; build one with `gnomon build`, and put its .wasm into {}",
                directory.display()
            )
        } else {
            format!("no projection to run: {}", leftovers.join("; "))
        };
        if !has_work && self.until_caught_up {
            supervisor.stop().await;
            anyhow::bail!(advice);
        }
        if !has_work {
            tracing::warn!("{advice}");
        }
        let outcomes = self.watch(&supervisor, goal, started, &shutdown).await;
        let refused = supervisor.refusals().len();
        supervisor.stop().await;
        if !self.until_caught_up {
            return Ok(ExitCode::SUCCESS);
        }
        report(context, &outcomes)?;
        let behind = outcomes
            .iter()
            .any(|outcome| !is_done(&outcome.standing, goal));
        Ok(ExitCode::from(u8::from(behind || refused > 0)))
    }

    /// Shows progress until the host ends: at a signal, or with
    /// `--until-caught-up` when no projection can get further.
    async fn watch(
        &self,
        supervisor: &Supervisor,
        goal: Position,
        started: Instant,
        shutdown: &Shutdown,
    ) -> Vec<Outcome> {
        let mut bars: BTreeMap<GenerationId, ProgressBar> = BTreeMap::new();
        let mut outcomes: BTreeMap<GenerationId, Outcome> = BTreeMap::new();
        loop {
            let standings = supervisor.standings();
            let running = |id: &GenerationId| standings.iter().any(|now| now.generation.id == *id);
            bars.retain(|id, bar| {
                let goes_on = running(id);
                if !goes_on {
                    bar.finish_and_clear();
                }
                goes_on
            });
            for standing in &standings {
                draw(&mut bars, standing, goal);
                let id = standing.generation.id;
                let has_arrived = outcomes
                    .get(&id)
                    .is_some_and(|known: &Outcome| is_done(&known.standing, goal));
                if !has_arrived {
                    let standing = standing.clone();
                    let time = started.elapsed();
                    outcomes.insert(id, Outcome { standing, time });
                }
            }
            if self.until_caught_up && all_are_settled(supervisor, &standings, goal) {
                let controls = supervisor.controls();
                // One that was replaced meanwhile is of no interest.
                outcomes.retain(|id, _| {
                    controls
                        .iter()
                        .any(|control| control.generation == *id && control.is_active())
                });
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
        outcomes.into_values().collect()
    }
}

/// Draws how far a generation is that has some way to go.
fn draw(bars: &mut BTreeMap<GenerationId, ProgressBar>, standing: &Standing, goal: Position) {
    let Standing {
        generation,
        progress,
        ..
    } = standing;
    let position = progress.position.get();
    if is_done(standing, goal) || has_stopped(standing) {
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
fn all_are_settled(supervisor: &Supervisor, standings: &[Standing], goal: Position) -> bool {
    let all_run = supervisor
        .controls()
        .iter()
        .filter(|control| control.is_active())
        .all(|control| {
            supervisor.cannot_run(control.generation)
                || standings
                    .iter()
                    .any(|standing| standing.generation.id == control.generation)
        });
    all_run
        && standings
            .iter()
            .all(|standing| is_done(standing, goal) || has_stopped(standing))
}

/// Whether a generation has got as far as it is to get.
fn is_done(standing: &Standing, goal: Position) -> bool {
    let Some(control) = &standing.control else {
        return true;
    };
    let goal = control.until.map_or(goal, |until| until.min(goal));
    let has_arrived = match control.state {
        GenerationState::Live => true,
        GenerationState::Ready => matches!(control.goal, Goal::Hold | Goal::Compare),
        _ => !control.is_active(),
    };
    has_arrived && standing.progress.position >= goal
}

/// Whether it stands still until somebody does something about it.
fn has_stopped(standing: &Standing) -> bool {
    matches!(
        standing.progress.report.state,
        RunState::Halted | RunState::Paused
    )
}

fn report(context: &Context, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout();
    for Outcome { standing, time } in outcomes {
        let Standing {
            generation,
            progress,
            ..
        } = standing;
        if context.json {
            writeln!(stdout, "{}", as_json(generation, progress, *time))?;
            continue;
        }
        let name = &generation.projection;
        let events = style::grouped(progress.events);
        match &progress.report.cause {
            Some(cause) => writeln!(stdout, "{name}: {cause}")?,
            None if progress.report.state == RunState::Paused => writeln!(
                stdout,
                "{name}: paused at position {}; `gnomon resume {name}` lets it go on",
                style::grouped(progress.position.get())
            )?,
            None => writeln!(
                stdout,
                "{name}: at position {}, {events} events in {:.2} s{}",
                style::grouped(progress.position.get()),
                time.as_secs_f64(),
                rate(progress.events, *time)
            )?,
        }
    }
    Ok(())
}

fn as_json(generation: &Generation, progress: &Progress, time: Duration) -> serde_json::Value {
    json!({
        "name": generation.projection,
        "version": generation.description.version,
        "generation": generation.id,
        "state": progress.report.state,
        "cause": progress.report.cause,
        "position": progress.position,
        "events": progress.events,
        "seconds": time.as_secs_f64(),
    })
}

fn rate(events: u64, time: Duration) -> String {
    let milliseconds = time.as_millis().max(1);
    let rate = u128::from(events) * 1_000 / milliseconds;
    match u64::try_from(rate) {
        Ok(rate) if rate > 0 => format!(" ({} events/s)", style::grouped(rate)),
        _ => String::new(),
    }
}
