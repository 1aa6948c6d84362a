//! Removing what dropped generations have.
//!
//! Whoever works on a generation that is marked as dropped has stopped. Its
//! tables go first, one by one, and last its records: whatever interrupts this,
//! the mark is still there, and the next try goes on.

use gnomon_databases::connections::Connections;
use sqlx::{AssertSqlSafe, Executor};

use super::{actions, modules};
use crate::registry::actions::ACTIONS_MAX;
use crate::registry::request::DroppedGeneration;
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::read_models::public_names;
use crate::storage::postgres::read_models::tables::{self, physical_schema};
use crate::storage::postgres::schema::lock_structure;

/// Drops what a marked generation has, and its records.
pub(super) async fn clear(pool: &Connections, dropped: &DroppedGeneration) -> Result<(), Failure> {
    let (generation, projection) = (dropped.id, &dropped.projection);
    tables::drop_all(pool, projection, generation).await?;
    let mut transaction = pool.begin().await?;
    lock_structure(&mut transaction).await?;
    let drop = format!(
        "DROP SCHEMA IF EXISTS {} CASCADE",
        physical_schema(projection, generation)
    );
    transaction.execute(AssertSqlSafe(drop)).await?;
    modules::release(&mut transaction, generation).await?;
    for statement in [
        "DELETE FROM gnomon.dead_letters WHERE generation = $1",
        "DELETE FROM gnomon.dead_letter_requests WHERE generation = $1",
        "DELETE FROM gnomon.met_skips WHERE generation = $1",
        "DELETE FROM gnomon.leases WHERE generation = $1",
        "DELETE FROM gnomon.checkpoints WHERE generation = $1",
        "DELETE FROM gnomon.generations WHERE id = $1",
    ] {
        sqlx::query(statement)
            .bind(generation.to_sql())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Modules that nothing refers to for an hour, removed projections that have
/// nothing left, and old actions.
pub(super) async fn sweep(pool: &Connections) -> Result<(), Failure> {
    let (hashes, projections, has_old): (Vec<String>, Vec<String>, bool) = sqlx::query_as(
        "SELECT array(SELECT hash FROM gnomon.modules m WHERE added_at < now() - interval '1 h'
                      AND NOT EXISTS (
                          SELECT 1 FROM gnomon.generations g WHERE g.module = m.hash)),
                array(SELECT name FROM gnomon.projections p WHERE desired_state = 'removed'
                      AND NOT EXISTS (
                          SELECT 1 FROM gnomon.generations g WHERE g.projection = p.name)),
                (SELECT coalesce(max(id) - min(id) >= $1, false) FROM gnomon.actions)",
    )
    .bind(ACTIONS_MAX)
    .fetch_one(pool)
    .await?;
    if has_old {
        actions::forget_old(pool).await?;
    }
    if !hashes.is_empty() {
        modules::delete_unused(pool, &hashes).await?;
    }
    for projection in projections {
        forget_projection(pool, &projection).await?;
    }
    Ok(())
}

/// When a projection was dropped that has not come back since, in microseconds
/// since the Unix epoch.
pub(crate) async fn dropped_at(pool: &Connections, projection: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT (extract(epoch FROM dropped_at) * 1000000)::bigint FROM gnomon.dropped
         WHERE projection = $1",
    )
    .bind(projection)
    .fetch_optional(pool)
    .await
}

/// Forgets a removed projection that has no generation left, unless it has
/// come back.
async fn forget_projection(pool: &Connections, projection: &str) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    lock_structure(&mut transaction).await?;
    let forgotten = sqlx::query(
        "DELETE FROM gnomon.projections p WHERE name = $1 AND desired_state = 'removed'
         AND NOT EXISTS (SELECT 1 FROM gnomon.generations g WHERE g.projection = p.name)",
    )
    .bind(projection)
    .execute(&mut *transaction)
    .await?;
    if forgotten.rows_affected() == 1 {
        sqlx::query("DELETE FROM gnomon.skips WHERE projection = $1")
            .bind(projection)
            .execute(&mut *transaction)
            .await?;
        public_names::drop_schema(&mut transaction, projection).await?;
    }
    transaction.commit().await?;
    Ok(())
}
