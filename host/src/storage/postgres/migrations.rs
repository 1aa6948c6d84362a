//! The registry's own tables, in the schema `gnomon`, from format to format.
//!
//! A new registry goes through all of them, so that it is the same as one that
//! was brought up to date.

/// What makes each format of the one before it; the first begins with nothing.
pub(super) const MIGRATIONS: [&str; 3] = [FORMAT_1, FORMAT_2, FORMAT_3];

const FORMAT_1: &str = "
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
";

/// Goals, comparisons, hosts, and the files of a watched directory.
const FORMAT_2: &str = "
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
";

/// The last event up to a checkpoint, whether the store has lost it, and a
/// position up to the checkpoint whose event came too late; and what else is new.
const FORMAT_3: &str = "
-- The host that is to have a lease next.
ALTER TABLE gnomon.leases
    ADD COLUMN requested_by text,
    ADD COLUMN requested_until timestamptz;
ALTER TABLE gnomon.checkpoints
    ADD COLUMN event_position bigint,
    ADD COLUMN event_id text,
    ADD COLUMN set_back boolean NOT NULL DEFAULT false,
    ADD COLUMN late_position bigint;
-- What the tables of a generation were made from, whatever module runs it:
-- another build may list the same tables in another order.
ALTER TABLE gnomon.generations ADD COLUMN description text;
UPDATE gnomon.generations g SET description = m.description
    FROM gnomon.modules m WHERE m.hash = g.module;
ALTER TABLE gnomon.generations ALTER COLUMN description SET NOT NULL;
-- Projections that were dropped and have not come back: a file that was written
-- before says nothing new.
CREATE TABLE gnomon.dropped (
    projection text PRIMARY KEY,
    dropped_at timestamptz NOT NULL DEFAULT now()
);
-- Rollbacks that were overtaken stayed wanted, and promoted themselves whenever
-- they could. Which these are is not recorded.
UPDATE gnomon.generations SET goal = 'rest' WHERE state = 'retired';
ALTER TABLE gnomon.projections ADD COLUMN skips bigint NOT NULL DEFAULT 0;
-- The projection whose decisions hold: for a copy, the one that it is a copy of.
-- insisted: whether somebody wants it promoted whatever it has parked.
ALTER TABLE gnomon.generations
    ADD COLUMN decided_by text,
    ADD COLUMN insisted boolean NOT NULL DEFAULT false;
UPDATE gnomon.generations g SET decided_by = coalesce(
    (SELECT m.description::json ->> 'name' FROM gnomon.modules m WHERE m.hash = g.module),
    projection);
ALTER TABLE gnomon.generations ALTER COLUMN decided_by SET NOT NULL;
-- Until now a candidate was held with a reason only if its promotion was refused.
ALTER TABLE gnomon.generations
    ADD COLUMN obstacle_kind text CHECK (obstacle_kind IN ('refused', 'overtaken'));
UPDATE gnomon.generations SET obstacle_kind = 'refused' WHERE obstacle IS NOT NULL;
-- rate counts positions.
ALTER TABLE gnomon.checkpoints
    ADD COLUMN applied_late bigint NOT NULL DEFAULT 0,
    ADD COLUMN event_rate double precision;
-- decided_at is in microseconds since the Unix epoch.
CREATE TABLE gnomon.skips (
    projection text NOT NULL,
    position bigint NOT NULL,
    event_id text NOT NULL,
    stream_id text NOT NULL,
    event_type text NOT NULL,
    reason text,
    actor text NOT NULL,
    decided_at bigint NOT NULL,
    PRIMARY KEY (projection, position)
);
CREATE TABLE gnomon.met_skips (
    generation bigint NOT NULL REFERENCES gnomon.generations,
    position bigint NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('skipped', 'other-event', 'unwanted')),
    PRIMARY KEY (generation, position)
);
-- at is in microseconds since the Unix epoch.
CREATE TABLE gnomon.actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    projection text NOT NULL,
    generation bigint,
    position bigint,
    module text,
    detail text
);
-- To discard was to forget: what nobody has done yet becomes a decision.
INSERT INTO gnomon.skips
    SELECT g.decided_by, d.position, d.event_id, d.stream_id, d.event_type, 'discarded',
        'unknown', (extract(epoch FROM now()) * 1000000)::bigint
    FROM gnomon.dead_letter_requests r
    JOIN gnomon.generations g ON g.id = r.generation
    JOIN gnomon.dead_letters d ON d.generation = g.id
    WHERE r.action = 'discard' AND (r.stream_id IS NULL OR d.stream_id = r.stream_id)
    ON CONFLICT DO NOTHING;
UPDATE gnomon.projections SET skips = 1 WHERE name IN (SELECT projection FROM gnomon.skips);
DELETE FROM gnomon.dead_letter_requests WHERE action = 'discard';
";
