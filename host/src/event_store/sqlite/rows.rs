//! Rows of `events` as events.

use gnomon_model::{EventRef, PayloadRef, Position};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type, ValueRef};

use super::Layout;
use crate::event_store::EVENT_BYTES_MAX;
use crate::event_store::timestamp::parse_stored;

/// The columns that [`read_event`] reads.
pub(crate) fn event_columns(layout: Layout, metadata: bool) -> String {
    format!(
        "global_position, id, stream_id, event_type, version, {}, {}, {}, created_at",
        if layout.schema_version {
            "schema_version"
        } else {
            "1"
        },
        bounded("event_data"),
        if metadata {
            bounded("coalesce(metadata, '{}')")
        } else {
            "''".to_owned()
        },
    )
}

/// A value, or its length if that is too large; SQLite knows it without reading
/// the value.
fn bounded(value: &str) -> String {
    format!(
        "CASE WHEN octet_length({value}) > {EVENT_BYTES_MAX} THEN octet_length({value}) \
         ELSE {value} END"
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
        data: match whole(row, 6)? {
            ValueRef::Blob(bytes) => PayloadRef::Binary(bytes),
            ValueRef::Null => PayloadRef::Json("null"),
            _ => PayloadRef::Json(text(row, 6)?),
        },
        metadata: whole(row, 7).and_then(|_| text(row, 7))?,
        recorded_at: parse_stored(time).ok_or_else(|| {
            rusqlite::Error::FromSqlConversionFailure(
                8,
                Type::Text,
                format!("`{time}` is not a time").into(),
            )
        })?,
    })
}

/// A value that is not too long.
fn whole<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<ValueRef<'a>> {
    match row.get_ref(column)? {
        ValueRef::Integer(bytes) if usize::try_from(bytes).is_ok_and(|n| n > EVENT_BYTES_MAX) => {
            Err(rusqlite::Error::FromSqlConversionFailure(
                column,
                Type::Text,
                format!(
                    "event {} has {bytes} bytes, and its data and its metadata may have \
                     {EVENT_BYTES_MAX} each",
                    row.get::<_, i64>(0)?
                )
                .into(),
            ))
        }
        value => Ok(value),
    }
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
