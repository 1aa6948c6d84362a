//! The registry's own tables, in the schema `gnomon`.

use sqlx::{Connection, Executor, PgConnection};

use super::error::failed;
use crate::target::registry::{FORMAT, check_format};
use crate::target::{TargetError, TargetErrorKind};

const REGISTRY: &str = "
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
";

/// Changes of structure, the registry's and the generations', happen one at a
/// time. The number spells `gnomon`.
pub(super) const LOCK_STRUCTURE: &str = "SELECT pg_advisory_xact_lock(113724013506414)";

/// Makes the registry if it is missing, and refuses one that is too new.
pub(super) async fn prepare(connection: &mut PgConnection, place: &str) -> Result<(), TargetError> {
    let failed = failed(place, "prepare the registry in");
    check_encoding(connection, place).await?;
    let format = match stored_format(connection).await.map_err(&failed)? {
        Some(format) => format,
        None => create(connection).await.map_err(&failed)?,
    };
    check_format(format, place)
}

async fn create(connection: &mut PgConnection) -> sqlx::Result<i64> {
    let mut transaction = connection.begin().await?;
    transaction.execute(LOCK_STRUCTURE).await?;
    // Another host may have been faster.
    if let Some(format) = stored_format(&mut transaction).await? {
        return Ok(format);
    }
    transaction.execute(REGISTRY).await?;
    sqlx::query("INSERT INTO gnomon.registry VALUES (true, $1)")
        .bind(FORMAT)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(FORMAT)
}

async fn stored_format(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    // Not `to_regclass`: it may answer from a cache that does not know yet
    // what another session has just committed.
    let is_there: bool = sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'gnomon' AND c.relname = 'registry'
         )",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !is_there {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT format FROM gnomon.registry")
        .fetch_optional(connection)
        .await
}

/// Text of every language has to fit.
async fn check_encoding(connection: &mut PgConnection, place: &str) -> Result<(), TargetError> {
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(connection)
        .await
        .map_err(failed(place, "look at"))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(TargetError::new(
        TargetErrorKind::Refused,
        format!(
            "{place} stores text as {encoding}, which cannot hold all of it; \
             use a database that was made with ENCODING 'UTF8'"
        ),
    ))
}
