//! Cells and changes as they cross the boundary.
//!
//! On wasm the bindings lower these types as they are: they have the cases of
//! `value` and `change` in the contract, by name and in order.

/// The type of a column, as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Integer,
    /// A 64-bit IEEE 754 number.
    Float,
    /// An exact decimal number.
    Decimal,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Microseconds since the Unix epoch, UTC.
    Timestamp,
    /// Days since the Unix epoch.
    Date,
    /// A UUID.
    Uuid,
    /// A JSON document.
    Json,
}

/// One cell of a row, as in the contract.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit IEEE 754 number.
    Float(f64),
    /// An exact decimal number in plain notation.
    Decimal(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since the Unix epoch, UTC.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i32),
    /// A UUID in its 36-character form.
    Uuid(String),
    /// A JSON document.
    Json(String),
}

/// One change to the column of this name, as in the contract.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RawChange {
    /// Replaces the value.
    Set((&'static str, Value)),
    /// Adds to it.
    Add((&'static str, Value)),
    /// Keeps the smaller.
    Min((&'static str, Value)),
    /// Keeps the larger.
    Max((&'static str, Value)),
}
