//! Registry and read models in a SQLite file.
//!
//! The registry's tables are named `gnomon_…`, the tables of generation 7
//! `gnomon_7_…`, and readers use views with the declared names.
//!
//! One host works on a file at a time; readers and commands are never kept
//! out. The file is in WAL mode with `synchronous = NORMAL`: after a power
//! loss the last commits may be missing, each as a whole with its checkpoint,
//! and they are then done again. A crash of the process loses nothing.

use std::path::Path;
use std::sync::Arc;

use self::database::Database;
use crate::registry::user_and_machine;
use crate::storage_error::{StorageError, StorageErrorKind};

mod cell;
mod database;
mod error;
mod host_lock;
mod migrations;
mod note;
mod place;
mod read_models;
mod registry;

pub use read_models::UnregisteredTables;

/// A SQLite file that has a registry and read models.
pub struct SqliteStorage {
    /// Whose actions are recorded.
    actor: Arc<str>,
    database: Arc<Database>,
}

impl SqliteStorage {
    /// Opens the file and makes it if it is missing. Commands do this beside
    /// a running host; only [`HostRegistry::acquire`](crate::registry::HostRegistry::acquire) claims the file.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if the file is not ours to write, is no
    /// database, or was written by a newer Gnomon.
    pub async fn open(file: &Path) -> Result<Self, StorageError> {
        let file = file.to_owned();
        let database = blocking(move || Database::open(&file)).await?;
        Ok(Self::of(database))
    }

    /// Opens the file if it holds a registry, and makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`], and if the registry is older than this Gnomon.
    pub async fn open_existing(file: &Path) -> Result<Option<Self>, StorageError> {
        let file = file.to_owned();
        let database = blocking(move || Database::open_existing(&file)).await?;
        Ok(database.map(Self::of))
    }

    fn of(database: Database) -> Self {
        Self {
            actor: user_and_machine().into(),
            database: Arc::new(database),
        }
    }

    /// Does work that waits for the disk, away from the async threads.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let database = Arc::clone(&self.database);
        blocking(move || work(&database)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(StorageError::caused(
                StorageErrorKind::Retry,
                "the work on the read-model file was cut off",
                error,
            ))
        })
}
