//! Finding the event at fault: what is left of a batch that failed is applied
//! in steps, until a step of one event fails.
//!
//! What goes well on the way is kept, so nothing is repeated but the steps that
//! fail. If the guest names the event, one step leads to it. If it does not,
//! steps are halved. Behind the event that was found they are doubled again, as
//! faults come in crowds, and all events of a step that fails were handed to the
//! guest in vain. If a step takes too long, the following ones get a
//! short time, and only a single event gets all of it: nothing is blamed for a
//! time-out but an event that had the whole time for itself.

use std::time::Duration;

use super::attempt::Fault;

/// So many times shorter than a batch's time is the time of a step while an
/// event that does not end is looked for: the steps of a search together then
/// take less time than one batch may.
const SEARCH_TIME_DIVISOR: u32 = 32;
/// How many events follow one that the guest named in the next step, at least,
/// and how many times as many as lay before it.
const STEP_EVENTS_MIN: usize = 16;
const STEP_GROWTH: usize = 2;
/// A step gets at least this time, if a batch does.
const SEARCH_TIME_MIN: Duration = Duration::from_millis(20);

/// How large the next step is, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    events: usize,
    /// So many of the next events have one at fault among them; zero if nothing
    /// is known.
    suspects: usize,
    /// So many events lay before the one that the guest named last.
    before: usize,
    time_of_batch: Duration,
    /// Whether a step took too long.
    is_slow: bool,
    /// Whether the next step decides about a single event that took too long.
    decides: bool,
}

/// What to do about a step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Take another step from the same place.
    Again,
    /// The first event is at fault.
    FirstEvent,
}

impl Steps {
    /// One step for the whole batch.
    pub(super) const fn whole(time_of_batch: Duration) -> Self {
        Self {
            events: usize::MAX,
            suspects: 0,
            before: 0,
            time_of_batch,
            is_slow: false,
            decides: false,
        }
    }

    /// The events of the next step, at least one.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    /// How long the next step may take.
    pub(super) fn time(&self) -> Duration {
        if self.is_slow && !self.decides {
            let short = self.time_of_batch / SEARCH_TIME_DIVISOR;
            short.max(SEARCH_TIME_MIN).min(self.time_of_batch)
        } else {
            self.time_of_batch
        }
    }

    /// A step of so many events went well.
    pub(super) fn went_well(&mut self, events: usize) {
        self.decides = false;
        self.suspects = self.suspects.saturating_sub(events);
        self.events = match self.suspects {
            0 => self.events.saturating_mul(2),
            suspects => (suspects / 2).max(1),
        };
    }

    /// A step of so many events failed.
    pub(super) fn failed(&mut self, events: usize, at: Fault) -> Verdict {
        let had_all_time = self.time() >= self.time_of_batch;
        self.decides = false;
        self.is_slow |= at == Fault::Time;
        self.suspects = 0;
        match at {
            Fault::Place(0) => {
                self.events = (self.before * STEP_GROWTH).max(STEP_EVENTS_MIN);
                Verdict::FirstEvent
            }
            Fault::Place(place) => {
                self.before = place;
                self.events = place;
                Verdict::Again
            }
            Fault::Time if events <= 1 && !had_all_time => {
                self.events = 1;
                self.decides = true;
                Verdict::Again
            }
            Fault::Somewhere | Fault::Time if events <= 1 => {
                self.events = 1;
                Verdict::FirstEvent
            }
            Fault::Somewhere | Fault::Time => {
                self.suspects = events;
                self.events = events / 2;
                Verdict::Again
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    /// What an event does to the step that has it.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Event {
        Good,
        /// The guest names it.
        Rejected,
        Traps,
        /// It never ends.
        Loops,
        /// It takes so long.
        Takes(Duration),
    }

    struct Search {
        found: Vec<usize>,
        steps: usize,
        /// Events that were handed to the guest, in vain or not.
        events: usize,
        time: Duration,
    }

    /// Applies a batch as the session does.
    fn search(batch: &[Event]) -> Search {
        let mut steps = Steps::whole(TIME);
        let mut done = Search {
            found: Vec::new(),
            steps: 0,
            events: 0,
            time: Duration::ZERO,
        };
        let mut at = 0;
        while at < batch.len() {
            let end = at.saturating_add(steps.events()).min(batch.len());
            let step = &batch[at..end];
            done.steps += 1;
            done.events += step.len();
            let fault = apply(step, steps.time(), &mut done);
            match fault.map(|fault| steps.failed(step.len(), fault)) {
                None => {
                    steps.went_well(step.len());
                    at = end;
                }
                Some(Verdict::Again) => {}
                Some(Verdict::FirstEvent) => {
                    done.found.push(at);
                    at += 1;
                }
            }
        }
        done
    }

    fn apply(step: &[Event], limit: Duration, done: &mut Search) -> Option<Fault> {
        let mut took = Duration::ZERO;
        for (place, event) in step.iter().enumerate() {
            match event {
                Event::Good => {}
                Event::Rejected => return Some(Fault::Place(place)),
                Event::Traps => return Some(Fault::Somewhere),
                Event::Loops => took += limit * 2,
                Event::Takes(time) => took += *time,
            }
            if took > limit {
                done.time += limit;
                return Some(Fault::Time);
            }
        }
        done.time += took;
        None
    }

    fn with(fault: Event, places: &[usize]) -> Vec<Event> {
        (0..1_000)
            .map(|place| match places.contains(&place) {
                true => fault,
                false => Event::Good,
            })
            .collect()
    }

    #[test]
    fn any_single_event_is_found_in_a_few_steps() {
        for culprit in 0..1_000 {
            for fault in [Event::Traps, Event::Rejected, Event::Loops] {
                let done = search(&with(fault, &[culprit]));
                assert_eq!(done.found, [culprit]);
                assert!(done.steps <= 24, "{culprit}: {} steps", done.steps);
            }
        }
    }

    #[test]
    fn an_event_that_never_ends_costs_less_than_three_times_the_time_of_a_batch() {
        for culprit in 0..1_000 {
            let done = search(&with(Event::Loops, &[culprit]));
            assert!(done.time < TIME * 12 / 5, "{culprit}: {:?}", done.time);
        }
    }

    #[test]
    fn an_event_that_is_slow_is_not_blamed() {
        let slow = Event::Takes(TIME * 9 / 10);
        let done = search(&with(slow, &[10, 500, 501]));
        assert_eq!(done.found, [0; 0]);
        let too_slow = Event::Takes(TIME * 11 / 10);
        assert_eq!(search(&with(too_slow, &[10, 501])).found, [10, 501]);
    }

    #[test]
    fn a_crowd_of_faults_repeats_few_events() {
        let places: Vec<usize> = (0..1_000).step_by(10).collect();
        for fault in [Event::Rejected, Event::Traps] {
            let done = search(&with(fault, &places));
            assert_eq!(done.found, places);
            let (steps, events) = (done.steps / 100, done.events / 100);
            assert!(steps <= 8 && events <= 60, "{steps} steps, {events} events");
        }
    }

    #[test]
    fn a_batch_without_faults_is_one_step() {
        let done = search(&with(Event::Good, &[]));
        assert_eq!((done.steps, done.events), (1, 1_000));
    }
}
