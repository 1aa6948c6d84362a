//! What an error of PostgreSQL means for the caller.

use std::error::Error;

use sqlx::postgres::PgDatabaseError;

use crate::target::{TargetError, TargetErrorKind};

/// Turns an error into "failed to {action} {place}" of the right kind. The
/// place is a URL without its password.
pub(super) fn failed(place: &str, action: &str) -> impl Fn(sqlx::Error) -> TargetError + use<> {
    let message = format!("failed to {action} {place}");
    move |error| TargetError::caused(kind(&error), message.as_str(), cause(error))
}

/// The SQLSTATE of a lock that was waited for too long.
pub(super) const LOCK_TIMEOUT: &str = "55P03";

/// Whether the server answered with this SQLSTATE.
pub(super) fn has_state(error: &sqlx::Error, state: &str) -> bool {
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == state)
}

fn kind(error: &sqlx::Error) -> TargetErrorKind {
    match error {
        sqlx::Error::Database(error) => kind_of_state(error.code().as_deref().unwrap_or_default()),
        // The URL names an option that does not exist.
        sqlx::Error::Configuration(_) => TargetErrorKind::Refused,
        // A value beyond the size of a protocol message.
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => TargetErrorKind::Rejected,
        // A column of another type than was declared.
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => TargetErrorKind::Refused,
        _ => TargetErrorKind::Retry,
    }
}

/// By SQLSTATE, see appendix A of PostgreSQL's manual.
fn kind_of_state(state: &str) -> TargetErrorKind {
    /// Password or role, database, right, names that are taken or reserved,
    /// views that stand on others or cannot take their place.
    const REFUSED: [&str; 7] = [
        "3D000", "42501", "42701", "42P06", "42P07", "42P16", "2BP01",
    ];
    // Data, constraints and limits such as the size of an index entry.
    let is_about_values = ["22", "23", "54"]
        .iter()
        .any(|class| state.starts_with(class));
    if is_about_values {
        TargetErrorKind::Rejected
    } else if state.starts_with("28") || REFUSED.contains(&state) {
        TargetErrorKind::Refused
    } else {
        TargetErrorKind::Retry
    }
}

/// What to show below the message.
pub(super) fn cause(error: sqlx::Error) -> Box<dyn Error + Send + Sync> {
    match error {
        sqlx::Error::Database(error) => {
            let state = error.code().unwrap_or_default();
            let detail = error
                .try_downcast_ref::<PgDatabaseError>()
                .and_then(PgDatabaseError::detail)
                .map(|detail| format!("{detail}; "))
                .unwrap_or_default();
            format!("{} ({detail}SQLSTATE {state})", error.message()).into()
        }
        sqlx::Error::Io(error) => error.into(),
        sqlx::Error::PoolTimedOut => {
            "the server cannot be reached, or all of Gnomon's connections are busy".into()
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_decides() {
        for (state, kind) in [
            ("40001", TargetErrorKind::Retry),
            ("40P01", TargetErrorKind::Retry),
            ("55P03", TargetErrorKind::Retry),
            ("57P01", TargetErrorKind::Retry),
            ("08006", TargetErrorKind::Retry),
            ("53100", TargetErrorKind::Retry),
            ("XX000", TargetErrorKind::Retry),
            ("22021", TargetErrorKind::Rejected),
            ("23502", TargetErrorKind::Rejected),
            ("54000", TargetErrorKind::Rejected),
            ("28P01", TargetErrorKind::Refused),
            ("3D000", TargetErrorKind::Refused),
            ("42501", TargetErrorKind::Refused),
        ] {
            assert_eq!(kind_of_state(state), kind, "{state}");
        }
    }
}
