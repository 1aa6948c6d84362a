//! Whether the event store is still the one that a generation has read.
//!
//! Beside each checkpoint stands the last event that the source showed up to
//! there. A session begins only where the store has that event; what the source
//! notices later ends the session, and the next one looks again.

use gnomon_event_store::source::{Alarm, KnownEvent};
use gnomon_model::Position;

use super::Runner;
use super::outcome::{Approach, OtherHistory, SessionEnd};
use crate::dead_letter::DeadLetterChanges;
use crate::generation::Rate;
use crate::read_models::KeptHistory;
use crate::registry::Control;
use crate::row_cache::{GenerationRows, Step};
use crate::storage_error::in_time;

/// Ends a session when the source has noticed something.
pub(super) fn heed_alarms(runner: &Runner) -> Result<(), SessionEnd> {
    if runner.assignment.source.history().last_alarm() == runner.alarms_heeded {
        return Ok(());
    }
    // What was read ahead may be what the alarm is about.
    runner.assignment.scan.forget();
    Err(SessionEnd::Again(Approach::PLAIN))
}

/// Lets a session begin where the store has the event that is kept. Where it
/// ends behind that event and before the checkpoint, the checkpoint goes back:
/// nothing in between was applied.
pub(super) fn check(
    runner: &mut Runner,
    rows: &GenerationRows,
    control: &Control,
) -> Result<(), SessionEnd> {
    take_alarms(runner, rows)?;
    let source = &runner.assignment.source;
    let position = source.position(&rows.checkpoint())?;
    let head = runner.runtime.block_on(source.look())?.head;
    let kept = rows.history()?;
    let name = &control.projection;
    let refused = |cause| {
        SessionEnd::OtherHistory(OtherHistory {
            cause,
            resumes: control.resumes,
        })
    };
    if let Some(late) = kept.late {
        return Err(refused(came_late(name, late)));
    }
    let Some(event) = kept.event else {
        if position > head || kept.is_set_back {
            set_back(rows, None)?;
            return Err(refused(ends_before(name, position, head)));
        }
        return adopt(runner, rows, position);
    };
    let found = runner.runtime.block_on(source.last_event(event.position))?;
    if found.as_ref() != Some(&event) {
        let cause = other_event(name, &event, found.as_ref());
        set_back(rows, Some(event))?;
        return Err(refused(cause));
    }
    settle(runner)?;
    source.history().note(event.clone());
    if kept.is_set_back {
        tracing::info!(
            projection = name,
            "the event store has event {} at position {} again",
            event.id,
            event.position
        );
        rows.keep_history(&KeptHistory {
            event: Some(event.clone()),
            ..KeptHistory::default()
        })?;
    }
    if position > head {
        tracing::warn!(
            projection = name,
            "the event store ends at position {head}, before the checkpoint at {position}; up to \
             event {} at position {} it is the same, and from there on it is read again",
            event.id,
            event.position
        );
        rows.commit(Step {
            writes: &[],
            dead_letters: DeadLetterChanges::default(),
            next: &source.behind(event.position),
            position: event.position,
            event: Some(&event),
            rate: Rate::default(),
        })?;
    }
    Ok(())
}

/// Keeps what the alarms since the last look mean for this generation. A
/// commit may have come after the store was exchanged and before that was
/// noticed, with an event of the new store beside its checkpoint: then the one
/// that is gone takes its place.
fn take_alarms(runner: &mut Runner, rows: &GenerationRows) -> Result<(), SessionEnd> {
    let source = &runner.assignment.source;
    let history = source.history();
    let last = history.last_alarm();
    if last == runner.alarms_heeded {
        return Ok(());
    }
    let position = source.position(&rows.checkpoint())?;
    for alarm in history.alarms_after(runner.alarms_heeded) {
        match alarm {
            Alarm::Gone(event) if event.position <= position => {
                rows.keep_history(&KeptHistory {
                    event: Some(event),
                    ..KeptHistory::default()
                })?;
            }
            Alarm::Late(late) if late.position <= position => {
                let registry = &runner.assignment.storage.registry;
                (runner.runtime).block_on(in_time(registry.note_late(late)))?;
            }
            Alarm::Gone(_) | Alarm::SetBack | Alarm::Late(_) => {}
        }
    }
    runner.alarms_heeded = last;
    Ok(())
}

/// Lets the source find out whether an event that was just seen came to a hole,
/// before it is kept or remembered.
fn settle(runner: &Runner) -> Result<(), SessionEnd> {
    runner.runtime.block_on(runner.assignment.source.look())?;
    heed_alarms(runner)
}

/// Takes the store as it is for the one that was read: nothing is known of it,
/// or somebody has said so.
fn adopt(runner: &Runner, rows: &GenerationRows, position: Position) -> Result<(), SessionEnd> {
    if position == Position::START {
        return Ok(());
    }
    let source = &runner.assignment.source;
    let event = runner.runtime.block_on(source.last_event(position))?;
    settle(runner)?;
    Ok(rows.keep_history(&KeptHistory {
        event,
        ..KeptHistory::default()
    })?)
}

fn set_back(rows: &GenerationRows, event: Option<KnownEvent>) -> Result<(), SessionEnd> {
    Ok(rows.keep_history(&KeptHistory {
        event,
        is_set_back: true,
        late: None,
    })?)
}

fn other_event(name: &str, event: &KnownEvent, found: Option<&KnownEvent>) -> String {
    let KnownEvent { position, id } = event;
    let now = match found {
        Some(found) if found.position == *position => format!("is event {} now", found.id),
        Some(found) => format!(
            "is no event now; the last one before it is at {}",
            found.position
        ),
        None => "is no event now, nor before it".to_owned(),
    };
    format!(
        "halted: at position {position} of the event store stood event {id}, and there {now}. The \
         store was restored, failed over, emptied or exchanged, or that event was deleted, as by a \
         retention policy. So the rows may hold events that it has not and lack events that it has. \
         Give the projection its store back; or build the rows again, `gnomon rebuild {name}`; or \
         say that they are right, `gnomon resume {name} --accept-history`"
    )
}

fn ends_before(name: &str, position: Position, head: Position) -> String {
    format!(
        "halted: the checkpoint is at position {position}, and the event store ended before it (now \
         it ends at {head}). It was restored, failed over, emptied or exchanged, or its last events \
         were deleted, so the rows may hold events that it has not. Give the projection its store back; or build the rows again, \
         `gnomon rebuild {name}`; or, once the store goes beyond position {position}, say that they \
         are right, `gnomon resume {name} --accept-history`"
    )
}

fn came_late(name: &str, position: Position) -> String {
    format!(
        "halted: an event was committed at position {position} after that position had been passed \
         as final, so the rows lack it. Some writer takes its positions outside of the transaction \
         that inserts the events (let it draw them by the column's default), or events came back \
         after the rows were built without them. Build the rows again, `gnomon rebuild {name}`; or say that they are right, `gnomon resume {name} \
         --accept-history`"
    )
}
