//! Generations: builds of a projection's read model, and what the read-model
//! database knows of them.

use std::fmt;

use gnomon_event_store::source::Checkpoint;
pub use gnomon_model::ModuleHash;
use gnomon_model::{Description, Position};
use serde::{Deserialize, Serialize};

mod generations;

pub use generations::Generations;

/// The number of a generation, unique in its read-model database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(i64);

impl GenerationId {
    /// A number as the database stores it.
    #[must_use]
    pub const fn from_sql(number: i64) -> Self {
        Self(number)
    }

    /// The number as the database stores it.
    #[must_use]
    pub const fn to_sql(self) -> i64 {
        self.0
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A module as the registry in the read-model database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// SHA-256 of its bytes.
    pub hash: ModuleHash,
    /// The component.
    pub bytes: Vec<u8>,
    /// What it said of itself when it was loaded.
    pub description: Description,
}

/// Where a generation stands.
///
/// ```text
/// building ──> ready ──> live ──> retired ──> dropped
///     │          │        ↑          │
///     └──────────┴─> dropped         │
///                         └──────────┘ rollback
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationState {
    /// It is being built and has not caught up.
    Building,
    /// It has caught up and waits to be promoted.
    Ready,
    /// Readers see it.
    Live,
    /// It was replaced and is kept for a rollback.
    Retired,
    /// Its tables are gone, or about to go.
    Dropped,
}

impl GenerationState {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Building,
            Self::Ready,
            Self::Live,
            Self::Retired,
            Self::Dropped,
        ]
        .into_iter()
        .find(|state| state.name() == name)
    }
}

/// What users want of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// A live generation follows its source, a retired one stands still.
    Rest,
    /// It catches up and waits for somebody to promote it.
    Hold,
    /// It catches up and is promoted.
    Promote,
    /// It is promoted even where views of users must be dropped for it.
    PromoteCascade,
    /// It is built to be compared with the live one, and then dropped.
    Compare,
}

impl Goal {
    const ALL: [Self; 5] = [
        Self::Rest,
        Self::Hold,
        Self::Promote,
        Self::PromoteCascade,
        Self::Compare,
    ];

    /// The word that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Hold => "hold",
            Self::Promote => "promote",
            Self::PromoteCascade => "promote-cascade",
            Self::Compare => "compare",
        }
    }

    /// The goal with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|goal| goal.name() == name)
    }

    /// Whether the generation is to become the live one.
    #[must_use]
    pub const fn is_promotion(self) -> bool {
        matches!(self, Self::Promote | Self::PromoteCascade)
    }
}

/// What a runner does with its generation, as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// It applies events, or waits for new ones.
    Running,
    /// Somebody paused it.
    Paused,
    /// It stopped at an event that it cannot apply.
    Halted,
    /// Something outside failed; it tries again.
    Retrying,
    /// It waits for a gap to close, for its lease, or for a host; or it has got to
    /// where it ends for good.
    Waiting,
}

impl RunState {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Running,
            Self::Paused,
            Self::Halted,
            Self::Retrying,
            Self::Waiting,
        ]
        .into_iter()
        .find(|state| state.name() == name)
    }
}

/// What the host that runs a generation last said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// What it does.
    pub state: RunState,
    /// Why it is not moving; `None` while it moves.
    pub cause: Option<String>,
}

/// How fast a generation goes through its source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Events per second that were read for it: those of its subscription,
    /// whether they were applied, skipped or parked.
    pub events: f64,
    /// Positions that it passed per second: those of all events, and those that
    /// no event has.
    pub positions: f64,
}

/// Why a generation was not promoted when it was to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What stands in the way.
    pub kind: ObstacleKind,
    /// The same as a sentence, with what to do.
    pub reason: String,
}

/// What stands in the way of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObstacleKind {
    /// The promotion was tried or looked at, and refused.
    Refused,
    /// Somebody wants another generation to be the live one since.
    Overtaken,
}

impl ObstacleKind {
    /// The word that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Overtaken => "overtaken",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Refused, Self::Overtaken]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A generation as the read-model database holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// Its number.
    pub id: GenerationId,
    /// The projection that it is a build of.
    pub projection: String,
    /// The projection that its module names itself, where that is another one:
    /// this is a copy of its read model as it stood at an earlier time.
    pub copy_of: Option<String>,
    /// The module that builds it.
    pub module: ModuleHash,
    /// What its tables were made from, under the name of `projection`. A module
    /// that took over since may list the same tables in another order.
    pub description: Description,
    /// Where it stands.
    pub state: GenerationState,
    /// What users want of it.
    pub goal: Goal,
    /// Where it ends for good; `None` where it follows its source.
    pub until: Option<Position>,
    /// Why it was not promoted when it was to be.
    pub obstacle: Option<Obstacle>,
    /// Whether its projection was removed, and its tables are only kept.
    pub is_removed: bool,
    /// How far it has got.
    pub checkpoint: Checkpoint,
    /// The position of the checkpoint.
    pub position: Position,
    /// How fast it went when it last moved; `None` where that is some seconds
    /// ago.
    pub rate: Option<Rate>,
    /// When it was last retired, in microseconds since the Unix epoch.
    pub retired_at: Option<i64>,
    /// What its host last said; `None` before the first word.
    pub report: Option<RunReport>,
    /// How many of its events wait in the dead-letter table.
    pub dead_letters: u64,
    /// How many events a retry has applied behind later ones, out of the
    /// global order. A rebuild would apply them in order.
    pub applied_late: u64,
    /// How many decisions to skip an event were made or taken back behind its
    /// position, so that a rebuild would give other rows.
    pub changed_skips: u64,
    /// The host that holds its lease; `None` where nobody does, or where the
    /// lease has run out.
    pub host: Option<String>,
}

impl Generation {
    /// Whether nothing but what users want keeps it from being promoted: no
    /// promotion was refused.
    #[must_use]
    pub fn is_held_by_users(&self) -> bool {
        let obstacle = self.obstacle.as_ref();
        obstacle.is_none_or(|obstacle| obstacle.kind == ObstacleKind::Overtaken)
    }

    /// Why a rebuild may give other rows than it has, as sentences.
    #[must_use]
    pub fn deviations(&self) -> Vec<String> {
        let name = &self.projection;
        let mut sentences = Vec::new();
        if self.applied_late > 0 {
            sentences.push(format!(
                "{} events were applied late, out of the global order, so its rows may differ from \
                 those of a rebuild; `gnomon rebuild {name}` gives the order back",
                self.applied_late
            ));
        }
        if self.changed_skips > 0 {
            sentences.push(format!(
                "{} decisions to skip an event were made or taken back after it had passed the \
                 event; `gnomon rebuild {name}` follows them",
                self.changed_skips
            ));
        }
        sentences
    }

    /// Whether a host has work to do on it.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        !self.is_removed && is_active(self.state, self.goal)
    }
}

/// Whether a host has work to do on a generation in this state.
#[must_use]
pub const fn is_active(state: GenerationState, goal: Goal) -> bool {
    match state {
        GenerationState::Building | GenerationState::Ready | GenerationState::Live => true,
        GenerationState::Retired => goal.is_promotion(),
        GenerationState::Dropped => false,
    }
}

/// A host's right to run one generation. Only commits with the newest epoch
/// succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The generation.
    pub generation: GenerationId,
    /// Grows with every lease on the generation.
    pub epoch: i64,
}
