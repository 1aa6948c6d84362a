//! How far a build has got, and who attends to it.

use std::time::Duration;

use gnomon_databases::connections::Connections;
use gnomon_model::Position;

use super::lease::{milliseconds, ours};
use crate::generation::{GenerationId, Lease};
use crate::registry::unknown_generation;
use crate::storage::postgres::failure::Failure;

pub(super) async fn set_ready(pool: &Connections, lease: Lease) -> Result<(), Failure> {
    let held: i64 = sqlx::query_scalar(
        "WITH held AS (
             SELECT generation FROM gnomon.leases
             WHERE generation = $1 AND epoch = $2 AND host IS NOT NULL
         ), ready AS (
             UPDATE gnomon.generations SET state = 'ready'
             WHERE id IN (SELECT generation FROM held) AND state = 'building'
         )
         SELECT count(*) FROM held",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .fetch_one(pool)
    .await?;
    ours(lease, held.unsigned_abs())
}

pub(super) async fn attend(
    pool: &Connections,
    generation: GenerationId,
    stop_at: Option<Position>,
    duration: Duration,
) -> Result<(), Failure> {
    let changed = sqlx::query(
        "UPDATE gnomon.generations
         SET stop_at = $2, attended_until = clock_timestamp() + $3 * interval '1 ms'
         WHERE id = $1 AND state <> 'dropped'",
    )
    .bind(generation.to_sql())
    .bind(stop_at.map(Position::to_sql))
    .bind(milliseconds(duration))
    .execute(pool)
    .await?;
    match changed.rows_affected() {
        0 => Err(unknown_generation(generation).into()),
        _ => Ok(()),
    }
}
