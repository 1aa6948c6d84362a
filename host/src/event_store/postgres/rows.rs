//! Rows of `events` as events.

use gnomon_model::{Event, Payload, Position};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::Layout;

/// The columns that [`read_event`] reads.
pub(crate) fn event_columns(layout: &Layout, metadata: bool) -> String {
    format!(
        "global_position::bigint, id::text, stream_id::text, event_type::text, version::bigint, \
         {}::int, event_data::text, {}, (extract(epoch FROM created_at) * 1000000)::bigint",
        if layout.schema_version {
            "schema_version"
        } else {
            "1"
        },
        if metadata {
            "coalesce(metadata::text, '{}')"
        } else {
            "''::text"
        },
    )
}

/// Reads a row with these columns.
pub(crate) fn read_event(row: &PgRow) -> Result<Event, sqlx::Error> {
    Ok(Event {
        position: Position::from_sql(row.try_get(0)?).ok_or_else(|| out_of_range(0))?,
        id: row.try_get(1)?,
        stream_id: row.try_get(2)?,
        event_type: row.try_get(3)?,
        version: row
            .try_get::<i64, _>(4)?
            .try_into()
            .map_err(|_| out_of_range(4))?,
        schema_version: row
            .try_get::<i32, _>(5)?
            .try_into()
            .map_err(|_| out_of_range(5))?,
        data: Payload::Json(
            row.try_get::<Option<String>, _>(6)?
                .unwrap_or_else(|| "null".to_owned()),
        ),
        metadata: row.try_get(7)?,
        recorded_at: row.try_get(8)?,
    })
}

fn out_of_range(column: usize) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: "the number must not be negative".into(),
    }
}
