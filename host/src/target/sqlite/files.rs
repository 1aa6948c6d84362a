//! Which modules the files of watched directories held when they were
//! deployed.

use super::database::Database;
use crate::generation::ModuleHash;
use crate::target::TargetError;

pub(super) fn note(
    database: &Database,
    file: &str,
    module: &ModuleHash,
) -> Result<(), TargetError> {
    database.write("note a file in", |transaction| {
        transaction.execute(
            "INSERT INTO gnomon_files (name, module) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET module = excluded.module",
            [file, module.as_str()],
        )?;
        Ok(())
    })
}

pub(super) fn all(database: &Database) -> Result<Vec<(String, ModuleHash)>, TargetError> {
    database.read("read the noted files in", |connection| {
        connection
            .prepare_cached("SELECT name, module FROM gnomon_files ORDER BY name")?
            .query_map([], |row| {
                Ok((row.get(0)?, ModuleHash::from_stored(row.get(1)?)))
            })?
            .collect()
    })
}
