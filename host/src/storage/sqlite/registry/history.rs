//! What is kept beside the checkpoints of the history of their source.

use gnomon_event_store::source::LateEvent;

use crate::registry::unknown_projection;
use crate::storage::sqlite::database::Database;
use crate::storage::sqlite::registry::control::forget_halts;
use crate::storage_error::StorageError;

pub(super) fn accept(database: &Database, projection: &str) -> Result<(), StorageError> {
    database.write("accept the events in", |transaction| {
        transaction.execute(
            "UPDATE gnomon_checkpoints
             SET event_position = NULL, event_id = NULL, set_back = 0, late_position = NULL
             WHERE generation IN (SELECT id FROM gnomon_generations WHERE projection = ?1)",
            [projection],
        )?;
        forget_halts(transaction, projection)?;
        let changed = transaction.execute(
            "UPDATE gnomon_projections
             SET desired_state = 'running', resumes = resumes + 1 WHERE name = ?1",
            [projection],
        )?;
        match changed {
            0 => Err(unknown_projection(projection).into()),
            _ => Ok(()),
        }
    })
}

/// The lowest position is kept: everything behind it may be wrong.
pub(super) fn note_late(database: &Database, late: LateEvent) -> Result<(), StorageError> {
    database.write("note a late event in", |transaction| {
        transaction.execute(
            "UPDATE gnomon_checkpoints SET late_position = ?1
             WHERE position >= ?1 AND (late_position IS NULL OR late_position > ?1)
                 AND (event_position IS NULL OR event_position NOT BETWEEN ?1 AND ?2)",
            [late.position.to_sql(), late.hole_end.to_sql()],
        )?;
        Ok(())
    })
}
