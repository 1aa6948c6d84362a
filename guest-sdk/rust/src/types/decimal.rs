//! Exact decimal numbers.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::reading::source::{self, SOURCE};

/// An exact decimal number in plain notation, such as `-12.50`. It does no
/// arithmetic: sums are made by the host, with
/// [`Column::add`](crate::Column::add).
///
/// In JSON it is a string or a whole number of any size; a number with a
/// fraction has been through binary floating point in most producers and is
/// refused. Where serde has to keep a value before it knows what it is for
/// (`#[serde(flatten)]`, untagged enums), a whole number beyond 64 bits is
/// refused too.
///
/// ```
/// # use gnomon_sdk::Decimal;
/// let price: Decimal = "12.50".parse()?;
/// assert_eq!(price.as_str(), "12.50");
/// assert!("1e3".parse::<Decimal>().is_err());
/// # Ok::<(), gnomon_sdk::ParseDecimalError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal(String);

/// The text is not a decimal number in plain notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseDecimalError;

impl Decimal {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// The text of a cell, which the host has checked.
    #[expect(clippy::unnecessary_wraps, reason = "as the other cells")]
    pub(crate) fn from_text(text: String) -> Result<Self> {
        Ok(Self(text))
    }
}

impl From<i64> for Decimal {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl FromStr for Decimal {
    type Err = ParseDecimalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (integer, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let are_digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if are_digits(integer) && are_digits(fraction) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseDecimalError)
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for ParseDecimalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not a decimal number in plain notation")
    }
}

impl std::error::Error for ParseDecimalError {}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(SOURCE, Source)
    }
}

/// Reads the text of a JSON value, where the deserializer has it.
struct Source;

impl<'de> Visitor<'de> for Source {
    type Value = Decimal;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        StringOrWhole.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, source: A) -> Result<Decimal, A::Error> {
        let text = source::text(source)?;
        if text.starts_with('"') {
            let text: String = serde_json::from_str(&text).map_err(A::Error::custom)?;
            return StringOrWhole.visit_str(&text);
        }
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Decimal(text.into_owned()));
        }
        Err(A::Error::invalid_type(Unexpected::Other(&text), &self))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Decimal, D::Error> {
        inner.deserialize_any(StringOrWhole)
    }
}

struct StringOrWhole;

impl Visitor<'_> for StringOrWhole {
    type Value = Decimal;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a decimal number as a string, or a whole number")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
        text.parse()
            .map_err(|error| E::custom(format_args!("`{text}` is {error}")))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Decimal, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Decimal, E> {
        Ok(Decimal(number.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_strings_and_whole_numbers() {
        let read = |text: &str| serde_json::from_str::<Decimal>(text).map(|number| number.0);
        assert_eq!(read("\"-12.50\"").unwrap(), "-12.50");
        assert_eq!(
            read("18446744073709551615").unwrap(),
            "18446744073709551615"
        );
        assert_eq!(read("-3").unwrap(), "-3");
        assert_eq!(read("\"\\u0031\"").unwrap(), "1");
        let digits = "1234567890".repeat(8);
        for number in [digits.clone(), format!("-{digits}")] {
            assert_eq!(read(&number).unwrap(), number);
            let value: serde_json::Value = serde_json::from_str("7").unwrap();
            assert_eq!(Decimal::deserialize(value).unwrap().as_str(), "7");
        }
        for refused in [
            "1.5",
            "1e3",
            "\"\"",
            "\"1e3\"",
            "\"5.\"",
            "\".5\"",
            "\"+1\"",
            "null",
            "true",
            "[1]",
            "{}",
            "{\"$serde_json::private::RawValue\": \"1\"}",
        ] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_flattened_decimal_is_read_or_refused_but_never_rounded() {
        #[derive(Deserialize)]
        struct Outer {
            #[serde(flatten)]
            inner: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            price: Decimal,
        }
        let read = |price: &str| {
            let outer: serde_json::Result<Outer> =
                serde_json::from_str(&format!("{{\"price\": {price}}}"));
            outer.map(|outer| outer.inner.price.0)
        };
        assert_eq!(read("\"1.50\"").unwrap(), "1.50");
        assert_eq!(
            read("18446744073709551615").unwrap(),
            "18446744073709551615"
        );
        assert!(read("18446744073709551616").is_err());
    }
}
