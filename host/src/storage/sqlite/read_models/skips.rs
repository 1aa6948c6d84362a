//! Decisions to leave an event out.

use gnomon_model::Position;
use rusqlite::{Connection, params};

use crate::dead_letter::Skip;
use crate::generation::GenerationId;

pub(crate) fn page(
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
pub(crate) fn letters(
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
