//! Databases for tests.

pub(crate) use gnomon_databases::test_database::{connect, postgres, run};

use gnomon_databases::database_url::DatabaseUrl;

/// A SQLite file of its own; it goes with the directory.
pub(crate) fn sqlite() -> (tempfile::TempDir, DatabaseUrl) {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(directory.path().join("events.db"));
    (directory, url)
}
