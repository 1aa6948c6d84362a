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
