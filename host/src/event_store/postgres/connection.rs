//! Connections to PostgreSQL, and what its errors mean.

use std::io::ErrorKind;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Error};

use crate::connections::Connections;
use crate::database_url::PostgresUrl;
use crate::event_store::{EventStoreError, EventStoreErrorKind};
use crate::silence::Silence;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

fn options(url: &PostgresUrl) -> Result<PgConnectOptions, EventStoreError> {
    let options = PgConnectOptions::from_str(url.reveal()).map_err(|error| {
        EventStoreError::caused(
            EventStoreErrorKind::Refused,
            format!("{url} is not the URL of a PostgreSQL database"),
            error,
        )
    })?;
    // A plan that was made while the table was small, and kept, would read a
    // large one from end to end.
    let options = options.options([("plan_cache_mode", "force_custom_plan")]);
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("gnomon"),
    })
}

/// Makes one connection.
pub(crate) async fn connect(url: &PostgresUrl) -> Result<PgConnection, EventStoreError> {
    let doing = format!("connect to {url}");
    match tokio::time::timeout(CONNECT_TIMEOUT, options(url)?.connect()).await {
        Ok(connected) => connected.map_err(|error| store_error(&doing, error)),
        Err(_) => Err(EventStoreError::caused(
            EventStoreErrorKind::Retry,
            format!("cannot {doing}"),
            format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        )),
    }
}

/// A pool that makes its connections when they are needed, each with these
/// settings.
pub(crate) fn pool(
    url: &PostgresUrl,
    connections_max: usize,
    settings: &[(&str, &str)],
    silence: &Arc<Silence>,
) -> Result<Connections, EventStoreError> {
    let options = options(url)?.options(settings.iter().copied());
    Ok(Connections::new(options, &[], connections_max, silence))
}

/// Makes one connection that listens.
pub(crate) async fn listener(url: &PostgresUrl) -> Result<PgListener, EventStoreError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options(url)?);
    PgListener::connect_with(&pool)
        .await
        .map_err(|error| store_error(&format!("watch the events of {url}"), error))
}

/// The SQLSTATE of an error that the server sent.
pub(super) fn sql_state(error: &Error) -> Option<String> {
    match error {
        Error::Database(error) => error.code().map(|code| code.into_owned()),
        _ => None,
    }
}

/// An error of the driver, with what was being done and where.
pub(crate) fn store_error(doing: &str, error: Error) -> EventStoreError {
    let state = sql_state(&error);
    let (kind, advice) = match state.as_deref() {
        Some("28P01") => (
            EventStoreErrorKind::Refused,
            "; check the password in the URL",
        ),
        Some("28000") => (
            EventStoreErrorKind::Refused,
            "; check the user in the URL and the server's pg_hba.conf",
        ),
        Some("3D000") => (
            EventStoreErrorKind::Refused,
            "; make the database first, with `createdb` for instance",
        ),
        Some("42501") => (
            EventStoreErrorKind::Refused,
            "; grant the user what the message names",
        ),
        Some("53100") => (
            EventStoreErrorKind::Retry,
            "; make room on the server's disk",
        ),
        // A constraint, a type, a name: what is asked for cannot be done.
        Some(state)
            if ["22", "23", "42", "0A"]
                .iter()
                .any(|class| state.starts_with(class)) =>
        {
            (EventStoreErrorKind::Refused, "")
        }
        Some(_) => (EventStoreErrorKind::Retry, ""),
        None => match &error {
            Error::Configuration(_) | Error::ColumnDecode { .. } | Error::Decode(_) => {
                (EventStoreErrorKind::Refused, "")
            }
            Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => (
                EventStoreErrorKind::Retry,
                "; check that the server runs, and the host and port in the URL",
            ),
            _ => (EventStoreErrorKind::Retry, ""),
        },
    };
    EventStoreError::caused(kind, format!("cannot {doing}{advice}"), error)
}
