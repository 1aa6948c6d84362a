//! Skips: decisions to leave an event out, which hold for every generation of
//! a projection.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use gnomon_model::{EventList, Position};

use super::Runner;
use super::outcome::SessionEnd;
use super::parking;
use super::session::Session;
use crate::dead_letter::{DeadLetterChanges, MetSkip, Skip, SkipOutcome};
use crate::row_cache::GenerationRows;

/// Skips, and dead letters that are skipped, which are read in one go.
const PAGE: usize = 1_000;

/// The skips that are ahead of a session.
#[derive(Debug)]
pub(super) struct Skips {
    /// As of which change of them.
    pub(super) revision: i64,
    /// The ids of the events.
    ahead: BTreeMap<Position, String>,
    /// Up to where `ahead` has all of them; `None` if it has all that there are.
    known_to: Option<Position>,
}

impl Skips {
    /// Those behind a position. A projection without any needs no query.
    pub(super) fn read(
        rows: &GenerationRows,
        revision: i64,
        after: Position,
    ) -> Result<Self, SessionEnd> {
        let mut skips = Self {
            revision,
            ahead: BTreeMap::new(),
            known_to: None,
        };
        if revision > 0 {
            skips.read_on(rows, after)?;
        }
        Ok(skips)
    }

    fn read_on(&mut self, rows: &GenerationRows, after: Position) -> Result<(), SessionEnd> {
        let page = rows.skips(after, PAGE)?;
        self.known_to = page
            .last()
            .filter(|_| page.len() >= PAGE)
            .map(|last| last.position);
        let page = page.into_iter();
        self.ahead.extend(page.map(
            |Skip {
                 position, event_id, ..
             }| (position, event_id),
        ));
        Ok(())
    }

    /// Leaves those events between two positions out that are to be skipped,
    /// and says what came of each skip.
    pub(super) fn meet(
        &mut self,
        rows: &GenerationRows,
        (after, until): (Position, Position),
        events: &mut EventList,
    ) -> Result<Vec<MetSkip>, SessionEnd> {
        while let Some(known_to) = self.known_to
            && known_to < until
        {
            self.read_on(rows, known_to)?;
        }
        if self.ahead.is_empty() {
            return Ok(Vec::new());
        }
        let between = (Bound::Excluded(after), Bound::Included(until));
        let met: Vec<MetSkip> = self
            .ahead
            .range(between)
            .map(|(position, id)| MetSkip {
                position: *position,
                outcome: outcome(events, *position, id),
            })
            .collect();
        self.ahead = self.ahead.split_off(&after);
        let is_skipped = |position| {
            let found = met.binary_search_by_key(&position, |met| met.position);
            found
                .ok()
                .and_then(|found| met.get(found))
                .is_some_and(|met| met.outcome == SkipOutcome::Skipped)
        };
        if !met.is_empty() {
            events.retain(|position| !is_skipped(position));
        }
        Ok(met)
    }
}

fn outcome(events: &EventList, position: Position, id: &str) -> SkipOutcome {
    let event = events.place(position).and_then(|place| events.get(place));
    match event {
        None => SkipOutcome::Unwanted,
        Some(event) if event.id == id => SkipOutcome::Skipped,
        Some(event) => {
            tracing::warn!(
                "event {position} was to be skipped when it was {id}; it is {} now, and is applied",
                event.id
            );
            SkipOutcome::OtherEvent
        }
    }
}

/// Leaves out the dead letters that somebody decided to skip. Where the first
/// one of a stream goes, the stream goes on with what waited behind it, once
/// nothing of that is to be skipped as well.
pub(super) fn release(session: &mut Session, runner: &mut Runner) -> Result<(), SessionEnd> {
    let mut first_of: HashMap<String, Position> = HashMap::new();
    loop {
        let page = session.rows.skipped_letters(PAGE)?;
        if page.is_empty() {
            break;
        }
        let positions: Vec<Position> = page.iter().map(|(position, _)| *position).collect();
        let met: Vec<MetSkip> = positions
            .iter()
            .map(|position| MetSkip {
                position: *position,
                outcome: SkipOutcome::Skipped,
            })
            .collect();
        parking::commit(
            session,
            &[],
            DeadLetterChanges {
                release: &positions,
                met: &met,
                ..DeadLetterChanges::default()
            },
        )?;
        for (position, stream) in page {
            first_of.entry(stream).or_insert(position);
        }
    }
    let streams: Vec<&str> = first_of.keys().map(String::as_str).collect();
    for stream in session.rows.parked_streams(&streams)? {
        let first =
            session
                .rows
                .dead_letters(Some(&stream), Position::START, parking::ONE_EVENT)?;
        let next = first.first().map(|letter| letter.event.position);
        if next > first_of.get(&stream).copied() {
            parking::retry(session, runner, Some(&stream))?;
        }
    }
    session.dead_letters = session.rows.count_dead_letters()?;
    Ok(())
}
