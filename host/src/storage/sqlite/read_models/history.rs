//! What is kept beside the checkpoints of the history of their source.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::generation::Lease;
use crate::read_models::KeptHistory;
use crate::read_models::StoredHistory;

/// What is kept for a generation; `None` if the lease is no longer ours.
pub(crate) fn kept(connection: &Connection, lease: Lease) -> rusqlite::Result<Option<KeptHistory>> {
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
pub(crate) fn keep(
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
