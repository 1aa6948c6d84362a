//! `gnomon status`: what every projection does, and why it is not moving.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use gnomon_model::readable::indented;

use super::{Context, output, style, wait};
use crate::generation::{GenerationState, RunState};
use crate::operations::status::{
    self, CandidateState, CandidateStatus, Problem, ProjectionStatus, RetiredStatus, Wish,
    WishStatus,
};
use crate::operations::{Operations, Patience, unknown};
use crate::storage;

/// Shows how far every projection is, and why it is not moving
///
/// With --check it exits with 1 if one of them has halted, has a refused module,
/// is run by no host, or has a candidate that stopped, or if no host has ever run
/// on the read-model database, and says so on stderr; with
/// --max-lag also if one is further behind. One that somebody paused or removed,
/// and a copy that is complete, need no host.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon status
  gnomon status order_summary
  gnomon status --check --max-lag 30s > /dev/null
  gnomon status --json | jq -c 'select(.lag_events > 0)'")]
pub(super) struct Status {
    /// Only this projection
    name: Option<String>,
    /// Exits with 1 if something does not work
    #[arg(long)]
    check: bool,
    /// With --check: how old the first event may be that is not in a read model
    #[arg(long, value_name = "TIME", requires = "check", value_parser = wait::duration)]
    max_lag: Option<Duration>,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = context.configuration()?;
        let operations = Operations::find(configuration, Patience::none()).await?;
        let mut statuses = match operations {
            Some(operations) => status::all(&operations).await?,
            // As before the first `gnomon run`.
            None => {
                output::say(&storage::no_registry(&configuration.read_models));
                if self.check {
                    return Ok(ExitCode::FAILURE);
                }
                Vec::new()
            }
        };
        let known: Vec<&str> = statuses
            .iter()
            .filter_map(|found| found.name.as_deref())
            .collect();
        for sentence in configuration.sections_of_nobody(&known) {
            tracing::warn!("{sentence}");
        }
        if let Some(name) = &self.name {
            anyhow::ensure!(known.contains(&name.as_str()), unknown(name, known));
            statuses.retain(|status| status.name.as_ref() == Some(name));
        }
        let mut stdout = output::stdout();
        if context.json {
            for status in &statuses {
                writeln!(stdout, "{}", serde_json::to_string(status)?)?;
            }
        } else if statuses.is_empty() {
            writeln!(stdout, "{}", advice(&configuration.projections_directory))?;
        } else {
            write_table(&mut stdout, &statuses)?;
        }
        Ok(self.verdict(&statuses))
    }

    /// With `--check`, whether everything works.
    fn verdict(&self, statuses: &[ProjectionStatus]) -> ExitCode {
        if !self.check {
            return ExitCode::SUCCESS;
        }
        let mut code = ExitCode::SUCCESS;
        for status in statuses {
            for problem in status.problems(self.max_lag) {
                let problem = describe_problem(problem);
                output::say(&match &status.name {
                    Some(name) => format!("{name}: {problem}"),
                    // Its reason names the file.
                    None => problem,
                });
                code = ExitCode::FAILURE;
            }
        }
        code
    }
}

fn describe_problem(problem: Problem) -> String {
    match problem {
        Problem::Stands(sentence) => sentence,
        Problem::UnknownLag => "its lag is unknown: the event store cannot be read".to_owned(),
        Problem::Behind { seconds, limit } => format!(
            "it is {} behind, more than {}",
            style::duration(seconds),
            style::duration(limit.as_secs_f64())
        ),
    }
}

/// What to do where there is no projection.
fn advice(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let has_module = entries.map(|entry| entry.path()).any(|path| {
        path.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    let directory = directory.display();
    if has_module {
        format!(
            "no projections; `gnomon run` deploys the modules in {directory}, except those that \
             were dropped since they were written: `gnomon deploy FILE` brings one back"
        )
    } else {
        format!("no projections yet; put a module into {directory} and start `gnomon run`")
    }
}

fn write_table(
    output: &mut impl std::io::Write,
    statuses: &[ProjectionStatus],
) -> anyhow::Result<()> {
    let mut table = style::table(&[
        "projection",
        "version",
        "module",
        "gen",
        "state",
        "position",
        "lag",
        "rate",
        "host",
    ]);
    for status in statuses {
        let Some(name) = &status.name else {
            continue;
        };
        table.add_row([
            name.clone(),
            text(status.version),
            status
                .module
                .as_ref()
                .map_or_else(String::new, |module| module.short().to_owned()),
            text(status.generation),
            state(status),
            style::grouped(status.position.get()),
            lag(status),
            rate(status.rate),
            status.host.clone().unwrap_or_default(),
        ]);
    }
    if !table.is_empty() {
        writeln!(output, "{table}")?;
    }
    for status in statuses {
        match &status.name {
            Some(name) => write_details(output, name, status)?,
            // Its reason names the file.
            None => tell(output, status.cause.as_deref().unwrap_or_default())?,
        }
    }
    Ok(())
}

/// Writes a sentence, which may quote what a guest or a database says: no line of
/// that looks like one of our own.
fn tell(output: &mut impl std::io::Write, sentence: &str) -> std::io::Result<()> {
    writeln!(output, "{}", indented(sentence))
}

/// What does not fit the table: why something does not move, and what is on
/// its way.
fn write_details(
    output: &mut impl std::io::Write,
    name: &str,
    status: &ProjectionStatus,
) -> anyhow::Result<()> {
    if let Some(cause) = &status.cause {
        tell(output, &format!("{name}: {cause}"))?;
    }
    if status.dead_letters > 0 {
        tell(
            output,
            &format!(
                "{name}: {} dead letters; `gnomon dead-letters list {name}` shows them",
                style::grouped(status.dead_letters)
            ),
        )?;
    }
    for deviation in &status.deviations {
        tell(output, &format!("{name}: {deviation}"))?;
    }
    if let Some(candidate) = &status.candidate {
        tell(
            output,
            &format!("{name}: {}", describe(name, candidate, status)),
        )?;
    }
    for wish in &status.wishes {
        if let Some(sentence) = sentence(name, status, wish) {
            tell(output, &format!("{name}: {sentence}"))?;
        }
    }
    let is_wanted = |retired: &&RetiredStatus| {
        let mut wishes = status.wishes.iter();
        wishes.any(|wish| wish.generation == retired.generation)
    };
    if let Some(retired) = (status.retired.as_ref()).filter(|retired| !is_wanted(retired)) {
        let cause = retired
            .cause
            .as_ref()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        tell(
            output,
            &format!(
                "{name}: `gnomon rollback {name}` goes back to generation {}, version {}{cause}",
                retired.generation, retired.version
            ),
        )?;
    }
    for refused in &status.refused {
        if status.cause.as_ref() != Some(&refused.reason) {
            tell(output, &format!("{name}: {}", refused.reason))?;
        }
    }
    Ok(())
}

/// What is wanted of a generation, where neither the table nor the candidate's
/// line says it.
fn sentence(name: &str, status: &ProjectionStatus, wanted: &WishStatus) -> Option<String> {
    let generation = format!(
        "generation {}, version {}",
        wanted.generation, wanted.version
    );
    let position = style::grouped(wanted.position.get());
    let cause = wanted.cause.as_ref();
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    match wanted.wish {
        Wish::Rollback | Wish::RollbackCascade => Some(format!(
            "a rollback to {generation}, is requested; it has to catch up and is at position \
             {position}{cause}; `gnomon rollback {name} --cancel` ends it"
        )),
        Wish::Compare => Some(format!(
            "{generation}, is being built to be compared, and is at position {position}{cause}"
        )),
        Wish::Hold if status.generation == Some(wanted.generation) => Some(format!(
            "{generation}, is held until `gnomon promote {name}`"
        )),
        Wish::Hold | Wish::Promote | Wish::PromoteCascade => None,
    }
}

fn describe(name: &str, candidate: &CandidateStatus, status: &ProjectionStatus) -> String {
    let state = match candidate.state {
        CandidateState::Building => "being built",
        CandidateState::Ready => "ready",
        CandidateState::Failed => "stopped",
    };
    let head = status.head.map_or_else(String::new, |head| {
        format!(" of {}", style::grouped(head.get()))
    });
    let mut text = format!(
        "generation {}, version {}, is {state} at position {}{head}",
        candidate.generation,
        candidate.version,
        style::grouped(candidate.position.get())
    );
    let is_on_its_way = candidate.state == CandidateState::Building;
    if is_on_its_way && status.state == RunState::Paused {
        text.push_str(&format!(", paused until `gnomon resume {name}`"));
    }
    if candidate.rate.is_some() {
        text.push_str(&format!(", {}", rate(candidate.rate)));
    }
    if let Some(left) = candidate.seconds_left {
        text.push_str(&format!(", {} left", style::duration(left.round())));
    }
    if candidate.hold {
        text.push_str(&format!(", held until `gnomon promote {name}`"));
    } else if candidate.state != CandidateState::Failed {
        text.push_str(", and promoted when it has caught up");
    }
    if let Some(cause) = &candidate.cause {
        text.push_str(&format!(": {cause}"));
    }
    text
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// What it does; before readers see anything, that it is being built.
fn state(status: &ProjectionStatus) -> String {
    if status.complete {
        return "complete".to_owned();
    }
    match status.generation_state {
        Some(state @ (GenerationState::Building | GenerationState::Ready)) => {
            format!("{} ({})", status.state.name(), state.name())
        }
        _ => status.state.name().to_owned(),
    }
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(String::new, |rate| format!("{rate:.0} events/s"))
}

fn lag(status: &ProjectionStatus) -> String {
    match (status.lag_events, status.lag_seconds) {
        (None, _) => "unknown".to_owned(),
        (Some(0), _) => "0".to_owned(),
        (Some(events), seconds) => format!(
            "{} ({})",
            style::grouped(events),
            style::duration(seconds.unwrap_or_default())
        ),
    }
}
