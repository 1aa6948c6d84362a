//! What ends a transaction on the registry.

use super::error::failed;
use crate::target::TargetError;

pub(super) enum Failure {
    /// The server or the connection.
    Postgres(sqlx::Error),
    /// The work itself refused.
    Target(TargetError),
}

impl Failure {
    /// The error to give to the caller.
    pub(super) fn into_error(self, place: &str, action: &str) -> TargetError {
        match self {
            Self::Postgres(error) => failed(place, action)(error),
            Self::Target(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}
