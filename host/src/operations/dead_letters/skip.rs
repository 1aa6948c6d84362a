//! Skip: an event is left out permanently.

use gnomon_event_store::source::BatchLimits;
use gnomon_model::{Event, Position, Subscription, readable};
use serde::Serialize;

use super::{before, decided_by, late_since, shown, wait_until};
use crate::dead_letter::{self, PageLimits};
use crate::generation::{Generation, Generations, RunState, is_active};
use crate::operations::{OperationError, Operations};
use crate::registry::Registry as _;

/// Leaves an event out of every generation of a projection.
#[derive(Clone, Debug)]
pub struct Skip {
    /// The projection.
    pub name: String,
    /// The position of the event.
    pub position: Position,
    /// Why.
    pub reason: Option<String>,
    /// Who decides it.
    pub actor: String,
}

/// A decision to leave an event out, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecordedSkip {
    /// The position of the event.
    pub global_position: Position,
    /// Its id.
    pub event_id: String,
    /// Its stream.
    pub stream_id: String,
    /// Its type.
    pub event_type: String,
    /// Why.
    pub reason: Option<String>,
    /// Who decided it.
    pub actor: String,
    /// When, in RFC 3339.
    pub decided_at: String,
}

impl From<dead_letter::Skip> for RecordedSkip {
    fn from(skip: dead_letter::Skip) -> Self {
        Self {
            global_position: skip.position,
            event_id: skip.event_id,
            stream_id: skip.stream_id,
            event_type: skip.event_type,
            reason: skip.reason,
            actor: skip.actor,
            decided_at: jiff::Timestamp::from_microsecond(skip.decided_at)
                .map_or_else(|_| String::new(), |time| time.to_string()),
        }
    }
}

/// What came of a decision to leave an event out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Skipped {
    /// The projection.
    pub name: String,
    /// The decision.
    #[serde(flatten)]
    pub skip: RecordedSkip,
    /// Whether it is new.
    pub new: bool,
    /// Whether every generation that has got to the event has left it out.
    pub done: bool,
    /// Whether no generation has got to the event yet.
    #[serde(skip)]
    pub is_ahead: bool,
    /// How many dead letters still wait.
    pub dead_letters: u64,
    /// Events that were applied out of the global order.
    pub applied_late: u64,
}

impl Skip {
    /// Records the decision, and waits until hosts have carried it out.
    ///
    /// # Errors
    /// If there is no such event, or if every generation has applied it.
    pub async fn run(self, operations: &Operations) -> Result<Skipped, OperationError> {
        let own = operations.generations(&self.name).await?;
        let known = known(operations, shown(&own)?, self.position).await?;
        let skip = match known {
            Some(known) => known,
            None => {
                let event = find(operations, &own, self.position).await?;
                decision(&event, self.reason, self.actor)
            }
        };
        decide(operations, &own, skip).await
    }
}

/// The decision to skip the event at a position, if there is one already.
async fn known(
    operations: &Operations,
    generation: &Generation,
    position: Position,
) -> Result<Option<dead_letter::Skip>, OperationError> {
    let registry = operations.registry();
    let page = registry
        .skips(decided_by(generation), before(position), 1)
        .await?;
    Ok(page.into_iter().find(|skip| skip.position == position))
}

pub(super) fn decision(event: &Event, reason: Option<String>, actor: String) -> dead_letter::Skip {
    dead_letter::Skip {
        position: event.position,
        event_id: event.id.clone(),
        stream_id: event.stream_id.clone(),
        event_type: event.event_type.clone(),
        reason,
        actor,
        decided_at: jiff::Timestamp::now().as_microsecond(),
    }
}

/// Whether a generation applies events now or, if its projection was removed,
/// when that comes back.
fn applies(generation: &Generation) -> bool {
    is_active(generation.state, generation.goal)
}

/// The event at a position that a projection may skip.
async fn find(
    operations: &Operations,
    own: &Generations,
    position: Position,
) -> Result<Event, OperationError> {
    let name = own.projection();
    for generation in own.iter() {
        if let Some(event) = waiting(operations, generation, position).await? {
            return Ok(event);
        }
    }
    let mut applying = own.iter().filter(|generation| applies(generation));
    if !applying.any(|generation| generation.position < position) {
        return Err(OperationError::NotPossible(format!(
            "event {position} cannot be skipped: {name} has applied it, and its effect is in the \
             rows. Append an event that corrects it, or change the module and deploy it with a \
             higher version"
        )));
    }
    let source = operations.source_once().await?;
    let limits = BatchLimits {
        events: 1,
        bytes: 1,
        until: Some(position),
    };
    let after = source.behind(before(position));
    let batch = source
        .read(&after, &Subscription::default(), limits)
        .await?;
    let event = batch
        .events
        .get(0)
        .filter(|event| event.position == position);
    let event = event.ok_or_else(|| {
        OperationError::NotFound(format!(
            "there is no event {position}; `gnomon events --after {}` shows what is there",
            before(position)
        ))
    })?;
    let is_wanted = own
        .iter()
        .any(|generation| generation.description.subscription.wants(event));
    if !is_wanted {
        return Err(OperationError::NotPossible(format!(
            "{name} does not subscribe to event {position} ({} in stream {}), so there is nothing to \
             skip",
            readable::name(event.event_type),
            readable::name(event.stream_id)
        )));
    }
    Ok(event.into())
}

/// The event at a position, if it waits among the dead letters.
pub(super) async fn waiting(
    operations: &Operations,
    generation: &Generation,
    position: Position,
) -> Result<Option<Event>, OperationError> {
    if generation.dead_letters == 0 {
        return Ok(None);
    }
    let limits = PageLimits {
        events: 1,
        bytes: 1,
    };
    let page = operations
        .storage()
        .read_models
        .dead_letters(generation.id, before(position), limits)
        .await?;
    let found = page.into_iter().map(|letter| letter.event);
    Ok(found.into_iter().find(|event| event.position == position))
}

/// Records a decision, and waits until it is carried out.
pub(super) async fn decide(
    operations: &Operations,
    own: &Generations,
    skip: dead_letter::Skip,
) -> Result<Skipped, OperationError> {
    let name = own.projection();
    let before = shown(own)?;
    let position = skip.position;
    let is_new = operations
        .registry()
        .skip(decided_by(before), &skip)
        .await?;
    let has_passed = |generation: &Generation| generation.position >= position;
    let is_ahead = own
        .iter()
        .filter(|generation| applies(generation))
        .all(|generation| !has_passed(generation) && !is_halted(generation));
    let is_done = !is_ahead
        && wait_until(operations, name, async |now| {
            for generation in now.iter().filter(|generation| generation.is_active()) {
                if waiting(operations, generation, position).await?.is_some()
                    || (!has_passed(generation) && is_halted(generation))
                {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
    let now = operations.generations(name).await?;
    let after = shown(&now)?;
    Ok(Skipped {
        name: name.to_owned(),
        skip: skip.into(),
        new: is_new,
        done: is_done,
        is_ahead,
        dead_letters: after.dead_letters,
        applied_late: late_since(before, after),
    })
}

fn is_halted(generation: &Generation) -> bool {
    let said = generation.report.as_ref();
    said.is_some_and(|report| report.state == RunState::Halted)
}
