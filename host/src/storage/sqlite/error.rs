//! What an error of SQLite means for the caller.

use std::path::Path;

use gnomon_databases::sqlite_file;
use rusqlite::ErrorCode;

use crate::storage_error::{StorageError, StorageErrorKind};

/// Turns an error into "failed to {action} `{file}`" of the right kind.
pub(super) fn failed(
    file: &Path,
    action: &str,
) -> impl Fn(rusqlite::Error) -> StorageError + use<> {
    let message = format!("failed to {action} {}", shown(file));
    let file = file.to_owned();
    move |error| {
        let advice = sqlite_file::advice(&error, &file);
        StorageError::caused(kind(&error), format!("{message}{advice}"), error)
    }
}

fn kind(error: &rusqlite::Error) -> StorageErrorKind {
    match error {
        error if sqlite_file::is_out_of_files(error) => StorageErrorKind::Retry,
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
                StorageErrorKind::Rejected
            }
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt => StorageErrorKind::Refused,
            _ => StorageErrorKind::Retry,
        },
        // The binding of a text or blob above SQLite's limit.
        rusqlite::Error::ToSqlConversionFailure(_) => StorageErrorKind::Rejected,
        // A cell that holds something else than was declared.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => StorageErrorKind::Refused,
        _ => StorageErrorKind::Retry,
    }
}

/// A file name for a message.
pub(super) fn shown(file: &Path) -> String {
    format!("`{}`", file.display())
}
