//! What an error of PostgreSQL means for the caller.

use std::error::Error;

use gnomon_databases::postgres::error::{Cause, Nature, nature};

use crate::target::{TargetError, TargetErrorKind};

pub(super) use gnomon_databases::postgres::error::has_state;

/// Turns an error into "failed to {action} {place}" of the right kind. The
/// place is a URL without its password.
pub(super) fn failed(place: &str, action: &str) -> impl Fn(sqlx::Error) -> TargetError + use<> {
    let message = format!("failed to {action} {place}");
    move |error| {
        let (nature, advice) = nature(&error);
        let kind = match nature {
            // A table that somebody dropped may be put back.
            Nature::Passing | Nature::Statement => TargetErrorKind::Retry,
            Nature::Value => TargetErrorKind::Rejected,
            Nature::Standing => TargetErrorKind::Refused,
        };
        TargetError::caused(kind, format!("{message}{advice}"), cause(error))
    }
}

/// The SQLSTATE of a lock that was waited for too long.
pub(super) const LOCK_TIMEOUT: &str = "55P03";

/// What to show below the message.
pub(super) fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    Cause::from(error).into()
}
