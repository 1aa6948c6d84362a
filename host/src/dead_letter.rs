//! Dead letters: events that wait because a projection cannot apply them, and
//! the later events of their streams, which wait behind them. And skips: the
//! decisions to leave an event out.

use gnomon_model::{Event, Position};

/// An event that waits, whole, so that it can be applied later whatever
/// happens to its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The event.
    pub event: Event,
    /// Why it waits: what went wrong, or which event it waits behind.
    pub error: String,
}

impl DeadLetter {
    /// Bytes of memory, more or less.
    #[must_use]
    pub fn size(&self) -> usize {
        gnomon_model::EventRef::from(&self.event).size() + self.error.len()
    }
}

/// How much is read of dead letters in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// So many at most.
    pub events: usize,
    /// So many bytes at most; one event may be larger.
    pub bytes: usize,
}

impl PageLimits {
    /// A page for whoever reads all of them, page by page.
    pub const USUAL: Self = Self {
        events: 500,
        bytes: 8 << 20,
    };
}

/// Somebody's wish that dead letters are applied again. It waits for the host
/// that runs the projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRequest {
    /// Its number; requests are carried out in this order.
    pub id: i64,
    /// With the events of this stream only; `None` for all.
    pub stream: Option<String>,
}

/// A decision to leave an event out. It belongs to the projection: every
/// generation of it leaves the event out, and so do copies and comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Where the event stands.
    pub position: Position,
    /// Which event it is. Another one at this position is not left out.
    pub event_id: String,
    /// Its stream.
    pub stream_id: String,
    /// Its type.
    pub event_type: String,
    /// Why, in the words of whoever decided it.
    pub reason: Option<String>,
    /// Who decided it.
    pub actor: String,
    /// When, in microseconds since the Unix epoch.
    pub decided_at: i64,
}

/// Who decides to skip events, and why.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// Who.
    pub actor: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
}

/// What came of a skip when a generation got to its position. It is recorded
/// with the commit that passes the position, so that a decision that comes too
/// late for a generation is known to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipOutcome {
    /// The event was left out.
    Skipped,
    /// Another event stands there, and was applied.
    OtherEvent,
    /// The projection does not want the event anyway.
    Unwanted,
}

impl SkipOutcome {
    /// The word that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::OtherEvent => "other-event",
            Self::Unwanted => "unwanted",
        }
    }
}

/// The outcome of one skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetSkip {
    /// Where the event stands.
    pub position: Position,
    /// What came of it.
    pub outcome: SkipOutcome,
}

/// What a batch leaves out of the rows.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Events that wait from now on.
    pub park: Vec<DeadLetter>,
    /// Skips whose positions were reached.
    pub met: Vec<MetSkip>,
}

impl LeftOut {
    /// Whether nothing is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.park.is_empty() && self.met.is_empty()
    }

    /// Takes what another one leaves out too.
    pub fn append(&mut self, mut other: Self) {
        self.park.append(&mut other.park);
        self.met.append(&mut other.met);
    }

    /// Bytes of memory, more or less.
    #[must_use]
    pub fn size(&self) -> usize {
        self.park.iter().map(DeadLetter::size).sum::<usize>() + size_of_val(&*self.met)
    }

    /// It, to be committed.
    #[must_use]
    pub fn changes(&self) -> DeadLetterChanges<'_> {
        DeadLetterChanges {
            park: &self.park,
            met: &self.met,
            ..DeadLetterChanges::default()
        }
    }
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
    /// Skips whose positions were reached, or whose events waited.
    pub met: &'a [MetSkip],
    /// How many events are applied behind later ones, out of the global order.
    pub late: u64,
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
            && self.met.is_empty()
            && self.late == 0
            && self.done.is_none()
    }
}
