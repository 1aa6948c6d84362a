//! What `status` tells of each projection, and why it is not moving.

use gnomon_model::Position;
use serde::Serialize;

use crate::generation::{Generation, GenerationId, GenerationState, ModuleHash, RunState};
use crate::source::Source;
use crate::target::{Target, TargetError};

/// The state of one projection.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectionStatus {
    /// The projection.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of the module that runs.
    pub module: ModuleHash,
    /// The live generation; before there is one, the first that is built.
    pub generation: GenerationId,
    /// Where that generation stands: `live`, or `building`.
    pub generation_state: GenerationState,
    /// What it does.
    pub state: RunState,
    /// Why it is not moving; null while it moves.
    pub cause: Option<String>,
    /// How far the read model has got.
    pub position: Position,
    /// The newest position of the event store; null where it cannot be read.
    pub head: Option<Position>,
    /// Positions between the two, holes included.
    pub lag_events: Option<u64>,
    /// Age of the first event that is not in the read model, in seconds.
    pub lag_seconds: Option<f64>,
    /// Events that wait in the dead-letter table.
    pub dead_letters: u64,
    /// The host that runs it; null where none does.
    pub host: Option<String>,
    /// A generation that is built beside the live one.
    pub candidate: Option<CandidateStatus>,
}

/// The state of a candidate.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateStatus {
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its module.
    pub module: ModuleHash,
    /// `building`, `ready` or `failed`.
    pub state: GenerationState,
    /// How far it has got.
    pub position: Position,
    /// Why it is not moving.
    pub cause: Option<String>,
}

/// The state of every projection, by name. Without a source, or where it
/// cannot be read, the head and the lag are unknown.
///
/// # Errors
/// When the read-model database cannot be read.
pub async fn projections(
    source: Option<&dyn Source>,
    target: &dyn Target,
) -> Result<Vec<ProjectionStatus>, TargetError> {
    let generations = target.generations().await?;
    let mut names: Vec<&str> = generations
        .iter()
        .map(|generation| generation.projection.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let head = match source {
        Some(source) => source.look().await.ok().map(|frontier| frontier.head),
        None => None,
    };
    let mut statuses: Vec<ProjectionStatus> = Vec::new();
    for name in names {
        let own: Vec<&Generation> = generations
            .iter()
            .filter(|generation| generation.projection == name)
            .collect();
        if let Some(shown) = shown(&own) {
            let lag = match (source, head) {
                (Some(source), Some(head)) => lag(source, head, shown.position).await,
                _ => None,
            };
            statuses.push(status(shown, candidate(&own, shown), lag));
        }
    }
    Ok(statuses)
}

/// How far a read model is behind its source.
struct Lag {
    head: Position,
    seconds: f64,
}

async fn lag(source: &dyn Source, head: Position, position: Position) -> Option<Lag> {
    let since = source.recorded_after(position).await.ok()?;
    let age = since.map_or(0, |since| {
        jiff::Timestamp::now()
            .as_microsecond()
            .saturating_sub(since)
    });
    Some(Lag {
        head,
        seconds: seconds(age),
    })
}

/// The generation that stands for a projection: the live one; before there is
/// one, the newest that is built.
#[must_use]
pub fn shown<'a>(generations: &[&'a Generation]) -> Option<&'a Generation> {
    let newest_in = |states: &[GenerationState]| {
        generations
            .iter()
            .copied()
            .filter(|generation| states.contains(&generation.state))
            .max_by_key(|generation| generation.id)
    };
    newest_in(&[GenerationState::Live])
        .or_else(|| newest_in(&[GenerationState::Building, GenerationState::Ready]))
        .or_else(|| newest_in(&[GenerationState::Failed]))
}

fn candidate<'a>(generations: &[&'a Generation], shown: &Generation) -> Option<&'a Generation> {
    generations
        .iter()
        .copied()
        .filter(|generation| {
            generation.id > shown.id
                && matches!(
                    generation.state,
                    GenerationState::Building | GenerationState::Ready | GenerationState::Failed
                )
        })
        .max_by_key(|generation| generation.id)
}

fn status(
    shown: &Generation,
    candidate: Option<&Generation>,
    lag: Option<Lag>,
) -> ProjectionStatus {
    let (state, cause) = state_of(shown);
    let behind = |lag: &Lag| lag.head.get().saturating_sub(shown.position.get());
    ProjectionStatus {
        name: shown.projection.clone(),
        version: shown.description.version,
        module: shown.module.clone(),
        generation: shown.id,
        generation_state: shown.state,
        state,
        cause,
        position: shown.position,
        head: lag.as_ref().map(|lag| lag.head),
        lag_events: lag.as_ref().map(behind),
        lag_seconds: lag.as_ref().map(|lag| lag.seconds),
        dead_letters: shown.dead_letters,
        host: shown.host.clone(),
        candidate: candidate.map(|candidate| CandidateStatus {
            generation: candidate.id,
            version: candidate.description.version,
            module: candidate.module.clone(),
            state: candidate.state,
            position: candidate.position,
            cause: state_of(candidate).1,
        }),
    }
}

/// What a generation does. Without a host, only a stop that lasts is still
/// true of what the last host said.
#[must_use]
pub fn state_of(generation: &Generation) -> (RunState, Option<String>) {
    let said = generation.report.as_ref();
    let lasts = |state| matches!(state, RunState::Halted | RunState::Paused);
    match said {
        Some(report) if generation.host.is_some() || lasts(report.state) => {
            (report.state, report.cause.clone())
        }
        _ if generation.host.is_some() => (RunState::Running, None),
        _ => (
            RunState::Waiting,
            Some("no host runs it; start one with `gnomon run`".to_owned()),
        ),
    }
}

fn seconds(microseconds: i64) -> f64 {
    std::time::Duration::from_micros(u64::try_from(microseconds).unwrap_or(0)).as_secs_f64()
}
