//! Filling batches, the same way for every source that counts positions.

use std::sync::Arc;

use gnomon_model::{Event, Position};

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

/// A batch while it is being read.
pub(super) struct Filling {
    limits: BatchLimits,
    events: Vec<Event>,
    bytes: usize,
    full: bool,
}

impl Filling {
    pub(super) const fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            events: Vec::new(),
            bytes: 0,
            full: false,
        }
    }

    /// How many events to ask for.
    pub(super) fn wanted(&self) -> usize {
        self.limits.events.max(1)
    }

    /// Adds an event if there is room. Once it gives `false`, the batch is
    /// full, and what comes next belongs to the next one.
    pub(super) fn add(&mut self, event: Event) -> bool {
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
        let position = match self.events.last() {
            Some(last) if self.full => last.position,
            _ => end,
        };
        Batch {
            events: self.events.into(),
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
