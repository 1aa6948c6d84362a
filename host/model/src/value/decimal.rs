//! Exact decimal numbers.

use std::str::FromStr;

use bigdecimal::BigDecimal;

use super::{ColumnType, InvalidValue, excerpt};

/// Digits before the point that PostgreSQL's `numeric` can hold.
const DECIMAL_INTEGER_DIGITS_MAX: usize = 131_072;
/// Digits after the point that PostgreSQL's `numeric` can hold.
const DECIMAL_FRACTION_DIGITS_MAX: usize = 16_383;

/// An exact decimal number in plain notation: `-?digits[.digits]`, without
/// leading zeros. Trailing zeros after the point are kept.
#[derive(Clone, Debug)]
pub struct Decimal(String);

impl Decimal {
    /// Zero.
    #[must_use]
    pub fn zero() -> Self {
        Self("0".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// Drops trailing zeros after the point: equal numbers are equal texts
    /// then.
    pub fn shorten(&mut self) {
        if self.0.contains('.') {
            let kept = self.0.trim_end_matches('0').trim_end_matches('.').len();
            self.0.truncate(kept);
        }
    }

    /// The sum, exact, with as many digits after the point as the longer of
    /// the two; `None` if no column can hold it.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        (self.number() + other.number())
            .to_plain_string()
            .parse()
            .ok()
    }

    pub(super) fn number(&self) -> BigDecimal {
        // The text was checked when it was parsed, so the fallback is never used.
        BigDecimal::from_str(&self.0).unwrap_or_default()
    }
}

impl FromStr for Decimal {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidValue::Malformed {
            column_type: ColumnType::Decimal,
            value: excerpt(text),
        };
        let (negative, digits) = text
            .strip_prefix('-')
            .map_or((false, text), |digits| (true, digits));
        let (integer, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(invalid()),
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (digits, None),
        };
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if integer.is_empty() || !all_digits(integer) || !fraction.is_none_or(all_digits) {
            return Err(invalid());
        }
        let integer = match integer.trim_start_matches('0') {
            "" => "0",
            trimmed => trimmed,
        };
        if integer.len() > DECIMAL_INTEGER_DIGITS_MAX
            || fraction.is_some_and(|fraction| fraction.len() > DECIMAL_FRACTION_DIGITS_MAX)
        {
            return Err(InvalidValue::OutOfRange {
                column_type: ColumnType::Decimal,
                value: excerpt(text),
            });
        }
        let is_zero =
            integer == "0" && fraction.is_none_or(|digits| digits.bytes().all(|b| b == b'0'));
        let mut plain = String::with_capacity(text.len());
        if negative && !is_zero {
            plain.push('-');
        }
        plain.push_str(integer);
        if let Some(fraction) = fraction {
            plain.push('.');
            plain.push_str(fraction);
        }
        Ok(Self(plain))
    }
}

impl PartialEq for Decimal {
    /// Equal as text: `1.0` and `1.00` are different cells. Keys and indexes
    /// hold the shortest form, where text and number agree.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Decimal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_plain_and_keep_their_zeros() {
        for (given, plain) in [
            ("-12.50", "-12.50"),
            ("007", "7"),
            ("-0.00", "0.00"),
            (
                "123456789012345678901234567890.5",
                "123456789012345678901234567890.5",
            ),
        ] {
            assert_eq!(given.parse::<Decimal>().unwrap().as_str(), plain);
        }
        for refused in [
            "", "-", ".5", "5.", "1e5", "+1", "1_000", "NaN", "1.2.3", " 1",
        ] {
            assert!(refused.parse::<Decimal>().is_err(), "{refused}");
        }
    }

    #[test]
    fn decimals_in_keys_are_shortest() {
        for (given, shortest) in [
            ("1.500", "1.5"),
            ("100", "100"),
            ("0.00", "0"),
            ("10.0", "10"),
        ] {
            let mut decimal: Decimal = given.parse().unwrap();
            decimal.shorten();
            assert_eq!(decimal.as_str(), shortest);
        }
    }

    #[test]
    fn decimal_sums_are_exact() {
        let sum = |a: &str, b: &str| {
            let (a, b) = (a.parse::<Decimal>().unwrap(), b.parse::<Decimal>().unwrap());
            a.checked_add(&b).unwrap().into_string()
        };
        assert_eq!(sum("0.1", "0.20"), "0.30");
        assert_eq!(sum("-1.00", "1"), "0.00");
        assert_eq!(
            sum("99999999999999999999999999999999", "1"),
            "100000000000000000000000000000000"
        );
    }
}
