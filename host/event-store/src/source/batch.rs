//! Filling batches, the same way for every source that counts positions.

use std::sync::Arc;

use gnomon_model::{EventPage, EventRef, Position};

use super::{Batch, BatchLimits, Checkpoint};

/// Positions that one query looks at. A filter that lets nothing through must
/// not make one query read all of history: the checkpoint could not move, and
/// a restart would begin again.
const WINDOW_POSITIONS: u64 = 250_000;

/// The last position that a query after `after` looks at.
pub(super) fn window_end(after: Position, safe: Position) -> Position {
    let end = after.get().saturating_add(WINDOW_POSITIONS);
    Position::new(end).map_or(safe, |end| end.min(safe))
}

/// Up to where a query has seen that nothing is wanted which found nothing up to
/// `end`: holes may be as large as the numbers, and are passed in one step. The
/// next event of any kind behind `end` is `next`.
pub(super) fn empty_until(next: Option<Position>, safe: Position) -> Position {
    next.map_or(safe, |next| {
        Position::new(next.get().saturating_sub(1)).unwrap_or_default()
    })
}

/// A batch while it is being read.
pub(super) struct Filling {
    limits: BatchLimits,
    events: EventPage,
    bytes: usize,
    full: bool,
}

impl Filling {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            events: EventPage::default(),
            bytes: 0,
            full: false,
        }
    }

    /// Forgets what was read.
    pub(super) fn begin_again(&mut self) {
        *self = Self::new(self.limits);
    }

    /// How many events to ask for.
    pub(super) fn wanted(&self) -> usize {
        self.limits.events.max(1)
    }

    /// Ends the batch with its last event, though more might fit.
    pub(super) const fn end(&mut self) {
        self.full = true;
    }

    /// Whether nothing that is wanted was found.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether no event fits any more.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// The position of the first event.
    pub(super) fn first(&self) -> Option<Position> {
        self.events.position(0)
    }

    /// The position of the last event.
    pub(super) fn last(&self) -> Option<Position> {
        self.events.position(self.events.len().checked_sub(1)?)
    }

    /// How many events it still lacks.
    pub(super) fn missing(&self) -> usize {
        self.wanted().saturating_sub(self.events.len())
    }

    /// Adds an event if there is room. Once it gives `false`, the batch is
    /// full, and what comes next belongs to the next one.
    pub(super) fn add(&mut self, event: EventRef<'_>) -> bool {
        let bytes = self.bytes.saturating_add(event.size());
        if bytes > self.limits.bytes && !self.events.is_empty() {
            self.full = true;
            return false;
        }
        self.bytes = bytes;
        self.events.push(event);
        self.full = self.events.len() >= self.wanted() || bytes >= self.limits.bytes;
        !self.full
    }

    /// The batch, read up to `end` of the events that are final up to `safe`.
    pub(super) fn finish(self, end: Position, safe: Position) -> Batch {
        // Short of the limits, everything up to the end was looked at, so the
        // checkpoint passes what the filter left out.
        let position = self.last().filter(|_| self.full).unwrap_or(end);
        Batch {
            events: Arc::new(self.events),
            next: Checkpoint::behind(position),
            position,
            caught_up: position >= safe,
        }
    }
}

/// A batch without events behind which nothing is new.
pub(super) fn nothing_new(after: Position) -> Batch {
    Batch {
        events: Arc::default(),
        next: Checkpoint::behind(after),
        position: after,
        caught_up: true,
    }
}
