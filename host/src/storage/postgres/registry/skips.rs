//! Decisions to leave an event out.

use gnomon_model::Position;
use sqlx::PgConnection;

use crate::dead_letter::{Decided, Skip};
use crate::generation::GenerationId;
use crate::storage::postgres::any_text;

pub(super) async fn add(
    connection: &mut PgConnection,
    projection: &str,
    skip: &Skip,
) -> sqlx::Result<u64> {
    let added = sqlx::query(
        "INSERT INTO gnomon.skips AS known (projection, position, event_id, stream_id, event_type,
             reason, actor, decided_at)
         SELECT name, $2, $3, $4, $5, $6, $7, $8 FROM gnomon.projections WHERE name = $1
         ON CONFLICT (projection, position) DO UPDATE SET event_id = excluded.event_id,
             stream_id = excluded.stream_id, event_type = excluded.event_type,
             reason = excluded.reason, actor = excluded.actor, decided_at = excluded.decided_at
         WHERE known.event_id <> excluded.event_id",
    )
    .bind(projection)
    .bind(skip.position.to_sql())
    .bind(any_text::stored(&skip.event_id))
    .bind(any_text::stored(&skip.stream_id))
    .bind(any_text::stored(&skip.event_type))
    .bind(&skip.reason)
    .bind(&skip.actor)
    .bind(skip.decided_at)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    sqlx::query("UPDATE gnomon.projections SET skips = skips + $2 WHERE name = $1")
        .bind(projection)
        .bind(added.cast_signed())
        .execute(&mut *connection)
        .await?;
    Ok(added)
}

/// Decides for dead letters of a generation.
pub(super) async fn add_dead_letters(
    connection: &mut PgConnection,
    generation: GenerationId,
    stream: Option<&str>,
    decided: Decided<'_>,
) -> sqlx::Result<u64> {
    let added = sqlx::query(
        "INSERT INTO gnomon.skips (projection, position, event_id, stream_id, event_type, reason,
             actor, decided_at)
         SELECT g.decided_by, d.position, d.event_id, d.stream_id, d.event_type, $3, $4,
             (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
         FROM gnomon.dead_letters d JOIN gnomon.generations g ON g.id = d.generation
         WHERE d.generation = $1 AND ($2::text IS NULL OR d.stream_id = $2)
         ON CONFLICT (projection, position) DO UPDATE SET event_id = excluded.event_id,
             stream_id = excluded.stream_id, event_type = excluded.event_type,
             reason = excluded.reason, actor = excluded.actor, decided_at = excluded.decided_at",
    )
    .bind(generation.to_sql())
    .bind(stream.map(any_text::stored))
    .bind(decided.reason)
    .bind(decided.actor)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if added > 0 {
        sqlx::query(
            "UPDATE gnomon.projections SET skips = skips + 1
             WHERE name = (SELECT decided_by FROM gnomon.generations WHERE id = $1)",
        )
        .bind(generation.to_sql())
        .execute(&mut *connection)
        .await?;
    }
    Ok(added)
}

pub(super) async fn remove(
    connection: &mut PgConnection,
    projection: &str,
    position: Position,
) -> sqlx::Result<u64> {
    let removed = sqlx::query("DELETE FROM gnomon.skips WHERE projection = $1 AND position = $2")
        .bind(projection)
        .bind(position.to_sql())
        .execute(&mut *connection)
        .await?
        .rows_affected();
    sqlx::query("UPDATE gnomon.projections SET skips = skips + $2 WHERE name = $1")
        .bind(projection)
        .bind(removed.cast_signed())
        .execute(&mut *connection)
        .await?;
    Ok(removed)
}
