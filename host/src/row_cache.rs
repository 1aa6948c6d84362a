//! The committed rows of one generation, with a bounded cache before the
//! database.
//!
//! The generation's writer is the only one that changes its tables, so a row
//! in the cache is the truth, and so is the memory that a key has no row. On
//! any failure the whole of it is dropped with the session.

use std::sync::{Arc, Mutex, PoisonError};

use gnomon_model::{CommittedRows, Description, Key, Position, Row, TableWrites, Value};
use hashlink::LruCache;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::dead_letter::{DeadLetter, DeadLetterRequest};
use crate::source::Checkpoint;
use crate::target::{Commit, TargetError, TargetErrorKind, Writer};

/// In debug builds every so many hits are compared with the database.
const HITS_PER_PROOF: u64 = 16;

/// Waits for the database for as long as the lease is held. A connection can
/// go silent for good, and then no answer and no error ever comes.
#[derive(Clone)]
struct Patience {
    runtime: Handle,
    lost: watch::Receiver<bool>,
}

impl Patience {
    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, TargetError>>,
    ) -> Result<T, TargetError> {
        let mut lost = self.lost.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                answer = answer => answer,
                Ok(_) = lost.wait_for(|lost| *lost) => Err(TargetError::new(
                    TargetErrorKind::Retry,
                    "the lease ran out while the read-model database gave no answer",
                )),
            }
        })
    }
}

/// The rows of one generation. Clones share the cache and the writer.
#[derive(Clone)]
pub struct GenerationRows(Arc<Mutex<Rows>>);

struct Rows {
    writer: Box<dyn Writer>,
    description: Arc<Description>,
    patience: Patience,
    tables: Vec<LruCache<Key, Option<Row>>>,
    bytes: usize,
    bytes_max: usize,
    hits: u64,
}

impl GenerationRows {
    /// Reads and writes through `writer`, and caches up to `bytes_max` bytes.
    /// Once `lost` is true, the writer is waited for no longer.
    ///
    /// It blocks on `runtime`, so it must not be used from one of its threads.
    #[must_use]
    pub fn new(
        writer: Box<dyn Writer>,
        description: Arc<Description>,
        runtime: Handle,
        lost: watch::Receiver<bool>,
        bytes_max: usize,
    ) -> Self {
        let tables = description
            .tables
            .iter()
            .map(|_| LruCache::new_unbounded())
            .collect();
        Self(Arc::new(Mutex::new(Rows {
            writer,
            description,
            patience: Patience { runtime, lost },
            tables,
            bytes: 0,
            bytes_max,
            hits: 0,
        })))
    }

    /// The checkpoint as it stands in the database.
    ///
    /// # Errors
    /// As [`Writer::checkpoint`].
    pub fn checkpoint(&self) -> Result<Checkpoint, TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.checkpoint())
    }

    /// Commits a batch and brings the cache up to date.
    ///
    /// # Errors
    /// As [`Writer::commit`]; the rows must not be used any more.
    pub fn commit(&self, commit: Commit<'_>) -> Result<(), TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.commit(commit))?;
        for writes in commit.writes {
            rows.remember_writes(writes);
        }
        Ok(())
    }

    /// Those of these streams that have dead letters.
    ///
    /// # Errors
    /// As [`Writer::parked_streams`].
    pub fn parked_streams(&self, streams: &[&str]) -> Result<Vec<String>, TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.parked_streams(streams))
    }

    /// Whether the generation has any dead letter.
    ///
    /// # Errors
    /// As [`Writer::has_dead_letters`].
    pub fn has_dead_letters(&self) -> Result<bool, TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.has_dead_letters())
    }

    /// Dead letters of one stream, or of all.
    ///
    /// # Errors
    /// As [`Writer::dead_letters`].
    pub fn dead_letters(
        &self,
        stream: Option<&str>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.dead_letters(stream, after, limit))
    }

    /// The oldest request about dead letters.
    ///
    /// # Errors
    /// As [`Writer::next_request`].
    pub fn next_request(&self) -> Result<Option<DeadLetterRequest>, TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.next_request())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        // A panic while it was held ends the session, which drops the rows.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CommittedRows for GenerationRows {
    type Error = TargetError;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, TargetError> {
        self.lock().get_many(table, keys)
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Row>, TargetError> {
        let mut rows = self.lock();
        let patience = rows.patience.clone();
        patience.wait(rows.writer.find(table, index, values, after, limit))
    }
}

impl Rows {
    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, TargetError> {
        let cached: Vec<Option<Option<Row>>> = match self.tables.get_mut(table) {
            Some(cache) => keys.iter().map(|key| cache.get(key).cloned()).collect(),
            None => vec![None; keys.len()],
        };
        if cfg!(debug_assertions) {
            self.prove(table, keys, &cached)?;
        }
        let missing: Vec<Key> = keys
            .iter()
            .zip(&cached)
            .filter(|(_, row)| row.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        let mut fetched = if missing.is_empty() {
            Vec::new()
        } else {
            self.patience.wait(self.writer.rows(table, &missing))?
        };
        for (key, row) in missing.into_iter().zip(&fetched) {
            self.remember(table, key, row.clone());
        }
        let mut fetched = fetched.drain(..);
        Ok(cached
            .into_iter()
            .map(|row| row.unwrap_or_else(|| fetched.next().flatten()))
            .collect())
    }

    fn remember_writes(&mut self, writes: &TableWrites) {
        let description = Arc::clone(&self.description);
        let Some(declared) = description.tables.get(writes.table) else {
            return;
        };
        for row in &writes.upserts {
            self.remember(writes.table, declared.key_of(row), Some(row.clone()));
        }
        for key in &writes.deletes {
            self.remember(writes.table, key.clone(), None);
        }
    }

    fn remember(&mut self, table: usize, key: Key, row: Option<Row>) {
        let Some(cache) = self.tables.get_mut(table) else {
            return;
        };
        self.bytes += entry_bytes(&key, row.as_ref());
        let key_bytes = key.size();
        if let Some(old) = cache.insert(key, row) {
            self.bytes = self
                .bytes
                .saturating_sub(key_bytes + row_bytes(old.as_ref()));
        }
        while self.bytes > self.bytes_max {
            let Some((key, row)) = cache.remove_lru() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(entry_bytes(&key, row.as_ref()));
        }
    }

    /// Compares a cached row with the database, now and then.
    fn prove(
        &mut self,
        table: usize,
        keys: &[Key],
        cached: &[Option<Option<Row>>],
    ) -> Result<(), TargetError> {
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

fn entry_bytes(key: &Key, row: Option<&Row>) -> usize {
    key.size() + row_bytes(row)
}

fn row_bytes(row: Option<&Row>) -> usize {
    /// What a list node and a hash table slot cost.
    const ENTRY_BYTES: usize = 64;
    ENTRY_BYTES + row.map_or(0, |row| row.iter().map(Value::size).sum())
}
