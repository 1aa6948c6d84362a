//! Decisions to leave an event out.

use gnomon_model::Position;
use rusqlite::{Connection, params};

use super::database::Database;
use crate::dead_letter::{Decided, Skip};
use crate::generation::GenerationId;
use crate::target::TargetError;
use crate::target::registry::unknown_projection;

pub(super) fn add(database: &Database, projection: &str, skip: &Skip) -> Result<bool, TargetError> {
    database.write("record a skip in", |transaction| {
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
        let known = transaction.execute(
            "UPDATE gnomon_projections SET skips = skips + ?2 WHERE name = ?1",
            params![projection, i64::from(added > 0)],
        )?;
        match known {
            0 => Err(unknown_projection(projection).into()),
            _ => Ok(added > 0),
        }
    })
}

/// Decides for dead letters of a generation.
pub(super) fn add_dead_letters(
    database: &Database,
    generation: GenerationId,
    stream: Option<&str>,
    decided: Decided<'_>,
) -> Result<u64, TargetError> {
    database.write("record skips in", |transaction| {
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
    })
}

pub(super) fn remove(
    database: &Database,
    projection: &str,
    position: Position,
) -> Result<bool, TargetError> {
    database.write("take a skip back in", |transaction| {
        let removed = transaction.execute(
            "DELETE FROM gnomon_skips WHERE projection = ?1 AND position = ?2",
            params![projection, position.to_sql()],
        )?;
        transaction.execute(
            "UPDATE gnomon_projections SET skips = skips + ?2 WHERE name = ?1",
            params![projection, i64::from(removed > 0)],
        )?;
        Ok(removed > 0)
    })
}

pub(super) fn page(
    connection: &Connection,
    projection: &str,
    after: Position,
    limit: usize,
) -> rusqlite::Result<Vec<Skip>> {
    connection
        .prepare_cached(
            "SELECT position, event_id, stream_id, event_type, reason, actor, decided_at
             FROM gnomon_skips WHERE projection = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
        )?
        .query_map(
            params![
                projection,
                after.to_sql(),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            read,
        )?
        .collect()
}

/// Those that hold for a generation.
pub(super) fn page_of(
    connection: &Connection,
    generation: GenerationId,
    after: Position,
    limit: usize,
) -> rusqlite::Result<Vec<Skip>> {
    let projection: String = connection
        .prepare_cached("SELECT decided_by FROM gnomon_generations WHERE id = ?1")?
        .query_row([generation.to_sql()], |row| row.get(0))?;
    page(connection, &projection, after, limit)
}

/// Dead letters of a generation that are to be skipped.
pub(super) fn letters(
    connection: &Connection,
    generation: GenerationId,
    limit: usize,
) -> rusqlite::Result<Vec<(Position, String)>> {
    connection
        .prepare_cached(
            "SELECT d.position, d.stream_id FROM gnomon_dead_letters d
             JOIN gnomon_generations g ON g.id = d.generation
             JOIN gnomon_skips s ON s.projection = g.decided_by AND s.position = d.position
                 AND s.event_id = d.event_id
             WHERE d.generation = ?1 ORDER BY d.position LIMIT ?2",
        )?
        .query_map(
            params![
                generation.to_sql(),
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| Ok((position(row)?, row.get(1)?)),
        )?
        .collect()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Skip> {
    Ok(Skip {
        position: position(row)?,
        event_id: row.get(1)?,
        stream_id: row.get(2)?,
        event_type: row.get(3)?,
        reason: row.get(4)?,
        actor: row.get(5)?,
        decided_at: row.get(6)?,
    })
}

fn position(row: &rusqlite::Row<'_>) -> rusqlite::Result<Position> {
    let stored: i64 = row.get(0)?;
    Position::from_sql(stored).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, stored))
}
