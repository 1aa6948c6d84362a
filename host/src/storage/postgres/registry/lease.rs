//! Leases, by the database's clock.

use std::time::Duration;

use gnomon_databases::connections::Connections;

use crate::generation::{GenerationId, Lease, RunReport};
use crate::registry::Acquired;
use crate::registry::fenced;
use crate::storage::postgres::failure::Failure;

pub(super) async fn acquire(
    pool: &Connections,
    generation: GenerationId,
    host: &str,
    duration: Duration,
) -> Result<Acquired, Failure> {
    let mut transaction = pool.begin().await?;
    let found: Option<(Option<String>, i64, Option<String>, i64)> = sqlx::query_as(
        "SELECT host, ceil(extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint,
                requested_by, coalesce(
                    ceil(extract(epoch FROM requested_until - clock_timestamp()) * 1000)::bigint, 0)
         FROM gnomon.leases WHERE generation = $1 FOR UPDATE",
    )
    .bind(generation.to_sql())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((holder, held_for, requester, requested_for)) = found else {
        return Err(fenced(generation).into());
    };
    let other = |other: Option<String>, remaining: i64| {
        let other = other.filter(|other| other != host && remaining > 0)?;
        let remaining = Duration::from_millis(u64::try_from(remaining).unwrap_or(0));
        Some(Acquired::HeldBy {
            host: other,
            remaining,
        })
    };
    if let Some(held) = other(holder, held_for).or_else(|| other(requester, requested_for)) {
        transaction.rollback().await?;
        return Ok(held);
    }
    // Waits for a commit that is under way: once this is through, the
    // checkpoint is final.
    let epoch: i64 = sqlx::query_scalar(
        "UPDATE gnomon.checkpoints SET epoch = epoch + 1 WHERE generation = $1 RETURNING epoch",
    )
    .bind(generation.to_sql())
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query(
        "UPDATE gnomon.leases
         SET host = $2, epoch = $3, expires_at = clock_timestamp() + $4 * interval '1 ms',
             requested_by = NULL, requested_until = NULL
         WHERE generation = $1",
    )
    .bind(generation.to_sql())
    .bind(host)
    .bind(epoch)
    .bind(milliseconds(duration))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Acquired::Lease(Lease { generation, epoch }))
}

/// Gives the leases that are lost. One whose row somebody else works on is
/// neither renewed nor lost: a new owner may wait there for a long commit, and
/// the other leases must not wait with it.
pub(super) async fn renew(
    pool: &Connections,
    leases: &[(Lease, Duration)],
) -> Result<Vec<Lease>, Failure> {
    let generations: Vec<i64> = leases.iter().map(|(l, _)| l.generation.to_sql()).collect();
    let epochs: Vec<i64> = leases.iter().map(|(lease, _)| lease.epoch).collect();
    let durations: Vec<f64> = leases.iter().map(|(_, time)| milliseconds(*time)).collect();
    let lost: Vec<(i64, i64)> = sqlx::query_as(
        "WITH wanted AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::double precision[])
                 AS w (generation, epoch, duration)
         ), held AS (
             SELECT l.generation, w.duration
             FROM gnomon.leases l JOIN wanted w USING (generation, epoch)
             WHERE l.host IS NOT NULL FOR UPDATE OF l SKIP LOCKED
         ), renewed AS (
             UPDATE gnomon.leases l
             SET expires_at = clock_timestamp() + held.duration * interval '1 ms'
             FROM held WHERE l.generation = held.generation
         )
         SELECT generation, epoch FROM wanted w
         WHERE NOT EXISTS (
             SELECT 1 FROM gnomon.leases l
             WHERE (l.generation, l.epoch) = (w.generation, w.epoch) AND l.host IS NOT NULL)",
    )
    .bind(generations)
    .bind(epochs)
    .bind(durations)
    .fetch_all(pool)
    .await?;
    Ok(lost
        .into_iter()
        .map(|(generation, epoch)| Lease {
            generation: GenerationId::from_sql(generation),
            epoch,
        })
        .collect())
}

/// Passes over a lease that somebody else works on; the caller asks again.
pub(crate) async fn request(
    pool: &Connections,
    generations: &[GenerationId],
    host: &str,
    duration: Duration,
) -> Result<(), Failure> {
    let generations: Vec<i64> = generations.iter().map(|id| id.to_sql()).collect();
    sqlx::query(
        "UPDATE gnomon.leases
         SET requested_by = $2, requested_until = clock_timestamp() + $3 * interval '1 ms'
         WHERE generation IN (
             SELECT generation FROM gnomon.leases
             WHERE generation = ANY ($1) AND host IS DISTINCT FROM $2
               AND (requested_by = $2 OR requested_until IS NULL
                    OR requested_until <= clock_timestamp())
             FOR UPDATE SKIP LOCKED)",
    )
    .bind(generations)
    .bind(host)
    .bind(milliseconds(duration))
    .execute(pool)
    .await?;
    Ok(())
}

pub(crate) async fn release(pool: &Connections, lease: Lease) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE gnomon.leases SET host = NULL, expires_at = clock_timestamp()
         WHERE generation = $1 AND epoch = $2",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn report(
    pool: &Connections,
    lease: Lease,
    report: &RunReport,
) -> Result<(), Failure> {
    let recorded = sqlx::query(
        "UPDATE gnomon.generations g SET run_state = $3, cause = $4, reported_at = now()
         FROM gnomon.leases l
         WHERE g.id = $1 AND l.generation = g.id AND l.epoch = $2 AND l.host IS NOT NULL",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .bind(report.state.name())
    .bind(&report.cause)
    .execute(pool)
    .await?;
    ours(lease, recorded.rows_affected())
}

/// Whether the lease was found.
pub(crate) fn ours(lease: Lease, rows: u64) -> Result<(), Failure> {
    match rows {
        0 => Err(fenced(lease.generation).into()),
        _ => Ok(()),
    }
}

/// Milliseconds for an `interval`; more than ten years do not end sooner than
/// ten years.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
    duration.min(LONGEST).as_secs_f64() * 1_000.0
}
