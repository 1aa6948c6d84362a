//! What is kept beside the checkpoints of the history of their source.

use gnomon_databases::connections::Connections;
use sqlx::Row as _;

use crate::generation::Lease;
use crate::read_models::KeptHistory;
use crate::read_models::StoredHistory;
use crate::storage::postgres::any_text;

/// What is kept for a generation; `None` if the lease is no longer ours.
pub(crate) async fn kept(pool: &Connections, lease: Lease) -> sqlx::Result<Option<KeptHistory>> {
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
pub(crate) async fn keep(
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
