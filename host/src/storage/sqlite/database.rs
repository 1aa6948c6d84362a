//! Connections to the file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gnomon_databases::sqlite_file;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::error::failed;
use super::host_lock::HostLock;
use super::migrations;
use super::place::Place;
use crate::storage::format::check_is_current;
use crate::storage::sqlite::error::shown;
use crate::storage_error::{StorageError, StorageErrorKind};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in the write-ahead log before they are moved into the file. A batch
/// with random keys touches a page for every row, so that SQLite's default of
/// 1,000 would move them with every commit.
const LOG_PAGES: i64 = 8_000;
/// What a connection caches of the file.
const CACHE_KIBIBYTES: i64 = 8 * 1024;
/// Statements that a connection keeps prepared.
const PREPARED_STATEMENTS_MAX: usize = 1_000;

/// One SQLite file: the connection for the registry, and what its users in
/// this process share.
pub(super) struct Database {
    /// The file, absolute, so that every path to it means the same.
    pub(super) file: PathBuf,
    /// Where it was found.
    pub(super) place: Place,
    /// Held while one of this process writes. SQLite has one writer at a time
    /// and lets others poll for their turn; waiting here is orderly.
    pub(super) gate: Arc<Gate>,
    /// This host's claim on the file.
    pub(super) host_lock: Mutex<HostLock>,
    connection: Mutex<Connection>,
}

/// Admits one writer of this process at a time.
#[derive(Default)]
pub(super) struct Gate(Mutex<()>);

impl Gate {
    pub(super) fn enter(&self) -> MutexGuard<'_, ()> {
        held(&self.0)
    }
}

/// Locks a mutex whose content is sound even if a holder panicked.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    /// Opens the file, which is made if it is missing, and puts the registry
    /// into it. It takes no lock beyond that.
    pub(super) fn open(file: &Path) -> Result<Self, StorageError> {
        let mut connection = connect_by(sqlite_file::open_or_make, file)?;
        let file = file.canonicalize().map_err(|error| {
            StorageError::caused(
                StorageErrorKind::Refused,
                format!("failed to find {} after it was opened", shown(file)),
                error,
            )
        })?;
        migrations::bring_up_to_date(&mut connection, &file)?;
        Ok(Self {
            host_lock: Mutex::new(HostLock::beside(&file)),
            place: Place::of(&file),
            gate: Arc::new(Gate::default()),
            connection: Mutex::new(connection),
            file,
        })
    }

    /// Opens the file if there is a registry in it. A file that is somebody
    /// else's is only read.
    pub(super) fn open_existing(file: &Path) -> Result<Option<Self>, StorageError> {
        if !file.exists() {
            return Ok(None);
        }
        let look = || {
            let connection = sqlite_file::open_to_read(file)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            migrations::stored_format(&connection)
        };
        match look().map_err(failed(file, "read"))? {
            0 => Ok(None),
            format => {
                check_is_current(format, &shown(file))?;
                Self::open(file).map(Some)
            }
        }
    }

    /// Reads from the registry.
    pub(super) fn read<T>(
        &self,
        action: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StorageError> {
        self.place.check()?;
        work(&held(&self.connection)).map_err(failed(&self.file, action))
    }

    /// Reads from the registry at one time.
    pub(super) fn look<T>(
        &self,
        action: &str,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        self.place.check()?;
        let connection = held(&self.connection);
        let attempt = || {
            let transaction = connection.unchecked_transaction()?;
            work(&transaction)
        };
        attempt().map_err(|failure: Failure| failure.into_error(&self.file, action))
    }

    /// Does work in one transaction, which is rolled back if it fails.
    pub(super) fn write<T>(
        &self,
        action: &str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, StorageError> {
        self.place.check()?;
        let mut connection = held(&self.connection);
        let _turn = self.gate.enter();
        let attempt = || {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        attempt().map_err(|failure: Failure| failure.into_error(&self.file, action))
    }
}

/// What ends a transaction.
pub(super) enum Failure {
    /// SQLite refused a statement.
    Sqlite(rusqlite::Error),
    /// The work itself refused.
    Storage(StorageError),
}

impl Failure {
    /// The error to give to the caller.
    fn into_error(self, file: &Path, action: &str) -> StorageError {
        match self {
            Self::Sqlite(error) => failed(file, action)(error),
            Self::Storage(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// A connection to the file with the settings that all of them share.
pub(super) fn connect(file: &Path) -> Result<Connection, StorageError> {
    // Where it was deleted meanwhile, an empty one would take its place.
    connect_by(sqlite_file::open_to_write, file)
}

fn connect_by(
    open: fn(&Path) -> rusqlite::Result<Connection>,
    file: &Path,
) -> Result<Connection, StorageError> {
    let attempt = || {
        let connection = open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS_MAX);
        connection.pragma_update(None, "foreign_keys", true)?;
        // NORMAL: a power loss may undo the last commits, each as a whole with
        // its checkpoint, and they are then done again.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        use_write_ahead_log(&connection)?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        // A negative number means kibibytes.
        connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES)?;
        Ok(connection)
    };
    attempt().map_err(failed(file, "open"))
}

/// Two processes that switch a new file at once can meet a busy error that
/// SQLite does not wait out by itself.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    const ATTEMPT_PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == rusqlite::ErrorCode::DatabaseBusy && waited < BUSY_TIMEOUT =>
            {
                std::thread::sleep(ATTEMPT_PAUSE);
                waited += ATTEMPT_PAUSE;
            }
            result => return result,
        }
    }
}
