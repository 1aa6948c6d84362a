//! `gnomon run`: the host.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use indicatif::ProgressBar;
use serde_json::json;

use super::{Context, progress, style};
use crate::generation::{Generation, RunState};
use crate::guest::{GuestEngine, NativeCodeCache};
use crate::runner::Progress;
use crate::shutdown::Shutdown;
use crate::supervisor::{Parts, Supervisor};

mod opening;

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the projections
///
/// Loads every *.wasm of the projections directory, builds what is new, and
/// follows the event store. A database that cannot be reached is waited for.
/// Ctrl-C or SIGTERM ends it; a batch that is under way is finished or dropped,
/// and nothing is lost.
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

/// How a projection stood when the host ended.
struct Outcome {
    generation: Generation,
    progress: Progress,
    /// From the start of the host to the goal, or to its end.
    time: Duration,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = context.configuration()?.clone();
        let shutdown = Shutdown::default();
        shutdown.on_signals()?;
        let waits = !self.until_caught_up;
        let Some(opened) = opening::open(&configuration, waits, &shutdown).await? else {
            return Ok(ExitCode::from(u8::from(self.until_caught_up)));
        };
        let goal = opened.head;
        let engine = GuestEngine::new(native_code_cache())
            .map_err(|error| anyhow::anyhow!("the WebAssembly engine does not start: {error:#}"))?;
        let directory = configuration.projections_directory.clone();
        let parts = Parts {
            configuration,
            source: opened.source,
            target: opened.target,
            engine,
            host: host_name(),
        };
        let started = Instant::now();
        let supervisor = Supervisor::start(parts, shutdown.clone()).await?;
        for refusal in &supervisor.refusals {
            tracing::error!("{}", super::chain(refusal));
        }
        if supervisor.running.is_empty() {
            supervisor.stop().await;
            anyhow::bail!(
                "no projection to run; build one with `gnomon build`, and put its .wasm into {}",
                directory.display()
            );
        }
        let outcomes = self.watch(&supervisor, goal, started, &shutdown).await;
        let refused = supervisor.refusals.len();
        supervisor.stop().await;
        if !self.until_caught_up {
            return Ok(ExitCode::SUCCESS);
        }
        report(context, &outcomes)?;
        let behind = outcomes
            .iter()
            .any(|outcome| !reached(&outcome.progress, goal));
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
        let bars: Vec<ProgressBar> = supervisor
            .running
            .iter()
            .map(|(generation, _)| progress::bar(&generation.projection, goal.get()))
            .collect();
        let mut times: Vec<Option<Duration>> = vec![None; bars.len()];
        loop {
            for (((_, runner), bar), time) in supervisor.running.iter().zip(&bars).zip(&mut times) {
                let progress = runner.progress.borrow();
                bar.set_position(progress.position.get());
                if time.is_none() && is_settled(&progress, goal) {
                    bar.finish_and_clear();
                    *time = Some(started.elapsed());
                }
            }
            let all_settled = times.iter().all(Option::is_some);
            if self.until_caught_up && all_settled {
                break;
            }
            let ended = tokio::time::timeout(LOOK, shutdown.begun()).await.is_ok();
            if ended {
                break;
            }
            if all_settled {
                // Nothing is left to draw.
                shutdown.begun().await;
                break;
            }
        }
        for bar in bars {
            bar.finish_and_clear();
        }
        supervisor
            .running
            .iter()
            .zip(times)
            .map(|((generation, runner), time)| Outcome {
                generation: generation.clone(),
                progress: runner.progress.borrow().clone(),
                time: time.unwrap_or_else(|| started.elapsed()),
            })
            .collect()
    }
}

fn reached(progress: &Progress, goal: Position) -> bool {
    progress.is_live && progress.position >= goal
}

fn is_settled(progress: &Progress, goal: Position) -> bool {
    reached(progress, goal) || progress.report.state == RunState::Halted
}

fn report(context: &Context, outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout();
    for outcome in outcomes {
        let Outcome {
            generation,
            progress,
            time,
        } = outcome;
        let seconds = time.as_secs_f64();
        if context.json {
            let shown = json!({
                "name": generation.projection,
                "version": generation.description.version,
                "generation": generation.id,
                "state": progress.report.state,
                "cause": progress.report.cause,
                "position": progress.position,
                "events": progress.events,
                "seconds": seconds,
            });
            writeln!(stdout, "{shown}")?;
            continue;
        }
        let name = &generation.projection;
        let events = style::grouped(progress.events);
        match &progress.report.cause {
            Some(cause) => writeln!(stdout, "{name}: {cause}")?,
            None => writeln!(
                stdout,
                "{name}: at position {}, {events} events in {seconds:.2} s{}",
                style::grouped(progress.position.get()),
                rate(progress.events, *time)
            )?,
        }
    }
    Ok(())
}

fn rate(events: u64, time: Duration) -> String {
    let milliseconds = time.as_millis().max(1);
    let rate = u128::from(events) * 1_000 / milliseconds;
    match u64::try_from(rate) {
        Ok(rate) if rate > 0 => format!(" ({} events/s)", style::grouped(rate)),
        _ => String::new(),
    }
}

/// The user's cache of compiled modules, or none where it cannot be trusted.
pub(super) fn native_code_cache() -> Option<NativeCodeCache> {
    let directory = NativeCodeCache::default_directory()?;
    NativeCodeCache::open(&directory)
        .inspect_err(|error| tracing::warn!("modules are compiled anew at every start: {error}"))
        .ok()
}

/// The machine, the process, and a random part: unique among hosts, and
/// helpful to whoever looks for the one that holds a lease.
fn host_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "host".to_owned());
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let unique = unique.get(..6).unwrap_or_default();
    format!("{}-{}-{unique}", machine.trim(), std::process::id())
}
