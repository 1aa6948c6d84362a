//! What ends a transaction on the registry.

use super::error::failed;
use crate::storage_error::StorageError;

pub(super) enum Failure {
    /// The server or the connection.
    Postgres(sqlx::Error),
    /// The work itself refused.
    Target(StorageError),
}

impl Failure {
    /// The error to give to the caller.
    pub(super) fn into_error(self, place: &str, action: &str) -> StorageError {
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

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Target(error)
    }
}
