//! Numbers as PostgreSQL's `numeric` prints them.

use super::{InvalidJson, MAX_EXPANDED_DIGITS};

/// Decimal digits that `numeric` holds before the point.
const INTEGER_DIGITS: i64 = 131_072;
/// Decimal digits that `numeric` holds behind the point.
const SCALE: i64 = 16_383;
/// `numeric` refuses exponents from here on, even of zero.
const EXPONENT: i64 = i32::MAX as i64 / 2;

/// Writes a decimal number without an exponent, with as many digits behind the
/// point as `numeric` keeps.
pub(super) fn write(
    out: &mut String,
    negative: bool,
    integer: &str,
    fraction: &str,
    exponent: i64,
) -> Result<(), InvalidJson> {
    if exponent.abs() >= EXPONENT {
        return Err(InvalidJson::OutOfRange);
    }
    let length = |text: &str| length_of(text.len());
    let scale = (length(fraction) - exponent).max(0);
    if scale > SCALE {
        return Err(InvalidJson::OutOfRange);
    }
    // The digits without the point, and how many of them stand before it.
    let digits = || integer.bytes().chain(fraction.bytes());
    let leading_zeros = digits().take_while(|digit| *digit == b'0').count();
    let count = integer.len() + fraction.len();
    let is_zero = leading_zeros == count;
    let point = length(integer) + exponent;
    let before_point = point - length_of(leading_zeros);
    if !is_zero && before_point > INTEGER_DIGITS {
        return Err(InvalidJson::OutOfRange);
    }
    let shown = match is_zero {
        true => 1 + scale,
        false => before_point.max(1) + scale,
    };
    if exponent != 0 && shown > length_of(MAX_EXPANDED_DIGITS) {
        return Err(InvalidJson::LongNumber);
    }
    if negative && !is_zero {
        out.push('-');
    }
    if exponent == 0 {
        // Nearly every number: it is printed as it stands.
        out.push_str(integer);
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
        }
        return Ok(());
    }
    let digit_at = |place: i64| {
        usize::try_from(place)
            .ok()
            .filter(|place| *place >= leading_zeros)
            .and_then(|place| {
                integer
                    .as_bytes()
                    .get(place)
                    .or_else(|| fraction.as_bytes().get(place.checked_sub(integer.len())?))
            })
            .map_or('0', |digit| char::from(*digit))
    };
    if is_zero || before_point <= 0 {
        out.push('0');
    } else {
        out.extend((length_of(leading_zeros)..point).map(digit_at));
    }
    if scale > 0 {
        out.push('.');
        out.extend((point..point + scale).map(digit_at));
    }
    Ok(())
}

fn length_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / 4)
}
