//! Exact decimal numbers.

use std::cmp::Ordering;
use std::str::FromStr;

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
    /// the two; `None` if no column can hold it. It takes time in proportion to
    /// the digits.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let (left, right) = (self.parts(), other.parts());
        if left.negative == right.negative {
            return left.sum(&right);
        }
        match left.order_without_sign(&right) {
            Ordering::Less => right.difference(&left),
            _ => left.difference(&right),
        }
    }

    /// The order of the numbers, whatever their trailing zeros.
    #[must_use]
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let (left, right) = (self.parts(), other.parts());
        match (left.negative, right.negative) {
            (false, false) => left.order_without_sign(&right),
            (true, true) => right.order_without_sign(&left),
            // Zero is never negative.
            (left, right) => right.cmp(&left),
        }
    }

    fn parts(&self) -> Parts<'_> {
        let (negative, digits) = match self.0.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, self.0.as_str()),
        };
        let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        Parts {
            negative,
            integer: integer.as_bytes(),
            fraction: fraction.as_bytes(),
        }
    }
}

/// The digits of a decimal.
struct Parts<'a> {
    negative: bool,
    /// Without leading zeros, but for that of zero.
    integer: &'a [u8],
    fraction: &'a [u8],
}

impl Parts<'_> {
    fn order_without_sign(&self, other: &Self) -> Ordering {
        fn significant(digits: &[u8]) -> &[u8] {
            let zeros = digits.iter().rev().take_while(|digit| **digit == b'0');
            let kept = digits.len() - zeros.count();
            digits.get(..kept).unwrap_or(digits)
        }
        (self.integer.len().cmp(&other.integer.len()))
            .then_with(|| self.integer.cmp(other.integer))
            .then_with(|| significant(self.fraction).cmp(significant(other.fraction)))
    }

    /// The digit that counts `10^place`.
    fn digit(&self, place: isize) -> u8 {
        let digit = match usize::try_from(place) {
            Ok(place) => (self.integer.len().checked_sub(place + 1))
                .and_then(|place| self.integer.get(place)),
            Err(_) => self.fraction.get(place.unsigned_abs() - 1),
        };
        digit.map_or(0, |digit| digit.wrapping_sub(b'0'))
    }

    fn sum(&self, other: &Self) -> Option<Decimal> {
        self.with(other, |own, others, carried| {
            let sum = own + others + carried;
            (sum % 10, sum / 10)
        })
    }

    /// What is left when a number that is not larger is taken away.
    fn difference(&self, other: &Self) -> Option<Decimal> {
        self.with(other, |own, others, borrowed| {
            let taken = others + borrowed;
            match own.checked_sub(taken) {
                Some(left) => (left, 0),
                None => (own + 10 - taken, 1),
            }
        })
    }

    /// A number with this one's sign, made digit by digit from the last one on;
    /// `digit` also gives what it carries to the next.
    fn with(&self, other: &Self, digit: impl Fn(u8, u8, u8) -> (u8, u8)) -> Option<Decimal> {
        let fraction = self.fraction.len().max(other.fraction.len());
        let integer = self.integer.len().max(other.integer.len()) + 1;
        let first = -isize::try_from(fraction).ok()?;
        let end = isize::try_from(integer).ok()?;
        // From the last digit to the first.
        let mut text = Vec::with_capacity(integer + fraction + 2);
        let mut carried = 0;
        for place in first..end {
            if place == 0 && fraction > 0 {
                text.push(b'.');
            }
            let (shown, carry) = digit(self.digit(place), other.digit(place), carried);
            text.push(b'0' + shown);
            carried = carry;
        }
        if self.negative {
            text.push(b'-');
        }
        text.reverse();
        // Leading zeros, and the sign of zero, go there.
        String::from_utf8(text).ok()?.parse().ok()
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
    use bigdecimal::BigDecimal;
    use proptest::prelude::*;

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

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn decimal_sums_are_exact() {
        let sum = |a: &str, b: &str| decimal(a).checked_add(&decimal(b)).unwrap().into_string();
        assert_eq!(sum("0.1", "0.20"), "0.30");
        assert_eq!(sum("-1.00", "1"), "0.00");
        assert_eq!(
            sum("99999999999999999999999999999999", "1"),
            "100000000000000000000000000000000"
        );
    }

    #[test]
    fn sums_end_where_the_columns_do() {
        let (large, small) = ("9".repeat(131_072), format!("0.{}1", "0".repeat(16_382)));
        let (large, small) = (decimal(&large), decimal(&small));
        let sum = large.checked_add(&small).unwrap();
        assert_eq!(sum.as_str().len(), 131_072 + 1 + 16_383);
        assert_eq!(large.checked_add(&decimal("1")), None);
        assert!(small.order(&large).is_lt() && sum.order(&large).is_gt());
    }

    #[test]
    fn a_decimal_has_as_many_digits_as_the_columns_hold() {
        let number =
            |before: usize, behind: usize| format!("{}.{}", "9".repeat(before), "1".repeat(behind));
        assert_eq!(decimal(&number(131_072, 16_383)).as_str().len(), 147_456);
        for (before, behind) in [(131_073, 1), (1, 16_384)] {
            let refused = number(before, behind).parse::<Decimal>();
            assert!(
                matches!(refused, Err(InvalidValue::OutOfRange { .. })),
                "{before} digits before the point, {behind} behind it"
            );
        }
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?[0-9]{1,3}(\\.[0-9]{1,3})?",
            "-?[0-9]{1,40}(\\.[0-9]{1,40})?",
            "-?9{1,5}(\\.9{1,5}0{0,2})?",
        ]
    }

    proptest! {
        /// By another implementation of decimals.
        #[test]
        fn sums_and_order_are_those_of_arithmetic(a in number(), b in number()) {
            let (a, b) = (decimal(&a), decimal(&b));
            let number = |decimal: &Decimal| decimal.as_str().parse::<BigDecimal>().unwrap();
            let sum = a.checked_add(&b).unwrap();
            let expected = (number(&a) + number(&b)).to_plain_string();
            prop_assert_eq!(&sum, &decimal(&expected));
            prop_assert_eq!(a.order(&b), number(&a).cmp(&number(&b)));
        }
    }
}
