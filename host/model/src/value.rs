//! Values of cells: their types, their canonical forms and their order.
//!
//! Every value has one canonical form, the one that both databases give back
//! for it. A guest therefore reads the same bytes whether a row comes from
//! the batch that is still open or from the database, and the cut of the
//! batches cannot show in the rows.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use uuid::Uuid;

use crate::json;

mod column_type;
mod decimal;
mod key;

pub use column_type::{ColumnType, Floats};
pub use decimal::Decimal;
pub use key::{Key, KeyMap};

/// Days from 0001-01-01 to 1970-01-01, negated: the first date.
const DATE_MIN: i32 = -719_162;
/// 9999-12-31, the last date.
const DATE_MAX: i32 = 2_932_896;
const DAY_MICROSECONDS: i64 = 86_400_000_000;
const TIMESTAMP_MIN: i64 = DATE_MIN as i64 * DAY_MICROSECONDS;
const TIMESTAMP_MAX: i64 = (DATE_MAX as i64 + 1) * DAY_MICROSECONDS - 1;

/// One cell of a row.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A signed 64-bit integer.
    Integer(i64),
    /// A 64-bit IEEE 754 number.
    Float(f64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Microseconds since the Unix epoch, UTC.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i32),
    /// A UUID.
    Uuid(Uuid),
    /// A JSON document, as text.
    Json(String),
}

/// Why a column cannot hold a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// A null in a column that is not nullable.
    #[error("null, but the column is not nullable")]
    Null,
    /// A null as what `add`, `min` or `max` take.
    #[error("null cannot be the operand of `{change}`")]
    NullOperand {
        /// `add`, `min` or `max`.
        change: &'static str,
    },
    /// A value of another type.
    #[error("{value} is of type {found}")]
    Type {
        /// The type of what was given.
        found: &'static str,
        /// The value, or its beginning.
        value: String,
    },
    /// Text that does not read as the type.
    #[error("`{value}` is not {} {column_type}", article(*column_type))]
    Malformed {
        /// The column's type.
        column_type: ColumnType,
        /// The beginning of the text.
        value: String,
    },
    /// Beyond what the databases can hold.
    #[error("{value} is out of range for {} {column_type}", article(*column_type))]
    OutOfRange {
        /// The column's type.
        column_type: ColumnType,
        /// The value, or its beginning.
        value: String,
    },
    /// Text or JSON with U+0000.
    #[error("`{value}` has U+0000 in it, which PostgreSQL cannot hold")]
    Nul {
        /// The text, or its beginning.
        value: String,
    },
    /// A number in JSON whose exponent stands for too many digits.
    #[error(
        "a number in the JSON has more than {} digits when its exponent is written out",
        json::MAX_EXPANDED_DIGITS
    )]
    LongJsonNumber,
    /// JSON that takes more than a batch may still write.
    #[error(
        "the JSON takes more than the {bytes_max} bytes that its batch may still write \
         (limits.batch-write-bytes)"
    )]
    LongJson {
        /// What is left.
        bytes_max: usize,
    },
    /// A NaN for a database that has none.
    #[error("NaN, which SQLite cannot hold")]
    Nan,
    /// A change that the type does not have.
    #[error("`{change}` does not work on a column of type {column_type}")]
    Change {
        /// `add`, `min` or `max`.
        change: &'static str,
        /// The column's type.
        column_type: ColumnType,
    },
    /// A sum that no longer fits.
    #[error("`add` leaves the range of {} {column_type}", article(*column_type))]
    Overflow {
        /// The column's type.
        column_type: ColumnType,
    },
}

const fn article(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Integer => "an",
        _ => "a",
    }
}

/// The first characters of a guest's text, for an error message.
fn excerpt(text: &str) -> String {
    const EXCERPT_CHARACTERS: usize = 40;
    let mut short: String = text.chars().take(EXCERPT_CHARACTERS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().collect()
}

impl Value {
    /// The name of its type in the contract.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self.column_type() {
            Some(column_type) => column_type.name(),
            None => "null",
        }
    }

    /// Its type; `None` for null.
    #[must_use]
    pub const fn column_type(&self) -> Option<ColumnType> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(_) => ColumnType::Boolean,
            Self::Integer(_) => ColumnType::Integer,
            Self::Float(_) => ColumnType::Float,
            Self::Decimal(_) => ColumnType::Decimal,
            Self::Text(_) => ColumnType::Text,
            Self::Bytes(_) => ColumnType::Bytes,
            Self::Timestamp(_) => ColumnType::Timestamp,
            Self::Date(_) => ColumnType::Date,
            Self::Uuid(_) => ColumnType::Uuid,
            Self::Json(_) => ColumnType::Json,
        })
    }

    /// Parses the text of a decimal.
    ///
    /// # Errors
    /// [`InvalidValue`] if it is not plain decimal notation.
    pub fn decimal(text: &str) -> Result<Self, InvalidValue> {
        text.parse().map(Self::Decimal)
    }

    /// Parses a UUID in its 36-character form.
    ///
    /// # Errors
    /// [`InvalidValue::Malformed`] for any other text.
    pub fn uuid(text: &str) -> Result<Self, InvalidValue> {
        const HYPHENATED_LENGTH: usize = 36;
        Some(text)
            .filter(|text| text.len() == HYPHENATED_LENGTH)
            .and_then(|text| Uuid::try_parse(text).ok())
            .map(Self::Uuid)
            .ok_or_else(|| InvalidValue::Malformed {
                column_type: ColumnType::Uuid,
                value: excerpt(text),
            })
    }

    /// It, or its beginning, as a message shows it.
    fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Decimal(decimal) => format!("`{}`", excerpt(decimal.as_str())),
            Self::Text(text) | Self::Json(text) => format!("`{}`", excerpt(text)),
            Self::Bytes(bytes) => format!("a value of {} bytes", bytes.len()),
            Self::Timestamp(at) => format!("{at} µs"),
            Self::Date(day) => format!("day {day}"),
            Self::Uuid(uuid) => format!("`{uuid}`"),
        }
    }

    /// Checks a value that is not null against a column's type and brings it
    /// to its canonical form. Only that of JSON may be longer than what was
    /// given: it is taken from `room`, in bytes, before it is made.
    ///
    /// # Errors
    /// [`InvalidValue`] if the column cannot hold it.
    pub fn check(
        &mut self,
        expected: ColumnType,
        floats: Floats,
        room: &mut usize,
    ) -> Result<(), InvalidValue> {
        if self.column_type() != Some(expected) {
            return Err(InvalidValue::Type {
                found: self.type_name(),
                value: self.shown(),
            });
        }
        let out_of_range = |value: String| InvalidValue::OutOfRange {
            column_type: expected,
            value,
        };
        match self {
            Self::Float(number) if number.is_nan() => match floats {
                Floats::All => *number = f64::NAN,
                Floats::NotNan => return Err(InvalidValue::Nan),
            },
            // SQLite stores -0.0 as the integer 0, so zero has no sign.
            Self::Float(number) if *number == 0.0 => *number = 0.0,
            Self::Text(text) if text.contains('\0') => {
                return Err(InvalidValue::Nul {
                    value: excerpt(text),
                });
            }
            Self::Timestamp(at) if !(TIMESTAMP_MIN..=TIMESTAMP_MAX).contains(at) => {
                return Err(out_of_range(format!("{at} µs")));
            }
            Self::Date(day) if !(DATE_MIN..=DATE_MAX).contains(day) => {
                return Err(out_of_range(format!("day {day}")));
            }
            Self::Json(text) => match json::normalise(text, *room) {
                Ok(normal) => {
                    *room = room.saturating_sub(normal.len());
                    *text = normal;
                }
                Err(json::InvalidJson::LongNumber) => return Err(InvalidValue::LongJsonNumber),
                Err(json::InvalidJson::TooLong { bytes_max }) => {
                    return Err(InvalidValue::LongJson { bytes_max });
                }
                Err(json::InvalidJson::Nul) => {
                    return Err(InvalidValue::Nul {
                        value: excerpt(text),
                    });
                }
                Err(json::InvalidJson::OutOfRange) => return Err(out_of_range(excerpt(text))),
                Err(json::InvalidJson::Syntax { .. }) => {
                    return Err(InvalidValue::Malformed {
                        column_type: expected,
                        value: excerpt(text),
                    });
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// What the value holds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.content_bytes()
    }

    /// The bytes of what has no fixed size.
    pub(crate) fn content_bytes(&self) -> usize {
        match self {
            Self::Decimal(decimal) => decimal.as_str().len(),
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// The order of both databases: null first, text by its UTF-8 bytes, NaN
    /// above all numbers. Values of different types have no meaningful order;
    /// a column never holds two.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Integer(a), Self::Integer(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => {
                a.cmp(b)
            }
            // Canonical floats: one NaN, positive, and no negative zero.
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.order(b),
            (Self::Text(a), Self::Text(b)) | (Self::Json(a), Self::Json(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> Option<u8> {
        self.column_type().map(|column_type| column_type as u8)
    }
}

impl PartialEq for Value {
    /// The same canonical cell. A NaN equals itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Decimal(a), Self::Decimal(b)) => a == b,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            _ => self.order(other).is_eq(),
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => state.write_u8(0),
            Self::Boolean(value) => value.hash(state),
            Self::Integer(value) | Self::Timestamp(value) => value.hash(state),
            Self::Float(value) => value.to_bits().hash(state),
            Self::Decimal(value) => value.as_str().hash(state),
            Self::Text(value) | Self::Json(value) => value.hash(state),
            Self::Bytes(value) => value.hash(state),
            Self::Date(value) => value.hash(state),
            Self::Uuid(value) => state.write_u128(value.as_u128()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{DateTime, date};

    use super::*;

    #[test]
    fn floats_have_one_zero_and_one_nan() {
        let checked = |number: f64, floats| {
            let mut value = Value::Float(number);
            value
                .check(ColumnType::Float, floats, &mut 0)
                .map(|()| value)
        };
        let Ok(Value::Float(zero)) = checked(-0.0, Floats::NotNan) else {
            panic!("zero was refused")
        };
        assert_eq!(zero.to_bits(), 0);
        let Ok(Value::Float(nan)) = checked(-f64::NAN, Floats::All) else {
            panic!("NaN was refused")
        };
        assert_eq!(nan.to_bits(), f64::NAN.to_bits());
        assert_eq!(checked(f64::NAN, Floats::NotNan), Err(InvalidValue::Nan));
    }

    #[test]
    fn the_range_of_times_ends_with_the_year_9999() {
        let at = |at| Value::Timestamp(at).check(ColumnType::Timestamp, Floats::All, &mut 0);
        // A civil time: `jiff::Timestamp` ends a day before the year does.
        let epoch = date(1970, 1, 1).at(0, 0, 0, 0);
        let since_epoch = |time: DateTime| time.duration_since(epoch).as_micros();
        let first = date(1, 1, 1).at(0, 0, 0, 0);
        let last = date(9999, 12, 31).at(23, 59, 59, 999_999_000);
        assert_eq!(i128::from(TIMESTAMP_MIN), since_epoch(first));
        assert_eq!(i128::from(TIMESTAMP_MAX), since_epoch(last));
        assert!(at(TIMESTAMP_MAX).is_ok() && at(TIMESTAMP_MAX + 1).is_err());
        assert!(at(TIMESTAMP_MIN).is_ok() && at(TIMESTAMP_MIN - 1).is_err());
    }

    #[test]
    fn a_uuid_has_36_characters_and_lower_case() {
        let upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11";
        assert_eq!(
            Value::uuid(upper).unwrap(),
            Value::uuid(&upper.to_lowercase()).unwrap()
        );
        assert!(Value::uuid(&upper.replace('-', "")).is_err());
    }
}
