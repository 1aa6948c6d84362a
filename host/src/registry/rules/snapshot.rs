//! What the rules have to know of a projection.

use gnomon_model::Position;

use crate::generation::{GenerationId, GenerationState, Goal, ModuleHash, Obstacle};

/// One projection as the registry holds it, read at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Its name.
    pub(crate) projection: String,
    /// What is wanted of it; `None` if it is not registered.
    pub(crate) wish: Option<Wish>,
    /// Whether it was dropped, and has not come back since.
    pub(crate) was_dropped: bool,
    /// All its generations, by number; also those that are dropped and whose
    /// tables are still there.
    pub(crate) generations: Vec<Registered>,
    /// The database's clock, in microseconds since the Unix epoch.
    pub(crate) now: i64,
    /// For a promotion: how the candidate and the live generation compare.
    pub(crate) contest: Option<Contest>,
}

/// What users want of a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Hosts run it.
    Running,
    /// It stands still.
    Paused,
    /// No host runs it, and its tables are only kept.
    Removed,
}

impl Wish {
    /// The word that is stored.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Removed => "removed",
        }
    }

    /// The wish with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Running, Self::Paused, Self::Removed]
            .into_iter()
            .find(|wish| wish.name() == name)
    }
}

/// A generation as the rules see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registered {
    pub(crate) id: GenerationId,
    /// The module that it runs.
    pub(crate) module: ModuleHash,
    /// What the rules may change.
    pub(crate) standing: Standing,
    /// Whether it ends at a position.
    pub(crate) has_end: bool,
    /// Whether it is a copy of another projection's read model.
    pub(crate) is_copy: bool,
    /// Until when somebody attends to it, in microseconds since the Unix epoch.
    pub(crate) attended_until: Option<i64>,
}

/// Where a generation stands, and what is wanted of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Standing {
    pub(crate) state: GenerationState,
    pub(crate) goal: Goal,
    /// Why it was not promoted when it was to be.
    pub(crate) obstacle: Option<Obstacle>,
    /// Whether somebody wants it promoted whatever it has parked.
    pub(crate) is_insisted: bool,
    /// When it was retired, in microseconds since the Unix epoch.
    pub(crate) retired_at: Option<i64>,
}

/// A generation that is to be promoted beside the live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contest {
    /// How far it has got, if the event store still has what it has read.
    pub(crate) candidate: Option<Position>,
    /// The same of the live one.
    pub(crate) live: Option<Position>,
    /// How many of its events are parked that are not parked by the live one.
    pub(crate) parked_alone: i64,
    /// The first of them.
    pub(crate) first_parked_alone: Option<i64>,
}

impl Snapshot {
    pub(crate) fn generation(&self, id: GenerationId) -> Option<&Registered> {
        self.generations.iter().find(|found| found.id == id)
    }

    /// The generation that readers see.
    pub(crate) fn live(&self) -> Option<&Registered> {
        self.generations
            .iter()
            .find(|found| found.standing.state == GenerationState::Live)
    }

    /// The newest generation that is not dropped.
    pub(crate) fn newest(&self) -> Option<GenerationId> {
        let kept = self.generations.iter();
        kept.filter(|found| found.standing.state != GenerationState::Dropped)
            .map(|found| found.id)
            .max()
    }
}

impl Registered {
    /// Whether it is being built, or waits to be promoted.
    pub(crate) const fn is_built(&self) -> bool {
        matches!(
            self.standing.state,
            GenerationState::Building | GenerationState::Ready
        )
    }
}
