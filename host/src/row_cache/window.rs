//! The window of a build: what many batches write, each row once.

use std::time::Instant;

use gnomon_event_store::source::{Checkpoint, KnownEvent};
use gnomon_model::{Key, KeyMap, Position, Resized, Row, TableWrites, Value};

use crate::dead_letter::LeftOut;
use crate::generation::Rate;

/// What a slot of a hash table and the headers of key and row cost.
const ENTRY_BYTES: usize = 112;

/// Folded rows of each table; `None` is a row that is to be removed.
pub(super) struct Window {
    tables: Vec<KeyMap<Option<Row>>>,
    left_out: LeftOut,
    bytes: usize,
    end: Option<End>,
}

struct End {
    next: Checkpoint,
    position: Position,
    event: Option<KnownEvent>,
    rate: Rate,
    since: Instant,
}

/// What a window held, to be committed in one go.
pub(super) struct Folded {
    /// Each row once, sorted by key.
    pub(super) writes: Vec<TableWrites>,
    /// What the batches leave out.
    pub(super) left_out: LeftOut,
    pub(super) next: Checkpoint,
    pub(super) position: Position,
    /// The last event up to there, if the source has shown one.
    pub(super) event: Option<KnownEvent>,
    pub(super) rate: Rate,
    /// Bytes of memory.
    pub(super) bytes: usize,
}

impl Window {
    pub(super) fn new(tables: usize) -> Self {
        Self {
            tables: (0..tables).map(|_| KeyMap::default()).collect(),
            left_out: LeftOut::default(),
            bytes: 0,
            end: None,
        }
    }

    /// Notes how far what is folded reaches.
    pub(super) fn reached(
        &mut self,
        next: Checkpoint,
        position: Position,
        event: Option<KnownEvent>,
        rate: Rate,
    ) {
        let (since, before) = match self.end.take() {
            Some(end) => (end.since, end.event),
            None => (Instant::now(), None),
        };
        self.end = Some(End {
            next,
            position,
            event: event.or(before),
            rate,
            since,
        });
    }

    /// Keeps what the batches leave out, to be committed with them.
    pub(super) fn leave_out(&mut self, left_out: LeftOut) {
        self.bytes += left_out.size();
        self.left_out.append(left_out);
    }

    pub(super) fn set(&mut self, table: usize, key: Key, row: Option<Row>) {
        let Some(rows) = self.tables.get_mut(table) else {
            return;
        };
        let key_bytes = key.size();
        self.bytes += row_bytes(row.as_ref());
        match rows.insert(key, row) {
            Some(old) => self.bytes = self.bytes.saturating_sub(row_bytes(old.as_ref())),
            None => self.bytes += key_bytes + ENTRY_BYTES,
        }
    }

    /// Changes a row where it is.
    pub(super) fn change(
        &mut self,
        table: usize,
        key: &Key,
        change: impl FnOnce(&mut Row) -> Resized,
    ) {
        let rows = self.tables.get_mut(table);
        let Some(Some(row)) = rows.and_then(|rows| rows.get_mut(key)) else {
            return;
        };
        let Resized { before, after } = change(row);
        self.bytes = (self.bytes + after).saturating_sub(before);
    }

    /// What is folded under a key, if anything is.
    pub(super) fn get(&self, table: usize, key: &Key) -> Option<&Option<Row>> {
        self.tables.get(table)?.get(key)
    }

    /// Bytes of memory, and since when there is something.
    pub(super) fn size(&self) -> Option<(usize, Instant)> {
        self.end.as_ref().map(|end| (self.bytes, end.since))
    }

    /// The position behind what is folded.
    pub(super) fn position(&self) -> Option<Position> {
        self.end.as_ref().map(|end| end.position)
    }

    /// Everything, sorted by key; the window is empty then.
    pub(super) fn take(&mut self) -> Option<Folded> {
        let End {
            next,
            position,
            event,
            rate,
            ..
        } = self.end.take()?;
        let bytes = std::mem::take(&mut self.bytes);
        let mut writes = Vec::new();
        for (table, rows) in self.tables.iter_mut().enumerate() {
            let mut rows: Vec<(Key, Option<Row>)> = std::mem::take(rows).into_iter().collect();
            if rows.is_empty() {
                continue;
            }
            rows.sort_unstable_by(|(first, _), (second, _)| first.cmp(second));
            let mut deletes = Vec::new();
            // They stay in the memory of the pairs: more of it would have to be
            // made first, which takes longer than to move them.
            let upserts = rows
                .into_iter()
                .filter_map(|(key, row)| {
                    if row.is_none() {
                        deletes.push(key);
                    }
                    row
                })
                .collect();
            writes.push(TableWrites {
                table,
                upserts,
                deletes,
            });
        }
        Some(Folded {
            writes,
            left_out: std::mem::take(&mut self.left_out),
            next,
            position,
            event,
            rate,
            bytes,
        })
    }
}

fn row_bytes(row: Option<&Row>) -> usize {
    row.map_or(0, |row| row.iter().map(Value::size).sum())
}
