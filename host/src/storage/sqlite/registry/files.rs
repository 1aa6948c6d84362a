//! Which modules the files of watched directories held when they were
//! deployed.

use crate::generation::ModuleHash;
use crate::storage::sqlite::database::Database;
use crate::storage_error::StorageError;

pub(crate) fn note(
    database: &Database,
    file: &str,
    module: &ModuleHash,
) -> Result<(), StorageError> {
    database.write("note a file in", |transaction| {
        transaction.execute(
            "INSERT INTO gnomon_files (name, module) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET module = excluded.module",
            [file, module.as_str()],
        )?;
        Ok(())
    })
}

pub(crate) fn all(database: &Database) -> Result<Vec<(String, ModuleHash)>, StorageError> {
    database.read("read the noted files in", |connection| {
        connection
            .prepare_cached("SELECT name, module FROM gnomon_files ORDER BY name")?
            .query_map([], |row| {
                Ok((row.get(0)?, ModuleHash::from_stored(row.get(1)?)))
            })?
            .collect()
    })
}
