//! The tables of the event store in PostgreSQL.

use gnomon_databases::database_url::PostgresUrl;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::store_error;
use crate::store::{EventStoreError, NewEvent};

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

/// The columns of `events`, which may be somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether there is a column `schema_version`; without it, it is 1.
    pub(crate) schema_version: bool,
    /// Whether there is a column `stream_type`.
    pub(super) stream_type: bool,
    /// The types of columns that differ from place to place.
    pub(super) id_type: String,
    pub(super) data_type: String,
    pub(super) metadata_type: String,
    pub(super) created_at_type: String,
    /// Whether no two events of a stream can have the same version.
    pub(super) has_unique_versions: bool,
    /// Whether no two events can have the same position.
    pub(crate) has_unique_positions: bool,
    /// How the server encodes texts.
    pub(crate) encoding: String,
}

impl Layout {
    /// Whether ids are sent as 16 bytes.
    pub(super) fn has_uuids(&self) -> bool {
        self.id_type == "uuid"
    }

    /// Whether data is sent as a version and the text.
    pub(super) fn has_jsonb(&self) -> bool {
        self.data_type == "jsonb"
    }

    /// Whether metadata is JSON of the server.
    pub(super) fn has_json_metadata(&self) -> bool {
        matches!(self.metadata_type.as_str(), "json" | "jsonb")
    }

    /// Whether data is bytes, which need be no JSON.
    pub(super) fn has_bytes(&self) -> bool {
        self.data_type == "bytea"
    }

    /// Whether the server has seen to it that data is JSON.
    pub(super) fn has_json(&self) -> bool {
        matches!(self.data_type.as_str(), "jsonb" | "json")
    }

    /// Whether times are sent as microseconds. One without a time zone is taken
    /// for UTC.
    pub(super) fn has_timestamps(&self) -> bool {
        matches!(
            self.created_at_type.as_str(),
            "timestamp with time zone" | "timestamp without time zone"
        )
    }

    /// Refuses to append where nothing keeps two writers from the same version.
    pub(super) fn refuse_unguarded_streams(
        &self,
        url: &PostgresUrl,
    ) -> Result<(), EventStoreError> {
        if self.has_unique_versions {
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
        if !self.schema_version && events.any(|event| event.schema_version() != 1) {
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
    let make = async |connection: &mut PgConnection| -> Result<(), sqlx::Error> {
        if is_there(connection, "events").await? {
            return Ok(());
        }
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(SCHEMA_LOCK)
            .execute(&mut *transaction)
            .await?;
        if !is_there(&mut transaction, "events").await? {
            sqlx::raw_sql(EVENTS).execute(&mut *transaction).await?;
            sqlx::raw_sql(SNAPSHOTS).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    };
    make(connection)
        .await
        .map_err(|error| store_error(&format!("create the table `events` in {url}"), error))
}

/// Refuses a database that has no `events`.
pub(crate) async fn require(
    connection: &mut PgConnection,
    url: &PostgresUrl,
) -> Result<(), EventStoreError> {
    let found = is_there(connection, "events").await;
    match found.map_err(|error| store_error(&format!("look for `events` in {url}"), error))? {
        true => Ok(()),
        false => Err(EventStoreError::missing(&url.to_string())),
    }
}

async fn is_there(connection: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    // Not `to_regclass`: inside a transaction it may answer from a cache that
    // does not know yet what another session has just committed.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = $1 AND pg_table_is_visible(oid))",
    )
    .bind(table)
    .fetch_one(connection)
    .await
}

pub(super) async fn has_snapshots(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    is_there(connection, "snapshots").await
}

/// A database whose `events` are somebody else's may lack `snapshots`.
pub(super) async fn ensure_snapshots(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    if !has_snapshots(connection).await? {
        sqlx::raw_sql(SNAPSHOTS).execute(connection).await?;
    }
    Ok(())
}

/// Looks at the columns of `events`.
pub(crate) async fn layout(
    connection: &mut PgConnection,
    url: &PostgresUrl,
) -> Result<Layout, EventStoreError> {
    let failed = |error| store_error(&format!("look at the table `events` of {url}"), error);
    let rows = sqlx::query(
        "SELECT attname::text, format_type(atttypid, NULL), typcategory::text \
         FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid \
         WHERE attrelid = to_regclass('events') AND attnum > 0 AND NOT attisdropped",
    )
    .fetch_all(&mut *connection)
    .await
    .and_then(|rows| {
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect::<Result<Vec<(String, String, String)>, sqlx::Error>>()
    })
    .map_err(failed)?;
    let unique = sqlx::query(UNIQUE_COLUMNS)
        .fetch_one(connection)
        .await
        .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let (has_unique_versions, has_unique_positions, encoding) = unique.map_err(failed)?;
    let column = |name: &str| {
        rows.iter()
            .find(|(column, ..)| column == name)
            .map(|(_, column_type, _)| column_type.clone())
    };
    let mut missing = Vec::new();
    let mut required = |name: &'static str| {
        column(name).unwrap_or_else(|| {
            missing.push(name);
            String::new()
        })
    };
    for name in ["stream_id", "event_type", "version", "global_position"] {
        required(name);
    }
    let layout = Layout {
        id_type: required("id"),
        data_type: required("event_data"),
        metadata_type: required("metadata"),
        created_at_type: required("created_at"),
        schema_version: column("schema_version").is_some(),
        stream_type: column("stream_type").is_some(),
        has_unique_versions,
        has_unique_positions,
        encoding,
    };
    if !missing.is_empty() {
        return Err(EventStoreError::refused(format!(
            "the table `events` of {url} is no event table, it has no column {}; use another \
             database for the events, or set `search_path` in the URL's `options`",
            missing.join(", ")
        )));
    }
    for (name, category, kind, example) in [
        ("global_position", "N", "number", "BIGINT"),
        ("version", "N", "number", "BIGINT"),
        ("created_at", "D", "time", "TIMESTAMPTZ"),
    ] {
        let other = rows
            .iter()
            .find(|(column, _, found)| column == name && found != category);
        if let Some((_, column_type, _)) = other {
            return Err(EventStoreError::refused(format!(
                "the column `{name}` of the table `events` of {url} has the type {column_type}, \
                 which is no type of a {kind}; change it with `ALTER TABLE events ALTER {name} \
                 TYPE {example} USING {name}::{example}`"
            )));
        }
    }
    Ok(layout)
}

/// Whether unique indexes guard (stream, version) and the position, and the
/// server's encoding. An index that holds for some rows only, or was left
/// unfinished, guards nothing, and one of a table from which others inherit does
/// not guard their rows.
const UNIQUE_COLUMNS: &str = "WITH guarded AS (SELECT ARRAY(SELECT a.attname::text \
       FROM pg_attribute AS a WHERE a.attrelid = i.indrelid \
         AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]) ORDER BY 1) AS columns \
     FROM pg_index AS i WHERE i.indrelid = to_regclass('events') AND i.indisunique \
       AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL) \
     SELECT EXISTS (SELECT 1 FROM guarded WHERE columns = ARRAY['stream_id', 'version']), \
       EXISTS (SELECT 1 FROM guarded WHERE columns = ARRAY['global_position']) \
         AND NOT EXISTS (SELECT 1 FROM pg_inherits JOIN pg_class AS c ON c.oid = inhparent \
           WHERE inhparent = to_regclass('events') AND c.relkind <> 'p'), \
       current_setting('server_encoding')";

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
