//! The checkpoint of a generation, with its fencing epoch.

use rusqlite::Connection;

use crate::generation::Lease;

/// Whether no other lease has taken the generation over, and it was not dropped.
pub(super) fn is_ours(connection: &Connection, lease: Lease) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM gnomon_checkpoints WHERE generation = ?1 AND epoch = ?2")?
        .exists([lease.generation.to_sql(), lease.epoch])
}
