//! Which Rust types a column can hold, and what may be given for them.

use crate::error::{Error, Result};
use crate::types::{Date, Decimal, Json, Timestamp, Uuid};
use crate::value::{ColumnType, Value};

/// A type that a column can hold. The field's type decides the column's:
///
/// | field | column |
/// | --- | --- |
/// | `bool` | boolean |
/// | `i64`, `i32`, `u32` | integer |
/// | `f64` | float |
/// | [`Decimal`] | decimal |
/// | `String` | text |
/// | `Vec<u8>` | bytes |
/// | [`Timestamp`] | timestamp |
/// | [`Date`] | date |
/// | [`Uuid`] | uuid |
/// | [`Json`] | json |
/// | `Option<T>` | as `T`, nullable |
pub trait Cell: Sized {
    /// The type without its `Option`.
    type Plain: Cell;
    /// The column's type.
    #[doc(hidden)]
    const TYPE: ColumnType;
    /// Whether the column may be null.
    #[doc(hidden)]
    const NULLABLE: bool = false;
    #[doc(hidden)]
    fn into_value(self) -> Value;
    #[doc(hidden)]
    fn from_value(value: Value) -> Result<Self>;
}

/// What may be given where a column holds a `T`: a `T`, a `&T`, a `&str` for
/// a `String`, a `T` for an `Option<T>`.
pub trait IntoCell<T> {
    #[doc(hidden)]
    fn into_cell(self) -> Value;
}

/// Types that `add` works on.
#[diagnostic::on_unimplemented(
    message = "`add` does not work on a column of type `{Self}`",
    note = "it works on `i64`, `i32`, `u32`, `f64`, `Decimal` and `Option`s of them"
)]
pub trait Summable: Cell {}

/// Types that `min` and `max` work on: all but JSON.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no order that both databases share",
    note = "`min`, `max`, keys and indexes work on every type but `Json`"
)]
pub trait Ordered: Cell {}

impl<T: Cell> IntoCell<T> for T {
    fn into_cell(self) -> Value {
        self.into_value()
    }
}

impl<T: Cell + Clone> IntoCell<T> for &T {
    fn into_cell(self) -> Value {
        self.clone().into_value()
    }
}

impl<T: Cell> IntoCell<Option<T>> for T {
    fn into_cell(self) -> Value {
        self.into_value()
    }
}

impl IntoCell<String> for &str {
    fn into_cell(self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl IntoCell<Option<String>> for &str {
    fn into_cell(self) -> Value {
        Value::Text(self.to_owned())
    }
}

impl IntoCell<Vec<u8>> for &[u8] {
    fn into_cell(self) -> Value {
        Value::Bytes(self.to_vec())
    }
}

impl<T: Cell<Plain = T>> Cell for Option<T> {
    type Plain = T;
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }

    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl<T: Summable + Cell<Plain = T>> Summable for Option<T> {}
impl<T: Ordered + Cell<Plain = T>> Ordered for Option<T> {}

/// A cell of another type than its column: the host and the module disagree
/// about the table. The cell is not shown, since code that prints any value
/// would be in every module.
fn mismatch(expected: &'static str) -> Error {
    Error::new(format_args!("it is not of type {expected}"))
}

macro_rules! cell {
    ($type:ty, $case:ident, $self:ident => $into:expr, $inner:ident => $from:expr $(, $marker:ident)*) => {
        impl Cell for $type {
            type Plain = Self;
            const TYPE: ColumnType = ColumnType::$case;

            fn into_value($self) -> Value {
                Value::$case($into)
            }

            fn from_value(value: Value) -> Result<Self> {
                match value {
                    Value::$case($inner) => $from,
                    _ => Err(mismatch(stringify!($case))),
                }
            }
        }

        $(impl $marker for $type {})*
    };
}

cell!(bool, Boolean, self => self, inner => Ok(inner), Ordered);
cell!(i64, Integer, self => self, inner => Ok(inner), Summable, Ordered);
cell!(i32, Integer, self => self.into(), inner => Ok(inner.try_into()?), Summable, Ordered);
cell!(u32, Integer, self => self.into(), inner => Ok(inner.try_into()?), Summable, Ordered);
cell!(f64, Float, self => self, inner => Ok(inner), Summable, Ordered);
cell!(Decimal, Decimal, self => self.into_string(), inner => Decimal::from_text(inner), Summable, Ordered);
cell!(String, Text, self => self, inner => Ok(inner), Ordered);
cell!(Vec<u8>, Bytes, self => self, inner => Ok(inner), Ordered);
cell!(Timestamp, Timestamp, self => self.as_microseconds(), inner => Ok(Timestamp::from_microseconds(inner)), Ordered);
cell!(Date, Date, self => self.as_days(), inner => Ok(Date::from_days(inner)), Ordered);
cell!(Uuid, Uuid, self => self.into_string(), inner => Ok(inner.parse()?), Ordered);
cell!(Json, Json, self => self.into_text(), inner => Ok(Json::from_text(inner)));
