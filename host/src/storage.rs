//! Storage: one database that has the registry and the read models.
//!
//! To add a system, implement [`HostRegistry`] and [`ReadModels`] in a folder
//! below `storage/`, and add a line to [`open`].

use std::sync::Arc;

use gnomon_databases::database_url::DatabaseUrl;

use crate::read_models::ReadModels;
use crate::registry::HostRegistry;
use crate::storage_error::{StorageError, StorageErrorKind};

mod format;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

pub use postgres::PostgresStorage;
pub use sqlite::{SqliteStorage, UnregisteredTables};

/// Both halves of one database.
#[derive(Clone)]
pub struct Storage {
    /// What is wanted, and who does it.
    pub registry: Arc<dyn HostRegistry>,
    /// The rows.
    pub read_models: Arc<dyn ReadModels>,
}

impl Storage {
    fn of(storage: impl HostRegistry + ReadModels + 'static) -> Self {
        let storage = Arc::new(storage);
        Self {
            registry: Arc::clone(&storage) as _,
            read_models: storage,
        }
    }
}

/// Opens the database behind a URL, and creates the registry if it is missing.
///
/// # Errors
/// [`StorageError`] when it cannot be reached or used.
pub async fn open(url: &DatabaseUrl) -> Result<Storage, StorageError> {
    Ok(match url {
        DatabaseUrl::Sqlite(file) => Storage::of(SqliteStorage::open(file).await?),
        DatabaseUrl::SqliteReadOnly(_) => return Err(only_to_read(url)),
        DatabaseUrl::Postgres(server) => Storage::of(PostgresStorage::open(server).await?),
    })
}

/// Opens the database behind a URL if it has a registry, and creates nothing.
///
/// # Errors
/// [`StorageError`] when it cannot be reached or used, or when its registry is
/// older than this Gnomon.
pub async fn open_existing(url: &DatabaseUrl) -> Result<Option<Storage>, StorageError> {
    Ok(match url {
        DatabaseUrl::SqliteReadOnly(_) => return Err(only_to_read(url)),
        DatabaseUrl::Sqlite(file) => (SqliteStorage::open_existing(file).await?).map(Storage::of),
        DatabaseUrl::Postgres(server) => {
            (PostgresStorage::open_existing(server).await?).map(Storage::of)
        }
    })
}

/// Commands write to the registry, and hosts to the rows.
fn only_to_read(url: &DatabaseUrl) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "the read models {url} cannot be opened only to be read; leave out `?mode=ro`, which is \
             for events"
        ),
    )
}

/// What to say where [`open_existing`] finds nothing.
#[must_use]
pub fn no_registry(url: &DatabaseUrl) -> String {
    format!(
        "there are no projections at {url}; `gnomon run` and `gnomon deploy` create the registry \
         there, if `read-models.url` is right"
    )
}
