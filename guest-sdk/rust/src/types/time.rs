//! Points in time and days, in UTC.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND_MICROSECONDS: i64 = 1_000_000;
const MINUTE_MICROSECONDS: i64 = 60 * SECOND_MICROSECONDS;
const HOUR_MICROSECONDS: i64 = 60 * MINUTE_MICROSECONDS;
const DAY_MICROSECONDS: i64 = 24 * HOUR_MICROSECONDS;

/// Days in 400 years, after which the calendar repeats itself.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01. Years that begin in March have their
/// leap day at the end.
const MARCH_EPOCH_DAYS: i64 = 719_468;

/// A point in time in microseconds since the Unix epoch, UTC; as text and in
/// JSON in the form of RFC 3339. Columns hold the years 1 to 9999.
///
/// ```
/// # use gnomon_sdk::{Date, Timestamp};
/// let at: Timestamp = "2025-01-15T23:30:00.5-01:00".parse()?;
/// assert_eq!(at.to_string(), "2025-01-16T00:30:00.5Z");
/// assert_eq!(Date::from(at).to_string(), "2025-01-16");
/// # Ok::<(), gnomon_sdk::ParseTimeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A day of the Gregorian calendar; as text and in JSON `2025-01-15`. Columns
/// hold the years 1 to 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

/// The text is not a time or day in the form of RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTimeError {
    expected: &'static str,
}

impl Timestamp {
    /// The time this many microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_microseconds(microseconds: i64) -> Self {
        Self(microseconds)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_microseconds(self) -> i64 {
        self.0
    }
}

impl Date {
    /// The day this many days after the Unix epoch.
    #[must_use]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since the Unix epoch.
    #[must_use]
    pub const fn as_days(self) -> i32 {
        self.0
    }
}

impl From<Timestamp> for Date {
    /// The UTC day in which the time lies.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an i64 of microseconds spans 107 million days to either side"
    )]
    fn from(at: Timestamp) -> Self {
        Self(at.0.div_euclid(DAY_MICROSECONDS) as i32)
    }
}

/// Year, month and day of a day since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + MARCH_EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
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
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since the epoch; the inverse of [`civil`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA_DAYS + day_of_era - MARCH_EPOCH_DAYS
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.into());
        write!(formatter, "{year:04}-{month:02}-{day:02}")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(DAY_MICROSECONDS);
        let (hour, minute, second) = (
            of_day / HOUR_MICROSECONDS,
            of_day / MINUTE_MICROSECONDS % 60,
            of_day / SECOND_MICROSECONDS % 60,
        );
        write!(
            formatter,
            "{}T{hour:02}:{minute:02}:{second:02}",
            Date::from(*self)
        )?;
        let fraction = of_day % SECOND_MICROSECONDS;
        if fraction != 0 {
            let digits = format!("{fraction:06}");
            write!(formatter, ".{}", digits.trim_end_matches('0'))?;
        }
        formatter.write_str("Z")
    }
}

impl fmt::Display for ParseTimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not {}", self.expected)
    }
}

impl std::error::Error for ParseTimeError {}

const TIMESTAMP_FORM: &str = "a time such as 2025-01-15T10:30:00Z";
const DATE_FORM: &str = "a day such as 2025-01-15";

impl FromStr for Date {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader(text);
        reader
            .day()
            .filter(|_| reader.0.is_empty())
            .and_then(|days| i32::try_from(days).ok())
            .map(Self)
            .ok_or(ParseTimeError {
                expected: DATE_FORM,
            })
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut reader = Reader(text);
        reader
            .time()
            .filter(|_| reader.0.is_empty())
            .map(Self)
            .ok_or(ParseTimeError {
                expected: TIMESTAMP_FORM,
            })
    }
}

/// Takes the parts of RFC 3339 from the front of a text.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    /// This many digits, as a number in `range`.
    fn number(&mut self, digits: usize, range: Range<i64>) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        number.parse().ok().filter(|number| range.contains(number))
    }

    /// One of these characters.
    fn character(&mut self, allowed: &[char]) -> Option<char> {
        let first = self
            .0
            .chars()
            .next()
            .filter(|first| allowed.contains(first))?;
        self.0 = self.0.get(first.len_utf8()..)?;
        Some(first)
    }

    fn day(&mut self) -> Option<i64> {
        let year = self.number(4, 1..10_000)?;
        self.character(&['-'])?;
        let month = self.number(2, 1..13)?;
        self.character(&['-'])?;
        let day = self.number(2, 1..32)?;
        let days = days_from_civil(year, month, day);
        // The 31st of April reads as the 1st of May.
        (civil(days) == (year, month, day)).then_some(days)
    }

    fn time(&mut self) -> Option<i64> {
        let days = self.day()?;
        self.character(&['T', 't', ' '])?;
        let hour = self.number(2, 0..24)?;
        self.character(&[':'])?;
        let minute = self.number(2, 0..60)?;
        self.character(&[':'])?;
        let second = self.number(2, 0..60)?;
        let fraction = self.fraction()?;
        let offset = self.offset()?;
        Some(
            days * DAY_MICROSECONDS
                + hour * HOUR_MICROSECONDS
                + minute * MINUTE_MICROSECONDS
                + second * SECOND_MICROSECONDS
                + fraction
                - offset,
        )
    }

    /// The microseconds of the fraction, if there is one; what is finer is
    /// cut off.
    fn fraction(&mut self) -> Option<i64> {
        if self.character(&['.', ',']).is_none() {
            return Some(0);
        }
        let mut unit = SECOND_MICROSECONDS;
        let mut fraction = 0;
        let mut digits = 0;
        while let Some(digit) = self.number(1, 0..10) {
            unit /= 10;
            fraction += digit * unit;
            digits += 1;
        }
        (digits > 0).then_some(fraction)
    }

    fn offset(&mut self) -> Option<i64> {
        let sign = match self.character(&['Z', 'z', '+', '-'])? {
            '+' => 1,
            '-' => -1,
            _ => return Some(0),
        };
        let hours = self.number(2, 0..24)?;
        self.character(&[':'])?;
        let minutes = self.number(2, 0..60)?;
        Some(sign * (hours * HOUR_MICROSECONDS + minutes * MINUTE_MICROSECONDS))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::parse(deserializer, TIMESTAMP_FORM)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::parse(deserializer, DATE_FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_years_1_to_9999_survives() {
        let mut expected = jiff::civil::date(1, 1, 1);
        for days in -719_162..=2_932_896 {
            let day = Date(days);
            let (year, month, of_month) = civil(days.into());
            assert_eq!(
                (year, month, of_month),
                (
                    expected.year().into(),
                    expected.month().into(),
                    expected.day().into()
                )
            );
            assert_eq!(days_from_civil(year, month, of_month), i64::from(days));
            if days % 1_000 == 0 {
                assert_eq!(day.to_string(), expected.to_string());
                assert_eq!(day.to_string().parse(), Ok(day));
            }
            expected = expected.tomorrow().unwrap_or(expected);
        }
    }

    #[test]
    fn times_read_and_write_as_jiff_does() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999Z",
            "2024-02-29T23:59:59.5+02:00",
            "2025-01-15T10:30:00.120-23:59",
            "0001-01-01T00:00:00Z",
            "9999-12-30T12:00:00Z",
        ] {
            let expected: jiff::Timestamp = text.parse().unwrap();
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(at.as_microseconds(), expected.as_microsecond(), "{text}");
            assert_eq!(at.to_string(), expected.to_string());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for refused in [
            "",
            "2025-01-15",
            "2025-01-15T10:30:00",
            "2025-1-15T10:30:00Z",
            "2025-02-29T10:30:00Z",
            "2025-01-15T24:00:00Z",
            "2025-01-15T10:30:00.Z",
            "2025-01-15T10:30:00Zulu",
            "2025-01-15T10:30:00+1:00",
            "+025-01-15T10:30:00Z",
            "2025-01-1éT10:30:00Z",
        ] {
            assert!(refused.parse::<Timestamp>().is_err(), "{refused}");
        }
        for refused in ["2025-04-31", "2025-01-15T", "0000-01-01", "25-01-01"] {
            assert!(refused.parse::<Date>().is_err(), "{refused}");
        }
    }

    #[test]
    fn a_time_before_1970_lies_in_the_day_that_began_before_it() {
        assert_eq!(Date::from(Timestamp(-1)), Date(-1));
        assert_eq!(Date::from(Timestamp(DAY_MICROSECONDS - 1)), Date(0));
        assert_eq!(Date::from(Timestamp(i64::MIN)).as_days(), -106_751_992);
    }
}
