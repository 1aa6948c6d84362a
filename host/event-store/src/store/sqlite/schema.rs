//! The tables of the event store in SQLite, and how to open them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gnomon_databases::sqlite_file;
use rusqlite::{Connection, TransactionBehavior};

use crate::store::{EventStoreError, NewEvent};
use crate::table::sqlite::{BUSY_TIMEOUT, Columns, columns, prepare, table_error};
use crate::table::{Layout, TableError};

/// `REPLACE` removes rows without firing a `DELETE` trigger, so inserting over
/// an event that is there has to be refused by a trigger of its own.
const EVENTS: &str = "
CREATE TABLE events (
    id TEXT NOT NULL UNIQUE,
    stream_id TEXT NOT NULL CHECK (length(stream_id) BETWEEN 1 AND 255),
    stream_type TEXT NOT NULL,
    event_type TEXT NOT NULL CHECK (length(event_type) BETWEEN 1 AND 255),
    event_data TEXT NOT NULL CHECK (json_valid(event_data)),
    metadata TEXT CONSTRAINT metadata_is_a_json_object CHECK (
        CASE WHEN json_valid(metadata) THEN json_type(metadata) = 'object'
        ELSE metadata IS NULL END),
    version INTEGER NOT NULL CHECK (typeof(version) = 'integer' AND version >= 1),
    schema_version INTEGER NOT NULL DEFAULT 1
        CHECK (typeof(schema_version) = 'integer' AND schema_version >= 1),
    global_position INTEGER PRIMARY KEY AUTOINCREMENT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))
        CONSTRAINT created_at_is_a_time CHECK (
            created_at GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*'
            AND (length(created_at) = 10 OR substr(created_at, 11) GLOB '[T ][0-2][0-9]:[0-5][0-9]*')
            AND created_at NOT GLOB '*[^-+0-9.:TZ ]*'
            AND instr(substr(created_at, 12), ' ') = 0
            AND substr(created_at, 12, 2) < '24'
            AND date(substr(created_at, 1, 10)) = substr(created_at, 1, 10)
            AND julianday(created_at) IS NOT NULL),
    UNIQUE (stream_id, version),
    CONSTRAINT text_is_text CHECK (
        typeof(id) = 'text' AND typeof(stream_id) = 'text' AND typeof(event_type) = 'text'
        AND typeof(event_data) = 'text' AND typeof(created_at) = 'text'
        AND typeof(metadata) IN ('text', 'null')),
    CONSTRAINT no_u0000 CHECK (
        instr(id, char(0)) = 0 AND instr(stream_id, char(0)) = 0
        AND instr(event_type, char(0)) = 0 AND instr(event_data, char(0)) = 0
        AND instr(metadata, char(0)) = 0 AND instr(created_at, char(0)) = 0)
);
CREATE INDEX events_event_type ON events (event_type);
CREATE TRIGGER events_refuse_update BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are immutable: an event is never updated; append a new one');
END;
CREATE TRIGGER events_refuse_delete BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are immutable: an event is never deleted; append a new one');
END;
CREATE TRIGGER events_refuse_replace BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM events WHERE stream_id = NEW.stream_id AND version = NEW.version)
    OR EXISTS (SELECT 1 FROM events WHERE global_position = NEW.global_position)
BEGIN
    SELECT RAISE(ABORT, 'events are immutable: the id, version or position of the new event is taken');
END;
";

pub(super) const SNAPSHOTS: &str = "
CREATE TABLE IF NOT EXISTS snapshots (
    stream_id TEXT PRIMARY KEY,
    stream_type TEXT NOT NULL,
    snapshot_data TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL
);
";

/// Refuses events that need a column that is not there.
pub(super) fn can_hold(columns: &Columns, events: &[NewEvent]) -> Result<(), EventStoreError> {
    if !columns.schema_version && events.iter().any(|event| event.schema_version() != 1) {
        return Err(EventStoreError::refused(
            "the table `events` has no column `schema_version`, so it can hold events of \
             schema version 1 only; add the column (an integer, 1 by default)",
        ));
    }
    Ok(())
}

/// Opens a file in WAL mode, and makes it and its tables if they are missing.
pub(super) fn open_or_make(file: &Path) -> Result<(Connection, Columns), TableError> {
    let layout = Arc::new(Layout::built_in());
    let table = layout.table.name();
    let open = || -> rusqlite::Result<Connection> {
        let mut connection = sqlite_file::open_or_make(file)?;
        prepare(&connection)?;
        // Readers do not block the writer in this mode, nor the writer them.
        use_write_ahead_log(&connection)?;
        if !sqlite_file::has_table(&connection, table)? {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            if !sqlite_file::has_table(&transaction, table)? {
                transaction.execute_batch(EVENTS)?;
                transaction.execute_batch(SNAPSHOTS)?;
            }
            transaction.commit()?;
        }
        Ok(connection)
    };
    let connection = open().map_err(|error| table_error("open", file, error))?;
    let columns = columns(&connection, file, &layout)?;
    Ok((connection, columns))
}

/// Two processes that switch a new file at once can meet a busy error that
/// SQLite does not wait out by itself.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    const ATTEMPT_PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update(None, "journal_mode", "wal") {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::DatabaseBusy && waited < BUSY_TIMEOUT =>
            {
                std::thread::sleep(ATTEMPT_PAUSE);
                waited += ATTEMPT_PAUSE;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
