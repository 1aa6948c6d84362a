//! Importing a file into SQLite.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior};

use super::append::{VERSION, by_id, find, insert, version, write};
use super::schema::can_hold;
use super::{Failure, now};
use crate::store::import::Counter;
use crate::store::{CheckedFile, Imported, OnProgress, StreamId};
use crate::table::sqlite::Columns;

/// Pages of the file that stay in memory while the indexes grow, in KiB.
const CACHE_KIB: i64 = 64 * 1024;

pub(super) fn import(
    connection: &mut Connection,
    columns: &Columns,
    file: &CheckedFile,
    on_progress: &OnProgress,
) -> Result<Imported, Failure> {
    let usual: i64 = connection.pragma_query_value(None, "cache_size", |row| row.get(0))?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let imported = import_chunks(connection, columns, file, on_progress);
    connection.pragma_update(None, "cache_size", usual)?;
    imported
}

fn import_chunks(
    connection: &mut Connection,
    columns: &Columns,
    file: &CheckedFile,
    on_progress: &OnProgress,
) -> Result<Imported, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counter = Counter::new(file, on_progress);
    {
        let mut by_id = transaction.prepare(&by_id(columns))?;
        let mut by_stream = transaction.prepare(VERSION)?;
        let mut inserting = transaction.prepare(&insert(columns))?;
        let now = now();
        let mut chunks = file.read_ahead();
        while let Some(chunk) = chunks.blocking_recv() {
            let chunk = chunk?;
            // Kept for one chunk only, so that memory does not grow with the
            // number of streams.
            let mut versions: HashMap<&StreamId, u64> = HashMap::new();
            for line in &chunk.lines {
                let envelope = &line.envelope;
                can_hold(columns, std::slice::from_ref(&envelope.event))?;
                if let Some(found) = find(&mut by_id, columns, &envelope.event)? {
                    counter.skip(file, line, &found)?;
                    continue;
                }
                let current = match versions.get(&envelope.stream) {
                    Some(version) => *version,
                    None => version(&mut by_stream, &envelope.stream)?.last,
                };
                let next = file.next_version(line, current)?;
                let appended = write(&mut inserting, &envelope.stream, next, &envelope.event, now)?;
                counter.stands_at(appended.position);
                versions.insert(&envelope.stream, next);
                counter.imported();
            }
            counter.chunk_done(&chunk);
        }
    }
    let imported = counter.finish(file)?;
    transaction.commit()?;
    Ok(imported)
}
