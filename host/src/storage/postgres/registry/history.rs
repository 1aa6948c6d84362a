//! What is kept beside the checkpoints of the history of their source.

use gnomon_databases::connections::Connections;
use gnomon_event_store::source::LateEvent;

use crate::registry::unknown_projection;
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::registry::control::forget_halts;

pub(super) async fn accept(pool: &Connections, projection: &str) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "UPDATE gnomon.checkpoints c
         SET event_position = NULL, event_id = NULL, set_back = false, late_position = NULL
         FROM gnomon.generations g WHERE g.id = c.generation AND g.projection = $1",
    )
    .bind(projection)
    .execute(&mut *transaction)
    .await?;
    let changed = sqlx::query(concat!(
        "WITH forgotten AS (",
        forget_halts!(),
        " projection = $1) UPDATE gnomon.projections
          SET desired_state = 'running', resumes = resumes + 1 WHERE name = $1",
    ))
    .bind(projection)
    .execute(&mut *transaction)
    .await?;
    if changed.rows_affected() == 0 {
        transaction.rollback().await?;
        return Err(unknown_projection(projection).into());
    }
    Ok(transaction.commit().await?)
}

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
