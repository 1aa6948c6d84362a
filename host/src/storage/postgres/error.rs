//! What an error of PostgreSQL means for the caller.

use std::error::Error;

use crate::storage_error::{StorageError, StorageErrorKind};

use gnomon_databases::postgres::error::{Cause, Nature, nature};
pub(crate) use gnomon_databases::postgres::error::{LOCK_NOT_AVAILABLE, has_state};

/// Turns an error into "failed to {action} {place}" of the right kind. The
/// place is a URL without its password.
pub(super) fn failed(place: &str, action: &str) -> impl Fn(sqlx::Error) -> StorageError + use<> {
    let message = format!("failed to {action} {place}");
    move |error| {
        let (nature, advice) = nature(&error);
        let kind = match nature {
            // A table that somebody dropped may be put back.
            Nature::Passing | Nature::Statement => StorageErrorKind::Retry,
            Nature::Value => StorageErrorKind::Rejected,
            Nature::Standing => StorageErrorKind::Refused,
        };
        StorageError::caused(kind, format!("{message}{advice}"), cause(error))
    }
}

/// What to show below the message.
pub(super) fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    Cause::from(error).into()
}
