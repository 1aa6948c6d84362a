//! Rows of `events` as events.

use gnomon_model::{Event, Payload, Position};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;

use super::Layout;

/// From 1970, where our times begin, to 2000, where PostgreSQL's do.
const MICROSECONDS_TO_2000: i64 = 946_684_800_000_000;

/// The columns that [`read_event`] reads. The server converts only what it
/// must: to `extract` an epoch is arithmetic with decimals, for each row.
pub(crate) fn event_columns(layout: &Layout, metadata: bool) -> String {
    format!(
        "global_position::bigint, {}, stream_id::text, event_type::text, version::bigint, \
         {}::int, event_data::text, {}, {}",
        if layout.has_uuids() { "id" } else { "id::text" },
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
        if layout.has_timestamps() {
            "created_at"
        } else {
            "(extract(epoch FROM created_at) * 1000000)::bigint"
        },
    )
}

/// Reads a row with these columns.
pub(crate) fn read_event(row: &PgRow, layout: &Layout) -> Result<Event, sqlx::Error> {
    Ok(Event {
        position: Position::from_sql(row.try_get(0)?).ok_or_else(|| out_of_range(0))?,
        id: if layout.has_uuids() {
            Uuid::from_bytes(binary(row, 1)?).to_string()
        } else {
            row.try_get(1)?
        },
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
        recorded_at: if layout.has_timestamps() {
            timestamp(i64::from_be_bytes(binary(row, 8)?))?
        } else {
            row.try_get(8)?
        },
    })
}

/// A value of this many bytes, as the server sends it.
fn binary<const LENGTH: usize>(row: &PgRow, column: usize) -> Result<[u8; LENGTH], sqlx::Error> {
    let value = row.try_get_raw(column)?;
    let malformed = |source| sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source,
    };
    if value.is_null() {
        return Err(malformed("it is null".into()));
    }
    let bytes = value.as_bytes().map_err(malformed)?;
    bytes
        .try_into()
        .map_err(|_| malformed(format!("{LENGTH} bytes were expected").into()))
}

/// Microseconds since 1970 from those since 2000; the ends of the range are
/// infinite.
fn timestamp(since_2000: i64) -> Result<i64, sqlx::Error> {
    let is_finite = since_2000 != i64::MAX && since_2000 != i64::MIN;
    is_finite
        .then(|| since_2000.checked_add(MICROSECONDS_TO_2000))
        .flatten()
        .ok_or_else(|| sqlx::Error::ColumnDecode {
            index: "created_at".to_owned(),
            source: "an infinite time is the time of no event".into(),
        })
}

fn out_of_range(column: usize) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: "the number must not be negative".into(),
    }
}
