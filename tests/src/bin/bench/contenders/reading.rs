//! Reading events in order, by hand.

use anyhow::Result;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::models::{Event, Models};

/// The next events, and the position of the last.
pub(crate) async fn page(
    connection: &mut PgConnection,
    models: Models,
    after: i64,
    limit: i64,
) -> Result<(Vec<Event>, i64)> {
    let rows = sqlx::query(
        "SELECT global_position, event_type, event_data::text, \
           (extract(epoch FROM created_at) * 1000000)::bigint FROM events \
         WHERE global_position > $1 AND event_type = ANY ($2) \
         ORDER BY global_position LIMIT $3",
    )
    .bind(after)
    .bind(models.event_types())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let last = rows.last().map_or(Ok(after), |row| row.try_get(0))?;
    let events = rows.iter().map(event).collect::<Result<Vec<Event>>>()?;
    Ok((events, last))
}

fn event(row: &PgRow) -> Result<Event> {
    Ok(Event {
        event_type: row.try_get(1)?,
        data: row.try_get(2)?,
        at: row.try_get(3)?,
    })
}
