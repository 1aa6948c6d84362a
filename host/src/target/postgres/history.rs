//! What is kept beside the checkpoints of the history of their source.

use gnomon_databases::connections::Connections;
use gnomon_event_store::source::LateEvent;
use sqlx::Row as _;

use super::any_text;
use super::control::forget_halts;
use super::failure::Failure;
use crate::generation::Lease;
use crate::target::KeptHistory;
use crate::target::history::StoredHistory;
use crate::target::registry::unknown_projection;

/// What is kept for a generation; `None` if the lease is no longer ours.
pub(super) async fn kept(pool: &Connections, lease: Lease) -> sqlx::Result<Option<KeptHistory>> {
    let row = sqlx::query(
        "SELECT event_position, event_id, set_back, late_position FROM gnomon.checkpoints
         WHERE generation = $1 AND epoch = $2",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        let stored = StoredHistory {
            position: row.try_get(0)?,
            id: row.try_get::<Option<String>, _>(1)?.map(any_text::read),
            is_set_back: row.try_get(2)?,
            late: row.try_get(3)?,
        };
        Ok(stored.into())
    })
    .transpose()
}

/// Says whether the lease is ours, without which nothing is changed.
pub(super) async fn keep(
    pool: &Connections,
    lease: Lease,
    kept: &KeptHistory,
) -> sqlx::Result<bool> {
    let event = kept.event.as_ref();
    let changed = sqlx::query(
        "UPDATE gnomon.checkpoints SET event_position = $3, event_id = $4, set_back = $5
         WHERE generation = $1 AND epoch = $2",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .bind(event.map(|event| event.position.to_sql()))
    .bind(event.map(|event| any_text::stored(&event.id)))
    .bind(kept.is_set_back)
    .execute(pool)
    .await?;
    Ok(changed.rows_affected() == 1)
}

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
