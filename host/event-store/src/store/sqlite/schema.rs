//! The tables of the event store in SQLite, and how to open them.

use std::path::Path;
use std::time::Duration;

use gnomon_databases::sqlite_file;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use super::store_error;
use crate::store::{EventStoreError, NewEvent};

/// How long to wait for another writer of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements that a connection keeps prepared.
const PREPARED_STATEMENTS_MAX: usize = 64;

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

/// Columns without which a table cannot be an `events` table.
const REQUIRED: [&str; 8] = [
    "id",
    "stream_id",
    "event_type",
    "event_data",
    "metadata",
    "version",
    "global_position",
    "created_at",
];

/// What the `events` table of a file has beyond the required columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether there is a column `schema_version`; without it, it is 1.
    pub(crate) schema_version: bool,
    /// Whether there is a column `stream_type`.
    pub(crate) stream_type: bool,
    /// Whether the table takes no data that is not JSON.
    pub(crate) checks_json: bool,
    /// Whether it takes no metadata that is not JSON.
    pub(crate) checks_metadata: bool,
}

impl Layout {
    /// Refuses events that need a column that is not there.
    pub(super) fn can_hold(self, events: &[NewEvent]) -> Result<(), EventStoreError> {
        if !self.schema_version && events.iter().any(|event| event.schema_version() != 1) {
            return Err(EventStoreError::refused(
                "the table `events` has no column `schema_version`, so it can hold events of \
                 schema version 1 only; add the column (an integer, 1 by default)",
            ));
        }
        Ok(())
    }
}

/// Opens a file in WAL mode, and makes it and its tables if they are missing.
pub(super) fn open_or_make(file: &Path) -> Result<(Connection, Layout), EventStoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let mut connection = sqlite_file::open_or_make(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS_MAX);
        // Readers do not block the writer in this mode, nor the writer them.
        use_write_ahead_log(&connection)?;
        if !sqlite_file::has_table(&connection, "events")? {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            if !sqlite_file::has_table(&transaction, "events")? {
                transaction.execute_batch(EVENTS)?;
                transaction.execute_batch(SNAPSHOTS)?;
            }
            transaction.commit()?;
        }
        Ok(connection)
    };
    let connection = open().map_err(|error| store_error("open", file, error))?;
    let layout = layout(&connection, file)?;
    Ok((connection, layout))
}

/// Opens a file that holds events, and changes nothing in it: it may be somebody
/// else's.
pub(crate) fn open_to_read(file: &Path) -> Result<(Connection, Layout), EventStoreError> {
    let place = || format!("sqlite:{}", file.display());
    if !file.exists() {
        return Err(EventStoreError::missing(&place()));
    }
    let open = || -> rusqlite::Result<Option<Connection>> {
        let connection = sqlite_file::open_to_read(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS_MAX);
        let has_events = sqlite_file::has_table(&connection, "events")?;
        Ok(has_events.then_some(connection))
    };
    let opened = open().map_err(|error| store_error("read", file, error))?;
    let connection = opened.ok_or_else(|| EventStoreError::missing(&place()))?;
    let layout = layout(&connection, file)?;
    Ok((connection, layout))
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

/// Looks at the columns of `events`.
pub(crate) fn layout(connection: &Connection, file: &Path) -> Result<Layout, EventStoreError> {
    // First, so that the connection notices what other processes have changed.
    let (checks_json, checks_metadata) = connection
        .query_row(
            "SELECT sql LIKE '%CHECK (json_valid(event_data))%', \
               sql LIKE '%CASE WHEN json_valid(metadata) THEN%' FROM sqlite_master \
             WHERE type = 'table' AND name = 'events'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(|error| store_error("read", file, error))?
        .unwrap_or_default();
    let has = |column: &str| {
        connection
            .column_exists(None, "events", column)
            .map_err(|error| store_error("read", file, error))
    };
    let mut missing = Vec::new();
    for column in REQUIRED {
        if !has(column)? {
            missing.push(column);
        }
    }
    if !missing.is_empty() {
        return Err(EventStoreError::refused(format!(
            "the table `events` of sqlite:{} is no event table, it has no column {}; \
             use another file for the events",
            file.display(),
            missing.join(", ")
        )));
    }
    let unique: bool = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('events') \
               WHERE name = 'global_position' AND pk = 1 AND upper(type) = 'INTEGER') \
             OR EXISTS (SELECT 1 FROM pragma_index_list('events') AS i \
               WHERE i.\"unique\" = 1 AND i.partial = 0 AND (SELECT group_concat(name) \
                 FROM pragma_index_info(i.name)) = 'global_position')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| store_error("read", file, error))?;
    if !unique {
        return Err(EventStoreError::refused(format!(
            "the positions in the table `events` of sqlite:{} need not be unique, so events could \
             be skipped; make `global_position` its INTEGER PRIMARY KEY or give it a unique index",
            file.display()
        )));
    }
    Ok(Layout {
        schema_version: has("schema_version")?,
        stream_type: has("stream_type")?,
        checks_json,
        checks_metadata,
    })
}

#[cfg(test)]
mod tests;
