//! What an error of SQLite means for the caller.

use std::path::Path;

use gnomon_databases::sqlite_file;
use rusqlite::ErrorCode;

use crate::target::registry::shown;
use crate::target::{TargetError, TargetErrorKind};

/// Turns an error into "failed to {action} `{file}`" of the right kind.
pub(super) fn failed(file: &Path, action: &str) -> impl Fn(rusqlite::Error) -> TargetError + use<> {
    let message = format!("failed to {action} {}", shown(file));
    let file = file.to_owned();
    move |error| {
        let advice = sqlite_file::advice(&error, &file);
        TargetError::caused(kind(&error), format!("{message}{advice}"), error)
    }
}

fn kind(error: &rusqlite::Error) -> TargetErrorKind {
    match error {
        error if sqlite_file::is_out_of_files(error) => TargetErrorKind::Retry,
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
                TargetErrorKind::Rejected
            }
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt => TargetErrorKind::Refused,
            _ => TargetErrorKind::Retry,
        },
        // The binding of a text or blob above SQLite's limit.
        rusqlite::Error::ToSqlConversionFailure(_) => TargetErrorKind::Rejected,
        // A cell that holds something else than was declared.
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => TargetErrorKind::Refused,
        _ => TargetErrorKind::Retry,
    }
}
