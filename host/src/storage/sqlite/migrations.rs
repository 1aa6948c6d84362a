//! The registry's tables, as the formats have changed them.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::error::failed;
use crate::storage::format::{FORMAT, check_format};
use crate::storage::sqlite::error::shown;
use crate::storage_error::StorageError;

/// What leads to format 1, from there to format 2, and so on. A new registry
/// takes all steps too.
const STEPS: [&str; 3] = [FIRST, GENERATIONS, FORMAT_3];

const FIRST: &str = "
CREATE TABLE gnomon_registry (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    format INTEGER NOT NULL
) STRICT;
CREATE TABLE gnomon_modules (
    hash TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    added_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE gnomon_projections (
    name TEXT PRIMARY KEY,
    desired_state TEXT NOT NULL DEFAULT 'running' CHECK (desired_state IN ('running', 'paused')),
    resumes INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
CREATE TABLE gnomon_generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    projection TEXT NOT NULL REFERENCES gnomon_projections,
    module TEXT NOT NULL REFERENCES gnomon_modules,
    version INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed', 'dropped')),
    run_state TEXT,
    cause TEXT,
    reported_at TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    promoted_at TEXT
) STRICT;
CREATE UNIQUE INDEX gnomon_one_live_generation ON gnomon_generations (projection)
    WHERE state = 'live';
CREATE TABLE gnomon_checkpoints (
    generation INTEGER PRIMARY KEY REFERENCES gnomon_generations,
    checkpoint TEXT NOT NULL,
    position INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
-- expires_at is in milliseconds since the Unix epoch.
CREATE TABLE gnomon_leases (
    generation INTEGER PRIMARY KEY REFERENCES gnomon_generations,
    host TEXT,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
-- data is text for JSON and a blob for anything else; recorded_at is in
-- microseconds since the Unix epoch.
CREATE TABLE gnomon_dead_letters (
    generation INTEGER NOT NULL REFERENCES gnomon_generations,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    version INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    data ANY NOT NULL,
    metadata TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    error TEXT NOT NULL,
    parked_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    PRIMARY KEY (generation, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX gnomon_parked_streams ON gnomon_dead_letters (generation, stream_id, position);
CREATE TABLE gnomon_dead_letter_requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL REFERENCES gnomon_generations,
    action TEXT NOT NULL CHECK (action IN ('retry', 'discard')),
    stream_id TEXT,
    requested_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
";

/// SQLite cannot alter a CHECK, so two tables are made anew.
const GENERATIONS: &str = "
CREATE TEMP TABLE old_projections AS SELECT * FROM main.gnomon_projections;
CREATE TEMP TABLE old_generations AS SELECT * FROM main.gnomon_generations;
DROP TABLE main.gnomon_generations;
DROP TABLE main.gnomon_projections;
CREATE TABLE gnomon_projections (
    name TEXT PRIMARY KEY,
    desired_state TEXT NOT NULL DEFAULT 'running'
        CHECK (desired_state IN ('running', 'paused', 'removed')),
    resumes INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) STRICT;
-- attended_until is in milliseconds and retired_at in microseconds since the
-- Unix epoch.
CREATE TABLE gnomon_generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    projection TEXT NOT NULL REFERENCES gnomon_projections,
    module TEXT NOT NULL REFERENCES gnomon_modules,
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('building', 'ready', 'live', 'retired', 'dropped')),
    goal TEXT NOT NULL
        CHECK (goal IN ('rest', 'hold', 'promote', 'promote-cascade', 'compare')),
    until INTEGER,
    obstacle TEXT,
    stop_at INTEGER,
    attended_until INTEGER,
    run_state TEXT,
    cause TEXT,
    reported_at TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    promoted_at TEXT,
    retired_at INTEGER
) STRICT;
INSERT INTO gnomon_projections (name, desired_state, resumes, created_at)
    SELECT name, desired_state, resumes, created_at FROM temp.old_projections;
INSERT INTO gnomon_generations (id, projection, module, version, state, goal, run_state, cause,
        reported_at, created_at, promoted_at, retired_at)
    SELECT id, projection, module, version, state,
        CASE WHEN state IN ('building', 'ready') THEN 'promote' ELSE 'rest' END,
        run_state, cause, reported_at, created_at, promoted_at,
        CASE WHEN state = 'retired'
            THEN CAST(unixepoch(promoted_at, 'subsec') * 1000000 AS INTEGER) END
    FROM temp.old_generations WHERE state <> 'failed';
DROP TABLE temp.old_generations;
DROP TABLE temp.old_projections;
CREATE UNIQUE INDEX gnomon_one_live_generation ON gnomon_generations (projection)
    WHERE state = 'live';
ALTER TABLE gnomon_checkpoints ADD COLUMN rate REAL;
CREATE TABLE gnomon_hosts (
    name TEXT PRIMARY KEY,
    notes TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE TABLE gnomon_files (
    name TEXT PRIMARY KEY,
    module TEXT NOT NULL
) STRICT;
";

/// The last event up to a checkpoint, whether the store has lost it, and a
/// position up to the checkpoint whose event came too late; and what else is new.
const FORMAT_3: &str = "
ALTER TABLE gnomon_checkpoints ADD COLUMN event_position INTEGER;
ALTER TABLE gnomon_checkpoints ADD COLUMN event_id TEXT;
ALTER TABLE gnomon_checkpoints ADD COLUMN set_back INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gnomon_checkpoints ADD COLUMN late_position INTEGER;
-- What the tables of a generation were made from, whatever module runs it:
-- another build may list the same tables in another order.
ALTER TABLE gnomon_generations ADD COLUMN description TEXT NOT NULL DEFAULT '';
UPDATE gnomon_generations SET description =
    (SELECT m.description FROM gnomon_modules m WHERE m.hash = gnomon_generations.module);
-- Projections that were dropped and have not come back: a file that was written
-- before says nothing new.
-- dropped_at is in microseconds since the Unix epoch.
CREATE TABLE gnomon_dropped (
    projection TEXT PRIMARY KEY,
    dropped_at INTEGER NOT NULL
) STRICT;
-- Rollbacks that were overtaken stayed wanted, and promoted themselves whenever
-- they could. Which these are is not recorded.
UPDATE gnomon_generations SET goal = 'rest' WHERE state = 'retired';
ALTER TABLE gnomon_projections ADD COLUMN skips INTEGER NOT NULL DEFAULT 0;
-- The projection whose decisions hold: for a copy, the one that it is a copy of.
ALTER TABLE gnomon_generations ADD COLUMN decided_by TEXT NOT NULL DEFAULT '';
UPDATE gnomon_generations SET decided_by = coalesce(
    (SELECT m.description ->> 'name' FROM gnomon_modules m WHERE m.hash = module), projection);
-- Whether somebody wants it promoted whatever it has parked.
ALTER TABLE gnomon_generations ADD COLUMN insisted INTEGER NOT NULL DEFAULT 0;
-- Until now a candidate was held with a reason only if its promotion was refused.
ALTER TABLE gnomon_generations
    ADD COLUMN obstacle_kind TEXT CHECK (obstacle_kind IN ('refused', 'overtaken'));
UPDATE gnomon_generations SET obstacle_kind = 'refused' WHERE obstacle IS NOT NULL;
ALTER TABLE gnomon_checkpoints ADD COLUMN applied_late INTEGER NOT NULL DEFAULT 0;
-- rate counts positions.
ALTER TABLE gnomon_checkpoints ADD COLUMN event_rate REAL;
-- decided_at is in microseconds since the Unix epoch.
CREATE TABLE gnomon_skips (
    projection TEXT NOT NULL,
    position INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    stream_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    reason TEXT,
    actor TEXT NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (projection, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE gnomon_met_skips (
    generation INTEGER NOT NULL REFERENCES gnomon_generations,
    position INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('skipped', 'other-event', 'unwanted')),
    PRIMARY KEY (generation, position)
) STRICT, WITHOUT ROWID;
-- at is in microseconds since the Unix epoch.
CREATE TABLE gnomon_actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    projection TEXT NOT NULL,
    generation INTEGER,
    position INTEGER,
    module TEXT,
    detail TEXT
) STRICT;
-- To discard was to forget: what nobody has done yet becomes a decision.
INSERT OR IGNORE INTO gnomon_skips
    SELECT g.decided_by, d.position, d.event_id, d.stream_id, d.event_type, 'discarded',
        'unknown', CAST(unixepoch('subsec') * 1000000 AS INTEGER)
    FROM gnomon_dead_letter_requests r
    JOIN gnomon_generations g ON g.id = r.generation
    JOIN gnomon_dead_letters d ON d.generation = g.id
    WHERE r.action = 'discard' AND (r.stream_id IS NULL OR d.stream_id = r.stream_id);
UPDATE gnomon_projections SET skips = 1 WHERE name IN (SELECT projection FROM gnomon_skips);
DELETE FROM gnomon_dead_letter_requests WHERE action = 'discard';
";

/// Makes the registry, or takes the steps that it has not taken.
pub(super) fn bring_up_to_date(
    connection: &mut Connection,
    file: &Path,
) -> Result<(), StorageError> {
    let mut attempt = || {
        let mut found = stored_format(connection)?;
        if found < FORMAT {
            // A table that others refer to is made anew, in one transaction,
            // inside which this cannot be changed.
            connection.pragma_update(None, "foreign_keys", false)?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            found = stored_format(&transaction)?;
            for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(0)) {
                transaction.execute_batch(step)?;
                found += 1;
            }
            transaction.execute(
                "INSERT INTO gnomon_registry VALUES (1, ?1)
                 ON CONFLICT DO UPDATE SET format = max(format, excluded.format)",
                [found],
            )?;
            transaction.commit()?;
            connection.pragma_update(None, "foreign_keys", true)?;
        }
        Ok(found)
    };
    let found = attempt().map_err(failed(file, "prepare the registry in"))?;
    check_format(found, &shown(file))
}

/// Zero where there is no registry.
pub(super) fn stored_format(connection: &Connection) -> rusqlite::Result<i64> {
    let is_there: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'gnomon_registry')",
        [],
        |row| row.get(0),
    )?;
    if !is_there {
        return Ok(0);
    }
    let format = connection
        .query_row("SELECT format FROM gnomon_registry", [], |row| row.get(0))
        .optional()?;
    Ok(format.unwrap_or(0))
}
