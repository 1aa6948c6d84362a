//! What `status` tells of each projection, and why it is not moving.

use gnomon_event_store::source::Source;
use gnomon_model::Position;
use serde::Serialize;

use super::{OperationError, Operations};
use crate::generation::{
    Generation, GenerationId, GenerationState, Generations, Goal, ModuleHash, Rate, RunState,
};
use crate::registry::{PresentHost, RefusedFile, Registry};
use crate::storage_error::StorageError;

mod problem;
mod wish;

pub use problem::Problem;
pub use wish::{Wish, WishStatus};

/// The state of one projection.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// The projection; null for a file that is refused before it said its name.
    pub name: Option<String>,
    /// Its version; null for a file that is refused.
    pub version: Option<u32>,
    /// SHA-256 of the module that runs.
    pub module: Option<ModuleHash>,
    /// The live generation; before there is one, the first that is built.
    pub generation: Option<GenerationId>,
    /// Where that generation stands: `live`, `building` or `ready`.
    pub generation_state: Option<GenerationState>,
    /// What it does.
    pub state: RunState,
    /// Why it is not moving; null while it moves.
    pub cause: Option<String>,
    /// How far the read model has got.
    pub position: Position,
    /// Where it ends for good; null where it follows the event store.
    pub until: Option<Position>,
    /// Whether it has got there.
    pub complete: bool,
    /// The newest position of the event store, or where the read model ends;
    /// null where the store cannot be read.
    pub head: Option<Position>,
    /// Positions between the two, holes included.
    pub lag_events: Option<u64>,
    /// Age of the first event that is not in the read model, in seconds.
    pub lag_seconds: Option<f64>,
    /// Events of its subscription per second, applied or not; null while it
    /// stands.
    pub rate: Option<f64>,
    /// Events that wait in the dead-letter table.
    pub dead_letters: u64,
    /// Events that a retry has applied out of the global order.
    pub applied_late: u64,
    /// Decisions to skip an event that came too late for the read model.
    pub changed_skips: u64,
    /// Why a rebuild may give other rows, as sentences.
    #[serde(skip)]
    pub deviations: Vec<String>,
    /// The host that runs it; null where none does.
    pub host: Option<String>,
    /// Positions that its host saw handed out and rolled back.
    pub rolled_back: u64,
    /// The projection that this is a copy of, and null for any other.
    pub copy_of: Option<String>,
    /// A generation that is built beside the live one.
    pub candidate: Option<CandidateStatus>,
    /// What `rollback` would go back to.
    pub retired: Option<RetiredStatus>,
    /// What is wanted of its generations and has not happened yet.
    pub wishes: Vec<WishStatus>,
    /// Modules of this projection that were refused, by the hosts that are there
    /// or, where none is, by the last ones.
    pub refused: Vec<RefusedStatus>,
}

/// The state of a candidate.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CandidateStatus {
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its module.
    pub module: ModuleHash,
    /// Where it stands.
    pub state: CandidateState,
    /// Whether it waits for `gnomon promote` when it has caught up.
    pub hold: bool,
    /// How far it has got.
    pub position: Position,
    /// Events of its subscription per second, applied or not; null while it
    /// stands.
    pub rate: Option<f64>,
    /// How long it still takes to catch up, in seconds; null where that is
    /// unknown.
    pub seconds_left: Option<f64>,
    /// Its events that wait in the dead-letter table.
    pub dead_letters: u64,
    /// Why it is not moving, or not promoted.
    pub cause: Option<String>,
}

/// Where a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateState {
    /// It has not caught up.
    Building,
    /// It has caught up.
    Ready,
    /// It stopped at an event that it cannot apply. `gnomon resume` lets it
    /// try again, and so does a module of its version.
    Failed,
}

/// The generation that was live before.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RetiredStatus {
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its module.
    pub module: ModuleHash,
    /// How far it has got.
    pub position: Position,
    /// Why it does not get further on its way back; null where it rests.
    pub cause: Option<String>,
}

/// A module that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedStatus {
    /// The file, or the place in the registry.
    pub place: String,
    /// Why, and what to do.
    pub reason: String,
}

/// The state of every projection, by name. The lag is unknown if the event store
/// cannot be opened.
///
/// # Errors
/// When the read-model database cannot be read.
pub async fn all(operations: &Operations) -> Result<Vec<ProjectionStatus>, OperationError> {
    // What the hosts said of themselves is worth showing without a source.
    let source = operations.source_once().await;
    let source = source
        .inspect_err(|error| tracing::warn!("the lag is unknown: {error}"))
        .ok();
    Ok(projections(source.as_deref(), operations.registry()).await?)
}

/// The state of every projection, by name. Without a source, or where it
/// cannot be read, the head and the lag are unknown.
///
/// # Errors
/// When the read-model database cannot be read.
pub async fn projections(
    source: Option<&dyn Source>,
    registry: &dyn Registry,
) -> Result<Vec<ProjectionStatus>, StorageError> {
    let generations = registry.generations().await?;
    let hosts = registry.hosts().await?;
    let refused: Vec<RefusedFile> = registry
        .last_notes()
        .await?
        .into_iter()
        .flat_map(|notes| notes.refused)
        .collect();
    let projections = Generations::by_projection(generations);
    let head = match source {
        Some(source) => source.look().await.ok().map(|frontier| frontier.head),
        None => None,
    };
    let mut statuses: Vec<ProjectionStatus> = Vec::new();
    for own in &projections {
        let Some(shown) = own.shown() else { continue };
        let has_hosts = !hosts.is_empty();
        let mut status = status(shown, has_hosts);
        let head = match (head, shown.until) {
            (Some(head), Some(until)) => Some(head.min(until)),
            (head, _) => head,
        };
        if let (Some(source), Some(head)) = (source, head) {
            status.add_lag(source, head).await;
        }
        let candidate = own.beside_live();
        status.candidate = candidate.map(|found| candidate_status(found, head, has_hosts));
        let retired = own.retired();
        status.retired = retired.map(|found| retired_status(found, has_hosts));
        status.wishes = wish::wishes(own, has_hosts);
        status.add_hosts(own.projection(), &hosts, &refused);
        statuses.push(status);
    }
    let names: Vec<&str> = projections.iter().map(Generations::projection).collect();
    statuses.extend(unknown_files(&refused, &names));
    Ok(statuses)
}

impl ProjectionStatus {
    async fn add_lag(&mut self, source: &dyn Source, head: Position) {
        let Ok(since) = source.recorded_after(self.position).await else {
            return;
        };
        let behind = head.get().saturating_sub(self.position.get());
        let age = since.filter(|_| behind > 0).map_or(0, |since| {
            jiff::Timestamp::now()
                .as_microsecond()
                .saturating_sub(since)
        });
        self.head = Some(head);
        self.lag_events = Some(behind);
        self.lag_seconds = Some(seconds(age));
    }

    fn add_hosts(&mut self, name: &str, hosts: &[PresentHost], refused: &[RefusedFile]) {
        let own = hosts
            .iter()
            .find(|host| self.host.as_ref() == Some(&host.name));
        self.rolled_back = own.map_or(0, |host| host.notes.rolled_back);
        self.refused = refused
            .iter()
            .filter(|refused| refused.projection.as_deref() == Some(name))
            .map(RefusedStatus::from)
            .collect();
        self.refused.dedup();
        if self.host.is_none()
            && self.state == RunState::Waiting
            && !self.complete
            && let Some(refused) = self.refused.first()
        {
            self.cause = Some(refused.reason.clone());
        }
    }
}

impl From<&RefusedFile> for RefusedStatus {
    fn from(refused: &RefusedFile) -> Self {
        Self {
            place: refused.place.clone(),
            reason: refused.reason.clone(),
        }
    }
}

/// Refused files that belong to no projection that is known.
fn unknown_files(refused: &[RefusedFile], known: &[&str]) -> Vec<ProjectionStatus> {
    let mut files: Vec<&RefusedFile> = refused
        .iter()
        .filter(|refused| {
            refused
                .projection
                .as_ref()
                .is_none_or(|name| !known.contains(&name.as_str()))
        })
        .collect();
    files.sort_by(|first, second| first.place.cmp(&second.place));
    files.dedup_by(|first, second| first.place == second.place);
    files
        .into_iter()
        .map(|refused| ProjectionStatus {
            name: refused.projection.clone(),
            version: None,
            module: None,
            generation: None,
            generation_state: None,
            state: RunState::Halted,
            cause: Some(refused.reason.clone()),
            position: Position::START,
            until: None,
            complete: false,
            head: None,
            lag_events: None,
            lag_seconds: None,
            rate: None,
            dead_letters: 0,
            applied_late: 0,
            changed_skips: 0,
            deviations: Vec::new(),
            host: None,
            rolled_back: 0,
            copy_of: None,
            candidate: None,
            retired: None,
            wishes: Vec::new(),
            refused: vec![refused.into()],
        })
        .collect()
}

/// Why it was not promoted when it was to be.
fn obstacle(generation: &Generation) -> Option<String> {
    let obstacle = generation.obstacle.as_ref();
    obstacle.map(|obstacle| obstacle.reason.clone())
}

/// How fast it goes; what stands has no speed, however short it has stood.
fn rate(generation: &Generation, state: RunState) -> Option<Rate> {
    generation.rate.filter(|_| state == RunState::Running)
}

fn status(shown: &Generation, has_hosts: bool) -> ProjectionStatus {
    let (state, cause) = state_of(shown, has_hosts);
    ProjectionStatus {
        name: Some(shown.projection.clone()),
        version: Some(shown.description.version),
        module: Some(shown.module.clone()),
        generation: Some(shown.id),
        generation_state: Some(shown.state),
        state,
        cause: cause.or_else(|| obstacle(shown)),
        position: shown.position,
        until: shown.until,
        complete: is_complete(shown),
        head: None,
        lag_events: None,
        lag_seconds: None,
        rate: rate(shown, state).map(|rate| rate.events),
        dead_letters: shown.dead_letters,
        applied_late: shown.applied_late,
        changed_skips: shown.changed_skips,
        deviations: shown.deviations(),
        host: shown.host.clone(),
        rolled_back: 0,
        copy_of: shown.copy_of.clone(),
        candidate: None,
        retired: None,
        wishes: Vec::new(),
        refused: Vec::new(),
    }
}

fn candidate_status(
    candidate: &Generation,
    head: Option<Position>,
    has_hosts: bool,
) -> CandidateStatus {
    let (doing, cause) = state_of(candidate, has_hosts);
    let state = match (doing, candidate.state) {
        (RunState::Halted, _) => CandidateState::Failed,
        (_, GenerationState::Ready) => CandidateState::Ready,
        _ => CandidateState::Building,
    };
    let left = head.map(|head| head.get().saturating_sub(candidate.position.get()));
    let rate = rate(candidate, doing);
    #[expect(clippy::cast_precision_loss, reason = "a forecast needs no 16 digits")]
    let seconds_left = match (state, left, rate) {
        (CandidateState::Building, Some(left), Some(rate)) if rate.positions > 0.0 => {
            Some(left as f64 / rate.positions)
        }
        _ => None,
    };
    CandidateStatus {
        generation: candidate.id,
        version: candidate.description.version,
        module: candidate.module.clone(),
        state,
        hold: candidate.goal == Goal::Hold,
        position: candidate.position,
        rate: rate.map(|rate| rate.events),
        seconds_left,
        dead_letters: candidate.dead_letters,
        cause: obstacle(candidate).or(cause),
    }
}

fn retired_status(retired: &Generation, has_hosts: bool) -> RetiredStatus {
    RetiredStatus {
        generation: retired.id,
        version: retired.description.version,
        module: retired.module.clone(),
        position: retired.position,
        cause: if retired.goal.is_promotion() {
            state_of(retired, has_hosts).1
        } else {
            obstacle(retired)
        },
    }
}

/// Whether a copy holds everything that it is ever to hold.
fn is_complete(generation: &Generation) -> bool {
    generation.state == GenerationState::Live
        && generation
            .until
            .is_some_and(|until| generation.position >= until)
}

/// What a generation does; `has_hosts` is whether there are any. Without a host, only a stop that lasts is still
/// true of what the last host said.
#[must_use]
pub fn state_of(generation: &Generation, has_hosts: bool) -> (RunState, Option<String>) {
    if generation.is_removed {
        let name = &generation.projection;
        let cause = format!(
            "the projection was removed; its tables stay until `gnomon remove {name} --drop`, and \
             `gnomon resume {name}` brings it back"
        );
        return (RunState::Paused, Some(cause));
    }
    if is_complete(generation) {
        let cause = format!(
            "complete: it holds all events up to {}, where this copy ends",
            generation.until.unwrap_or(generation.position)
        );
        return (RunState::Waiting, Some(cause));
    }
    let said = generation.report.as_ref();
    let lasts = |state| matches!(state, RunState::Halted | RunState::Paused);
    match said {
        Some(report) if generation.host.is_some() || lasts(report.state) => {
            (report.state, report.cause.clone())
        }
        _ if generation.host.is_some() => (RunState::Running, None),
        _ => {
            let cause = if has_hosts {
                "no host runs it yet; a host that is there will do so"
            } else {
                "no host runs it; start one with `gnomon run`"
            };
            (RunState::Waiting, Some(cause.to_owned()))
        }
    }
}

fn seconds(microseconds: i64) -> f64 {
    std::time::Duration::from_micros(u64::try_from(microseconds).unwrap_or(0)).as_secs_f64()
}
