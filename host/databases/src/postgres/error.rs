//! What an error of PostgreSQL means, and how it is shown.
//!
//! Event store, source and target take different pains over the same error, but
//! they agree on what it is.

use std::error::Error as StdError;
use std::fmt;

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;

use crate::process_limits;

/// What an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A later try may not meet it: a lost connection, a lock, a full disk, a
    /// server that takes no more connections. In doubt, an error is this.
    Passing,
    /// A value that the server refuses, or that no message has room for.
    Value,
    /// Somebody has to change something: a password, a right, a name.
    Standing,
    /// The statement does not fit the tables as they are.
    Statement,
}

/// What an error is, and what to do about it: empty, or a clause to append.
pub fn nature(error: &Error) -> (Nature, &'static str) {
    match error {
        Error::Database(database) => {
            let state = database.code();
            of_state(state.as_deref().unwrap_or_default(), database.message())
        }
        Error::Configuration(_) | Error::Decode(_) | Error::ColumnDecode { .. } => {
            (Nature::Standing, "")
        }
        // A value beyond the size of a protocol message.
        Error::Encode(_) | Error::InvalidArgument(_) => (Nature::Value, ""),
        Error::Tls(_) => (
            Nature::Passing,
            "; check `sslmode` and `sslrootcert` in the URL, and the server's certificate",
        ),
        Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => (
            Nature::Passing,
            "; check that the server runs, and the host and port in the URL",
        ),
        Error::Io(error) if process_limits::is_about_open_files(error) => {
            (Nature::Passing, process_limits::OPEN_FILES_ADVICE)
        }
        _ => (Nature::Passing, ""),
    }
}

/// By SQLSTATE, see appendix A of PostgreSQL's manual.
fn of_state(state: &str, message: &str) -> (Nature, &'static str) {
    /// Names that are taken or reserved, views that stand on others or cannot
    /// take their place.
    const NAMES: [&str; 5] = ["42701", "42P06", "42P07", "42P16", "2BP01"];
    match state {
        "28P01" => (Nature::Standing, "; check the password in the URL"),
        "3D000" => (
            Nature::Standing,
            "; create the database first, with `createdb` for instance",
        ),
        "42501" => (
            Nature::Standing,
            "; grant the user what the message names, see docs/reference/database-rights.md",
        ),
        "53100" => (Nature::Passing, "; make room on the server's disk"),
        "53300" => (
            Nature::Passing,
            "; the role, the database or the server takes no more connections: raise that limit, \
             or lower `max-connections` in gnomon.toml",
        ),
        // What a pooler makes of statements that were prepared in another of
        // its sessions.
        "26000" | "42P05" => (
            Nature::Standing,
            "; a connection pooler in front of the server mixes sessions: Gnomon needs `pool_mode \
             = session`",
        ),
        "08P01" if message.contains("startup parameter") => (
            Nature::Standing,
            "; a connection pooler refuses the setting: make it in `options` of the URL instead of \
             PGOPTIONS",
        ),
        state if state.starts_with("28") => (
            Nature::Standing,
            "; check the user in the URL and the server's pg_hba.conf",
        ),
        state if NAMES.contains(&state) => (Nature::Standing, ""),
        // Data, constraints and limits such as the size of an index entry.
        state
            if ["22", "23", "54"]
                .iter()
                .any(|class| state.starts_with(class)) =>
        {
            (Nature::Value, "")
        }
        state if ["42", "0A"].iter().any(|class| state.starts_with(class)) => {
            (Nature::Statement, "")
        }
        _ => (Nature::Passing, ""),
    }
}

/// Whether a server that was asked for rows may have failed for what one of them
/// holds: it takes more memory or time than there is, or cannot be converted, or
/// is damaged. What is a passing trouble for a statement as a whole
/// ([`nature`]) may be over when fewer rows are asked for.
pub fn may_be_about_values(error: &Error) -> bool {
    const CLASSES: [&str; 3] = ["22", "54", "XX"];
    const OUT_OF_MEMORY: &str = "53200";
    const QUERY_CANCELED: &str = "57014";
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| {
        code == OUT_OF_MEMORY
            || code == QUERY_CANCELED
            || CLASSES.iter().any(|class| code.starts_with(class))
    })
}

/// A value that a unique index already has.
pub const UNIQUE_VIOLATION: &str = "23505";
/// Two transactions that wait for each other.
pub const DEADLOCK_DETECTED: &str = "40P01";
/// A lock that was waited for too long.
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
/// A character that the server's encoding lacks.
pub const UNTRANSLATABLE_CHARACTER: &str = "22P05";
/// A server that starts or stops.
pub const CANNOT_CONNECT_NOW: &str = "57P03";

/// Whether the server answered with this SQLSTATE.
pub fn has_state(error: &Error, state: &str) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == state)
}

/// An error as it is shown below a message: what the server said, its detail and
/// the SQLSTATE. The driver shows the line of the server's source code instead.
#[derive(Debug)]
pub struct Cause(Error);

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Error::Database(error) => {
                let state = error.code().unwrap_or_default();
                let detail = error
                    .try_downcast_ref::<PgDatabaseError>()
                    .and_then(PgDatabaseError::detail)
                    .map(|detail| format!("{detail}; "))
                    .unwrap_or_default();
                write!(formatter, "{} ({detail}SQLSTATE {state})", error.message())
            }
            Error::PoolTimedOut => formatter
                .write_str("the server cannot be reached, or all of Gnomon's connections are busy"),
            Error::Io(error) => error.fmt(formatter),
            Error::Configuration(error) => error.fmt(formatter),
            error => error.fmt(formatter),
        }
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            // Shown already; as a cause it is looked for by its kind.
            Error::Io(error) => Some(error),
            Error::Configuration(error) => error.source(),
            Error::Database(_) | Error::PoolTimedOut => None,
            error => error.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database::{connect, postgres};

    #[test]
    fn the_state_decides() {
        for (state, nature) in [
            ("40001", Nature::Passing),
            ("40P01", Nature::Passing),
            ("55P03", Nature::Passing),
            ("57P01", Nature::Passing),
            ("08006", Nature::Passing),
            ("53100", Nature::Passing),
            ("53300", Nature::Passing),
            ("XX000", Nature::Passing),
            ("22021", Nature::Value),
            ("23502", Nature::Value),
            ("54000", Nature::Value),
            ("28P01", Nature::Standing),
            ("28000", Nature::Standing),
            ("3D000", Nature::Standing),
            ("42501", Nature::Standing),
            ("42P07", Nature::Standing),
            ("42P01", Nature::Statement),
            ("0A000", Nature::Statement),
        ] {
            assert_eq!(of_state(state, "").0, nature, "{state}");
        }
    }

    /// A server that could not convert one value may send the others; one that was
    /// never asked, because it refuses the user, would refuse again.
    #[tokio::test]
    async fn a_failure_may_be_about_what_a_row_holds() {
        let mut connection = connect(&postgres().await).await;
        for (statement, is_about_values) in [
            ("SELECT convert_from('\\xff', 'UTF8')", true),
            ("SELECT repeat('x', 1 << 30)", true),
            ("SET statement_timeout = 1; SELECT pg_sleep(9)", true),
            ("SELECT * FROM nowhere", false),
        ] {
            let error = sqlx::raw_sql(statement)
                .execute(&mut connection)
                .await
                .unwrap_err();
            assert_eq!(may_be_about_values(&error), is_about_values, "{statement}");
        }
    }

    #[tokio::test]
    async fn the_servers_own_source_code_is_not_shown() {
        let mut connection = connect(&postgres().await).await;
        let error = sqlx::raw_sql("SELECT * FROM nowhere")
            .execute(&mut connection)
            .await
            .unwrap_err();
        let shown = Cause::from(error).to_string();
        assert_eq!(
            shown,
            "relation \"nowhere\" does not exist (SQLSTATE 42P01)"
        );
    }
}
