//! Times as text: RFC 3339 in UTC with six fractional digits, which sorts by
//! bytes and which both databases read.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{DateTime, date as civil_date};
use jiff::fmt::temporal::Pieces;

/// The first microsecond of the year 1.
const EARLIEST: i64 = -62_135_596_800_000_000;
/// The last microsecond of the year 9999.
const LATEST: i64 = 253_402_300_799_999_999;
/// How many digits of a fraction the library of times reads.
const FRACTION_DIGITS: usize = 9;

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
    microseconds(text, Offset::Required)
        .filter(|microseconds| (EARLIEST..=LATEST).contains(microseconds))
        .ok_or_else(|| InvalidTimestamp(text.chars().take(60).collect()))
}

/// Whether a time without an offset is one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offset {
    Required,
    /// It is UTC then.
    Optional,
}

fn microseconds(text: &str, offset: Offset) -> Option<i64> {
    // Bracketed zone names are an extension of the format.
    if text.contains('[') {
        return None;
    }
    let nanoseconds = match text.parse::<Timestamp>() {
        Ok(time) => time.as_nanosecond(),
        // That type ends some hours before the year 9999 does.
        Err(_) => civil_nanoseconds(text, offset)?,
    };
    i64::try_from(nanoseconds.div_euclid(1000)).ok()
}

/// Nanoseconds since the Unix epoch of a time that is taken apart.
fn civil_nanoseconds(text: &str, offset: Offset) -> Option<i128> {
    let text = without_excess_digits(text);
    let pieces = Pieces::parse(text.as_bytes()).ok()?;
    let behind_utc = match (pieces.to_numeric_offset(), offset) {
        (Some(offset), _) => i128::from(offset.seconds()) * 1_000_000_000,
        (None, Offset::Optional) => 0,
        (None, Offset::Required) => return None,
    };
    let time = match (pieces.time(), offset) {
        (Some(time), _) => time,
        (None, Offset::Optional) => jiff::civil::Time::midnight(),
        (None, Offset::Required) => return None,
    };
    let time = DateTime::from_parts(pieces.date(), time);
    let since = time.duration_since(DateTime::from(civil_date(1970, 1, 1)));
    Some(since.as_nanos() - behind_utc)
}

/// A time whose fraction has no more digits than can be read.
fn without_excess_digits(text: &str) -> Cow<'_, str> {
    let fraction = text.split_once(['.', ',']);
    let Some((seconds, fraction)) = fraction else {
        return Cow::Borrowed(text);
    };
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if digits <= FRACTION_DIGITS {
        return Cow::Borrowed(text);
    }
    let (kept, behind) = (fraction.get(..FRACTION_DIGITS), fraction.get(digits..));
    let (kept, behind) = (kept.unwrap_or_default(), behind.unwrap_or_default());
    Cow::Owned(format!("{seconds}.{kept}{behind}"))
}

/// A time as the store writes it, such as `2025-01-15T10:30:00.000000Z`. RFC 3339
/// has no years beyond 9999 or before 0, which tables of others may hold; these
/// have a sign and six digits, as ISO 8601 writes them: `+012025-01-15T…`.
#[must_use]
pub fn format_timestamp(microseconds: i64) -> String {
    if (EARLIEST..=LATEST).contains(&microseconds)
        && let Ok(time) = Timestamp::from_microsecond(microseconds)
    {
        return format!("{time:.6}");
    }
    let (year, month, day) = date(microseconds.div_euclid(DAY));
    let of_day = microseconds.rem_euclid(DAY);
    let seconds = of_day / 1_000_000;
    let year = match year {
        0..=9999 => format!("{year:04}"),
        year => format!("{year:+07}"),
    };
    format!(
        "{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        of_day % 1_000_000
    )
}

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// Year, month and day, this many days after 1970-01-01, for years that the
/// library of times does not know. A year begins in March here, so that the leap
/// day is its last one, and 400 of them have always the same number of days.
const fn date(days_since_1970: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Microseconds since the Unix epoch of a time with its offset, of any year.
#[must_use]
pub fn parse_any_year(text: &str) -> Option<i64> {
    microseconds(text, Offset::Required)
}

/// A time in a table of somebody else: RFC 3339, or without an offset (as
/// SQLite's `CURRENT_TIMESTAMP` writes it), which is then UTC.
pub(super) fn parse_stored(text: &str) -> Option<i64> {
    microseconds(text, Offset::Optional)
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
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("9999-12-31T23:59:59+10:00", "9999-12-31T13:59:59.000000Z"),
            // More digits than nanoseconds have.
            (
                "2025-01-15T10:30:00.12345678901234Z",
                "2025-01-15T10:30:00.123456Z",
            ),
        ] {
            let parsed = parse_timestamp(text).map(format_timestamp);
            assert_eq!(parsed.unwrap_or_default(), shown, "{text}");
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

    /// As PostgreSQL 15 shows them, whose year before 1 is `1 BC`.
    #[test]
    fn times_that_rfc_3339_lacks_are_told_as_they_are() {
        for (microseconds, shown) in [
            (253_402_207_200_000_001, "9999-12-30T22:00:00.000001Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (253_402_300_800_000_000, "+010000-01-01T00:00:00.000000Z"),
            // 12025-02-28 13:14:15.000016+00
            (317_310_268_455_000_016, "+012025-02-28T13:14:15.000016Z"),
            (i64::MAX, "+294247-01-10T04:00:54.775807Z"),
            // 0001-12-31 23:59:59.999999+00 BC
            (-62_135_596_800_000_001, "0000-12-31T23:59:59.999999Z"),
            // 4714-11-24 00:00:00+00 BC
            (-210_866_803_200_000_000, "-004713-11-24T00:00:00.000000Z"),
        ] {
            assert_eq!(format_timestamp(microseconds), shown);
        }
    }

    /// The days of all years that the library knows.
    #[test]
    fn dates_are_those_of_the_calendar() {
        let first = jiff::civil::date(1, 1, 1);
        for day in 0..3_652_058 {
            let known = first + jiff::Span::new().days(day);
            let expected = (
                i64::from(known.year()),
                i64::from(known.month()),
                i64::from(known.day()),
            );
            assert_eq!(date(day - 719_162), expected);
        }
    }

    #[test]
    fn stored_times_may_lack_an_offset() {
        assert_eq!(
            parse_stored("2025-01-15 10:30:00"),
            parse_timestamp("2025-01-15T10:30:00Z").ok()
        );
        for (text, expected) in [
            ("9999-12-31 23:59:59", "9999-12-31T23:59:59Z"),
            ("2025-01-15", "2025-01-15T00:00:00Z"),
            ("2025-01-15 10:30", "2025-01-15T10:30:00Z"),
            (
                "2025-01-15 10:30:00.12345678901",
                "2025-01-15T10:30:00.123456Z",
            ),
            ("9999-12-31T22:30:00+01:00", "9999-12-31T21:30:00Z"),
        ] {
            let expected = parse_timestamp(expected).ok();
            assert!(expected.is_some(), "{text}");
            assert_eq!(parse_stored(text), expected, "{text}");
        }
        for text in ["2026-02-31T00:00:00Z", "2025-01-15T24:00:00Z", "soon"] {
            assert_eq!(parse_stored(text), None, "{text}");
        }
    }
}
