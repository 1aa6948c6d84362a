//! Times as text: RFC 3339 in UTC with six fractional digits, which sorts by
//! bytes and which both databases read.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The first microsecond of the year 1.
const EARLIEST: i64 = -62_135_596_800_000_000;
/// The last second that every time zone can show as a day of the year
/// 9999.
const LATEST: i64 = 253_402_207_200_000_000;

/// A text that is no time, or one outside the years 1 to 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time in RFC 3339, such as 2025-01-15T10:30:00Z")]
pub struct InvalidTimestamp(String);

/// Microseconds since the Unix epoch of a time in RFC 3339, with its offset.
/// Digits beyond microseconds are cut off.
///
/// # Errors
/// [`InvalidTimestamp`] for anything else.
pub fn parse_timestamp(text: &str) -> Result<i64, InvalidTimestamp> {
    let invalid = || InvalidTimestamp(text.chars().take(60).collect());
    // Bracketed zone names are an extension of the format.
    if text.contains('[') {
        return Err(invalid());
    }
    let time: Timestamp = text.parse().map_err(|_| invalid())?;
    Some(time.as_nanosecond().div_euclid(1000))
        .and_then(|microseconds| i64::try_from(microseconds).ok())
        .filter(|microseconds| (EARLIEST..=LATEST).contains(microseconds))
        .ok_or_else(invalid)
}

/// A time as the store writes it, such as `2025-01-15T10:30:00.000000Z`. A
/// time outside the years 1 to 9999 becomes the nearest one inside.
#[must_use]
pub fn format_timestamp(microseconds: i64) -> String {
    let time = Timestamp::from_microsecond(microseconds.clamp(EARLIEST, LATEST));
    format!("{:.6}", time.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A time in a table of somebody else: RFC 3339, or without an offset (as
/// SQLite's `CURRENT_TIMESTAMP` writes it), which is then UTC.
pub(super) fn parse_stored(text: &str) -> Option<i64> {
    if let Ok(microseconds) = parse_timestamp(text) {
        return Some(microseconds);
    }
    let time: DateTime = text.parse().ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(time.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_microseconds() {
        for (text, shown) in [
            ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00.000000Z"),
            (
                "2025-01-15T11:30:00.123456789+01:00",
                "2025-01-15T10:30:00.123456Z",
            ),
            (
                "1969-12-31T23:59:59.9999999Z",
                "1969-12-31T23:59:59.999999Z",
            ),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
            ("9999-12-30T22:00:00.000000Z", "9999-12-30T22:00:00.000000Z"),
        ] {
            assert_eq!(format_timestamp(parse_timestamp(text).unwrap()), shown);
        }
        for text in [
            "yesterday",
            "2025-01-15",
            "2025-01-15T10:30:00",
            "0000-01-01T00:00:00Z",
            "",
        ] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stored_times_may_lack_an_offset() {
        assert_eq!(
            parse_stored("2025-01-15 10:30:00"),
            parse_timestamp("2025-01-15T10:30:00Z").ok()
        );
    }
}
