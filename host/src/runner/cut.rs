//! Finding the event at fault: a batch that fails is cut until one event is
//! left.
//!
//! What goes well on the way is committed, so the search costs a few small
//! transactions and repeats nothing.

use gnomon_model::Position;

/// How many events the next batch may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// As many as configured.
    Whole,
    /// At most `events`, until the checkpoint has passed `until`.
    Small {
        /// At least one.
        events: usize,
        /// The last event of the batch that failed.
        until: Position,
    },
}

/// What to do about a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Try a smaller batch from the same checkpoint.
    Cut(Cut),
    /// The first event of the batch is at fault.
    FirstEvent,
}

/// After a failure that names no event: halve the batch.
pub(super) const fn halve(events: usize, last: Position) -> Verdict {
    if events <= 1 {
        return Verdict::FirstEvent;
    }
    Verdict::Cut(Cut::Small {
        events: events / 2,
        until: last,
    })
}

/// After a rejection of the event at this place: first what is before it.
pub(super) const fn before(place: usize, rejected: Position) -> Verdict {
    if place == 0 {
        return Verdict::FirstEvent;
    }
    Verdict::Cut(Cut::Small {
        events: place,
        until: rejected,
    })
}

impl Cut {
    /// The cut after a batch that went well up to `position`. Right before a
    /// rejected event it gets whole again, and the event is then the first.
    pub(super) fn after(self, position: Position) -> Self {
        match self {
            Self::Small { until, .. } if position >= until => Self::Whole,
            cut => cut,
        }
    }

    /// The number of events, given the configured one.
    pub(super) fn events(self, configured: usize) -> usize {
        match self {
            Self::Whole => configured,
            Self::Small { events, .. } => events.min(configured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> Position {
        Position::new(number).unwrap()
    }

    /// Which event is found, and in how many batches, when event `culprit` of
    /// 1,000 fails without saying so.
    fn search(culprit: u64) -> (u64, u32) {
        let (mut checkpoint, mut cut, mut batches) = (0, Cut::Whole, 0);
        loop {
            batches += 1;
            let size = cut.events(1_000) as u64;
            let last = (checkpoint + size).min(1_000);
            if !(checkpoint + 1..=last).contains(&culprit) {
                checkpoint = last;
                cut = cut.after(position(last));
                continue;
            }
            match halve((last - checkpoint) as usize, position(last)) {
                Verdict::Cut(smaller) => cut = smaller,
                Verdict::FirstEvent => return (checkpoint + 1, batches),
            }
        }
    }

    #[test]
    fn halving_finds_any_event_in_a_few_batches() {
        for culprit in 1..=1_000 {
            let (found, batches) = search(culprit);
            assert_eq!(found, culprit);
            assert!(batches <= 22, "{culprit}: {batches} batches");
        }
    }

    #[test]
    fn a_rejection_needs_no_search() {
        assert_eq!(before(0, position(7)), Verdict::FirstEvent);
        assert_eq!(
            before(3, position(7)),
            Verdict::Cut(Cut::Small {
                events: 3,
                until: position(7)
            })
        );
    }
}
