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
    }
}
