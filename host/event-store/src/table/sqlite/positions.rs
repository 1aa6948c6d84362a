//! The positions in a table that may be somebody else's.

use std::path::Path;

use rusqlite::Connection;

use super::table_error;
use crate::table::{Layout, TableError};

/// Refuses rows that would never be delivered.
pub(crate) fn refuse_unruly(
    connection: &Connection,
    file: &Path,
    layout: &Layout,
) -> Result<(), TableError> {
    let (table, position) = (&layout.table, &layout.position);
    let (from, column) = (layout.from(), position.sql());
    let count = |condition: &str| {
        connection
            .prepare_cached(&format!(
                "SELECT EXISTS (SELECT 1 FROM {from} WHERE {column} {condition})"
            ))
            .and_then(|mut exists| exists.query_row([], |row| row.get::<_, bool>(0)))
            .map_err(|error| table_error("read", file, error))
    };
    let (problem, advice) = if count("IS NULL")? {
        (
            format!("have no position ({position} is NULL)"),
            "give them one",
        )
    } else if count("<= 0")? {
        (
            "have a position below 1, where no event can stand".to_owned(),
            "give them one from 1 on",
        )
    } else {
        return Ok(());
    };
    Err(TableError::refused(format!(
        "rows of the table `{table}` of sqlite:{} {problem} and would never be delivered; {advice}",
        file.display()
    )))
}
