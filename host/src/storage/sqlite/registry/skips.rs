//! Decisions to leave an event out.

use gnomon_model::Position;
use rusqlite::{Transaction, params};

use crate::dead_letter::{Decided, Skip};
use crate::generation::GenerationId;

pub(super) fn add(
    transaction: &Transaction<'_>,
    projection: &str,
    skip: &Skip,
) -> rusqlite::Result<u64> {
    let added = transaction.execute(
        "INSERT INTO gnomon_skips (projection, position, event_id, stream_id, event_type,
             reason, actor, decided_at)
         SELECT name, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM gnomon_projections WHERE name = ?1
         ON CONFLICT DO UPDATE SET event_id = excluded.event_id,
             stream_id = excluded.stream_id, event_type = excluded.event_type,
             reason = excluded.reason, actor = excluded.actor,
             decided_at = excluded.decided_at
         WHERE event_id <> excluded.event_id",
        params![
            projection,
            skip.position.to_sql(),
            skip.event_id,
            skip.stream_id,
            skip.event_type,
            skip.reason,
            skip.actor,
            skip.decided_at,
        ],
    )?;
    transaction.execute(
        "UPDATE gnomon_projections SET skips = skips + ?2 WHERE name = ?1",
        params![projection, i64::from(added > 0)],
    )?;
    Ok(added as u64)
}

/// Decides for dead letters of a generation.
pub(super) fn add_dead_letters(
    transaction: &Transaction<'_>,
    generation: GenerationId,
    stream: Option<&str>,
    decided: Decided<'_>,
) -> rusqlite::Result<u64> {
    let added = transaction.execute(
        "INSERT INTO gnomon_skips (projection, position, event_id, stream_id, event_type,
             reason, actor, decided_at)
         SELECT g.decided_by, d.position, d.event_id, d.stream_id, d.event_type, ?3, ?4,
             CAST(unixepoch('subsec') * 1000000 AS INTEGER)
         FROM gnomon_dead_letters d JOIN gnomon_generations g ON g.id = d.generation
         WHERE d.generation = ?1 AND (?2 IS NULL OR d.stream_id = ?2)
         ON CONFLICT DO UPDATE SET event_id = excluded.event_id,
             stream_id = excluded.stream_id, event_type = excluded.event_type,
             reason = excluded.reason, actor = excluded.actor,
             decided_at = excluded.decided_at",
        params![generation.to_sql(), stream, decided.reason, decided.actor],
    )?;
    transaction.execute(
        "UPDATE gnomon_projections SET skips = skips + 1
         WHERE name = (SELECT decided_by FROM gnomon_generations WHERE id = ?1) AND ?2",
        params![generation.to_sql(), added > 0],
    )?;
    Ok(added as u64)
}

pub(super) fn remove(
    transaction: &Transaction<'_>,
    projection: &str,
    position: Position,
) -> rusqlite::Result<u64> {
    let removed = transaction.execute(
        "DELETE FROM gnomon_skips WHERE projection = ?1 AND position = ?2",
        params![projection, position.to_sql()],
    )?;
    transaction.execute(
        "UPDATE gnomon_projections SET skips = skips + ?2 WHERE name = ?1",
        params![projection, i64::from(removed > 0)],
    )?;
    Ok(removed as u64)
}
