//! What is kept beside the checkpoints of the history of their source.

use gnomon_event_store::source::LateEvent;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::control::forget_halts;
use super::database::Database;
use crate::generation::Lease;
use crate::target::history::StoredHistory;
use crate::target::registry::unknown_projection;
use crate::target::{KeptHistory, TargetError};

/// What is kept for a generation; `None` if the lease is no longer ours.
pub(super) fn kept(connection: &Connection, lease: Lease) -> rusqlite::Result<Option<KeptHistory>> {
    connection
        .prepare_cached(
            "SELECT event_position, event_id, set_back, late_position FROM gnomon_checkpoints
             WHERE generation = ?1 AND epoch = ?2",
        )?
        .query_row([lease.generation.to_sql(), lease.epoch], |row| {
            let stored = StoredHistory {
                position: row.get(0)?,
                id: row.get(1)?,
                is_set_back: row.get(2)?,
                late: row.get(3)?,
            };
            Ok(stored.into())
        })
        .optional()
}

/// Says whether the lease is ours, without which nothing is changed.
pub(super) fn keep(
    connection: &Connection,
    lease: Lease,
    kept: &KeptHistory,
) -> rusqlite::Result<bool> {
    let event = kept.event.as_ref();
    let changed = connection.execute(
        "UPDATE gnomon_checkpoints SET event_position = ?3, event_id = ?4, set_back = ?5
         WHERE generation = ?1 AND epoch = ?2",
        params![
            lease.generation.to_sql(),
            lease.epoch,
            event.map(|event| event.position.to_sql()),
            event.map(|event| event.id.as_str()),
            kept.is_set_back,
        ],
    )?;
    Ok(changed == 1)
}

pub(super) fn accept(database: &Database, projection: &str) -> Result<(), TargetError> {
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
pub(super) fn note_late(database: &Database, late: LateEvent) -> Result<(), TargetError> {
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
