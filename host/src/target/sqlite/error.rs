//! What an error of SQLite means for the caller.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::target::registry::shown;
use crate::target::{TargetError, TargetErrorKind};

/// Turns an error into "failed to {action} `{file}`" of the right kind.
pub(super) fn failed(file: &Path, action: &str) -> impl Fn(rusqlite::Error) -> TargetError + use<> {
    let message = format!("failed to {action} {}", shown(file));
    move |error| TargetError::caused(kind(&error), message.as_str(), error)
}

fn kind(error: &rusqlite::Error) -> TargetErrorKind {
    match error {
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
