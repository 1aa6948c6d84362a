//! A table of events in a SQLite file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gnomon_databases::sqlite_file;
use rusqlite::Connection;

use super::{Layout, TableError, TableErrorKind};

mod columns;
mod positions;
mod rows;

pub(crate) use columns::{Columns, columns};
pub(crate) use positions::refuse_unruly;
pub(crate) use rows::{Scratch, event_columns, read_event};

/// How long to wait for another writer of the file.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Statements that a connection keeps prepared.
const PREPARED_STATEMENTS_MAX: usize = 64;

/// What each connection to a table of events begins with.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS_MAX);
    connection.busy_timeout(BUSY_TIMEOUT)
}

/// Opens a file that holds events, and changes nothing in it: it may be somebody
/// else's.
pub(crate) fn open_to_read(
    file: &Path,
    layout: &Arc<Layout>,
) -> Result<(Connection, Columns), TableError> {
    let place = || format!("sqlite:{}", file.display());
    if !file.exists() {
        return Err(TableError::missing(&place()));
    }
    let open = || -> rusqlite::Result<Option<Connection>> {
        let connection = sqlite_file::open_to_read(file)?;
        prepare(&connection)?;
        let is_there = sqlite_file::has_table(&connection, layout.table.name())?;
        Ok(is_there.then_some(connection))
    };
    let opened = open().map_err(|error| table_error("read", file, error))?;
    let connection = opened.ok_or_else(|| TableError::missing(&place()))?;
    let columns = columns(&connection, file, layout)?;
    Ok((connection, columns))
}

/// An error of the driver, with what was being done and where.
pub(crate) fn table_error(doing: &str, file: &Path, error: rusqlite::Error) -> TableError {
    use rusqlite::ErrorCode;
    let kind = match error.sqlite_error_code() {
        _ if sqlite_file::is_out_of_files(&error) => TableErrorKind::Retry,
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::NotADatabase
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied
            | ErrorCode::ConstraintViolation
            | ErrorCode::DatabaseCorrupt,
        ) => TableErrorKind::Refused,
        _ => TableErrorKind::Retry,
    };
    let advice = sqlite_file::advice(&error, file);
    let message = format!("cannot {doing} sqlite:{}{advice}", file.display());
    TableError::caused(kind, message, error)
}

/// Runs blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static, E: From<TableError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(TableError::caused(
            TableErrorKind::Retry,
            "a database thread ended before its time",
            error,
        )
        .into()),
    }
}
