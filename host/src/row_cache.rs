//! The committed rows of one generation, with a bounded cache before the
//! database.
//!
//! The generation's writer is the only one that changes its tables, so a row
//! in the cache is the truth, and so is the memory that a key has no row. On
//! any failure the whole of it is dropped with the session.
//!
//! A build folds many batches in a window before it commits them together: a
//! row that a thousand events change is written once. What is folded is read
//! like what is committed.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use gnomon_event_store::source::{Checkpoint, KnownEvent};
use gnomon_model::{
    CommittedRows, Description, FoldedRows, FoundRows, Key, PAGE_BYTES, Position, Resized, Row,
    TableWrites, Value, row_size,
};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::cache::Cache;
use self::patience::Patience;
use self::window::Window;
use crate::dead_letter::{DeadLetter, DeadLetterChanges, LeftOut, PageLimits, RetryRequest, Skip};
use crate::generation::Rate;
use crate::read_models::{Commit, KeptHistory, Writer};
use crate::storage_error::StorageError;

mod cache;
mod patience;
#[cfg(test)]
mod tests;
mod window;

/// In debug builds every so many hits are compared with the database.
const HITS_PER_PROOF: u64 = 16;

/// The rows of one generation. Clones share the cache and the writer.
#[derive(Clone)]
pub struct GenerationRows {
    rows: Arc<Mutex<Rows>>,
    description: Arc<Description>,
}

/// What one batch changes.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What to do to each table.
    pub writes: &'a [TableWrites],
    /// Events that begin or cease to wait.
    pub dead_letters: DeadLetterChanges<'a>,
    /// The checkpoint behind the batch.
    pub next: &'a Checkpoint,
    /// The position of `next`.
    pub position: Position,
    /// The last event up to there that the source has shown, if it is news.
    pub event: Option<&'a KnownEvent>,
    /// For whoever asks how fast it goes.
    pub rate: Rate,
}

/// What comes after a window.
enum After {
    /// More of them.
    More,
    /// Only what follows the head.
    End,
}

/// Rows that are folded, and the committed ones behind them.
pub struct Rows {
    writer: Box<dyn Writer>,
    /// The checkpoint in the database.
    checkpoint: Checkpoint,
    window: Window,
    /// Whether the tables have no committed row.
    are_empty: bool,
    patience: Patience,
    cache: Cache,
    hits: u64,
}

impl GenerationRows {
    /// Reads and writes through `writer`, and caches up to `bytes_max` bytes.
    /// Once `lost` is true, the writer is waited for no longer. At the
    /// checkpoint `start` the tables have no rows.
    ///
    /// It blocks on `runtime`, so it must not be used from one of its threads.
    ///
    /// # Errors
    /// As [`Writer::checkpoint`].
    pub fn open(
        mut writer: Box<dyn Writer>,
        description: Arc<Description>,
        runtime: Handle,
        lost: watch::Receiver<bool>,
        bytes_max: usize,
        start: &Checkpoint,
    ) -> Result<Self, StorageError> {
        let patience = Patience { runtime, lost };
        let checkpoint = patience.wait(writer.checkpoint())?;
        let rows = Rows {
            are_empty: checkpoint == *start,
            window: Window::new(description.tables.len()),
            writer,
            checkpoint,
            patience,
            cache: Cache::new(Arc::clone(&description), bytes_max),
            hits: 0,
        };
        Ok(Self {
            rows: Arc::new(Mutex::new(rows)),
            description,
        })
    }

    /// What numbers the tables and indexes.
    #[must_use]
    pub const fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// The checkpoint as it stands in the database.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.lock().checkpoint.clone()
    }

    /// Takes what a batch writes into the window, to be committed later; `fold`
    /// does to the rows what the batch does.
    ///
    /// # Errors
    /// As `fold`, which must have changed nothing then.
    pub fn fold<E>(
        &self,
        fold: impl FnOnce(&mut Rows) -> Result<(), E>,
        next: Checkpoint,
        position: Position,
        event: Option<KnownEvent>,
        rate: Rate,
    ) -> Result<(), E> {
        let mut rows = self.lock();
        fold(&mut rows)?;
        rows.window.reached(next, position, event, rate);
        Ok(())
    }

    /// Takes what the batch that was just folded leaves out, to be committed
    /// with it.
    pub fn leave_out(&self, left_out: LeftOut) {
        self.lock().window.leave_out(left_out);
    }

    /// What is kept beside the checkpoint of the history of the source.
    ///
    /// # Errors
    /// As [`Writer::history`].
    pub fn history(&self) -> Result<KeptHistory, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.history())
    }

    /// Changes what is kept.
    ///
    /// # Errors
    /// As [`Writer::keep_history`].
    pub fn keep_history(&self, kept: &KeptHistory) -> Result<(), StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.keep_history(kept))
    }

    /// Bytes that are folded, and since when.
    #[must_use]
    pub fn folded(&self) -> Option<(usize, Instant)> {
        self.lock().window.size()
    }

    /// The position behind what is folded.
    #[must_use]
    pub fn folded_to(&self) -> Option<Position> {
        self.lock().window.position()
    }

    /// Commits what is folded, if anything is.
    ///
    /// # Errors
    /// As [`Writer::commit`]; the rows must not be used any more.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.lock().flush(After::More)
    }

    /// As [`Self::flush`], at the end of a build: of rows that do not fit the
    /// cache none is kept, as those who follow read few.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn flush_at_end(&self) -> Result<(), StorageError> {
        self.lock().flush(After::End)
    }

    /// Commits what is folded, then a batch, and brings the cache up to date.
    ///
    /// # Errors
    /// As [`Writer::commit`]; the rows must not be used any more.
    pub fn commit(&self, step: Step<'_>) -> Result<(), StorageError> {
        let mut rows = self.lock();
        rows.flush(After::End)?;
        rows.commit(
            step.writes.into(),
            step.dead_letters,
            (step.next, step.position, step.event),
            step.rate,
        )?;
        for writes in step.writes {
            rows.cache.remember_writes(writes);
        }
        Ok(())
    }

    /// Makes the indexes that the generation's tables lack.
    ///
    /// # Errors
    /// As [`Writer::complete`].
    pub fn complete(&self) -> Result<(), StorageError> {
        let mut rows = self.lock();
        rows.flush(After::End)?;
        let patience = rows.patience.clone();
        patience.wait(rows.writer.complete())
    }

    /// Those of these streams that have dead letters.
    ///
    /// # Errors
    /// As [`Writer::parked_streams`].
    pub fn parked_streams(&self, streams: &[&str]) -> Result<Vec<String>, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.parked_streams(streams))
    }

    /// How many dead letters the generation has.
    ///
    /// # Errors
    /// As [`Writer::count_dead_letters`].
    pub fn count_dead_letters(&self) -> Result<u64, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.count_dead_letters())
    }

    /// Dead letters of one stream, or of all.
    ///
    /// # Errors
    /// As [`Writer::dead_letters`].
    pub fn dead_letters(
        &self,
        stream: Option<&str>,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.dead_letters(stream, after, limits))
    }

    /// The oldest request to apply dead letters again.
    ///
    /// # Errors
    /// As [`Writer::next_request`].
    pub fn next_request(&self) -> Result<Option<RetryRequest>, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.next_request())
    }

    /// Skips of the projection.
    ///
    /// # Errors
    /// As [`Writer::skips`].
    pub fn skips(&self, after: Position, limit: usize) -> Result<Vec<Skip>, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.skips(after, limit))
    }

    /// Dead letters that somebody decided to skip.
    ///
    /// # Errors
    /// As [`Writer::skipped_letters`].
    pub fn skipped_letters(&self, limit: usize) -> Result<Vec<(Position, String)>, StorageError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.skipped_letters(limit))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        // A panic while it was held ends the session, which drops the rows.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommittedRows for GenerationRows {
    type Error = StorageError;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        self.lock().get_many(table, keys)
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        self.lock().find(table, index, values, after, limit)
    }
}

impl CommittedRows for Rows {
    type Error = StorageError;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        let mut bytes = 0;
        let folded: Vec<Option<Option<Row>>> = keys
            .iter()
            .map(|key| self.window.get(table, key).cloned())
            .take_while(|row| !fills_page(&mut bytes, row.as_ref()))
            .collect();
        let unfolded: Vec<Key> = keys
            .iter()
            .zip(&folded)
            .filter(|(_, row)| row.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        let mut committed = if unfolded.is_empty() || self.are_empty {
            Vec::new().into_iter()
        } else {
            self.committed(table, &unfolded)?.into_iter()
        };
        let in_database = !self.are_empty;
        Ok(folded
            .into_iter()
            .map_while(|row| match row {
                None if in_database => committed.next(),
                row => Some(row.flatten()),
            })
            .collect())
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        // An index finds what is in the database.
        self.flush(After::More)?;
        let patience = self.patience.clone();
        patience.wait(self.writer.find(table, index, values, after, limit))
    }
}

impl FoldedRows for Rows {
    fn folded(&self, table: usize, key: &Key) -> Option<&Row> {
        self.window.get(table, key)?.as_ref()
    }

    fn change(&mut self, table: usize, key: &Key, change: impl FnOnce(&mut Row) -> Resized) {
        self.window.change(table, key, change);
    }

    fn set(&mut self, table: usize, key: Key, row: Option<Row>) {
        self.window.set(table, key, row);
    }
}

/// Counts a row of a page, and whether those before it filled the page.
fn fills_page(bytes: &mut usize, row: Option<&Option<Row>>) -> bool {
    let filled = *bytes >= PAGE_BYTES;
    *bytes += row.and_then(Option::as_deref).map_or(0, row_size);
    filled
}

impl Rows {
    fn commit(
        &mut self,
        writes: Cow<'_, [TableWrites]>,
        dead_letters: DeadLetterChanges<'_>,
        (next, position, event): (&Checkpoint, Position, Option<&KnownEvent>),
        rate: Rate,
    ) -> Result<(), StorageError> {
        let stay_empty = self.are_empty && writes.iter().all(|of| of.upserts.is_empty());
        let commit = Commit {
            writes,
            expected: &self.checkpoint,
            next,
            position,
            event,
            dead_letters,
            rate,
            into_empty: self.are_empty,
        };
        self.patience.wait(self.writer.commit(commit))?;
        self.checkpoint.clone_from(next);
        self.are_empty = stay_empty;
        Ok(())
    }

    fn flush(&mut self, after: After) -> Result<(), StorageError> {
        let Some(mut folded) = self.window.take() else {
            return Ok(());
        };
        let fit = folded.bytes <= self.cache.bytes_max();
        let writes = match after {
            After::End if !fit => Cow::Owned(std::mem::take(&mut folded.writes)),
            _ => Cow::Borrowed(&*folded.writes),
        };
        self.commit(
            writes,
            folded.left_out.changes(),
            (&folded.next, folded.position, folded.event.as_ref()),
            folded.rate,
        )?;
        if fit {
            for writes in folded.writes {
                self.cache.remember_own(writes);
            }
            return Ok(());
        }
        self.cache.forget();
        if matches!(after, After::More) {
            self.cache.remember_some(&folded.writes);
        }
        Ok(())
    }

    /// Committed rows, from the cache where it has them.
    fn committed(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        let cached = self.cache.get_many(table, keys);
        if cfg!(debug_assertions) {
            self.prove(table, keys, &cached)?;
        }
        let missing: Vec<Key> = keys
            .iter()
            .zip(&cached)
            .filter(|(_, row)| row.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        let fetched = if missing.is_empty() {
            Vec::new()
        } else {
            self.patience.wait(self.writer.rows(table, &missing))?
        };
        for (key, row) in missing.into_iter().zip(&fetched) {
            self.cache.remember(table, key, row.clone());
        }
        let mut fetched = fetched.into_iter();
        Ok(cached
            .into_iter()
            .map_while(|row| row.or_else(|| fetched.next()))
            .collect())
    }

    /// Compares a cached row with the database, now and then.
    fn prove(
        &mut self,
        table: usize,
        keys: &[Key],
        cached: &[Option<Option<Row>>],
    ) -> Result<(), StorageError> {
        for (key, cached) in keys.iter().zip(cached) {
            let Some(cached) = cached else { continue };
            self.hits += 1;
            if !self.hits.is_multiple_of(HITS_PER_PROOF) {
                continue;
            }
            let stored = self
                .patience
                .wait(self.writer.rows(table, std::slice::from_ref(key)))?;
            if stored.first() != Some(cached) {
                // Another host may have written since; then this says so.
                self.patience.wait(self.writer.checkpoint())?;
            }
            assert_eq!(
                stored.first(),
                Some(cached),
                "the row cache and the database differ on {key:?}"
            );
        }
        Ok(())
    }
}
