//! The tables of the event store in PostgreSQL.

use gnomon_databases::database_url::PostgresUrl;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::{PostgresEventStore, store_error};
use crate::store::{EventStoreError, NewEvent};
use crate::table::postgres::is_there;
use crate::table::{Layout, Relation};

/// Two processes that make the tables at the same time take turns.
const SCHEMA_LOCK: i64 = 0x676e_6f6d_6f6e;

const EVENTS: &str = "
CREATE TABLE events (
    id UUID PRIMARY KEY,
    stream_id VARCHAR(255) NOT NULL CHECK (stream_id <> ''),
    stream_type VARCHAR(255) NOT NULL,
    event_type VARCHAR(255) NOT NULL CHECK (event_type <> ''),
    event_data JSONB NOT NULL,
    metadata JSONB,
    version BIGINT NOT NULL CHECK (version >= 1),
    schema_version INT NOT NULL DEFAULT 1 CHECK (schema_version >= 1),
    global_position BIGSERIAL NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp() CHECK (isfinite(created_at)),
    UNIQUE (stream_id, version)
);
CREATE UNIQUE INDEX events_global_position ON events (global_position);
CREATE INDEX events_event_type ON events (event_type, global_position);
CREATE FUNCTION events_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are immutable: % of table events is refused', TG_OP
        USING HINT = 'Append a new event that corrects the old one.';
END
$$;
CREATE TRIGGER events_refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_refuse_change();
";

const SNAPSHOTS: &str = "
CREATE TABLE IF NOT EXISTS snapshots (
    stream_id VARCHAR(255) PRIMARY KEY,
    stream_type VARCHAR(255) NOT NULL,
    snapshot_data JSONB NOT NULL,
    version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
";

impl PostgresEventStore {
    /// Refuses to append where nothing keeps two writers from the same version.
    pub(super) fn refuse_unguarded_streams(&self) -> Result<(), EventStoreError> {
        let url = &self.url;
        if self.columns.has_unique_versions {
            return Ok(());
        }
        Err(EventStoreError::refused(format!(
            "nothing is appended: the table `events` of {url} has no unique index on stream and \
             version, so two appends that expect the same version could both succeed; make one \
             with `CREATE UNIQUE INDEX CONCURRENTLY ON events (stream_id, version)` (without \
             CONCURRENTLY if the table is partitioned; its partition key must be `stream_id` then)"
        )))
    }

    /// Refuses events that need a column that is not there.
    pub(super) fn can_hold<'a>(
        &self,
        mut events: impl Iterator<Item = &'a NewEvent>,
    ) -> Result<(), EventStoreError> {
        if !self.columns.schema_version && events.any(|event| event.schema_version() != 1) {
            return Err(EventStoreError::refused(
                "the table `events` has no column `schema_version`, so it can hold events of \
                 schema version 1 only; add it with \
                 `ALTER TABLE events ADD schema_version INT NOT NULL DEFAULT 1`",
            ));
        }
        Ok(())
    }
}

/// Makes the tables if there is no `events`.
pub(super) async fn ensure(
    connection: &mut PgConnection,
    url: &PostgresUrl,
) -> Result<(), EventStoreError> {
    let table = Layout::built_in().table;
    let make = async |connection: &mut PgConnection| -> Result<(), sqlx::Error> {
        if is_there(connection, &table).await? {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(SCHEMA_LOCK)
            .execute(&mut *transaction)
            .await?;
        if !is_there(&mut transaction, &table).await? {
            sqlx::raw_sql(EVENTS).execute(&mut *transaction).await?;
            sqlx::raw_sql(SNAPSHOTS).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    };
    make(connection)
        .await
        .map_err(|error| store_error(&format!("create the table `events` in {url}"), error))
}

pub(super) async fn has_snapshots(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    is_there(connection, &Relation::named("snapshots")).await
}

/// A database whose `events` are somebody else's may lack `snapshots`.
pub(super) async fn ensure_snapshots(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !has_snapshots(connection).await? {
        sqlx::raw_sql(SNAPSHOTS).execute(connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_shows_the_tables_that_are_made() {
        let page = include_str!("../../../../../docs/reference/events.md");
        for table in [EVENTS, SNAPSHOTS] {
            assert!(page.contains(table.trim()), "{table}");
        }
    }
}
