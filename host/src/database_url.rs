//! Addresses of databases, as the configuration gives them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// Where a database is. Its `Display` never shows a password.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite:FILE`, relative to the working directory.
    Sqlite(PathBuf),
    /// `postgres://…`.
    Postgres(PostgresUrl),
}

/// A PostgreSQL URL. Its `Display` and `Debug` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Url);

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
    /// A URL that does not parse.
    #[error("it is not a URL: {0}")]
    Syntax(#[from] url::ParseError),
}

impl PostgresUrl {
    /// The whole URL, password included, for the driver only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            // `sqlite://file` and `sqlite:///file` are common elsewhere.
            let file = file.strip_prefix("//").unwrap_or(file);
            return match file {
                "" => Err(InvalidDatabaseUrl::NoFile),
                file => Ok(Self::Sqlite(PathBuf::from(file))),
            };
        }
        // Without `//` all of it is a path, in which a password is not hidden.
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let url = Url::parse(text)?;
            return match has_at_sign_behind_host(&url) {
                false => Ok(Self::Postgres(PostgresUrl(url))),
                true if url.has_host() => Err(InvalidDatabaseUrl::AtSignBehindHost),
                true => Err(InvalidDatabaseUrl::NoHost),
            };
        }
        Err(InvalidDatabaseUrl::Scheme)
    }
}

/// Whether an `@` stands where a database has no use for it. In
/// `postgres://user:1/secret@host/db` the host is `user`, and the password would
/// be shown as a path. A parameter that holds a user or a password may have one.
fn has_at_sign_behind_host(url: &Url) -> bool {
    let parameters = url.query().unwrap_or_default().split('&');
    let mut astray = parameters.filter(|pair| {
        let (name, _) = pair.split_once('=').unwrap_or_default();
        !["user", "password"].contains(&name)
    });
    url.path().contains('@')
        || astray.any(|pair| pair.contains('@'))
        || url.fragment().unwrap_or_default().contains('@')
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        if shown.password().is_some() {
            // Fails only for URLs without a host, which have no password.
            let _ = shown.set_password(Some("***"));
        }
        if shown.query_pairs().any(|(key, _)| key == "password") {
            let kept: Vec<(String, String)> = shown
                .query_pairs()
                .filter(|(key, _)| key != "password")
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect();
            shown.query_pairs_mut().clear().extend_pairs(kept);
        }
        shown.fmt(formatter)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgresUrl({self})")
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(formatter, "sqlite:{}", file.display()),
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
        assert_eq!(
            "sqlite:".parse::<DatabaseUrl>(),
            Err(InvalidDatabaseUrl::NoFile)
        );
        assert_eq!(
            "mysql://x/y".parse::<DatabaseUrl>(),
            Err(InvalidDatabaseUrl::Scheme)
        );
    }
}
