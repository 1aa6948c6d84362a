//! The reader of one generation: it reads the next batch while the current
//! one is projected and committed.

use std::sync::Arc;

use gnomon_model::Subscription;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::source::{Batch, BatchLimits, Checkpoint, Source, SourceError};

/// Batches that wait to be projected. More would only hold memory.
const BATCHES_AHEAD: usize = 1;

/// Batches of one subscription, from one checkpoint on. The task that reads
/// them ends when this is dropped.
pub struct Reader {
    batches: mpsc::Receiver<Result<Batch, SourceError>>,
    task: JoinHandle<()>,
}

impl Reader {
    /// Starts to read after `from`.
    #[must_use]
    pub fn start(
        runtime: &Handle,
        source: Arc<dyn Source>,
        from: Checkpoint,
        subscription: Subscription,
        limits: BatchLimits,
    ) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let task = runtime.spawn(async move {
            if let Err(error) = read(&*source, from, &subscription, limits, &sender).await {
                // The receiver is gone when the session has ended meanwhile.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { batches, task }
    }

    /// The next batch. When the source has nothing more, one empty batch that
    /// is `caught_up` says so, and then this waits for new events.
    ///
    /// # Errors
    /// When the source cannot be read; the reader has ended then. `None` only
    /// when the runtime is shutting down.
    pub async fn next(&mut self) -> Option<Result<Batch, SourceError>> {
        self.batches.recv().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    source: &dyn Source,
    from: Checkpoint,
    subscription: &Subscription,
    limits: BatchLimits,
    batches: &mpsc::Sender<Result<Batch, SourceError>>,
) -> Result<(), SourceError> {
    let mut frontier = source.frontier();
    let mut checkpoint = from;
    let mut said_caught_up = false;
    loop {
        let batch = source.read(&checkpoint, subscription, limits).await?;
        let has_moved = batch.next != checkpoint;
        let caught_up = batch.caught_up;
        let position = batch.position;
        checkpoint = batch.next.clone();
        if has_moved || (caught_up && !said_caught_up) {
            if batches.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
            said_caught_up = caught_up;
        }
        if limits.until.is_some_and(|until| position >= until) {
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
