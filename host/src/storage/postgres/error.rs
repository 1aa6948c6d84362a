//! What an error of PostgreSQL means for the caller.

use std::error::Error;

use crate::storage_error::{StorageError, StorageErrorKind};

pub(crate) use gnomon_databases::postgres::error::has_state;
use gnomon_databases::postgres::error::{Cause, Nature, nature};

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

/// The SQLSTATE of a lock that was waited for too long.
pub(super) const LOCK_TIMEOUT: &str = "55P03";

/// What to show below the message.
pub(super) fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    Cause::from(error).into()
}
