//! How far a build has got, and who attends to it.

use std::time::Duration;

use gnomon_model::Position;
use rusqlite::params;

use super::lease::{is_ours, now, to_milliseconds};
use crate::generation::{GenerationId, Lease};
use crate::registry::{fenced, unknown_generation};
use crate::storage::sqlite::database::Database;
use crate::storage_error::StorageError;

pub(super) fn set_ready(database: &Database, lease: Lease) -> Result<(), StorageError> {
    database.write("record a build's end in", |transaction| {
        if !is_ours(transaction, lease)? {
            return Err(fenced(lease.generation).into());
        }
        transaction.execute(
            "UPDATE gnomon_generations SET state = 'ready' WHERE id = ?1 AND state = 'building'",
            [lease.generation.to_sql()],
        )?;
        Ok(())
    })
}

pub(super) fn attend(
    database: &Database,
    generation: GenerationId,
    stop_at: Option<Position>,
    duration: Duration,
) -> Result<(), StorageError> {
    database.write("attend to a generation in", |transaction| {
        let found = transaction.execute(
            concat!(
                "UPDATE gnomon_generations SET stop_at = ?2, attended_until = ",
                now!(),
                " + ?3 WHERE id = ?1 AND state <> 'dropped'",
            ),
            params![
                generation.to_sql(),
                stop_at.map(Position::to_sql),
                to_milliseconds(duration)
            ],
        )?;
        match found {
            0 => Err(unknown_generation(generation).into()),
            _ => Ok(()),
        }
    })
}
