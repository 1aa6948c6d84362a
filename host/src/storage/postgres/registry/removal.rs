//! Dropping generations and projections.
//!
//! First a short transaction marks generations as dropped, so that whoever
//! works on them stops. Then their tables go, one by one, and last their
//! records: whatever interrupts this, [`tidy`] finds the rest.

use gnomon_databases::connections::Connections;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::generations::live;
use super::modules;
use super::promotion::WAIT_BRIEFLY;
use crate::generation::GenerationId;
use crate::registry::unknown_projection;
use crate::storage::postgres::error::{LOCK_TIMEOUT, has_state};
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::read_models::dependents;
use crate::storage::postgres::read_models::public_names;
use crate::storage::postgres::read_models::tables::{self, physical_schema};
use crate::storage::postgres::read_models::views;
use crate::storage::postgres::schema::lock_structure;
use crate::storage_error::{StorageError, StorageErrorKind};

/// Generations that are no longer needed; `$1` is how many retired ones of
/// each projection are kept.
const DOOMED: &str = "
    SELECT id, projection, state = 'dropped' AS is_marked FROM (
        SELECT g.*, row_number() OVER (
            PARTITION BY projection, state, goal ORDER BY retired_at DESC, id DESC) AS place
        FROM gnomon.generations g
    ) g
    WHERE state = 'dropped'
       OR (state IN ('building', 'ready') AND goal = 'compare'
           AND attended_until < clock_timestamp())
       OR (state = 'retired' AND goal = 'rest' AND place > $1)
    ORDER BY id";

type Doomed = (i64, String, bool);

/// Marks generations as dropped. A commit that is under way ends first, and
/// none succeeds afterwards.
pub(crate) async fn mark(connection: &mut PgConnection, generations: &[i64]) -> sqlx::Result<()> {
    if generations.is_empty() {
        return Ok(());
    }
    // In the order in which a new owner locks them.
    for statement in [
        "DELETE FROM gnomon.leases WHERE generation = ANY ($1)",
        "UPDATE gnomon.checkpoints SET epoch = epoch + 1 WHERE generation = ANY ($1)",
        "UPDATE gnomon.generations SET state = 'dropped' WHERE id = ANY ($1)",
    ] {
        sqlx::query(statement)
            .bind(generations)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

pub(super) async fn drop_generation(
    pool: &Connections,
    generation: GenerationId,
) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    lock_structure(&mut transaction).await?;
    let found: Option<(String, String)> =
        sqlx::query_as("SELECT projection, state FROM gnomon.generations WHERE id = $1")
            .bind(generation.to_sql())
            .fetch_optional(&mut *transaction)
            .await?;
    // Who wants it gone has what they want.
    let Some((projection, state)) = found else {
        return Ok(transaction.rollback().await?);
    };
    if state == "live" {
        return Err(StorageError::new(
            StorageErrorKind::Refused,
            format!("generation {generation} of `{projection}` is live: readers see it"),
        )
        .into());
    }
    mark(&mut transaction, &[generation.to_sql()]).await?;
    transaction.commit().await?;
    clear(pool, generation, &projection).await
}

pub(super) async fn tidy(pool: &Connections, keep: usize) -> Result<Vec<GenerationId>, Failure> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let mut doomed: Vec<Doomed> = sqlx::query_as(DOOMED).bind(keep).fetch_all(pool).await?;
    if doomed.iter().any(|(_, _, is_marked)| !is_marked) {
        let mut transaction = pool.begin().await?;
        lock_structure(&mut transaction).await?;
        doomed = sqlx::query_as(DOOMED)
            .bind(keep)
            .fetch_all(&mut *transaction)
            .await?;
        let unmarked = doomed.iter().filter(|(_, _, is_marked)| !is_marked);
        let unmarked: Vec<i64> = unmarked.map(|(id, _, _)| *id).collect();
        mark(&mut transaction, &unmarked).await?;
        transaction.commit().await?;
    }
    let mut gone = Vec::with_capacity(doomed.len());
    let mut first_failure = None;
    for (id, projection, _) in doomed {
        let id = GenerationId::from_sql(id);
        // One that cannot be dropped now keeps none of the others.
        match clear(pool, id, &projection).await {
            Ok(()) => gone.push(id),
            Err(failure) => first_failure = first_failure.or(Some(failure)),
        }
    }
    clear_registry(pool).await?;
    match first_failure {
        Some(failure) if gone.is_empty() => Err(failure),
        _ => Ok(gone),
    }
}

/// Modules that nothing refers to for an hour, and removed projections that
/// have nothing left.
async fn clear_registry(pool: &Connections) -> Result<(), Failure> {
    let (hashes, projections): (Vec<String>, Vec<String>) = sqlx::query_as(
        "SELECT array(SELECT hash FROM gnomon.modules m WHERE added_at < now() - interval '1 h'
                      AND NOT EXISTS (
                          SELECT 1 FROM gnomon.generations g WHERE g.module = m.hash)),
                array(SELECT name FROM gnomon.projections p WHERE desired_state = 'removed'
                      AND NOT EXISTS (
                          SELECT 1 FROM gnomon.generations g WHERE g.projection = p.name))",
    )
    .fetch_one(pool)
    .await?;
    if !hashes.is_empty() {
        modules::delete_unused(pool, &hashes).await?;
    }
    for projection in projections {
        forget_projection(pool, &projection).await?;
    }
    Ok(())
}

/// Drops what a marked generation has, and its records.
async fn clear(
    pool: &Connections,
    generation: GenerationId,
    projection: &str,
) -> Result<(), Failure> {
    tables::drop_all(pool, projection, generation).await?;
    let mut transaction = pool.begin().await?;
    lock_structure(&mut transaction).await?;
    let drop = format!(
        "DROP SCHEMA IF EXISTS {} CASCADE",
        physical_schema(projection, generation)
    );
    transaction.execute(AssertSqlSafe(drop)).await?;
    modules::release(&mut transaction, &[generation.to_sql()]).await?;
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

pub(super) async fn drop_projection(
    pool: &Connections,
    projection: &str,
    cascade: bool,
) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    lock_structure(&mut transaction).await?;
    let found =
        sqlx::query("UPDATE gnomon.projections SET desired_state = 'removed' WHERE name = $1")
            .bind(projection)
            .execute(&mut *transaction)
            .await?;
    if found.rows_affected() == 0 {
        return Err(unknown_projection(projection).into());
    }
    let generations: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM gnomon.generations WHERE projection = $1 ORDER BY id")
            .bind(projection)
            .fetch_all(&mut *transaction)
            .await?;
    let live = live(&mut transaction, projection).await?;
    sqlx::query(
        "INSERT INTO gnomon.dropped (projection) VALUES ($1)
         ON CONFLICT (projection) DO UPDATE SET dropped_at = now()",
    )
    .bind(projection)
    .execute(&mut *transaction)
    .await?;
    mark(&mut transaction, &generations).await?;
    if let Some((_, live)) = live {
        let change = views::removal(&mut transaction, &live, cascade).await?;
        if !cascade && !change.dependents.is_empty() {
            let what = format!("projection `{projection}` is to go with its views");
            let command = format!("gnomon remove {projection} --drop --cascade");
            return Err(dependents::in_the_way(&what, &change.dependents, &command).into());
        }
        transaction.execute(WAIT_BRIEFLY).await?;
        if let Err(error) = change.run(&mut transaction).await {
            let _ = transaction.rollback().await;
            if !has_state(&error, LOCK_TIMEOUT) {
                return Err(error.into());
            }
            let views = public_names::table_names(&live);
            return Err(dependents::blocked(pool, projection, &views, error)
                .await
                .into());
        }
    }
    transaction.commit().await?;
    for generation in generations {
        clear(pool, GenerationId::from_sql(generation), projection).await?;
    }
    forget_projection(pool, projection).await
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
