//! The columns of a table of events, which may be somebody else's.

use std::sync::Arc;

use gnomon_databases::database_url::PostgresUrl;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::table_error;
use super::{literal, regclass};
use crate::table::{Fact, Layout, Relation, TableError};

/// The columns of a table as the server has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) layout: Arc<Layout>,
    /// Whether there is a column of schema versions; without it, each is 1.
    pub(crate) schema_version: bool,
    /// Whether there is one of categories.
    pub(crate) category: bool,
    /// The types of columns that differ from place to place.
    pub(crate) id_type: String,
    pub(crate) data_type: String,
    pub(crate) metadata_type: String,
    pub(crate) recorded_at_type: String,
    /// Whether no two events of a stream can have the same version.
    pub(crate) has_unique_versions: bool,
    /// Whether no two events can have the same position.
    pub(crate) has_unique_positions: bool,
    /// How the server encodes texts.
    pub(crate) encoding: String,
}

impl Columns {
    /// Whether ids are sent as 16 bytes.
    pub(crate) fn has_uuids(&self) -> bool {
        self.id_type == "uuid"
    }

    /// Whether data is sent as a version and the text.
    pub(crate) fn has_jsonb(&self) -> bool {
        self.data_type == "jsonb"
    }

    /// Whether metadata is JSON of the server.
    pub(crate) fn has_json_metadata(&self) -> bool {
        matches!(self.metadata_type.as_str(), "json" | "jsonb")
    }

    /// Whether data is bytes, which need be no JSON.
    pub(crate) fn has_bytes(&self) -> bool {
        self.data_type == "bytea"
    }

    /// Whether the server has seen to it that data is JSON.
    pub(crate) fn has_json(&self) -> bool {
        matches!(self.data_type.as_str(), "jsonb" | "json")
    }

    /// Whether times are sent as microseconds. One without a time zone is taken
    /// for UTC.
    pub(crate) fn has_timestamps(&self) -> bool {
        matches!(
            self.recorded_at_type.as_str(),
            "timestamp with time zone" | "timestamp without time zone"
        )
    }
}

/// Refuses a database that has no such table.
pub(crate) async fn require(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    table: &Relation,
) -> Result<(), TableError> {
    let found = is_there(connection, table).await;
    match found.map_err(|error| table_error(&format!("look for `{table}` in {url}"), error))? {
        true => Ok(()),
        false => Err(TableError::missing(&url.to_string())),
    }
}

/// Whether there is such a table.
pub(crate) async fn is_there(
    connection: &mut PgConnection,
    table: &Relation,
) -> Result<bool, sqlx::Error> {
    // Not `to_regclass`: inside a transaction it may answer from a cache that
    // does not know yet what another session has just committed.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = $1 \
           AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(oid) \
             ELSE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2) END)",
    )
    .bind(table.name())
    .bind(table.schema())
    .fetch_one(connection)
    .await
}

/// Looks at the columns of a table.
pub(crate) async fn columns(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    layout: &Arc<Layout>,
) -> Result<Columns, TableError> {
    let table = &layout.table;
    let failed = |error| table_error(&format!("look at the table `{table}` of {url}"), error);
    let query = format!(
        "SELECT attname::text, format_type(atttypid, NULL), typcategory::text \
         FROM pg_attribute JOIN pg_type AS t ON t.oid = atttypid \
         WHERE attrelid = {} AND attnum > 0 AND NOT attisdropped",
        regclass(table)
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(&mut *connection)
        .await
        .and_then(|rows| {
            rows.iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
                .collect::<Result<Vec<(String, String, String)>, sqlx::Error>>()
        })
        .map_err(failed)?;
    let unique = sqlx::query(AssertSqlSafe(unique_columns(layout)))
        .fetch_one(connection)
        .await
        .and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let (has_unique_versions, has_unique_positions, encoding) = unique.map_err(failed)?;
    let column = |name: &str| rows.iter().find(|(column, ..)| column == name);
    let missing: Vec<&str> = (layout.required())
        .map(Fact::name)
        .filter(|name| column(name).is_none())
        .collect();
    if !missing.is_empty() {
        return Err(TableError::refused(format!(
            "the table `{table}` of {url} is no event table, it has no column {}; use another \
             database for the events, or set `search_path` in the URL's `options`",
            missing.join(", ")
        )));
    }
    for (fact, category, kind, example) in [
        (&layout.position, "N", "number", "BIGINT"),
        (&layout.version, "N", "number", "BIGINT"),
        (&layout.recorded_at, "D", "time", "TIMESTAMPTZ"),
    ] {
        let other = column(fact.name()).filter(|(_, _, found)| found != category);
        if let Some((name, column_type, _)) = other {
            return Err(TableError::refused(format!(
                "the column `{name}` of the table `{table}` of {url} has the type {column_type}, \
                 which is no type of a {kind}; change it with `ALTER TABLE {table} ALTER {fact} \
                 TYPE {example} USING {fact}::{example}`"
            )));
        }
    }
    let type_of = |fact: &Fact| {
        column(fact.name()).map_or_else(String::new, |(_, column_type, _)| column_type.clone())
    };
    Ok(Columns {
        id_type: type_of(&layout.id),
        data_type: type_of(&layout.data),
        metadata_type: type_of(&layout.metadata),
        recorded_at_type: type_of(&layout.recorded_at),
        schema_version: column(layout.schema_version.name()).is_some(),
        category: column(layout.category.name()).is_some(),
        has_unique_versions,
        has_unique_positions,
        encoding,
        layout: Arc::clone(layout),
    })
}

/// Whether unique indexes guard (stream, version) and the position, and the
/// server's encoding. An index that holds for some rows only, or was left
/// unfinished, guards nothing, and one of a table from which others inherit does
/// not guard their rows.
fn unique_columns(layout: &Layout) -> String {
    let mut versions = [layout.stream.name(), layout.version.name()];
    versions.sort_unstable();
    format!(
        "WITH guarded AS (SELECT ARRAY(SELECT a.attname::text COLLATE \"C\" \
           FROM pg_attribute AS a WHERE a.attrelid = i.indrelid \
             AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]) ORDER BY 1) AS columns \
         FROM pg_index AS i WHERE i.indrelid = {table} AND i.indisunique \
           AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL) \
         SELECT EXISTS (SELECT 1 FROM guarded WHERE columns = ARRAY[{versions}]), \
           EXISTS (SELECT 1 FROM guarded WHERE columns = ARRAY[{position}]) \
             AND NOT EXISTS (SELECT 1 FROM pg_inherits JOIN pg_class AS c ON c.oid = inhparent \
               WHERE inhparent = {table} AND c.relkind <> 'p'), \
           current_setting('server_encoding')",
        table = regclass(&layout.table),
        versions = versions.map(literal).join(", "),
        position = literal(layout.position.name()),
    )
}
