//! Events that came too late.

use gnomon_event_store::source::LateEvent;

use crate::storage::sqlite::database::Database;
use crate::storage_error::StorageError;

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
