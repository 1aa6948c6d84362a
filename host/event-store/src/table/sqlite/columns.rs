//! The columns of a table of events, which may be somebody else's.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};

use super::table_error;
use crate::table::layout::literal;
use crate::table::{Layout, TableError};

/// The columns of a table as the file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) layout: Arc<Layout>,
    /// Whether there is a column of schema versions; without it, each is 1.
    pub(crate) schema_version: bool,
    /// Whether there is one of categories.
    pub(crate) category: bool,
    /// Whether the table takes no data that is not JSON.
    pub(crate) checks_json: bool,
    /// Whether it takes no metadata that is not JSON.
    pub(crate) checks_metadata: bool,
}

/// Looks at the columns of a table.
pub(crate) fn columns(
    connection: &Connection,
    file: &Path,
    layout: &Arc<Layout>,
) -> Result<Columns, TableError> {
    let failed = |error| table_error("read", file, error);
    let (table, position) = (&layout.table, &layout.position);
    // First, so that the connection notices what other processes have changed.
    let (checks_json, checks_metadata) = connection
        .query_row(
            "SELECT sql LIKE '%CHECK (json_valid(' || ?2 || '))%', \
               sql LIKE '%CASE WHEN json_valid(' || ?3 || ') THEN%' FROM sqlite_master \
             WHERE type = 'table' AND name = ?1",
            [table.name(), layout.data.name(), layout.metadata.name()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(failed)?
        .unwrap_or_default();
    let has = |column: &str| (connection.column_exists(None, table.name(), column)).map_err(failed);
    let mut missing = Vec::new();
    for fact in layout.required() {
        if !has(fact.name())? {
            missing.push(fact.name());
        }
    }
    if !missing.is_empty() {
        return Err(TableError::refused(format!(
            "the table `{table}` of sqlite:{} is no event table, it has no column {}; \
             use another file for the events",
            file.display(),
            missing.join(", ")
        )));
    }
    let query = format!(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info({table}) \
           WHERE name = {position} AND pk = 1 AND upper(type) = 'INTEGER') \
         OR EXISTS (SELECT 1 FROM pragma_index_list({table}) AS i \
           WHERE i.\"unique\" = 1 AND i.partial = 0 AND (SELECT group_concat(name) \
             FROM pragma_index_info(i.name)) = {position})",
        table = literal(table.name()),
        position = literal(position.name()),
    );
    let is_unique: bool = connection
        .query_row(&query, [], |row| row.get(0))
        .map_err(failed)?;
    if !is_unique {
        return Err(TableError::refused(format!(
            "the positions in the table `{table}` of sqlite:{} need not be unique, so events could \
             be skipped; make `{position}` its INTEGER PRIMARY KEY or give it a unique index",
            file.display()
        )));
    }
    Ok(Columns {
        schema_version: has(layout.schema_version.name())?,
        category: has(layout.category.name())?,
        checks_json,
        checks_metadata,
        layout: Arc::clone(layout),
    })
}
