//! How `gnomon run` says what it serves, and how its projections stood at the
//! end.

use std::io::Write as _;
use std::time::Duration;

use gnomon_model::Position;
use gnomon_model::readable::indented;
use serde_json::json;

use super::super::{Context, output, style};
use crate::configuration::Configuration;
use crate::generation::{Generation, RunState};
use crate::runner::Progress;

/// Names that are listed; of the others only their number is said.
const NAMES_SHOWN: usize = 10;

/// How a generation stood when the host ended.
pub(super) struct Ended {
    pub(super) generation: Generation,
    /// How far its runner was; `None` if it never ran.
    pub(super) progress: Option<Progress>,
    /// From the start of the host to the goal, or to its end.
    pub(super) time: Duration,
    /// Whether it is where it was to get.
    pub(super) is_done: bool,
    /// Why it is not.
    pub(super) cause: Option<String>,
}

/// One line about what a host serves.
pub(super) fn serving(configuration: &Configuration, mut projections: Vec<String>) -> String {
    projections.sort_unstable();
    projections.dedup();
    let what = match projections.len() {
        0 => "no projection yet".to_owned(),
        1 => format!("projection {}", listed(&projections)),
        count => format!("{count} projections ({})", listed(&projections)),
    };
    format!(
        "serving {what}: events {}, read models {}, modules {}",
        configuration.events,
        configuration.read_models,
        configuration.projections_directory.display()
    )
}

/// One line about why `run --until-caught-up` ended; with whether everything
/// has happened that was asked for.
pub(super) fn ended(
    all: &[Ended],
    goal: Position,
    refused: usize,
    signal: Option<&str>,
) -> (String, bool) {
    let behind: Vec<String> = all
        .iter()
        .filter(|one| !one.is_done)
        .map(|one| one.generation.projection.clone())
        .collect();
    let mut causes = Vec::new();
    if let Some(signal) = signal {
        causes.push(format!("{signal} came before everything had caught up"));
    }
    if !behind.is_empty() {
        causes.push(format!("not caught up: {}", listed(&behind)));
    }
    match refused {
        0 => {}
        1 => causes.push("1 module is refused".to_owned()),
        refused => causes.push(format!("{refused} modules are refused")),
    }
    if causes.is_empty() {
        let goal = style::grouped(goal.get());
        let all = all.len();
        let text = match all {
            1 => format!("ended: the projection has caught up with event {goal}"),
            all => format!("ended: all {all} projections have caught up with event {goal}"),
        };
        return (text, true);
    }
    (format!("ended: {}", causes.join("; ")), false)
}

fn listed(names: &[String]) -> String {
    let shown = names.get(..NAMES_SHOWN).unwrap_or(names).join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Prints how each of them stood.
pub(super) fn print(context: &Context, all: &[Ended]) -> anyhow::Result<()> {
    let mut stdout = output::stdout();
    for ended in all {
        if context.json {
            writeln!(stdout, "{}", as_json(ended))?;
            continue;
        }
        let Ended {
            generation,
            progress,
            time,
            cause,
            ..
        } = ended;
        let name = &generation.projection;
        let (position, events, state) = progress
            .as_ref()
            .map_or((generation.position, 0, RunState::Halted), |progress| {
                (progress.position, progress.events, progress.report.state)
            });
        match cause {
            Some(cause) => writeln!(stdout, "{name}: {}", indented(cause))?,
            None if state == RunState::Paused => writeln!(
                stdout,
                "{name}: paused at position {}; `gnomon resume {name}` resumes it",
                style::grouped(position.get())
            )?,
            None => writeln!(
                stdout,
                "{name}: at position {}, {} events in {:.2} s{}",
                style::grouped(position.get()),
                style::grouped(events),
                time.as_secs_f64(),
                rate(events, *time)
            )?,
        }
    }
    Ok(())
}

fn as_json(ended: &Ended) -> serde_json::Value {
    let Ended {
        generation,
        progress,
        time,
        is_done,
        cause,
    } = ended;
    json!({
        "name": generation.projection,
        "version": generation.description.version,
        "generation": generation.id,
        "state": progress.as_ref().map_or(RunState::Halted, |progress| progress.report.state),
        "cause": cause,
        "caught_up": is_done,
        "position": progress.as_ref().map_or(generation.position, |progress| progress.position),
        "events": progress.as_ref().map_or(0, |progress| progress.events),
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
