//! Addresses of databases, as the configuration gives them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

mod postgres;
pub(crate) mod settings;

pub use postgres::PostgresUrl;
pub(crate) use postgres::{Given, SslMode};

/// Where a database is. Its `Display` never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:FILE`, relative to the working directory.
    Sqlite(PathBuf),
    /// `sqlite:FILE?mode=ro`: the same, for events that are only to be read.
    SqliteReadOnly(PathBuf),
    /// `postgres://…`.
    Postgres(PostgresUrl),
}

/// A text that is not the URL of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// Neither `sqlite:` nor `postgres:`.
    #[error("it begins neither with `sqlite:` nor with `postgres://`")]
    Scheme,
    /// `sqlite:` without a file.
    #[error("`sqlite:` needs the name of a file, as in `sqlite:events.db`")]
    NoFile,
    /// User and password behind a third slash.
    #[error("it has no host; it looks like `postgres://user:password@host/database`")]
    NoHost,
    /// An `@` behind the host: what looks like a path is part of a password.
    #[error(
        "it has an `@` behind the host; in a password write `/` as %2F, `?` as %3F and `#` as %23, \
         and an `@` that is meant as %40"
    )]
    AtSignBehindHost,
    /// A SQLite URL with a parameter.
    #[error(
        "a SQLite URL is `sqlite:FILE` or, for events that are only to be read, \
         `sqlite:FILE?mode=ro`; `{name}` would not be honoured (and a file name cannot have a `?`)"
    )]
    SqliteParameter {
        /// Its name.
        name: String,
    },
    /// A SQLite URL in SQLite's own form.
    #[error("write `sqlite:FILE` without `file:`, as in `sqlite:events.db`")]
    SqliteUri,
    /// A parameter that would not be honoured.
    #[error("the parameter `{name}` would not be honoured{advice}")]
    Parameter {
        /// Its name.
        name: String,
        /// What to do instead.
        advice: String,
    },
    /// The same, behind a password: its name may be a part of that.
    #[error(
        "the parameter behind `password` would not be honoured; in a password write `&` as %26"
    )]
    BehindPassword,
    /// A parameter whose value is not one that it can have.
    #[error("the parameter `{name}`: {expected}")]
    Value {
        /// Its name.
        name: &'static str,
        /// What is expected.
        expected: &'static str,
    },
    /// A parameter without `=`. It may be a part of a password.
    #[error("a parameter has no value; in a password write `?` as %3F and `&` as %26")]
    NoValue,
    /// More than one host.
    #[error(
        "name one host: Gnomon does not look for the primary among several; give an address that \
         leads to it, such as a proxy's"
    )]
    SeveralHosts,
    /// Something behind a `#`.
    #[error("nothing behind `#` would be honoured; in a password write `#` as %23")]
    Fragment,
    /// A URL that does not parse.
    #[error("it is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
}

impl DatabaseUrl {
    /// The same place, for a host that keeps at most so many connections there.
    /// A SQLite file is no matter of connections.
    #[must_use]
    pub fn with_connections_max(self, connections: usize) -> Self {
        match self {
            Self::Postgres(url) => Self::Postgres(url.with_connections_max(connections)),
            sqlite @ (Self::Sqlite(_) | Self::SqliteReadOnly(_)) => sqlite,
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            return match file.strip_suffix(READ_ONLY) {
                Some(file) => sqlite_file(file).map(Self::SqliteReadOnly),
                None => sqlite_file(file).map(Self::Sqlite),
            };
        }
        // Without `//` all of it is a path, in which a password is not hidden.
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text).map(Self::Postgres);
        }
        Err(InvalidDatabaseUrl::Scheme)
    }
}

/// The parameter of a SQLite URL that is honoured.
const READ_ONLY: &str = "?mode=ro";

/// The file of a SQLite URL. What SQLite itself would read as more than a file
/// is refused: `mode=memory` would lose the events.
fn sqlite_file(text: &str) -> Result<PathBuf, InvalidDatabaseUrl> {
    // `sqlite://file` and `sqlite:///file` are common elsewhere.
    let file = text.strip_prefix("//").unwrap_or(text);
    if file.starts_with("file:") {
        return Err(InvalidDatabaseUrl::SqliteUri);
    }
    if let Some((_, query)) = file.split_once('?') {
        let (name, _) = query.split_once(['=', '&']).unwrap_or((query, ""));
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        return Err(InvalidDatabaseUrl::SqliteParameter {
            name: if is_name { name } else { "?" }.to_owned(),
        });
    }
    match file {
        "" => Err(InvalidDatabaseUrl::NoFile),
        file => Ok(PathBuf::from(file)),
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
            Self::SqliteReadOnly(file) => {
                write!(formatter, "sqlite:{}{READ_ONLY}", file.display())
            }
            Self::Postgres(url) => url.fmt(formatter),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://reader:s3cret@localhost/events",
            "postgres://reader@localhost/events?password=s3cret&sslmode=disable",
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            let shown = format!("{url} {url:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!(shown.contains("reader"), "{shown}");
        }
    }

    #[test]
    fn a_password_in_the_wrong_place_is_refused_and_not_repeated() {
        for (text, refusal) in [
            (
                "postgres:/reader:s3cret@localhost/events",
                InvalidDatabaseUrl::Scheme,
            ),
            (
                "postgres:;/reader:s3cret@localhost:u432/events",
                InvalidDatabaseUrl::Scheme,
            ),
            (
                "postgres:///reader:s3cret@localhost/events",
                InvalidDatabaseUrl::NoHost,
            ),
            (
                "postgres://reader:1/s3cret@localhost/events",
                InvalidDatabaseUrl::AtSignBehindHost,
            ),
            (
                "postgres://reader:1?s3cret@localhost/events",
                InvalidDatabaseUrl::AtSignBehindHost,
            ),
            (
                "postgres://reader:1?a=s3cret@localhost/events",
                InvalidDatabaseUrl::AtSignBehindHost,
            ),
            (
                "postgres://reader:#s3cret@localhost/events",
                InvalidDatabaseUrl::AtSignBehindHost,
            ),
        ] {
            let found = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(!format!("{found} {found:?}").contains("s3cret"));
            assert_eq!(found, refusal, "{text}");
        }
        for fine in [
            "postgres:///events?host=/var/run/postgresql",
            "postgres://localhost/events?user=reader@home&password=s3@cret",
            "postgres://reader:s3@cret@localhost/at%40home",
        ] {
            let url: DatabaseUrl = fine.parse().unwrap();
            assert!(!url.to_string().contains("s3"), "{url}");
        }
    }

    #[test]
    fn sqlite_takes_the_usual_spellings() {
        for (text, file) in [
            ("sqlite:events.db", "events.db"),
            ("sqlite://events.db", "events.db"),
            ("sqlite:///var/lib/events.db", "/var/lib/events.db"),
        ] {
            assert_eq!(text.parse(), Ok(DatabaseUrl::Sqlite(PathBuf::from(file))));
        }
        for nothing in ["sqlite:", "sqlite:?mode=ro"] {
            assert_eq!(
                nothing.parse::<DatabaseUrl>(),
                Err(InvalidDatabaseUrl::NoFile)
            );
        }
        let only_to_read = "sqlite:///var/lib/events.db?mode=ro".parse::<DatabaseUrl>();
        let file = PathBuf::from("/var/lib/events.db");
        assert_eq!(only_to_read, Ok(DatabaseUrl::SqliteReadOnly(file)));
        for parameters in [
            "mode=memory",
            "mode=rw",
            "mode=ro&cache=shared",
            "immutable=1&mode=ro",
        ] {
            let name = parameters.split('=').next().unwrap().to_owned();
            assert_eq!(
                format!("sqlite:events.db?{parameters}").parse::<DatabaseUrl>(),
                Err(InvalidDatabaseUrl::SqliteParameter { name })
            );
        }
        assert_eq!(
            "mysql://x/y".parse::<DatabaseUrl>(),
            Err(InvalidDatabaseUrl::Scheme)
        );
    }
}
