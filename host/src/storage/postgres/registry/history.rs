//! Events that came too late.

use gnomon_databases::connections::Connections;
use gnomon_event_store::source::LateEvent;

use crate::storage::postgres::failure::Failure;

/// The lowest position is kept: everything behind it may be wrong.
pub(super) async fn note_late(pool: &Connections, late: LateEvent) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE gnomon.checkpoints SET late_position = $1
         WHERE position >= $1 AND (late_position IS NULL OR late_position > $1)
             AND (event_position IS NULL OR event_position NOT BETWEEN $1 AND $2)",
    )
    .bind(late.position.to_sql())
    .bind(late.hole_end.to_sql())
    .execute(pool)
    .await?;
    Ok(())
}
