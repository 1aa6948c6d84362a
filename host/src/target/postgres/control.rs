//! What users want: paused or running, another try, and requests about dead
//! letters.

use sqlx::{PgPool, Row as _};

use super::failure::Failure;
use crate::dead_letter::DeadLetterAction;
use crate::generation::GenerationId;
use crate::target::Control;
use crate::target::registry::unknown_projection;

pub(super) async fn all(pool: &PgPool) -> Result<Vec<Control>, Failure> {
    let rows = sqlx::query(
        "SELECT p.name, p.desired_state = 'paused' AS paused, p.resumes, coalesce((
             SELECT max(r.id) FROM gnomon.dead_letter_requests r
             JOIN gnomon.generations g ON g.id = r.generation
             WHERE g.projection = p.name), 0) AS requests
         FROM gnomon.projections p ORDER BY p.name COLLATE \"C\"",
    )
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Control {
                projection: row.try_get("name")?,
                paused: row.try_get("paused")?,
                resumes: row.try_get("resumes")?,
                requests: row.try_get("requests")?,
            })
        })
        .collect()
}

pub(super) async fn pause(pool: &PgPool, projection: &str) -> Result<(), Failure> {
    let change = "UPDATE gnomon.projections SET desired_state = 'paused' WHERE name = $1";
    control(pool, projection, change).await
}

pub(super) async fn resume(pool: &PgPool, projection: &str) -> Result<(), Failure> {
    let change = "UPDATE gnomon.projections
                  SET desired_state = 'running', resumes = resumes + 1 WHERE name = $1";
    control(pool, projection, change).await
}

async fn control(pool: &PgPool, projection: &str, change: &'static str) -> Result<(), Failure> {
    let changed = sqlx::query(change).bind(projection).execute(pool).await?;
    match changed.rows_affected() {
        0 => Err(unknown_projection(projection).into()),
        _ => Ok(()),
    }
}

pub(super) async fn request(
    pool: &PgPool,
    generation: GenerationId,
    action: DeadLetterAction,
    stream: Option<&str>,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO gnomon.dead_letter_requests (generation, action, stream_id)
         VALUES ($1, $2, $3)",
    )
    .bind(generation.to_sql())
    .bind(action.name())
    .bind(stream)
    .execute(pool)
    .await?;
    Ok(())
}
