//! The reader of one generation: it reads the next page while the batches of
//! the current one are projected and committed.
//!
//! Readers that are near each other read together (see [`SharedScan`]), so an
//! event is fetched and decoded once, however many projections want it.

use std::sync::Arc;

use gnomon_event_store::source::{Batch, BatchLimits, Checkpoint, KnownEvent, Source, SourceError};
use gnomon_model::{EventList, Position, Subscription};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod asking;
mod pages;
mod shared_scan;
#[cfg(test)]
mod tests;

pub use shared_scan::{ScanGroup, SharedScan};

use shared_scan::Member;

/// Batches that wait to be projected. More would only hold memory.
const BATCHES_AHEAD: usize = 1;

/// The events of a batch for one projection.
#[derive(Clone, Debug)]
pub struct Portion {
    /// Those that its subscription wants.
    pub events: EventList,
    /// The checkpoint behind them, and behind what it does not want.
    pub next: Checkpoint,
    /// The position of `next`.
    pub position: Position,
    /// The last event up to there that was read, whoever wants it.
    pub last: Option<KnownEvent>,
    /// Whether it reached to the frontier as it was when it was read, or to the
    /// end that was set.
    pub caught_up: bool,
}

/// What a reader reads.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The checkpoint to start behind.
    pub from: Checkpoint,
    /// Which events.
    pub subscription: Subscription,
    /// How many in a portion, and until where.
    pub limits: BatchLimits,
    /// With whom.
    pub group: ScanGroup,
}

/// Batches of one subscription, from one checkpoint on. The task that reads
/// them ends when this is dropped.
pub struct Reader {
    portions: mpsc::Receiver<Result<Portion, SourceError>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Starts to read.
    #[must_use]
    pub fn start(runtime: &Handle, scan: &Arc<SharedScan>, reading: Reading) -> Self {
        let (sender, portions) = mpsc::channel(BATCHES_AHEAD);
        let scan = Arc::clone(scan);
        let task = runtime.spawn(async move {
            if let Err(error) = read(&scan, reading, &sender).await {
                // The receiver is gone when the session has ended meanwhile.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { portions, task }
    }

    /// The next batch. When the source has nothing more, one empty batch that
    /// is `caught_up` says so, and then this waits for new events.
    ///
    /// # Errors
    /// When the source cannot be read; the reader has ended then. `None` only
    /// when the runtime is shutting down.
    pub async fn next(&mut self) -> Option<Result<Portion, SourceError>> {
        self.portions.recv().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    scan: &SharedScan,
    reading: Reading,
    portions: &mpsc::Sender<Result<Portion, SourceError>>,
) -> Result<(), SourceError> {
    let source = scan.source();
    let mut frontier = source.frontier();
    let mut position = source.position(&reading.from)?;
    let mut checkpoint = reading.from.clone();
    let member = Member::join(scan, &reading, position);
    let mut said_caught_up = false;
    let mut ahead = None;
    loop {
        let batch = match ahead.take() {
            Some(batch) => batch,
            None => member.read(&checkpoint, position).await?,
        };
        let caught_up = batch.caught_up;
        let has_moved = batch.next != checkpoint;
        let mut divided = Vec::new();
        if let Some(last) = last_read(&batch, batch.position) {
            source.history().note(last);
        }
        if has_moved || (caught_up && !said_caught_up) {
            divided = divide(source.as_ref(), &batch, position, &reading);
            said_caught_up = caught_up;
        }
        checkpoint.clone_from(&batch.next);
        position = batch.position;
        drop(batch);
        let is_at_end = (reading.limits.until).is_some_and(|until| position >= until);
        let give = give(divided, portions);
        let is_wanted = if has_moved && !caught_up && !is_at_end {
            let (is_wanted, read) = tokio::join!(give, member.read(&checkpoint, position));
            ahead = Some(read?);
            is_wanted
        } else {
            give.await
        };
        if !is_wanted {
            return Ok(());
        }
        if is_at_end {
            // Nothing more is wanted of this reader; it is dropped some day.
            return std::future::pending().await;
        }
        if caught_up || !has_moved {
            let moved = frontier.wait_for(|frontier| frontier.safe > position).await;
            if moved.is_err() {
                return Ok(());
            }
        }
    }
}

/// Gives portions, as long as somebody wants them; says whether somebody does.
async fn give(
    divided: Vec<Portion>,
    portions: &mpsc::Sender<Result<Portion, SourceError>>,
) -> bool {
    for portion in divided {
        if portions.send(Ok(portion)).await.is_err() {
            return false;
        }
    }
    true
}

/// What a subscription wants of a page, in parts of at most as many events as
/// it may have at a time.
fn divide(source: &dyn Source, batch: &Batch, after: Position, reading: &Reading) -> Vec<Portion> {
    let mut events = EventList::pick(&batch.events, after, &reading.subscription);
    let mut divided = Vec::new();
    loop {
        let rest = events.split_off(reading.limits.events.max(1));
        match events.last().filter(|_| !rest.is_empty()) {
            Some(position) => divided.push(Portion {
                events,
                next: source.behind(position),
                position,
                last: last_read(batch, position),
                caught_up: false,
            }),
            None => {
                divided.push(Portion {
                    events,
                    next: batch.next.clone(),
                    position: batch.position,
                    last: last_read(batch, batch.position),
                    caught_up: batch.caught_up,
                });
                return divided;
            }
        }
        events = rest;
    }
}

fn last_read(batch: &Batch, up_to: Position) -> Option<KnownEvent> {
    batch.events.last_up_to(up_to).map(|event| KnownEvent {
        position: event.position,
        id: event.id.to_owned(),
    })
}
