//! Actions: what users and hosts have done to projections.

use gnomon_model::Position;

use crate::generation::{GenerationId, ModuleHash};

/// How many actions a database keeps. Tidying removes the oldest of those beyond.
pub(crate) const ACTIONS_MAX: i64 = 10_000;

/// Something that a user or a host did to a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// When, in microseconds since the Unix epoch, by the database's clock.
    pub at: i64,
    /// Who: a user and a machine, or a host.
    pub actor: String,
    /// What: a word of `ActionKind`.
    pub kind: String,
    /// The projection.
    pub projection: String,
    /// The generation, if it was one.
    pub generation: Option<GenerationId>,
    /// The position of the event, or the one that the generation stood at or ends
    /// at.
    pub position: Option<Position>,
    /// The module of the generation.
    pub module: Option<ModuleHash>,
    /// Why, or what else there is to know.
    pub detail: Option<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ActionKind {
    /// A new generation of another module.
    Deployed,
    /// A new generation of a module that the projection has.
    Rebuilt,
    /// A read model as of an earlier time.
    Copied,
    /// A generation that is only built to be compared.
    Compared,
    HotReloaded,
    PromotionRequested,
    PromotionHeld,
    RollbackRequested,
    RollbackCancelled,
    Promoted,
    RolledBack,
    PromotionRefused,
    GenerationDropped,
    Tidied,
    Paused,
    Resumed,
    HistoryAccepted,
    Removed,
    Dropped,
    EventSkipped,
    EventUnskipped,
    DeadLettersRetried,
    DeadLettersDiscarded,
}

impl ActionKind {
    /// The word that is stored and shown.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Rebuilt => "rebuilt",
            Self::Copied => "copied",
            Self::Compared => "compared",
            Self::HotReloaded => "hot-reloaded",
            Self::PromotionRequested => "promotion-requested",
            Self::PromotionHeld => "promotion-held",
            Self::RollbackRequested => "rollback-requested",
            Self::RollbackCancelled => "rollback-cancelled",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
            Self::PromotionRefused => "promotion-refused",
            Self::GenerationDropped => "generation-dropped",
            Self::Tidied => "tidied",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::HistoryAccepted => "history-accepted",
            Self::Removed => "removed",
            Self::Dropped => "dropped",
            Self::EventSkipped => "event-skipped",
            Self::EventUnskipped => "event-unskipped",
            Self::DeadLettersRetried => "dead-letters-retried",
            Self::DeadLettersDiscarded => "dead-letters-discarded",
        }
    }
}

/// Who runs this process: the user and the machine.
pub(crate) fn user_and_machine() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|user| !user.is_empty()));
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "{}@{}",
        user.as_deref().unwrap_or("unknown"),
        machine.trim()
    )
}

/// An action as the columns of the registry give it.
pub(crate) struct StoredAction {
    pub(crate) at: i64,
    pub(crate) actor: String,
    pub(crate) kind: String,
    pub(crate) projection: String,
    pub(crate) generation: Option<i64>,
    pub(crate) position: Option<i64>,
    pub(crate) module: Option<String>,
    pub(crate) detail: Option<String>,
}

impl From<StoredAction> for Action {
    fn from(stored: StoredAction) -> Self {
        Self {
            at: stored.at,
            actor: stored.actor,
            kind: stored.kind,
            projection: stored.projection,
            generation: stored.generation.map(GenerationId::from_sql),
            position: stored.position.and_then(Position::from_sql),
            module: stored.module.map(ModuleHash::from_stored),
            detail: stored.detail,
        }
    }
}
