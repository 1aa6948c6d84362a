//! Connections to PostgreSQL, and what its errors mean for the event store.

use std::sync::Arc;
use std::time::Duration;

use gnomon_databases::connections::Connections;
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::error::{Cause, Nature, nature};
use gnomon_databases::postgres::server::{Connection, Server};
use gnomon_databases::postgres::sessions::Session;
use gnomon_databases::silence::Silence;
use sqlx::Error;
use sqlx::postgres::PgListener;

use super::Columns;
use crate::table::{TableError, TableErrorKind};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A plan that was made while the table was small, and kept, would read a large
/// one from end to end.
const SETTINGS: &str = "SET plan_cache_mode = force_custom_plan";

fn server(url: &PostgresUrl) -> Result<Server, TableError> {
    let server = Server::at(url).map_err(|error| {
        TableError::caused(
            TableErrorKind::Refused,
            format!("cannot connect to {url}"),
            error,
        )
    })?;
    Ok(server.with_settings(SETTINGS))
}

/// Makes one connection.
pub(crate) async fn connect(url: &PostgresUrl) -> Result<Connection, TableError> {
    let doing = format!("connect to {url}");
    match tokio::time::timeout(CONNECT_TIMEOUT, server(url)?.connect()).await {
        Ok(connected) => connected.map_err(|error| table_error(&doing, error)),
        Err(_) => Err(TableError::caused(
            TableErrorKind::Retry,
            format!("cannot {doing}"),
            format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        )),
    }
}

/// A pool that makes its connections when they are needed, each with these
/// settings. Where the server takes bytes for text unseen, it gives them unseen
/// too: otherwise it would refuse all events of a page for one that is no text.
pub(crate) fn pool(
    url: &PostgresUrl,
    columns: &Columns,
    connections_max: usize,
    settings: &[(&str, &str)],
    silence: &Arc<Silence>,
) -> Result<Connections, TableError> {
    let mut server = server(url)?;
    for (name, value) in settings {
        server = server.with_settings(&format!("SET {name} = {value}"));
    }
    if columns.encoding == "SQL_ASCII" {
        server = server.with_settings("SET client_encoding = 'SQL_ASCII'");
    }
    Ok(Connections::new(server, connections_max, silence))
}

/// Makes one connection that listens, within this time.
pub(crate) async fn listener(
    url: &PostgresUrl,
    limit: Duration,
) -> Result<(Session, PgListener), TableError> {
    let server = server(url)?;
    let listening = match tokio::time::timeout(limit, server.listener()).await {
        Ok(listening) => listening,
        // The driver's pool tries again until then, and does not say why.
        Err(_) => Err(server.refusal().await.unwrap_or(Error::PoolTimedOut)),
    };
    listening.map_err(|error| table_error(&format!("watch the events of {url}"), error))
}

/// An error of the driver, with what was being done and where.
pub(crate) fn table_error(doing: &str, error: Error) -> TableError {
    let (nature, advice) = nature(&error);
    let kind = match nature {
        Nature::Passing => TableErrorKind::Retry,
        // A constraint, a type, a name: what is asked for cannot be done.
        Nature::Value | Nature::Standing | Nature::Statement => TableErrorKind::Refused,
    };
    TableError::caused(kind, format!("cannot {doing}{advice}"), Cause::from(error))
}
