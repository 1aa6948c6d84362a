//! Rows of `events` as events.

use gnomon_model::{Event, Payload, Position};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type, ValueRef};

use super::Layout;
use crate::event_store::timestamp::parse_stored;

/// The columns that [`read_event`] reads.
pub(crate) fn event_columns(layout: Layout, metadata: bool) -> String {
    format!(
        "global_position, id, stream_id, event_type, version, {}, event_data, {}, created_at",
        if layout.schema_version {
            "schema_version"
        } else {
            "1"
        },
        if metadata {
            "coalesce(metadata, '{}')"
        } else {
            "''"
        },
    )
}

/// Reads a row with these columns.
pub(crate) fn read_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let time = row.get_ref(8)?.as_str()?;
    Ok(Event {
        position: Position::from_sql(row.get(0)?).ok_or_else(|| out_of_range(0))?,
        id: row.get(1)?,
        stream_id: row.get(2)?,
        event_type: row.get(3)?,
        version: row
            .get::<_, i64>(4)?
            .try_into()
            .map_err(|_| out_of_range(4))?,
        schema_version: row
            .get::<_, i64>(5)?
            .try_into()
            .map_err(|_| out_of_range(5))?,
        data: match row.get_ref(6)? {
            ValueRef::Blob(bytes) => Payload::Binary(bytes.to_owned()),
            ValueRef::Null => Payload::Json("null".to_owned()),
            _ => Payload::Json(row.get(6)?),
        },
        metadata: row.get(7)?,
        recorded_at: parse_stored(time).ok_or_else(|| {
            rusqlite::Error::FromSqlConversionFailure(
                8,
                Type::Text,
                format!("`{time}` is not a time").into(),
            )
        })?,
    })
}

fn out_of_range(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Integer,
        FromSqlError::InvalidType.into(),
    )
}
