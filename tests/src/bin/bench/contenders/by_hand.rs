//! The rows that were built by hand, and whether they are the right ones.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use gnomon_tests::harness::Database;
use tempfile::TempDir;

use super::models::Models;

/// The schema of the tables in PostgreSQL.
pub(crate) const SCHEMA: &str = "by_hand";
/// The schema of those that others are compared with.
const ASIDE: &str = "by_hand_aside";

/// Where contenders build: a schema beside Gnomon's, or a file.
pub(crate) struct ByHand {
    directory: TempDir,
}

/// What rows are compared with.
#[derive(Clone, Copy)]
pub(crate) enum Against {
    /// What Gnomon's readers see.
    Gnomon,
    /// What was put aside.
    Aside,
}

impl ByHand {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
        })
    }

    /// The file, where it is one.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join(SCHEMA)
    }

    fn file_aside(&self) -> PathBuf {
        self.directory.path().join(ASIDE)
    }

    /// Puts the rows aside, so that others can be compared with them.
    pub(crate) fn put_aside(&self, read_models: &Database) -> Result<()> {
        match read_models {
            Database::Postgres { .. } => read_models.execute(&format!(
                "DROP SCHEMA IF EXISTS {ASIDE} CASCADE; ALTER SCHEMA {SCHEMA} RENAME TO {ASIDE}"
            )),
            Database::Sqlite { .. } => {
                remove(&self.file_aside())?;
                fs::rename(self.file(), self.file_aside())?;
            }
        }
        Ok(())
    }

    /// Fails where the rows are not those of somebody else, or there are none.
    pub(crate) fn check(
        &self,
        read_models: &Database,
        models: Models,
        against: Against,
        who: &str,
    ) -> Result<()> {
        for (projection, table) in models.tables() {
            let own = format!("{SCHEMA}.{table}");
            let other = match (against, read_models) {
                (Against::Aside, _) => format!("{ASIDE}.{table}"),
                (Against::Gnomon, Database::Postgres { .. }) => format!("{projection}.{table}"),
                (Against::Gnomon, Database::Sqlite { .. }) => table.to_owned(),
            };
            let rows = self.number(read_models, &format!("SELECT count(*) FROM {own}"))?;
            ensure!(rows > 0, "{who} gives no rows of {table}");
            for (first, second) in [(&own, &other), (&other, &own)] {
                let rows = format!("SELECT * FROM {first} EXCEPT SELECT * FROM {second}");
                let differences = format!("SELECT count(*) FROM ({rows}) AS differences");
                let differences = self.number(read_models, &differences)?;
                ensure!(
                    differences == 0,
                    "{who}: {differences} rows of {first} are not in {second}"
                );
            }
        }
        Ok(())
    }

    fn number(&self, read_models: &Database, sql: &str) -> Result<i64> {
        let Database::Sqlite { file, .. } = read_models else {
            return Ok(read_models.number(sql));
        };
        let connection = rusqlite::Connection::open(file)?;
        for (file, schema) in [(self.file(), SCHEMA), (self.file_aside(), ASIDE)] {
            let file = file.display().to_string();
            connection.execute(&format!("ATTACH ? AS {schema}"), [file])?;
        }
        Ok(connection.query_row(sql, [], |row| row.get(0))?)
    }
}

/// Removes a SQLite database, if it is there.
pub(crate) fn remove(file: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
