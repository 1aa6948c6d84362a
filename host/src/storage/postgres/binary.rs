//! Values in PostgreSQL's binary format, alone and as arrays.

use gnomon_model::{ColumnType, Key, Row, Value};
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Postgres, Type, ValueRef};
use uuid::Uuid;

use super::numeric;

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;
/// The first byte of a binary `jsonb`.
const JSONB_VERSION: u8 = 1;

/// How PostgreSQL calls a type.
struct SqlType {
    name: &'static str,
    oid: u32,
    array_oid: u32,
}

const fn known(column_type: ColumnType) -> SqlType {
    let (name, oid, array_oid) = match column_type {
        ColumnType::Boolean => ("boolean", 16, 1000),
        ColumnType::Integer => ("bigint", 20, 1016),
        ColumnType::Float => ("double precision", 701, 1022),
        ColumnType::Decimal => ("numeric", 1700, 1231),
        ColumnType::Text => ("text", 25, 1009),
        ColumnType::Bytes => ("bytea", 17, 1001),
        ColumnType::Timestamp => ("timestamptz", 1184, 1185),
        ColumnType::Date => ("date", 1082, 1182),
        ColumnType::Uuid => ("uuid", 2950, 2951),
        ColumnType::Json => ("jsonb", 3802, 3807),
    };
    SqlType {
        name,
        oid,
        array_oid,
    }
}

/// The name of a column type in SQL.
pub(super) const fn sql_type(column_type: ColumnType) -> &'static str {
    known(column_type).name
}

/// The number by which PostgreSQL knows a column type.
pub(super) const fn type_oid(column_type: ColumnType) -> u32 {
    known(column_type).oid
}

/// One value as a parameter.
pub(super) struct Cell<'a> {
    pub(super) column_type: ColumnType,
    pub(super) value: &'a Value,
}

/// A column of many rows or keys as one array parameter.
pub(super) struct ColumnArray<'a> {
    pub(super) column_type: ColumnType,
    pub(super) cells: Cells<'a>,
}

/// Where the cells of a [`ColumnArray`] are.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    /// In this column of rows.
    Rows(&'a [Row], usize),
    /// At this place of keys.
    Keys(&'a [Key], usize),
}

impl<'a> Cells<'a> {
    const fn len(self) -> usize {
        match self {
            Self::Rows(rows, _) => rows.len(),
            Self::Keys(keys, _) => keys.len(),
        }
    }

    fn get(self, number: usize) -> &'a Value {
        let cell = match self {
            Self::Rows(rows, column) => rows.get(number).and_then(|row| row.get(column)),
            Self::Keys(keys, place) => keys.get(number).and_then(|key| key.values().get(place)),
        };
        cell.unwrap_or(&Value::Null)
    }
}

/// Appends a value that is not null.
pub(super) fn encode(value: &Value, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
    match value {
        Value::Null => return Err("a null has no binary form".into()),
        Value::Boolean(value) => buffer.push(u8::from(*value)),
        Value::Integer(value) => buffer.extend(value.to_be_bytes()),
        Value::Float(value) => buffer.extend(value.to_be_bytes()),
        Value::Decimal(value) => numeric::encode(value, buffer)?,
        Value::Text(value) => buffer.extend(value.as_bytes()),
        Value::Bytes(value) => buffer.extend(value),
        Value::Timestamp(at) => {
            let since = at
                .checked_sub(EPOCH_MICROSECONDS)
                .ok_or("a timestamp is out of range")?;
            buffer.extend(since.to_be_bytes());
        }
        Value::Date(day) => {
            let since = day
                .checked_sub(EPOCH_DAYS)
                .ok_or("a date is out of range")?;
            buffer.extend(since.to_be_bytes());
        }
        Value::Uuid(value) => buffer.extend(value.as_bytes()),
        Value::Json(value) => {
            buffer.push(JSONB_VERSION);
            buffer.extend(value.as_bytes());
        }
    }
    Ok(())
}

/// Reads a cell of a column of this type.
pub(super) fn decode(column_type: ColumnType, cell: &PgValueRef<'_>) -> Result<Value, BoxDynError> {
    if cell.is_null() {
        return Ok(Value::Null);
    }
    // Every query with a prepared statement asks for binary results.
    if cell.format() != PgValueFormat::Binary {
        return Err("the server sent text instead of binary".into());
    }
    let bytes = cell.as_bytes()?;
    let text = || std::str::from_utf8(bytes).map(str::to_owned);
    Ok(match column_type {
        ColumnType::Boolean => Value::Boolean(bytes != [0]),
        ColumnType::Integer => Value::Integer(i64::from_be_bytes(bytes.try_into()?)),
        ColumnType::Float => Value::Float(f64::from_be_bytes(bytes.try_into()?)),
        ColumnType::Decimal => Value::Decimal(numeric::decode(bytes)?),
        ColumnType::Text => Value::Text(text()?),
        ColumnType::Bytes => Value::Bytes(bytes.to_owned()),
        ColumnType::Timestamp => {
            let since = i64::from_be_bytes(bytes.try_into()?);
            Value::Timestamp(
                since
                    .checked_add(EPOCH_MICROSECONDS)
                    .ok_or("a timestamp is out of range")?,
            )
        }
        ColumnType::Date => {
            let since = i32::from_be_bytes(bytes.try_into()?);
            Value::Date(
                since
                    .checked_add(EPOCH_DAYS)
                    .ok_or("a date is out of range")?,
            )
        }
        ColumnType::Uuid => Value::Uuid(Uuid::from_slice(bytes)?),
        ColumnType::Json => match bytes.split_first() {
            Some((&JSONB_VERSION, json)) => Value::Json(std::str::from_utf8(json)?.to_owned()),
            _ => return Err("a jsonb of an unknown version".into()),
        },
    })
}

impl Type<Postgres> for Cell<'_> {
    /// Never used: every value says what it produces.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Cell<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        if let Value::Null = self.value {
            return Ok(IsNull::Yes);
        }
        encode(self.value, buffer)?;
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(known(self.column_type).oid)))
    }
}

impl Type<Postgres> for ColumnArray<'_> {
    /// Never used: every value says what it produces.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for ColumnArray<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const DIMENSIONS: i32 = 1;
        const MAY_HAVE_NULLS: i32 = 1;
        const LOWER_BOUND: i32 = 1;
        const NULL_LENGTH: i32 = -1;
        let count = self.cells.len();
        buffer.extend(DIMENSIONS.to_be_bytes());
        buffer.extend(MAY_HAVE_NULLS.to_be_bytes());
        buffer.extend(known(self.column_type).oid.to_be_bytes());
        buffer.extend(i32::try_from(count)?.to_be_bytes());
        buffer.extend(LOWER_BOUND.to_be_bytes());
        for number in 0..count {
            let value = self.cells.get(number);
            let length_at = buffer.len();
            buffer.extend(NULL_LENGTH.to_be_bytes());
            if let Value::Null = value {
                continue;
            }
            let start = buffer.len();
            encode(value, buffer)?;
            let length = i32::try_from(buffer.len() - start)?;
            if let Some(place) = buffer.get_mut(length_at..start) {
                place.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(known(self.column_type).array_oid)))
    }
}
