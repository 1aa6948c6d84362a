//! Values as SQLite stores them.
//!
//! Text forms are chosen so that SQLite's byte order is the value's order:
//! times with a fixed number of digits, UUIDs in lower case. Only decimals
//! sort differently from their text.

use std::fmt::Write as _;

use gnomon_model::{ColumnType, Value};
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use rusqlite::ToSql;
use rusqlite::types::{FromSqlError, FromSqlResult, ToSqlOutput, Value as Owned, ValueRef};

use crate::json_text::JsonText;

const SECONDS_PER_DAY: i64 = 86_400;

/// The type of a column in a `STRICT` table.
pub(super) const fn sql_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Boolean | ColumnType::Integer => "INTEGER",
        ColumnType::Float => "REAL",
        ColumnType::Bytes => "BLOB",
        ColumnType::Decimal
        | ColumnType::Text
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Uuid
        | ColumnType::Json => "TEXT",
    }
}

/// A value on its way into a statement.
pub(super) struct Cell<'a>(pub(crate) &'a Value);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = |text: String| ToSqlOutput::Owned(Owned::Text(text));
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(Owned::Null),
            Value::Boolean(value) => ToSqlOutput::Owned(Owned::Integer(i64::from(*value))),
            Value::Integer(value) => ToSqlOutput::Owned(Owned::Integer(*value)),
            Value::Float(value) => ToSqlOutput::Owned(Owned::Real(*value)),
            Value::Decimal(value) => {
                ToSqlOutput::Borrowed(ValueRef::Text(value.as_str().as_bytes()))
            }
            Value::Text(value) | Value::Json(value) => {
                ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes()))
            }
            Value::Bytes(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Value::Timestamp(at) => text(timestamp_text(*at).map_err(conversion)?),
            Value::Date(day) => text(date_text(*day).map_err(conversion)?),
            Value::Uuid(value) => text(value.hyphenated().to_string()),
        })
    }
}

fn conversion(error: jiff::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// Reads a cell of a column of this type.
pub(super) fn read(column_type: ColumnType, cell: ValueRef<'_>) -> FromSqlResult<Value> {
    if cell == ValueRef::Null {
        return Ok(Value::Null);
    }
    Ok(match column_type {
        ColumnType::Boolean => Value::Boolean(cell.as_i64()? != 0),
        ColumnType::Integer => Value::Integer(cell.as_i64()?),
        ColumnType::Float => Value::Float(cell.as_f64()?),
        ColumnType::Decimal => Value::Decimal(cell.as_str()?.parse().map_err(FromSqlError::other)?),
        ColumnType::Text => Value::Text(cell.as_str()?.to_owned()),
        ColumnType::Json => Value::Json(cell.as_str()?.to_owned()),
        ColumnType::Bytes => Value::Bytes(cell.as_blob()?.to_owned()),
        ColumnType::Timestamp => Value::Timestamp(timestamp(cell.as_str()?)?),
        ColumnType::Date => Value::Date(date(cell.as_str()?)?),
        ColumnType::Uuid => Value::uuid(cell.as_str()?).map_err(FromSqlError::other)?,
    })
}

/// A value as people read it: as JSON has it where JSON can, else the text of
/// the public views.
pub(super) fn shown(value: &Value) -> JsonText {
    match value {
        Value::Null => JsonText::of(()),
        Value::Boolean(value) => JsonText::of(value),
        Value::Integer(value) => JsonText::of(value),
        Value::Float(value) if value.is_finite() => JsonText::of(value),
        Value::Float(value) => JsonText::of(value.to_string()),
        Value::Json(text) => JsonText::new(text),
        Value::Bytes(bytes) => {
            let mut text = String::with_capacity(2 * bytes.len() + 2);
            text.push_str("\\x");
            for byte in bytes {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
            }
            JsonText::of(text)
        }
        Value::Decimal(number) => JsonText::of(number.as_str()),
        Value::Text(text) => JsonText::of(text),
        Value::Timestamp(at) => timestamp_text(*at).map_or_else(|_| JsonText::of(at), JsonText::of),
        Value::Date(day) => date_text(*day).map_or_else(|_| JsonText::of(day), JsonText::of),
        Value::Uuid(value) => JsonText::of(value.hyphenated().to_string()),
    }
}

/// RFC 3339 in UTC with all six digits of the microseconds.
///
/// A civil time is used because [`jiff::Timestamp`] ends a day before the
/// year 9999 does.
fn timestamp_text(at: i64) -> Result<String, jiff::Error> {
    let time =
        DateTime::from(Date::constant(1970, 1, 1)).checked_add(SignedDuration::from_micros(at))?;
    Ok(format!("{time:.6}Z"))
}

fn timestamp(text: &str) -> FromSqlResult<i64> {
    let time: DateTime = text
        .strip_suffix('Z')
        .ok_or(FromSqlError::InvalidType)?
        .parse()
        .map_err(FromSqlError::other)?;
    let since_epoch = time.duration_since(DateTime::from(Date::constant(1970, 1, 1)));
    i64::try_from(since_epoch.as_micros()).map_err(FromSqlError::other)
}

/// `YYYY-MM-DD`.
fn date_text(day: i32) -> Result<String, jiff::Error> {
    let date = Date::constant(1970, 1, 1)
        .checked_add(SignedDuration::from_secs(i64::from(day) * SECONDS_PER_DAY))?;
    Ok(date.to_string())
}

fn date(text: &str) -> FromSqlResult<i32> {
    let date: Date = text.parse().map_err(FromSqlError::other)?;
    let since_epoch = date.duration_since(Date::constant(1970, 1, 1));
    i32::try_from(since_epoch.as_secs() / SECONDS_PER_DAY).map_err(FromSqlError::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sort_as_texts() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_736_937_000_000_000, "2025-01-15T10:30:00.000000Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(timestamp_text(at).unwrap(), text);
            assert_eq!(timestamp(text).unwrap(), at);
        }
        for (day, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (-719_162, "0001-01-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date_text(day).unwrap(), text);
            assert_eq!(date(text).unwrap(), day);
        }
    }
}
