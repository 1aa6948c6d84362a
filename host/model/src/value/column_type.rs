//! The types of columns.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Decimal, Value};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Integer,
    /// A 64-bit IEEE 754 number.
    Float,
    /// An exact decimal number.
    Decimal,
    /// Text without U+0000.
    Text,
    /// Bytes.
    Bytes,
    /// Microseconds since the Unix epoch, UTC; years 1 to 9999.
    Timestamp,
    /// Days since the Unix epoch; years 1 to 9999.
    Date,
    /// A UUID.
    Uuid,
    /// A JSON document.
    Json,
}

impl ColumnType {
    /// The name that the contract gives the type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Uuid => "uuid",
            Self::Json => "json",
        }
    }

    /// What `merge` puts into a column that is not nullable when it creates
    /// a row.
    #[must_use]
    pub fn zero(self) -> Value {
        match self {
            Self::Boolean => Value::Boolean(false),
            Self::Integer => Value::Integer(0),
            Self::Float => Value::Float(0.0),
            Self::Decimal => Value::Decimal(Decimal::zero()),
            Self::Text => Value::Text(String::new()),
            Self::Bytes => Value::Bytes(Vec::new()),
            Self::Timestamp => Value::Timestamp(0),
            Self::Date => Value::Date(0),
            Self::Uuid => Value::Uuid(Uuid::nil()),
            Self::Json => Value::Json("null".to_owned()),
        }
    }
}

impl std::fmt::Display for ColumnType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which floats a database can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// All of them (PostgreSQL).
    All,
    /// All but NaN (SQLite stores NaN as null).
    NotNan,
}
