//! Connections: how they are opened and what is set on them.
//!
//! There are two pools. The small one is for the registry, so that a lease is
//! renewed in time however busy the writers are. The writers of all
//! generations share the other: a writer borrows a connection for one call,
//! so a hundred projections do not take a hundred connections of the server.

use std::str::FromStr;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

use super::error::failed;
use crate::connections::Connections;
use crate::database_url::PostgresUrl;
use crate::silence::Silence;
use crate::target::TargetError;

const REGISTRY_CONNECTIONS_MAX: usize = 4;
const WRITER_CONNECTIONS_MAX: usize = 16;
/// Statements that a connection keeps prepared.
const PREPARED_STATEMENTS_MAX: usize = 500;

/// What neither the role's nor the database's settings may change.
///
/// A host that is stopped inside a transaction, or cut off there, holds the
/// checkpoint's lock; the idle time-out takes it away, so that its successor
/// need not wait for it. Between two statements of a commit there are
/// milliseconds. No time-out counts while the server waits for the rows of a
/// `COPY`, so it asks a client that is gone without a word whether it lives.
const SETTINGS: &str = "
SET search_path = pg_catalog;
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
SET statement_timeout = 0;
SET lock_timeout = '5s';
SET idle_in_transaction_session_timeout = '3s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
";

/// Writers go by keys and indexes only. A plan that was made and kept while a
/// table was empty must not scan it when it has grown. To make it anew for each
/// small batch would take longer than to carry it out.
const WRITER_SETTINGS: &str = "
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
";

/// How to connect to a server.
pub(super) fn options(url: &PostgresUrl, place: &str) -> Result<PgConnectOptions, TargetError> {
    let options = PgConnectOptions::from_str(url.reveal())
        .map_err(failed(place, "read the URL"))?
        .statement_cache_capacity(PREPARED_STATEMENTS_MAX)
        .disable_statement_logging();
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("gnomon"),
    })
}

/// One connection outside the pools. A pool would hide why it cannot connect.
pub(super) async fn connect(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute(SETTINGS).await?;
    Ok(connection)
}

/// The pool for the registry.
pub(super) fn registry_pool(options: PgConnectOptions, silence: &Arc<Silence>) -> Connections {
    Connections::new(options, &[SETTINGS], REGISTRY_CONNECTIONS_MAX, silence)
}

/// The pool that the writers share.
pub(super) fn writer_pool(options: PgConnectOptions, silence: &Arc<Silence>) -> Connections {
    let settings = &[SETTINGS, WRITER_SETTINGS];
    Connections::new(options, settings, WRITER_CONNECTIONS_MAX, silence)
}
