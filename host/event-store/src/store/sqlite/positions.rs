//! The positions in a table that may be somebody else's.

use std::path::Path;

use rusqlite::Connection;

use super::store_error;
use crate::store::EventStoreError;

/// Refuses rows that would never be delivered.
pub(crate) fn refuse_unruly(connection: &Connection, file: &Path) -> Result<(), EventStoreError> {
    let count = |condition: &str| {
        connection
            .prepare_cached(&format!(
                "SELECT EXISTS (SELECT 1 FROM events WHERE global_position {condition})"
            ))
            .and_then(|mut exists| exists.query_row([], |row| row.get::<_, bool>(0)))
            .map_err(|error| store_error("read", file, error))
    };
    let (problem, advice) = if count("IS NULL")? {
        (
            "have no position (global_position is NULL)",
            "give them one",
        )
    } else if count("<= 0")? {
        (
            "have a position below 1, where no event can stand",
            "give them one from 1 on",
        )
    } else {
        return Ok(());
    };
    Err(EventStoreError::refused(format!(
        "rows of the table `events` of sqlite:{} {problem} and would never be delivered; {advice}",
        file.display()
    )))
}
