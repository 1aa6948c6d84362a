//! Dead letters: events that wait because a projection cannot apply them, and
//! the later events of their streams, which wait behind them.

use gnomon_model::{Event, Position};
use serde::Serialize;

/// An event that waits, whole, so that it can be applied later whatever
/// happens to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event: Event,
    /// Why it waits: what went wrong, or which event it waits behind.
    pub error: String,
}

/// What somebody wants done with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterAction {
    /// Apply them again, in order, with the code of today.
    Retry,
    /// Forget them; their streams go on with the next event.
    Discard,
}

impl DeadLetterAction {
    /// The word that is stored and shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }

    /// The action with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Retry, Self::Discard]
            .into_iter()
            .find(|action| action.name() == name)
    }
}

/// A request that waits for the host that runs the projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRequest {
    /// Its number; requests are carried out in this order.
    pub id: i64,
    /// What to do.
    pub action: DeadLetterAction,
    /// With the events of this stream only; `None` for all.
    pub stream: Option<String>,
}

/// What a commit does to the dead letters of its generation.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadLetterChanges<'a> {
    /// Events that wait from now on.
    pub park: &'a [DeadLetter],
    /// Positions of those that wait no longer.
    pub release: &'a [Position],
    /// New reasons for some that go on waiting.
    pub reasons: &'a [(Position, String)],
    /// The request that is carried out with this commit.
    pub done: Option<i64>,
}

impl DeadLetterChanges<'_> {
    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.park.is_empty()
            && self.release.is_empty()
            && self.reasons.is_empty()
            && self.done.is_none()
    }
}
