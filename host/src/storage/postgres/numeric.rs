//! PostgreSQL's binary `numeric`: digits to the base 10,000.
//!
//! Four 16-bit words (count of digits, weight of the first, sign, decimal
//! places shown), then the digits. The decimal places keep trailing zeros.

use std::fmt::Write as _;

use gnomon_model::Decimal;
use sqlx::error::BoxDynError;

const DECIMAL_DIGITS_PER_DIGIT: usize = 4;
const NEGATIVE: u16 = 0x4000;

/// Appends the binary form.
pub(super) fn encode(decimal: &Decimal, buffer: &mut Vec<u8>) -> Result<(), BoxDynError> {
    let text = decimal.as_str();
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (NEGATIVE, plain),
        None => (0, text),
    };
    let (integer, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let digits = base_10000(integer, fraction);
    let leading_zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = digits.get(leading_zeros..).unwrap_or_default();
    let trailing_zeros = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let digits = digits
        .get(..digits.len() - trailing_zeros)
        .unwrap_or_default();
    let integer_digits = integer.len().div_ceil(DECIMAL_DIGITS_PER_DIGIT);
    let weight = if digits.is_empty() {
        0
    } else {
        i16::try_from(i32::try_from(integer_digits)? - 1 - i32::try_from(leading_zeros)?)?
    };
    buffer.extend(u16::try_from(digits.len())?.to_be_bytes());
    buffer.extend(weight.to_be_bytes());
    buffer.extend(sign.to_be_bytes());
    buffer.extend(u16::try_from(fraction.len())?.to_be_bytes());
    for digit in digits {
        buffer.extend(digit.to_be_bytes());
    }
    Ok(())
}

/// Groups of four decimal digits, counted from the point.
fn base_10000(integer: &str, fraction: &str) -> Vec<u16> {
    let padding = integer.len().next_multiple_of(DECIMAL_DIGITS_PER_DIGIT) - integer.len();
    let integer = std::iter::repeat_n(b'0', padding).chain(integer.bytes());
    let padding = fraction.len().next_multiple_of(DECIMAL_DIGITS_PER_DIGIT) - fraction.len();
    let fraction = fraction.bytes().chain(std::iter::repeat_n(b'0', padding));
    let mut digits = Vec::new();
    let mut digit = 0_u16;
    for (place, byte) in integer.chain(fraction).enumerate() {
        digit = digit * 10 + u16::from(byte.wrapping_sub(b'0'));
        if (place + 1) % DECIMAL_DIGITS_PER_DIGIT == 0 {
            digits.push(digit);
            digit = 0;
        }
    }
    digits
}

/// Reads the binary form.
pub(super) fn decode(bytes: &[u8]) -> Result<Decimal, BoxDynError> {
    let (words, rest) = bytes.as_chunks::<2>();
    let words: Vec<u16> = words.iter().map(|word| u16::from_be_bytes(*word)).collect();
    let ([_, weight, sign, places], digits) = words
        .split_first_chunk::<4>()
        .ok_or("a numeric is too short")?;
    if !rest.is_empty() {
        return Err("a numeric has half a digit".into());
    }
    if *sign != 0 && *sign != NEGATIVE {
        return Err("a numeric is NaN or infinite".into());
    }
    let weight = weight.cast_signed();
    let digit = |place: i32| -> u16 {
        usize::try_from(i32::from(weight) - place)
            .ok()
            .and_then(|number| digits.get(number).copied())
            .unwrap_or(0)
    };
    let mut text = String::new();
    for place in (0..=i32::from(weight.max(0))).rev() {
        write!(text, "{:04}", digit(place))?;
    }
    let places = usize::from(*places);
    if places > 0 {
        text.push('.');
        let end = text.len() + places;
        let mut place = -1;
        while text.len() < end {
            write!(text, "{:04}", digit(place))?;
            place -= 1;
        }
        text.truncate(end);
    }
    if *sign == NEGATIVE {
        text.insert(0, '-');
    }
    Ok(text.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_and_trailing_zero_survives() {
        let long = format!("{}.{}", "9".repeat(131_072), "1".repeat(16_383));
        for text in [
            "0",
            "0.000",
            "1",
            "-1",
            "10000",
            "100000000.00",
            "0.0001",
            "0.00001",
            "-0.000000010",
            "9999.9999",
            "12345678901234567890.123456789000",
            "-123456789012345678901234567890",
            &long,
        ] {
            let mut bytes = Vec::new();
            encode(&text.parse().unwrap(), &mut bytes).unwrap();
            assert_eq!(decode(&bytes).unwrap().as_str(), text);
        }
    }

    #[test]
    fn zeros_at_the_ends_are_not_sent() {
        let mut bytes = Vec::new();
        encode(&"-120000.50".parse().unwrap(), &mut bytes).unwrap();
        let words: Vec<u16> = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|word| u16::from_be_bytes(*word))
            .collect();
        assert_eq!(words, [3, 1, NEGATIVE, 2, 12, 0, 5000]);
    }
}
