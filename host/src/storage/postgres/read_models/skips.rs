//! Decisions to leave an event out.

use gnomon_model::Position;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};

use crate::dead_letter::Skip;
use crate::generation::GenerationId;
use crate::storage::postgres::any_text;

pub(crate) async fn page(
    executor: impl PgExecutor<'_>,
    projection: &str,
    after: Position,
    limit: usize,
) -> sqlx::Result<Vec<Skip>> {
    let rows = sqlx::query(
        "SELECT position, event_id, stream_id, event_type, reason, actor, decided_at
         FROM gnomon.skips WHERE projection = $1 AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(projection)
    .bind(after.to_sql())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(executor)
    .await?;
    rows.iter().map(read).collect()
}

/// Those that hold for a generation.
pub(super) async fn page_of(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
    after: Position,
    limit: usize,
) -> sqlx::Result<Vec<Skip>> {
    let rows = sqlx::query(
        "SELECT position, event_id, stream_id, event_type, reason, actor, decided_at
         FROM gnomon.skips
         WHERE projection = (SELECT decided_by FROM gnomon.generations WHERE id = $1)
             AND position > $2
         ORDER BY position LIMIT $3",
    )
    .bind(generation.to_sql())
    .bind(after.to_sql())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(executor)
    .await?;
    rows.iter().map(read).collect()
}

/// Dead letters of a generation that are to be skipped.
pub(crate) async fn letters(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
    limit: usize,
) -> sqlx::Result<Vec<(Position, String)>> {
    let rows = sqlx::query(
        "SELECT d.position, d.stream_id FROM gnomon.dead_letters d
         JOIN gnomon.generations g ON g.id = d.generation
         JOIN gnomon.skips s ON s.projection = g.decided_by AND s.position = d.position
             AND s.event_id = d.event_id
         WHERE d.generation = $1 ORDER BY d.position LIMIT $2",
    )
    .bind(generation.to_sql())
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(executor)
    .await?;
    rows.iter()
        .map(|row| Ok((position(row)?, any_text::column(row, "stream_id")?)))
        .collect()
}

fn read(row: &PgRow) -> sqlx::Result<Skip> {
    Ok(Skip {
        position: position(row)?,
        event_id: any_text::column(row, "event_id")?,
        stream_id: any_text::column(row, "stream_id")?,
        event_type: any_text::column(row, "event_type")?,
        reason: row.try_get("reason")?,
        actor: row.try_get("actor")?,
        decided_at: row.try_get("decided_at")?,
    })
}

fn position(row: &PgRow) -> sqlx::Result<Position> {
    let stored: i64 = row.try_get("position")?;
    Position::from_sql(stored).ok_or_else(|| sqlx::Error::ColumnDecode {
        index: "position".to_owned(),
        source: format!("{stored} is not a position").into(),
    })
}
