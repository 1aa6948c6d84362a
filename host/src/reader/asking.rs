//! What a source is asked for: what is wanted, or simply everything where that
//! is nearly the same. To leave out a few events of a page takes a database
//! longer than to send them: it compares each event with each name.

use std::sync::atomic::{AtomicU32, Ordering};

use gnomon_event_store::source::{Batch, BatchLimits, Checkpoint, Source, SourceError};
use gnomon_model::Subscription;

/// Pages that are read whole before the next one shows again how much is wanted.
const WHOLE_PAGES: u32 = 15;
/// Of so many positions that a page has passed, this many must have an event
/// that is wanted: to compare an event with six names takes PostgreSQL a
/// fourteenth of what it takes to read it, and with fewer names less.
const NEARLY_ALL: (u64, u64) = (50, 49);
/// A page of fewer positions shows nothing. Those who follow the head have
/// small ones.
const TELLING_POSITIONS: u64 = 1_000;

/// How the pages of one reader, or of those who read together, are asked for.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Pages that are still to be read whole.
    whole: AtomicU32,
}

impl Asking {
    /// Reads a page that holds what is wanted. It may hold more.
    pub(super) async fn read(
        &self,
        source: &dyn Source,
        after: &Checkpoint,
        wants: &Subscription,
        limits: BatchLimits,
    ) -> Result<Batch, SourceError> {
        if wants.event_types.is_empty() && wants.categories.is_empty() {
            return source.read(after, wants, limits).await;
        }
        let fewer = |left: u32| left.checked_sub(1);
        let whole = (self.whole).fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        if whole.is_ok() {
            let whole = Subscription {
                metadata: wants.metadata,
                ..Subscription::default()
            };
            return source.read(after, &whole, limits).await;
        }
        let batch = source.read(after, wants, limits).await?;
        let after = source.position(after)?.get();
        let passed = batch.position.get().saturating_sub(after);
        let wanted = batch.events.len() as u64;
        let (of, needed) = NEARLY_ALL;
        if passed >= TELLING_POSITIONS && wanted.saturating_mul(of) >= passed.saturating_mul(needed)
        {
            self.whole.store(WHOLE_PAGES, Ordering::Relaxed);
        }
        Ok(batch)
    }
}
