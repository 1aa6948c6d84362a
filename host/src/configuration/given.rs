//! A value as somebody gave it, and what it can be read as.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use gnomon_databases::database_url::DatabaseUrl;
use jiff::SignedDuration;
use toml::de::DeValue;

use super::OnError;

/// A value from the file or from the environment.
///
/// The errors of its methods are sentence fragments that say what is expected;
/// they never repeat the value, which may be a URL with a password.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    Toml(&'a DeValue<'a>),
    Variable(&'a str),
}

impl<'a> Given<'a> {
    fn text(self, example: &str) -> Result<&'a str, String> {
        match self {
            Self::Variable(text) => Ok(text),
            Self::Toml(DeValue::String(text)) => Ok(text),
            Self::Toml(other) => Err(format!(
                "expected a string in quotes, such as \"{example}\", found {}",
                kind(other)
            )),
        }
    }

    /// A whole number; from TOML only as a number.
    pub(super) fn count(self, range: RangeInclusive<u64>) -> Result<u64, String> {
        let expected = format!(
            "expected a whole number from {} to {}",
            range.start(),
            range.end()
        );
        let number = match self {
            Self::Variable(text) => text.replace('_', "").parse::<u64>().ok(),
            Self::Toml(DeValue::Integer(number)) => {
                u64::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok()
            }
            Self::Toml(other) => return Err(format!("{expected}, found {}", kind(other))),
        };
        number
            .filter(|number| range.contains(number))
            .ok_or(expected)
    }

    /// A size such as `64MiB`, in bytes; a plain number counts bytes.
    pub(super) fn size(self, range: RangeInclusive<u64>) -> Result<u64, String> {
        if matches!(self, Self::Toml(DeValue::Integer(_))) {
            return self.count(range);
        }
        let size = self
            .text("64MiB")?
            .trim()
            .parse::<ByteSize>()
            .map_err(|_| "expected a size such as \"64MiB\" or \"512KiB\"".to_owned())?;
        if range.contains(&size.as_u64()) {
            Ok(size.as_u64())
        } else {
            Err(format!(
                "expected a size from {} to {}",
                ByteSize::b(*range.start()),
                ByteSize::b(*range.end())
            ))
        }
    }

    /// A duration such as `10s`.
    pub(super) fn duration(self, range: RangeInclusive<Duration>) -> Result<Duration, String> {
        if let Self::Toml(DeValue::Integer(_) | DeValue::Float(_)) = self {
            return Err("a duration needs its unit, as in \"10s\" or \"500ms\"".to_owned());
        }
        let duration = self
            .text("10s")?
            .trim()
            .parse::<SignedDuration>()
            .map_err(|_| {
                "expected a duration such as \"10s\", \"500ms\" or \"1m 30s\"".to_owned()
            })?;
        Duration::try_from(duration)
            .ok()
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| {
                format!(
                    "expected a duration from {:?} to {:?}",
                    range.start(),
                    range.end()
                )
            })
    }

    /// The URL of a database.
    pub(super) fn database(self) -> Result<DatabaseUrl, String> {
        let url: DatabaseUrl = self
            .text("sqlite:events.db")?
            .trim()
            .parse()
            .map_err(|error| format!("not the URL of a database: {error}"))?;
        if matches!(&url, DatabaseUrl::Sqlite(file) if file.starts_with(":memory:")) {
            return Err(
                "a database in memory vanishes with its process; name a file, \
                        as in \"sqlite:events.db\""
                    .to_owned(),
            );
        }
        Ok(url)
    }

    /// A path.
    pub(super) fn path(self) -> Result<PathBuf, String> {
        match self.text("projections")? {
            "" => Err("expected the path of a directory, found an empty string".to_owned()),
            text => Ok(PathBuf::from(text)),
        }
    }

    /// A policy for events that cannot be applied.
    pub(super) fn on_error(self) -> Result<OnError, String> {
        match self.text("halt")? {
            "halt" => Ok(OnError::Halt),
            "park" => Ok(OnError::Park),
            _ => Err("expected \"halt\" or \"park\"".to_owned()),
        }
    }
}

/// What a TOML value is, with its article.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fractional number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
