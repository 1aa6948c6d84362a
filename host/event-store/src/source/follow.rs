//! Following a source: each event once, in order, as soon as it is final.

use std::sync::Arc;
use std::time::Duration;

use gnomon_model::{Event, Subscription};
use tokio::sync::watch;

use super::{Alarm, BatchLimits, Checkpoint, Frontier, Source, SourceError, SourceErrorKind};

/// How large one answer may be.
const LIMITS: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 4 * 1024 * 1024,
    until: None,
};
/// How long to wait after a failed read, at first and at most.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Events after a checkpoint, and those that are still to come.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use gnomon_event_store::source::{self, Follow};
///
/// let source = source::open(&"sqlite:events.db".parse()?).await?;
/// let start = source.start();
/// let mut follow = Follow::new(source, start, Default::default());
/// loop {
///     for event in follow.next().await? {
///         println!("{} {}", event.position, event.event_type);
///     }
/// }
/// # }
/// ```
pub struct Follow {
    source: Arc<dyn Source>,
    frontier: watch::Receiver<Frontier>,
    checkpoint: Checkpoint,
    subscription: Subscription,
    alarms_heeded: u64,
}

impl Follow {
    /// Follows a source from behind a checkpoint.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, after: Checkpoint, subscription: Subscription) -> Self {
        Self {
            frontier: source.frontier(),
            alarms_heeded: source.history().last_alarm(),
            source,
            checkpoint: after,
            subscription,
        }
    }

    /// The checkpoint behind everything that was given out.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The next events, at least one. Waits for them, also while the store
    /// cannot be reached. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// [`SourceErrorKind::Refused`] if it makes no sense to wait.
    pub async fn next(&mut self) -> Result<Vec<Event>, SourceError> {
        let mut backoff = BACKOFF;
        loop {
            self.heed_alarms()?;
            // What comes after this look wakes the wait below.
            self.frontier.mark_unchanged();
            let read = self
                .source
                .read(&self.checkpoint, &self.subscription, LIMITS)
                .await;
            let batch = match read {
                Ok(batch) => batch,
                Err(error) if error.kind() == SourceErrorKind::Retry => {
                    tracing::warn!(%error, "cannot read events, trying again");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    continue;
                }
                Err(error) => return Err(error),
            };
            backoff = BACKOFF;
            self.checkpoint = batch.next;
            if !batch.events.is_empty() {
                return Ok(batch.events.iter().map(Event::from).collect());
            }
            if !batch.caught_up {
                continue;
            }
            tokio::select! {
                changed = self.frontier.changed() => if changed.is_err() {
                    return Err(SourceError::refused(
                        "the event store is no longer watched; open it again",
                    ));
                },
                () = self.source.history().alarm_after(self.alarms_heeded) => {}
            }
        }
    }

    /// What was given out cannot be taken back, so whoever follows has to know.
    fn heed_alarms(&mut self) -> Result<(), SourceError> {
        let position = self.source.position(&self.checkpoint)?;
        let last = self.source.history().last_alarm();
        let alarms = self.source.history().alarms_after(self.alarms_heeded);
        self.alarms_heeded = last;
        let reason = alarms.into_iter().find_map(|alarm| match alarm {
            Alarm::Gone(event) => Some(format!(
                "the event store is not what it was: event {} is no longer at position {}",
                event.id, event.position
            )),
            Alarm::SetBack => Some("the event store ends before what was read".to_owned()),
            Alarm::Late(late) if late.position <= position => Some(format!(
                "an event was committed at position {} after that position had been passed as \
                 final: some writer takes its positions outside of its transaction",
                late.position
            )),
            Alarm::Late(_) => None,
        });
        reason.map_or(Ok(()), |reason| Err(SourceError::refused(reason)))
    }
}
