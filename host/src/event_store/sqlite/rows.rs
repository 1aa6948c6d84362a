//! Rows of `events` as events.

use gnomon_model::{EventRef, PayloadRef, Position};
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
pub(crate) fn read_event<'a>(row: &'a Row<'_>) -> rusqlite::Result<EventRef<'a>> {
    let time = row.get_ref(8)?.as_str()?;
    Ok(EventRef {
        position: Position::from_sql(row.get(0)?).ok_or_else(|| out_of_range(0))?,
        id: text(row, 1)?,
        stream_id: text(row, 2)?,
        event_type: text(row, 3)?,
        version: row
            .get::<_, i64>(4)?
            .try_into()
            .map_err(|_| out_of_range(4))?,
        schema_version: row
            .get::<_, i64>(5)?
            .try_into()
            .map_err(|_| out_of_range(5))?,
        data: match row.get_ref(6)? {
            ValueRef::Blob(bytes) => PayloadRef::Binary(bytes),
            ValueRef::Null => PayloadRef::Json("null"),
            _ => PayloadRef::Json(text(row, 6)?),
        },
        metadata: text(row, 7)?,
        recorded_at: parse_stored(time).ok_or_else(|| {
            rusqlite::Error::FromSqlConversionFailure(
                8,
                Type::Text,
                format!("`{time}` is not a time").into(),
            )
        })?,
    })
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    row.get_ref(column)?.as_str().or_else(|error| {
        // Only the error of `get` says which column it is.
        row.get::<_, String>(column).and_then(|_| Err(error.into()))
    })
}

fn out_of_range(column: usize) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Integer,
        FromSqlError::InvalidType.into(),
    )
}
