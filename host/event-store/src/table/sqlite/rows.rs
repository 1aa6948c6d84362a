//! Rows of `events` as events.

use gnomon_model::{EventRef, PayloadRef, Position, json};
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};

use super::Columns;
use crate::table::{EVENT_BYTES_MAX, NAME_BYTES_MAX};
use crate::timestamp::parse_stored;

/// The columns that [`read_event`] reads.
pub(crate) fn event_columns(columns: &Columns, metadata: bool) -> String {
    let layout = &columns.layout;
    format!(
        "{}, {}, {}, {}, {}, {}, {}, {}, {}",
        layout.position.sql(),
        layout.id.sql(),
        layout.stream.sql(),
        layout.event_type.sql(),
        layout.version.sql(),
        match columns.schema_version {
            true => layout.schema_version.sql(),
            false => "1",
        },
        bounded(layout.data.sql()),
        match metadata {
            true => bounded(&format!("coalesce({}, '{{}}')", layout.metadata.sql())),
            false => "''".to_owned(),
        },
        layout.recorded_at.sql(),
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

/// What is written of an event that cannot be read: its id, stream, type,
/// metadata and the reason.
#[derive(Debug, Default)]
pub(crate) struct Scratch([String; 5]);

/// Why a row is no event.
enum Fault {
    Row(rusqlite::Error),
    /// A column holds what no event has there.
    Value(usize, String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Row(error)
    }
}

/// Reads a row with these columns. One that holds what no event has is an event
/// that cannot be read, and says why.
pub(crate) fn read_event<'a>(
    row: &'a Row<'_>,
    columns: &Columns,
    scratch: &'a mut Scratch,
) -> rusqlite::Result<EventRef<'a>> {
    let position = Position::from_sql(row.get(0)?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, "it is negative".into())
    })?;
    match read(row, columns, position) {
        Ok(event) => Ok(event),
        Err(Fault::Row(error)) => Err(error),
        Err(Fault::Value(column, reason)) => {
            let column = columns.layout.name(column);
            let reason = format!("it cannot be read: its `{column}` {reason}");
            unreadable(row, position, scratch, reason)
        }
    }
}

fn read<'a>(
    row: &'a Row<'_>,
    columns: &Columns,
    position: Position,
) -> Result<EventRef<'a>, Fault> {
    let data = match whole(row, 6)? {
        ValueRef::Blob(bytes) => PayloadRef::Binary(bytes),
        ValueRef::Null => PayloadRef::Json("null"),
        _ => {
            let data = text(row, 6)?;
            if !columns.checks_json {
                json::check(data).map_err(|error| Fault::Value(6, format!("is {error}")))?;
            }
            PayloadRef::Json(data)
        }
    };
    let metadata = whole(row, 7).and_then(|_| text(row, 7))?;
    if !columns.checks_metadata && !metadata.is_empty() {
        json::check(metadata).map_err(|error| Fault::Value(7, format!("is {error}")))?;
    }
    let time = text(row, 8)?;
    Ok(EventRef {
        position,
        id: name(row, 1)?,
        stream_id: name(row, 2)?,
        event_type: name(row, 3)?,
        version: number(row, 4)?,
        schema_version: number(row, 5)?,
        data,
        metadata,
        recorded_at: parse_stored(time).ok_or_else(|| {
            let shown: String = time.chars().take(40).collect();
            Fault::Value(8, format!("is no time: `{}`", shown.escape_debug()))
        })?,
    })
}

/// A value that is not too long.
fn whole<'a>(row: &'a Row<'_>, column: usize) -> Result<ValueRef<'a>, Fault> {
    match row.get_ref(column)? {
        ValueRef::Integer(bytes) if usize::try_from(bytes).is_ok_and(|n| n > EVENT_BYTES_MAX) => {
            Err(Fault::Value(
                column,
                format!("has {bytes} bytes, and it may have {EVENT_BYTES_MAX}"),
            ))
        }
        value => Ok(value),
    }
}

/// What can be read of an event that cannot be read as a whole.
fn unreadable<'a>(
    row: &Row<'_>,
    position: Position,
    scratch: &'a mut Scratch,
    reason: String,
) -> rusqlite::Result<EventRef<'a>> {
    let lossy = |column| {
        Ok::<_, rusqlite::Error>(match row.get_ref(column)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                let bytes = bytes.get(..NAME_BYTES_MAX).unwrap_or(bytes);
                String::from_utf8_lossy(bytes).into_owned()
            }
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(_) | ValueRef::Null => String::new(),
        })
    };
    let metadata = match whole(row, 7).and_then(|_| text(row, 7)) {
        Ok(metadata) => metadata.to_owned(),
        Err(_) => lossy(7)?,
    };
    scratch.0 = [lossy(1)?, lossy(2)?, lossy(3)?, metadata, reason];
    let [id, stream_id, event_type, metadata, reason] = &scratch.0;
    let time = text(row, 8).ok();
    Ok(EventRef {
        position,
        id,
        stream_id,
        event_type,
        version: number(row, 4).unwrap_or_default(),
        schema_version: number(row, 5).unwrap_or_default(),
        data: PayloadRef::Unreadable(reason),
        metadata,
        recorded_at: time.and_then(parse_stored).unwrap_or_default(),
    })
}

fn name<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, Fault> {
    let name = text(row, column)?;
    match name.len() {
        0..=NAME_BYTES_MAX => Ok(name),
        bytes => Err(Fault::Value(
            column,
            format!("has {bytes} bytes, and it may have {NAME_BYTES_MAX}"),
        )),
    }
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, Fault> {
    let kind = match row.get_ref(column)? {
        ValueRef::Text(bytes) => {
            return std::str::from_utf8(bytes).map_err(|error| {
                Fault::Value(column, format!("holds bytes that are no text: {error}"))
            });
        }
        ValueRef::Null => "is null",
        ValueRef::Integer(_) | ValueRef::Real(_) => "is a number",
        ValueRef::Blob(_) => "is a BLOB",
    };
    Err(Fault::Value(column, kind.to_owned()))
}

fn number<N: TryFrom<i64>>(row: &Row<'_>, column: usize) -> Result<N, Fault> {
    match row.get_ref(column)? {
        ValueRef::Integer(number) => N::try_from(number)
            .map_err(|_| Fault::Value(column, format!("is {number}, which is out of range"))),
        ValueRef::Null => Err(Fault::Value(column, "is null".to_owned())),
        _ => Err(Fault::Value(column, "is no number".to_owned())),
    }
}
