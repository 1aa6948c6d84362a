CREATE SCHEMA IF NOT EXISTS gnomon;
CREATE TABLE gnomon.registry (
    only_row boolean PRIMARY KEY CHECK (only_row),
    format bigint NOT NULL
);
CREATE TABLE gnomon.modules (
    hash text PRIMARY KEY,
    description text NOT NULL,
    bytes bytea NOT NULL,
    added_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE gnomon.projections (
    name text PRIMARY KEY,
    desired_state text NOT NULL DEFAULT 'running' CHECK (desired_state IN ('running', 'paused')),
    resumes bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE gnomon.generations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text NOT NULL REFERENCES gnomon.projections,
    module text NOT NULL REFERENCES gnomon.modules,
    version bigint NOT NULL,
    state text NOT NULL
        CHECK (state IN ('building', 'ready', 'live', 'retired', 'failed', 'dropped')),
    run_state text,
    cause text,
    reported_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    promoted_at timestamptz
);
CREATE UNIQUE INDEX one_live_generation ON gnomon.generations (projection) WHERE state = 'live';
-- Checkpoint and lease are two rows, so that a long commit, which holds the
-- checkpoint's row, does not keep the lease from being renewed.
CREATE TABLE gnomon.checkpoints (
    generation bigint PRIMARY KEY REFERENCES gnomon.generations,
    checkpoint text NOT NULL,
    position bigint NOT NULL,
    epoch bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE gnomon.leases (
    generation bigint PRIMARY KEY REFERENCES gnomon.generations,
    host text,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL
);
-- One of data_json and data_bytes is null; recorded_at is in microseconds since
-- the Unix epoch.
CREATE TABLE gnomon.dead_letters (
    generation bigint NOT NULL REFERENCES gnomon.generations,
    position bigint NOT NULL,
    event_id text NOT NULL,
    stream_id text NOT NULL,
    event_type text NOT NULL,
    version bigint NOT NULL,
    schema_version bigint NOT NULL,
    data_json text,
    data_bytes bytea,
    metadata text NOT NULL,
    recorded_at bigint NOT NULL,
    error text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (generation, position)
);
CREATE INDEX parked_streams ON gnomon.dead_letters (generation, stream_id, position);
CREATE TABLE gnomon.dead_letter_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation bigint NOT NULL REFERENCES gnomon.generations,
    action text NOT NULL CHECK (action IN ('retry', 'discard')),
    stream_id text,
    requested_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE gnomon.projections
    DROP CONSTRAINT projections_desired_state_check,
    ADD CONSTRAINT projections_desired_state_check
        CHECK (desired_state IN ('running', 'paused', 'removed'));
ALTER TABLE gnomon.generations
    DROP CONSTRAINT generations_state_check,
    ADD CONSTRAINT generations_state_check
        CHECK (state IN ('building', 'ready', 'live', 'retired', 'dropped')),
    ADD COLUMN goal text
        CHECK (goal IN ('rest', 'hold', 'promote', 'promote-cascade', 'compare')),
    ADD COLUMN until bigint,
    ADD COLUMN obstacle text,
    ADD COLUMN stop_at bigint,
    ADD COLUMN attended_until timestamptz,
    ADD COLUMN retired_at timestamptz;
UPDATE gnomon.generations SET
    goal = CASE WHEN state IN ('building', 'ready') THEN 'promote' ELSE 'rest' END,
    retired_at = CASE WHEN state = 'retired' THEN coalesce(promoted_at, created_at) END;
ALTER TABLE gnomon.generations ALTER COLUMN goal SET NOT NULL;
ALTER TABLE gnomon.checkpoints ADD COLUMN rate double precision;
CREATE TABLE gnomon.hosts (
    name text PRIMARY KEY,
    notes text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE TABLE gnomon.files (
    name text PRIMARY KEY,
    module text NOT NULL
);
