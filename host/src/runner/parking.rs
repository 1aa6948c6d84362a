//! Parked streams: which events wait, and what becomes of them.
//!
//! An event that cannot be applied waits in the dead-letter table, and behind
//! it all later events of its stream, in order. A retry applies them with the
//! code of the day; the rows are then those that an in-order projection would
//! have given, as long as nothing that the projection read from other streams
//! has changed meanwhile.

use std::collections::{HashMap, HashSet};

use gnomon_model::{Event, Position, TableWrites};

use super::Runner;
use super::attempt::{Failed, attempt, finish};
use super::session::{End, Session};
use crate::dead_letter::{DeadLetter, DeadLetterAction, DeadLetterChanges, DeadLetterRequest};
use crate::event_list::EventList;
use crate::target::TargetErrorKind;
use crate::telemetry::chain;

/// Dead letters that are read, and retried, in one go.
const PAGE_EVENTS: usize = 500;

/// Splits a batch: events to apply, and events that wait.
pub(super) fn divide(
    session: &mut Session,
    mut events: EventList,
) -> Result<(EventList, Vec<DeadLetter>), End> {
    let mut behind: HashMap<String, Option<Position>> = HashMap::new();
    if session.may_have_dead_letters {
        let streams: HashSet<&str> = events.iter().map(|event| event.stream_id).collect();
        let streams: Vec<&str> = streams.into_iter().collect();
        for stream in session.rows.parked_streams(&streams)? {
            behind.insert(stream, None);
        }
    }
    // Events that wait anyway may come before it.
    let condemned = session.condemned.take_if(|condemned| {
        events
            .iter()
            .any(|event| event.position == condemned.position)
    });
    if behind.is_empty() && condemned.is_none() {
        return Ok((events, Vec::new()));
    }
    let mut waiting = Vec::new();
    let mut waits: HashSet<Position> = HashSet::new();
    for event in events.iter() {
        let message = match (&condemned, behind.get(event.stream_id)) {
            (_, Some(Some(position))) => format!("waits behind event {position} of its stream"),
            (_, Some(None)) => "waits behind an earlier event of its stream".to_owned(),
            (Some(condemned), None) if condemned.position == event.position => {
                behind.insert(event.stream_id.to_owned(), Some(event.position));
                condemned.message.clone()
            }
            (_, None) => continue,
        };
        waits.insert(event.position);
        waiting.push(DeadLetter {
            event: event.into(),
            error: message,
        });
    }
    events.retain(|position| !waits.contains(&position));
    Ok((events, waiting))
}

/// Carries out all requests that wait, oldest first.
pub(super) fn serve_requests(session: &mut Session, runner: &Runner) -> Result<(), End> {
    while let Some(request) = session.rows.next_request()? {
        match request.action {
            DeadLetterAction::Retry => retry(session, runner, &request)?,
            DeadLetterAction::Discard => discard(session, &request)?,
        }
        let done = DeadLetterChanges {
            done: Some(request.id),
            ..DeadLetterChanges::default()
        };
        commit(session, &[], done)?;
    }
    session.may_have_dead_letters = session.rows.has_dead_letters()?;
    Ok(())
}

/// Applies what waits, in order. Where an event fails again, its stream goes
/// on waiting from there.
fn retry(session: &mut Session, runner: &Runner, request: &DeadLetterRequest) -> Result<(), End> {
    let mut still_parked: HashSet<String> = HashSet::new();
    let mut after = Position::START;
    loop {
        let page = session
            .rows
            .dead_letters(request.stream.as_deref(), after, PAGE_EVENTS)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.event.position;
        let events: Vec<Event> = page
            .into_iter()
            .map(|letter| letter.event)
            .filter(|event| !still_parked.contains(&event.stream_id))
            .collect();
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

/// Commits what came of dead letters, or says why the database refuses it.
fn commit_unless_rejected(
    session: &mut Session,
    writes: &[TableWrites],
    changes: DeadLetterChanges<'_>,
) -> Result<Result<(), String>, End> {
    let (checkpoint, position) = (session.checkpoint.clone(), session.position);
    match session.commit(writes, changes, checkpoint, position) {
        Err(error) if error.kind() == TargetErrorKind::Rejected => Ok(Err(chain(&error))),
        committed => Ok(Ok(committed?)),
    }
}

/// Applies many events in one batch; says whether that went well.
fn apply_together(session: &mut Session, runner: &Runner, events: &[Event]) -> Result<bool, End> {
    let list = EventList::from(events);
    let Ok(writes) = finish(&list, attempt(runner, &session.rows, &list)?)? else {
        return Ok(false);
    };
    let release: Vec<Position> = events.iter().map(|event| event.position).collect();
    let changes = DeadLetterChanges {
        release: &release,
        ..DeadLetterChanges::default()
    };
    Ok(commit_unless_rejected(session, &writes, changes)?.is_ok())
}

/// Applies one event, or records why it cannot be applied today.
fn apply_alone(session: &mut Session, runner: &Runner, event: &Event) -> Result<bool, End> {
    let position = event.position;
    let list = EventList::from(std::slice::from_ref(event));
    let message = match finish(&list, attempt(runner, &session.rows, &list)?)? {
        Ok(writes) => {
            let changes = DeadLetterChanges {
                release: &[position],
                ..DeadLetterChanges::default()
            };
            match commit_unless_rejected(session, &writes, changes)? {
                Ok(()) => return Ok(true),
                Err(message) => message,
            }
        }
        Err(Failed { message, .. }) => message,
    };
    let changes = DeadLetterChanges {
        reasons: &[(position, message)],
        ..DeadLetterChanges::default()
    };
    commit(session, &[], changes)?;
    Ok(false)
}

fn discard(session: &mut Session, request: &DeadLetterRequest) -> Result<(), End> {
    loop {
        let page =
            session
                .rows
                .dead_letters(request.stream.as_deref(), Position::START, PAGE_EVENTS)?;
        if page.is_empty() {
            return Ok(());
        }
        let release: Vec<Position> = page.iter().map(|letter| letter.event.position).collect();
        let changes = DeadLetterChanges {
            release: &release,
            ..DeadLetterChanges::default()
        };
        commit(session, &[], changes)?;
    }
}

/// Commits changes that do not move the checkpoint.
fn commit(
    session: &mut Session,
    writes: &[TableWrites],
    changes: DeadLetterChanges<'_>,
) -> Result<(), End> {
    let (checkpoint, position) = (session.checkpoint.clone(), session.position);
    session.commit(writes, changes, checkpoint, position)?;
    Ok(())
}
