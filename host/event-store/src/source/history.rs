//! What a source remembers of the events that it showed, to notice that the
//! store is another than it was: restored from a backup, failed over to a
//! standby that lacked events, emptied, exchanged.
//!
//! A store that lost its last events hands out their positions again, so soon
//! nothing but the ids of the events tells it from what it was.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gnomon_model::Position;
use tokio::sync::watch;

/// Events that are remembered, the highest ones. Each projection keeps one of
/// them beside its checkpoint.
const EVENTS_MAX: usize = 64;
/// Alarms that are remembered. A session looks at them with every batch.
const ALARMS_MAX: usize = 64;

/// An event that a source showed: where, and which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEvent {
    /// Its position.
    pub position: Position,
    /// Its id, as the source gives it to projections.
    pub id: String,
}

/// What shows that a store is not what its readers took it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// This event was shown, and it is gone or another one has its position.
    Gone(KnownEvent),
    /// The store ends before what was shown as final; what is gone had no event
    /// that is remembered.
    SetBack,
    /// An event was committed at a position that was passed as final.
    Late(LateEvent),
}

/// An event that was committed where a source had seen a hole, and had passed it
/// as final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateEvent {
    /// Its position.
    pub position: Position,
    /// The last position of that hole. Who has seen an event from `position` up to
    /// here has read the store when it had none: a store that was set back got
    /// its events again.
    pub hole_end: Position,
}

/// What a source remembers. All who read from it share it.
#[derive(Debug)]
pub struct History {
    known: Mutex<Known>,
    /// The number of the last alarm.
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    events: BTreeMap<Position, String>,
    alarms: VecDeque<(u64, Alarm)>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers an event that the source shows.
    pub fn note(&self, event: KnownEvent) {
        let mut known = self.lock();
        known.events.insert(event.position, event.id);
        while known.events.len() > EVENTS_MAX {
            known.events.pop_first();
        }
    }

    /// The last event at or below a position that is remembered.
    #[must_use]
    pub fn at_or_below(&self, position: Position) -> Option<KnownEvent> {
        let known = self.lock();
        let (position, id) = known.events.range(..=position).next_back()?;
        Some(KnownEvent {
            position: *position,
            id: id.clone(),
        })
    }

    /// The same, for those who know of no alarm after the one with this number. Who
    /// does not know all of them must not believe what was remembered since.
    #[must_use]
    pub fn at_or_below_as_of(&self, alarm: u64, position: Position) -> Option<KnownEvent> {
        let event = self.at_or_below(position);
        // An alarm is raised before what it is about is remembered.
        event.filter(|_| self.last_alarm() == alarm)
    }

    /// The highest event that is remembered.
    #[must_use]
    pub fn newest(&self) -> Option<KnownEvent> {
        self.at_or_below(Position::MAX)
    }

    /// Tells all who read from the source. After an event that is gone, none
    /// that was remembered is trusted any more.
    pub fn raise(&self, alarm: Alarm) {
        let mut known = self.lock();
        if !matches!(alarm, Alarm::Late(_)) {
            known.events.clear();
        }
        let number = *self.last.borrow() + 1;
        known.alarms.push_back((number, alarm));
        if known.alarms.len() > ALARMS_MAX {
            known.alarms.pop_front();
        }
        self.last.send_replace(number);
    }

    /// The number of the last alarm; it grows with each.
    #[must_use]
    pub fn last_alarm(&self) -> u64 {
        *self.last.borrow()
    }

    /// The alarms after the one with this number, oldest first.
    #[must_use]
    pub fn alarms_after(&self, number: u64) -> Vec<Alarm> {
        let known = self.lock();
        let newer = known.alarms.iter().filter(|(of, _)| *of > number);
        newer.map(|(_, alarm)| alarm.clone()).collect()
    }

    /// Waits for an alarm after the one with this number.
    pub async fn alarm_after(&self, number: u64) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = (self.last.subscribe())
            .wait_for(|last| *last > number)
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64) -> Position {
        Position::new(number).unwrap()
    }

    fn event(number: u64) -> KnownEvent {
        KnownEvent {
            position: at(number),
            id: format!("id-{number}"),
        }
    }

    #[test]
    fn the_highest_events_are_remembered() {
        let history = History::default();
        assert_eq!(history.newest(), None);
        for number in (1..=1_000).rev() {
            history.note(event(number));
        }
        assert_eq!(history.lock().events.len(), EVENTS_MAX);
        assert_eq!(history.newest(), Some(event(1_000)));
        assert_eq!(history.at_or_below(at(990)), Some(event(990)));
        assert_eq!(history.at_or_below(at(900)), None);
    }

    #[tokio::test]
    async fn an_alarm_reaches_all_who_came_before_it() {
        let history = History::default();
        history.note(event(7));
        let late = LateEvent {
            position: at(3),
            hole_end: at(4),
        };
        history.raise(Alarm::Late(late));
        assert_eq!(history.newest(), Some(event(7)), "it is still there");
        let seen = history.last_alarm();
        assert!(history.alarms_after(seen).is_empty());
        history.raise(Alarm::Gone(event(7)));
        history.alarm_after(seen).await;
        assert_eq!(history.newest(), None);
        history.note(event(8));
        assert_eq!(history.at_or_below_as_of(seen, at(9)), None);
        assert_eq!(history.at_or_below_as_of(seen + 1, at(9)), Some(event(8)));
        assert_eq!(history.alarms_after(seen), [Alarm::Gone(event(7))]);
        assert_eq!(history.alarms_after(0).len(), 2);
        for _ in 0..1_000 {
            history.raise(Alarm::Late(late));
        }
        assert_eq!(history.alarms_after(0).len(), ALARMS_MAX);
    }
}
