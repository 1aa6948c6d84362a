//! From the contract's types to the model's and back. Strings are moved, not
//! copied.

use gnomon_model::readable::name;
pub(super) use gnomon_model::readable::{one_line, readable};
use gnomon_model::{
    Change, Column, ColumnType, Decimal, DeclaredTable, Description, EventList, EventRef,
    InvalidDescription, InvalidValue, PayloadRef, Row, Subscription, Value,
};

use super::bad_value::BadValue;
use super::bindings::gnomon::projection::{read_model, types};

/// Stream id, type and position of an event, for messages.
#[must_use]
pub fn describe_event(event: EventRef<'_>) -> String {
    let (event_type, stream) = (name(event.event_type), name(event.stream_id));
    format!("event {} ({event_type} in stream {stream})", event.position)
}

/// Events in the form in which a guest takes them.
pub(super) fn events(list: &EventList) -> Vec<types::Event<'_>> {
    list.iter()
        .map(|event| types::Event {
            position: event.position.get(),
            id: event.id,
            stream_id: event.stream_id,
            event_type: event.event_type,
            version: event.version,
            schema_version: event.schema_version,
            data: match event.data {
                // What cannot be read is given to no guest.
                PayloadRef::Json(text) | PayloadRef::Unreadable(text) => types::Payload::Json(text),
                PayloadRef::Binary(bytes) => types::Payload::Binary(bytes),
            },
            metadata: event.metadata,
            recorded_at: event.recorded_at,
        })
        .collect()
}

pub(super) fn description(declared: types::Description) -> Result<Description, InvalidDescription> {
    let tables = declared
        .tables
        .into_iter()
        .map(|table| DeclaredTable {
            name: table.name,
            columns: table
                .columns
                .into_iter()
                .map(|column| Column {
                    name: column.name,
                    column_type: column_type(column.column_type),
                    nullable: column.nullable,
                })
                .collect(),
            primary_key: table.primary_key,
            indexes: table.indexes,
        })
        .collect();
    let subscription = Subscription {
        event_types: declared.subscription.event_types,
        categories: declared.subscription.categories,
        metadata: declared.subscription.metadata,
    };
    Description::check(declared.name, declared.version, subscription, tables)
}

const fn column_type(declared: types::ColumnType) -> ColumnType {
    match declared {
        types::ColumnType::Boolean => ColumnType::Boolean,
        types::ColumnType::Integer => ColumnType::Integer,
        types::ColumnType::Float => ColumnType::Float,
        types::ColumnType::Decimal => ColumnType::Decimal,
        types::ColumnType::Text => ColumnType::Text,
        types::ColumnType::Bytes => ColumnType::Bytes,
        types::ColumnType::Timestamp => ColumnType::Timestamp,
        types::ColumnType::Date => ColumnType::Date,
        types::ColumnType::Uuid => ColumnType::Uuid,
        types::ColumnType::Json => ColumnType::Json,
    }
}

/// A guest's value; decimals and UUIDs are parsed here, the rest is checked
/// against the column later.
fn value(value: types::Value) -> Result<Value, InvalidValue> {
    Ok(match value {
        types::Value::Null => Value::Null,
        types::Value::Boolean(value) => Value::Boolean(value),
        types::Value::Integer(value) => Value::Integer(value),
        types::Value::Float(value) => Value::Float(value),
        types::Value::Decimal(text) => Value::Decimal(text.parse::<Decimal>()?),
        types::Value::Text(text) => Value::Text(text),
        types::Value::Bytes(bytes) => Value::Bytes(bytes),
        types::Value::Timestamp(at) => Value::Timestamp(at),
        types::Value::Date(day) => Value::Date(day),
        types::Value::Uuid(text) => Value::uuid(&text)?,
        types::Value::Json(text) => Value::Json(text),
    })
}

pub(super) fn values(values: Vec<types::Value>) -> Result<Vec<Value>, BadValue> {
    let numbered = values.into_iter().enumerate();
    numbered
        .map(|(place, given)| value(given).map_err(|reason| BadValue::at(place, reason)))
        .collect()
}

/// Their columns' names are borrowed; what is moved leaves a null.
pub(super) fn changes(changes: &mut [read_model::Change]) -> Result<Vec<Change<'_>>, BadValue> {
    let take = |column: &str, new: &mut types::Value| {
        value(std::mem::replace(new, types::Value::Null))
            .map_err(|reason| BadValue::of(column, reason))
    };
    changes
        .iter_mut()
        .map(|change| {
            Ok(match change {
                read_model::Change::Set((column, new)) => Change::Set(column, take(column, new)?),
                read_model::Change::Add((column, new)) => Change::Add(column, take(column, new)?),
                read_model::Change::Min((column, new)) => Change::Min(column, take(column, new)?),
                read_model::Change::Max((column, new)) => Change::Max(column, take(column, new)?),
            })
        })
        .collect()
}

pub(super) fn row(row: Row) -> Vec<types::Value> {
    row.into_iter()
        .map(|value| match value {
            Value::Null => types::Value::Null,
            Value::Boolean(value) => types::Value::Boolean(value),
            Value::Integer(value) => types::Value::Integer(value),
            Value::Float(value) => types::Value::Float(value),
            Value::Decimal(decimal) => types::Value::Decimal(decimal.into_string()),
            Value::Text(text) => types::Value::Text(text),
            Value::Bytes(bytes) => types::Value::Bytes(bytes),
            Value::Timestamp(at) => types::Value::Timestamp(at),
            Value::Date(day) => types::Value::Date(day),
            Value::Uuid(uuid) => types::Value::Uuid(uuid.hyphenated().to_string()),
            Value::Json(text) => types::Value::Json(text),
        })
        .collect()
}
