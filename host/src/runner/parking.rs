//! Parked streams: which events wait, and what becomes of them.
//!
//! An event that cannot be applied waits in the dead-letter table, and behind
//! it all later events of its stream, in order. A retry applies them with the
//! code of the day, behind events that stand after them in the global order:
//! where a projection brings streams together, the rows may differ from those
//! of a rebuild, and the generation remembers it.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use gnomon_databases::error_chain::chain;
use gnomon_event_store::source::{BatchLimits, Checkpoint, Source};
use gnomon_guest::describe_event;
use gnomon_model::{Event, EventList, EventRef, Payload, Position, Subscription, TableWrites};

use super::attempt::{Failed, attempt, finish};
use super::outcome::{BlamedEvent, SessionEnd};
use super::session::Session;
use super::{Assignment, Runner};
use crate::dead_letter::{
    DeadLetter, DeadLetterChanges, LeftOut, MetSkip, PageLimits, SkipOutcome,
};
use crate::storage_error::{StorageError, StorageErrorKind};

pub(super) const ONE_EVENT: PageLimits = PageLimits {
    events: 1,
    bytes: 1,
};
/// Longer texts may be more than an index of PostgreSQL takes.
const INDEXED_BYTES_MAX: usize = 2_000;
/// Between two log lines about events that are parked.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What is left to do of a batch.
pub(super) struct Batch {
    /// To be applied.
    pub(super) events: EventList,
    /// To be parked, in order.
    park: VecDeque<DeadLetter>,
    /// What came of skips, in order.
    met: VecDeque<MetSkip>,
    /// The checkpoint behind it.
    pub(super) next: Checkpoint,
    /// The position of `next`.
    pub(super) position: Position,
    /// The event behind it, at which the projection is to halt.
    pub(super) halt: Option<BlamedEvent>,
    /// An event that can neither be applied nor parked.
    pub(super) unstorable: Option<BlamedEvent>,
}

/// A part of a batch, up to a place between two events.
pub(super) struct Part {
    pub(super) events: EventList,
    pub(super) next: Checkpoint,
    pub(super) position: Position,
    /// Whether it is all that was left of the batch.
    pub(super) is_last: bool,
}

impl Batch {
    pub(super) fn new(
        events: EventList,
        met: Vec<MetSkip>,
        next: Checkpoint,
        position: Position,
    ) -> Self {
        Self {
            events,
            park: VecDeque::new(),
            met: met.into(),
            next,
            position,
            halt: None,
            unstorable: None,
        }
    }

    /// After a commit that the database refused: whether that may be for the sake
    /// of an event that was to be parked with it, whose stream not every database
    /// can have in an index.
    pub(super) fn blame_parked(&mut self, left_out: &LeftOut, error: &StorageError) {
        let is_strange = |letter: &&DeadLetter| letter.event.stream_id.len() > INDEXED_BYTES_MAX;
        self.unstorable = left_out
            .park
            .iter()
            .find(is_strange)
            .map(|letter| BlamedEvent {
                position: letter.event.position,
                event: describe_event(EventRef::from(&letter.event)),
                message: format!(
                    "{}; and it cannot be parked, because the database refuses to store it: {}",
                    letter.error,
                    chain(error)
                ),
            });
    }

    /// Takes the first so many events out.
    pub(super) fn take(&mut self, events: usize, source: &dyn Source) -> Part {
        let rest = self.events.split_off(events.max(1));
        let events = std::mem::replace(&mut self.events, rest);
        match events.last().filter(|_| !self.events.is_empty()) {
            Some(position) => Part {
                events,
                next: source.behind(position),
                position,
                is_last: false,
            },
            None => Part {
                events,
                next: self.next.clone(),
                position: self.position,
                is_last: true,
            },
        }
    }

    /// Puts a part back that was not applied.
    pub(super) fn put_back(&mut self, mut part: Part) {
        part.events.append(std::mem::replace(
            &mut self.events,
            EventList::from([].as_slice()),
        ));
        self.events = part.events;
    }

    /// How many events are left out up to a position.
    pub(super) fn events_left_out(&self, until: Position) -> usize {
        let is_event = |met: &MetSkip| met.outcome == SkipOutcome::Skipped;
        let met = self.met.partition_point(|met| met.position <= until);
        let skipped = self.met.iter().take(met).filter(|met| is_event(met));
        let park = self
            .park
            .partition_point(|letter| letter.event.position <= until);
        park + skipped.count()
    }

    /// What is left out up to a position.
    pub(super) fn left_out(&mut self, until: Position) -> LeftOut {
        let park = self
            .park
            .partition_point(|letter| letter.event.position <= until);
        let met = self.met.partition_point(|met| met.position <= until);
        LeftOut {
            park: self.park.drain(..park).collect(),
            met: self.met.drain(..met).collect(),
        }
    }

    /// Puts back what was left out of a part that was not committed.
    pub(super) fn put_back_left_out(&mut self, left_out: LeftOut) {
        for letter in left_out.park.into_iter().rev() {
            self.park.push_front(letter);
        }
        for met in left_out.met.into_iter().rev() {
            self.met.push_front(met);
        }
    }

    /// Ends the batch before an event, at which the projection halts.
    pub(super) fn end_before(
        &mut self,
        blamed: BlamedEvent,
        start: (&Checkpoint, Position),
        source: &dyn Source,
    ) {
        let end = blamed.position;
        self.events.retain(|position| position < end);
        self.park.retain(|letter| letter.event.position < end);
        self.met.retain(|met| met.position < end);
        let last = [
            self.events.last(),
            self.park.back().map(|letter| letter.event.position),
            self.met.back().map(|met| met.position),
        ];
        (self.next, self.position) = match last.into_iter().flatten().max() {
            Some(last) => (source.behind(last), last),
            None => (start.0.clone(), start.1),
        };
        self.halt = Some(blamed);
    }

    /// Makes an event wait, in its place among the others that do.
    fn add(&mut self, letter: DeadLetter) {
        let place = self
            .park
            .partition_point(|other| other.event.position < letter.event.position);
        self.park.insert(place, letter);
    }
}

/// Lets the events of streams that are parked wait.
pub(super) fn set_aside(
    session: &mut Session,
    runner: &Runner,
    batch: &mut Batch,
) -> Result<(), SessionEnd> {
    if session.dead_letters == 0 {
        return Ok(());
    }
    let streams: HashSet<&str> = batch.events.iter().map(|event| event.stream_id).collect();
    let streams: Vec<&str> = streams.into_iter().collect();
    for stream in session.rows.parked_streams(&streams)? {
        session.parked.entry(stream).or_insert(None);
    }
    let waiting = followers(session, &batch.events);
    park(session, runner, batch, waiting);
    Ok(())
}

/// Parks the first event of a batch, which cannot be applied, and those of its
/// stream that follow it.
pub(super) fn park_first(
    session: &mut Session,
    runner: &mut Runner,
    batch: &mut Batch,
    failed: Failed,
) {
    let Some(first) = batch.events.get(0).map(Event::from) else {
        return;
    };
    let event = describe_event(EventRef::from(&first));
    let (position, stream) = (first.position, first.stream_id.clone());
    session.parked.insert(stream, Some(position));
    let mut waiting = followers(session, &batch.events);
    if let Some(letter) = waiting.first_mut() {
        letter.error.clone_from(&failed.message);
    }
    park(session, runner, batch, waiting);
    let projection = &runner.assignment.generation.projection;
    if batch.halt.is_none() {
        runner.parking_log.note(projection, &event, &failed.message);
    }
}

/// Events of a list whose streams are parked, with the reason for which they
/// wait.
fn followers(session: &Session, events: &EventList) -> Vec<DeadLetter> {
    let waiting = events.iter().filter_map(|event| {
        let error = match session.parked.get(event.stream_id)? {
            Some(position) => format!("waits behind event {position} of its stream"),
            None => "waits behind an earlier event of its stream".to_owned(),
        };
        Some(DeadLetter {
            event: event.into(),
            error,
        })
    });
    waiting.collect()
}

/// Makes events of a batch wait. Where there would be more of them than the
/// projection may have, it halts at the first that is too many.
fn park(session: &mut Session, runner: &Runner, batch: &mut Batch, letters: Vec<DeadLetter>) {
    let max = runner.assignment.max_dead_letters;
    let mut waits: HashSet<Position> = HashSet::with_capacity(letters.len());
    let mut blamed = None;
    for letter in letters {
        if session.dead_letters >= max {
            blamed = Some(BlamedEvent {
                position: letter.event.position,
                event: describe_event(EventRef::from(&letter.event)),
                message: format!(
                    "{}; it is not parked, as {} events wait already (max-dead-letters = {max})",
                    letter.error, session.dead_letters
                ),
            });
            break;
        }
        session.dead_letters += 1;
        waits.insert(letter.event.position);
        batch.add(letter);
    }
    batch.events.retain(|position| !waits.contains(&position));
    if let Some(blamed) = blamed {
        let start = (&session.checkpoint, session.position);
        batch.end_before(blamed, start, &*runner.assignment.source);
    }
}

/// Carries out all requests that wait, oldest first.
pub(super) fn serve_requests(session: &mut Session, runner: &mut Runner) -> Result<(), SessionEnd> {
    while let Some(request) = session.rows.next_request()? {
        retry(session, runner, request.stream.as_deref())?;
        let done = DeadLetterChanges {
            done: Some(request.id),
            ..DeadLetterChanges::default()
        };
        commit(session, &[], done)?;
    }
    session.dead_letters = session.rows.count_dead_letters()?;
    // What was known of requests is no longer true.
    Ok(runner.runtime.block_on(runner.controls.refresh())?)
}

/// Applies what waits, in order. Where an event fails again, its stream goes
/// on waiting from there.
pub(super) fn retry(
    session: &mut Session,
    runner: &Runner,
    stream: Option<&str>,
) -> Result<(), SessionEnd> {
    let mut still_parked: HashSet<String> = HashSet::new();
    let mut after = Position::START;
    loop {
        let page = session
            .rows
            .dead_letters(stream, after, PageLimits::USUAL)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.event.position;
        let events: Vec<Event> = page
            .into_iter()
            .map(|letter| letter.event)
            .filter(|event| !still_parked.contains(&event.stream_id))
            .collect();
        let events = reread(runner, events)?;
        if !apply_together(session, runner, &events)? {
            for event in events {
                if still_parked.contains(&event.stream_id) {
                    continue;
                }
                let stream = event.stream_id.clone();
                if !apply_alone(session, runner, &event)? {
                    still_parked.insert(stream);
                }
            }
        }
    }
}

/// Reads events again that could not be read when they were parked: somebody may
/// have corrected them in their source. All others are kept as they were.
fn reread(runner: &Runner, mut events: Vec<Event>) -> Result<Vec<Event>, SessionEnd> {
    let Assignment {
        source, generation, ..
    } = &runner.assignment;
    let everything = Subscription {
        metadata: generation.description.subscription.metadata,
        ..Subscription::default()
    };
    for event in &mut events {
        if !matches!(event.data, Payload::Unreadable(_)) {
            continue;
        }
        let before = Position::new(event.position.get().saturating_sub(1)).unwrap_or_default();
        let limits = BatchLimits {
            events: 1,
            bytes: usize::MAX,
            until: Some(event.position),
        };
        let before = source.behind(before);
        let read = source.read(&before, &everything, limits);
        let batch = runner.runtime.block_on(read)?;
        if let Some(found) = batch.events.get(0)
            && found.position == event.position
        {
            *event = found.into();
        }
    }
    Ok(events)
}

/// Commits what came of dead letters, or says why the database refuses it.
fn commit_unless_rejected(
    session: &mut Session,
    writes: &[TableWrites],
    changes: DeadLetterChanges<'_>,
) -> Result<Result<(), String>, SessionEnd> {
    let (checkpoint, position) = (session.checkpoint.clone(), session.position);
    match session.commit(writes, changes, (checkpoint, position), 0) {
        Err(error) if error.kind() == StorageErrorKind::Rejected => Ok(Err(chain(&error))),
        committed => Ok(Ok(committed?)),
    }
}

/// Applies many events in one batch; says whether that went well.
fn apply_together(
    session: &mut Session,
    runner: &Runner,
    events: &[Event],
) -> Result<bool, SessionEnd> {
    Ok(apply(session, runner, events)?.is_ok())
}

/// Applies one event, or records why it cannot be applied today.
fn apply_alone(session: &mut Session, runner: &Runner, event: &Event) -> Result<bool, SessionEnd> {
    let Err(message) = apply(session, runner, std::slice::from_ref(event))? else {
        return Ok(true);
    };
    let changes = DeadLetterChanges {
        reasons: &[(event.position, message)],
        ..DeadLetterChanges::default()
    };
    commit(session, &[], changes)?;
    Ok(false)
}

/// Applies events that waited, or says why not.
fn apply(
    session: &mut Session,
    runner: &Runner,
    events: &[Event],
) -> Result<Result<(), String>, SessionEnd> {
    let list = EventList::from(events);
    let time = runner.assignment.guest_limits.time;
    let writes = match finish(&list, attempt(runner, &session.rows, &list, time)?)? {
        Ok(writes) => writes,
        Err(Failed { message, .. }) => return Ok(Err(message)),
    };
    let release: Vec<Position> = events.iter().map(|event| event.position).collect();
    let late = release
        .iter()
        .filter(|position| **position < session.position);
    let changes = DeadLetterChanges {
        release: &release,
        late: late.count() as u64,
        ..DeadLetterChanges::default()
    };
    commit_unless_rejected(session, &writes, changes)
}

/// Commits changes that do not move the checkpoint.
pub(super) fn commit(
    session: &mut Session,
    writes: &[TableWrites],
    changes: DeadLetterChanges<'_>,
) -> Result<(), SessionEnd> {
    let (checkpoint, position) = (session.checkpoint.clone(), session.position);
    session.commit(writes, changes, (checkpoint, position), 0)?;
    Ok(())
}

/// What is said of parked events in the log: at most one line a second.
#[derive(Debug, Default)]
pub(super) struct ParkingLog {
    said: Option<Instant>,
    unsaid: u64,
    last: String,
}

impl ParkingLog {
    /// An event, and the rest of its stream, is parked.
    fn note(&mut self, projection: &str, event: &str, message: &str) {
        self.unsaid += 1;
        self.last = format!("{event}: {message}");
        self.say_if_due(projection);
    }

    /// Says what is not said yet, if the last line is old enough.
    pub(super) fn say_if_due(&mut self, projection: &str) {
        if self.said.is_none_or(|said| said.elapsed() >= LOG_INTERVAL) {
            self.say(projection);
        }
    }

    /// Says what is not said yet.
    pub(super) fn say(&mut self, projection: &str) {
        match self.unsaid {
            0 => return,
            1 => tracing::warn!(
                projection,
                "an event and the rest of its stream are parked: {}",
                self.last
            ),
            count => tracing::warn!(
                projection,
                "{count} events and the rest of their streams are parked, the last of them {}",
                self.last
            ),
        }
        self.unsaid = 0;
        self.said = Some(Instant::now());
    }
}
