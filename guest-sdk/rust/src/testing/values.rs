//! Between the SDK's values, which are the contract's, and the host's.

use gnomon_model::{Change, ColumnType, InvalidValue, Value};

use crate::value;

pub(super) fn to_host(value: value::Value) -> Result<Value, InvalidValue> {
    Ok(match value {
        value::Value::Null => Value::Null,
        value::Value::Boolean(value) => Value::Boolean(value),
        value::Value::Integer(value) => Value::Integer(value),
        value::Value::Float(value) => Value::Float(value),
        value::Value::Decimal(text) => Value::decimal(&text)?,
        value::Value::Text(text) => Value::Text(text),
        value::Value::Bytes(bytes) => Value::Bytes(bytes),
        value::Value::Timestamp(at) => Value::Timestamp(at),
        value::Value::Date(day) => Value::Date(day),
        value::Value::Uuid(text) => Value::uuid(&text)?,
        value::Value::Json(text) => Value::Json(text),
    })
}

pub(super) fn all_to_host(values: Vec<value::Value>) -> Result<Vec<Value>, InvalidValue> {
    values.into_iter().map(to_host).collect()
}

pub(super) fn changes_to_host(
    changes: Vec<value::RawChange>,
) -> Result<Vec<Change<'static>>, InvalidValue> {
    changes
        .into_iter()
        .map(|change| {
            Ok(match change {
                value::RawChange::Set((column, value)) => Change::Set(column, to_host(value)?),
                value::RawChange::Add((column, value)) => Change::Add(column, to_host(value)?),
                value::RawChange::Min((column, value)) => Change::Min(column, to_host(value)?),
                value::RawChange::Max((column, value)) => Change::Max(column, to_host(value)?),
            })
        })
        .collect()
}

pub(super) fn from_host(value: Value) -> value::Value {
    match value {
        Value::Null => value::Value::Null,
        Value::Boolean(value) => value::Value::Boolean(value),
        Value::Integer(value) => value::Value::Integer(value),
        Value::Float(value) => value::Value::Float(value),
        Value::Decimal(number) => value::Value::Decimal(number.into_string()),
        Value::Text(text) => value::Value::Text(text),
        Value::Bytes(bytes) => value::Value::Bytes(bytes),
        Value::Timestamp(at) => value::Value::Timestamp(at),
        Value::Date(day) => value::Value::Date(day),
        Value::Uuid(id) => value::Value::Uuid(id.to_string()),
        Value::Json(text) => value::Value::Json(text),
    }
}

pub(super) fn all_from_host(values: Vec<Value>) -> Vec<value::Value> {
    values.into_iter().map(from_host).collect()
}

pub(super) const fn column_type(column_type: value::ColumnType) -> ColumnType {
    match column_type {
        value::ColumnType::Boolean => ColumnType::Boolean,
        value::ColumnType::Integer => ColumnType::Integer,
        value::ColumnType::Float => ColumnType::Float,
        value::ColumnType::Decimal => ColumnType::Decimal,
        value::ColumnType::Text => ColumnType::Text,
        value::ColumnType::Bytes => ColumnType::Bytes,
        value::ColumnType::Timestamp => ColumnType::Timestamp,
        value::ColumnType::Date => ColumnType::Date,
        value::ColumnType::Uuid => ColumnType::Uuid,
        value::ColumnType::Json => ColumnType::Json,
    }
}
