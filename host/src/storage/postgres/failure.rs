//! What ends a transaction on the registry.

use super::error::failed;
use crate::storage_error::StorageError;

pub(super) enum Failure {
    /// The server or the connection.
    Postgres(sqlx::Error),
    /// The work itself refused.
    Storage(StorageError),
    /// Somebody reads one of the views that are to change.
    Blocked {
        projection: String,
        views: Vec<String>,
        error: sqlx::Error,
    },
}

impl Failure {
    /// The error to give to the caller.
    pub(super) fn into_error(self, place: &str, action: &str) -> StorageError {
        match self {
            Self::Postgres(error) | Self::Blocked { error, .. } => failed(place, action)(error),
            Self::Storage(error) => error,
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
        Self::Storage(error)
    }
}
