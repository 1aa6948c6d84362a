//! Modules in the registry.

use rusqlite::{Connection, OptionalExtension, params};

use crate::generation::{GenerationId, Module, ModuleHash};
use crate::registry::{read_description, stored_description, unknown_module};
use crate::storage::sqlite::database::{Database, Failure};
use crate::storage_error::StorageError;

/// A module that is added again counts as new, so that it is not tidied away
/// before it is used.
pub(crate) fn add(database: &Database, module: &Module) -> Result<(), StorageError> {
    let description = stored_description(&module.description)?;
    database.write("store a module in", |transaction| {
        let added = transaction.execute(
            "INSERT INTO gnomon_modules (hash, description, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
            params![module.hash.as_str(), description, module.bytes],
        )?;
        if added == 0 {
            keep(transaction, module.hash.as_str())?;
        }
        Ok(())
    })
}

/// Keeps a module for another while, whether it is used or not. Every change
/// writes all of its bytes again, so there are few.
pub(crate) fn keep(connection: &Connection, hash: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE gnomon_modules SET added_at = strftime('%Y-%m-%dT%H:%M:%fZ')
         WHERE hash = ?1 AND added_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-30 minutes')",
        [hash],
    )?;
    Ok(())
}

/// Makes a generation run another module.
pub(super) fn set(
    connection: &Connection,
    generation: GenerationId,
    module: &ModuleHash,
) -> Result<(), Failure> {
    check(connection, module)?;
    let replaced: String = connection.query_row(
        "SELECT module FROM gnomon_generations WHERE id = ?1",
        [generation.to_sql()],
        |row| row.get(0),
    )?;
    keep(connection, &replaced)?;
    connection.execute(
        "UPDATE gnomon_generations SET module = ?2 WHERE id = ?1",
        params![generation.to_sql(), module.as_str()],
    )?;
    Ok(())
}

/// Modules that nothing refers to, and that were not added or let go lately.
const UNUSED: &str = "
    SELECT hash FROM gnomon_modules m
    WHERE added_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour')
        AND NOT EXISTS (SELECT 1 FROM gnomon_generations g WHERE g.module = m.hash)";

pub(super) fn has_unused(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached(UNUSED)?.exists([])
}

pub(super) fn drop_unused(connection: &Connection) -> rusqlite::Result<()> {
    let unused = format!("DELETE FROM gnomon_modules WHERE hash IN ({UNUSED})");
    connection.execute(&unused, [])?;
    Ok(())
}

pub(crate) fn one(database: &Database, hash: &ModuleHash) -> Result<Option<Module>, StorageError> {
    let stored: Option<(String, Vec<u8>)> = database.read("read a module from", |connection| {
        connection
            .query_row(
                "SELECT description, bytes FROM gnomon_modules WHERE hash = ?1",
                [hash.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
    })?;
    stored
        .map(|(description, bytes)| {
            Ok(Module {
                hash: hash.clone(),
                bytes,
                description: read_description(&description)?,
            })
        })
        .transpose()
}

/// Refuses a module that is not in the registry.
pub(crate) fn check(connection: &Connection, module: &ModuleHash) -> Result<(), Failure> {
    let is_known: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM gnomon_modules WHERE hash = ?1)",
        [module.as_str()],
        |row| row.get(0),
    )?;
    if is_known {
        Ok(())
    } else {
        Err(unknown_module(module).into())
    }
}
