//! How a session of a runner ends, and what the next one needs to know of it.

use gnomon_databases::error_chain::chain;
use gnomon_event_store::source::{SourceError, SourceErrorKind};
use gnomon_model::Position;

/// How a session ends.
pub(super) enum SessionEnd {
    /// The host is stopping.
    Stopped,
    /// The lease is lost.
    Fenced,
    /// There is nothing to do for the generation any more, or not on this
    /// thread.
    NoWork,
    /// Something outside failed; try again.
    Retry(String),
    /// What was folded was refused; go about it in another way.
    Again(Approach),
    /// This event cannot be applied.
    Blamed(BlamedEvent),
    /// Somebody paused the projection.
    Paused,
    /// The event store is not the one that was read.
    OtherHistory(OtherHistory),
}

/// An event that cannot be applied.
#[derive(Clone, Debug)]
pub(super) struct BlamedEvent {
    pub(super) position: Position,
    /// Its type and stream, for people.
    pub(super) event: String,
    /// What went wrong.
    pub(super) message: String,
}

/// How a session goes about its first batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approach {
    /// Up to here each batch is committed by itself: what was folded together
    /// was refused by the database, and the event at fault is in one of them.
    pub(super) unfolded_to: Position,
}

impl Approach {
    pub(super) const PLAIN: Self = Self {
        unfolded_to: Position::START,
    };
}

impl SessionEnd {
    /// The database refuses a value of what was folded up to here: the batches
    /// are committed one by one, to find the event at fault.
    pub(super) fn unfold(end: Position) -> Self {
        Self::Again(Approach { unfolded_to: end })
    }
}

impl From<SourceError> for SessionEnd {
    fn from(error: SourceError) -> Self {
        match error.kind() {
            SourceErrorKind::Retry | SourceErrorKind::Refused => Self::Retry(chain(&error)),
        }
    }
}

/// Why a generation does not run, until somebody decides or the store is the
/// right one again.
#[derive(Clone, Debug)]
pub(super) struct OtherHistory {
    pub(super) cause: String,
    /// The `resumes` of the projection before the store was looked at.
    pub(super) resumes: i64,
}
