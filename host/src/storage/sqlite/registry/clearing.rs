//! Removing what dropped generations have.
//!
//! Whoever works on a generation that is marked as dropped has stopped. Its
//! tables go first, each in a transaction of its own, as nobody else can write
//! meanwhile, and then its records: whatever interrupts this, the mark is still
//! there, and the next try goes on.

use rusqlite::{Connection, OptionalExtension};

use super::{actions, modules};
use crate::generation::GenerationId;
use crate::storage::sqlite::database::Database;
use crate::storage::sqlite::read_models::tables;
use crate::storage_error::StorageError;

/// Removed projections that have nothing left.
const EMPTY: &str = "
    SELECT name FROM gnomon_projections p WHERE desired_state = 'removed'
        AND NOT EXISTS (SELECT 1 FROM gnomon_generations g WHERE g.projection = p.name)";

/// Drops the tables of a generation that is marked, and then its record.
pub(super) fn clear(database: &Database, generation: GenerationId) -> Result<(), StorageError> {
    let drops = database.read("look for tables in", |connection| {
        tables::drops(connection, generation)
    })?;
    for drop in drops {
        database.write("drop a table in", |transaction| {
            Ok(transaction.execute_batch(&drop)?)
        })?;
    }
    database.write("drop a generation in", |transaction| {
        for table in [
            "gnomon_dead_letters",
            "gnomon_dead_letter_requests",
            "gnomon_met_skips",
            "gnomon_leases",
            "gnomon_checkpoints",
        ] {
            let delete = format!("DELETE FROM {table} WHERE generation = ?1");
            transaction.execute(&delete, [generation.to_sql()])?;
        }
        let module: Option<String> = transaction
            .query_row(
                "DELETE FROM gnomon_generations WHERE id = ?1 RETURNING module",
                [generation.to_sql()],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(module) = module {
            modules::keep(transaction, &module)?;
        }
        Ok(())
    })
}

/// Modules that nothing refers to for an hour, removed projections that have
/// nothing left, and old actions.
pub(super) fn sweep(database: &Database) -> Result<(), StorageError> {
    let is_clean = database.read("look for what to drop in", |connection| {
        let has_empty = connection.prepare_cached(EMPTY)?.exists([])?;
        Ok(!has_empty && !modules::has_unused(connection)? && !actions::has_old(connection)?)
    })?;
    if is_clean {
        return Ok(());
    }
    database.write("drop modules in", |transaction| {
        forget_projections(transaction)?;
        actions::forget_old(transaction)?;
        Ok(modules::drop_unused(transaction)?)
    })
}

fn forget_projections(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        &format!("DELETE FROM gnomon_skips WHERE projection IN ({EMPTY})"),
        [],
    )?;
    connection.execute(
        &format!("DELETE FROM gnomon_projections WHERE name IN ({EMPTY})"),
        [],
    )?;
    Ok(())
}

/// When a projection was dropped that has not come back since, in microseconds
/// since the Unix epoch.
pub(crate) fn dropped_at(
    database: &Database,
    projection: &str,
) -> Result<Option<i64>, StorageError> {
    database.read("look for a dropped projection in", |connection| {
        connection
            .query_row(
                "SELECT dropped_at FROM gnomon_dropped WHERE projection = ?1",
                [projection],
                |row| row.get(0),
            )
            .optional()
    })
}
