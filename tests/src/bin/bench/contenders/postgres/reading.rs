//! Reading events in order, by hand.

use anyhow::{Result, anyhow};
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use crate::contenders::{Event, Task};

const MICROSECONDS_TO_2000: i64 = 946_684_800_000_000;

/// The next events, and the position of the last.
pub(crate) async fn page(
    connection: &mut PgConnection,
    task: Task,
    after: i64,
    limit: i64,
) -> Result<(Vec<Event>, i64)> {
    let rows = sqlx::query(
        "SELECT global_position, event_type, event_data::text, created_at FROM events \
         WHERE global_position > $1 AND global_position <= $2 AND event_type = ANY ($3) \
         ORDER BY global_position LIMIT $4",
    )
    .bind(after)
    .bind(task.until)
    .bind(task.models.event_types())
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let last = rows.last().map_or(Ok(after), |row| row.try_get(0))?;
    let events = rows.iter().map(event).collect::<Result<Vec<Event>>>()?;
    Ok((events, last))
}

fn event(row: &PgRow) -> Result<Event> {
    // Microseconds since 2000; nothing is cheaper for the server.
    let at = row.try_get_raw(3)?;
    let at = at.as_bytes().map_err(|error| anyhow!(error))?.try_into()?;
    Ok(Event {
        event_type: row.try_get(1)?,
        data: row.try_get(2)?,
        at: i64::from_be_bytes(at) + MICROSECONDS_TO_2000,
    })
}
