//! What is wanted of one generation.

use std::time::Duration;

use gnomon_databases::connections::Connections;
use gnomon_model::Position;
use sqlx::PgConnection;

use super::lease::{milliseconds, ours};
use crate::generation::{GenerationId, GenerationState, Goal, Lease, ObstacleKind};
use crate::registry::{check_goal, overtaken_by, unknown_generation};
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::schema::lock_structure;

pub(super) async fn set_goal(
    pool: &Connections,
    generation: GenerationId,
    goal: Goal,
) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    // Two who want different promotions come one after the other.
    lock_structure(&mut transaction).await?;
    let found: Option<(String, String, String)> = sqlx::query_as(
        "SELECT projection, state, goal FROM gnomon.generations WHERE id = $1 FOR UPDATE",
    )
    .bind(generation.to_sql())
    .fetch_optional(&mut *transaction)
    .await?;
    let found = found.and_then(|(projection, state, before)| {
        let state = GenerationState::from_name(&state)?;
        Some((projection, state, Goal::from_name(&before)?))
    });
    let (projection, state, before) = found.ok_or_else(|| unknown_generation(generation))?;
    check_goal(generation, state, before, goal)?;
    sqlx::query(
        "UPDATE gnomon.generations
         SET goal = $2, obstacle = NULL, obstacle_kind = NULL, insisted = $3 WHERE id = $1",
    )
    .bind(generation.to_sql())
    .bind(goal.name())
    .bind(goal.is_promotion())
    .execute(&mut *transaction)
    .await?;
    if goal.is_promotion() {
        end_rollbacks(&mut transaction, &projection, Some(generation)).await?;
        sqlx::query(
            "UPDATE gnomon.generations SET goal = 'hold', obstacle = $3, obstacle_kind = $4
             WHERE projection = $1 AND id <> $2 AND state IN ('building', 'ready')
                 AND goal IN ('promote', 'promote-cascade')",
        )
        .bind(&projection)
        .bind(generation.to_sql())
        .bind(overtaken_by(&projection, generation))
        .bind(ObstacleKind::Overtaken.name())
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Ends the rollbacks of a projection that are wanted, but for the one to this
/// generation.
pub(super) async fn end_rollbacks(
    connection: &mut PgConnection,
    projection: &str,
    except: Option<GenerationId>,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE gnomon.generations SET goal = 'rest', obstacle = NULL, obstacle_kind = NULL
         WHERE projection = $1 AND state = 'retired' AND goal <> 'rest' AND id IS DISTINCT FROM $2",
    )
    .bind(projection)
    .bind(except.map(GenerationId::to_sql))
    .execute(connection)
    .await?;
    Ok(())
}

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
