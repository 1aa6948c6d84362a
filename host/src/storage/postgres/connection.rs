//! Connections: how they are opened and what is set on them.
//!
//! There are two pools. The small one is for the registry, so that a lease is
//! renewed in time however busy the writers are. The writers of all
//! generations share the other: a writer borrows a connection for one call,
//! so a hundred projections do not take a hundred connections of the server.

use std::sync::Arc;

use gnomon_databases::connections::Connections;
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::server::Server;
use gnomon_databases::silence::Silence;

use crate::storage_error::{StorageError, StorageErrorKind};

const REGISTRY_CONNECTIONS_MAX: usize = 4;
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

/// How connections to a server are made.
pub(super) fn server(url: &PostgresUrl, place: &str) -> Result<Server, StorageError> {
    let server = Server::at(url).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
            format!("failed to connect to {place}"),
            error,
        )
    })?;
    Ok(server
        .with_settings(SETTINGS)
        .with_prepared_statements(PREPARED_STATEMENTS_MAX))
}

/// The pool for the registry, of a database that has so many connections.
pub(super) fn registry_pool(
    server: &Server,
    connections_max: usize,
    silence: &Arc<Silence>,
) -> Connections {
    Connections::new(server.clone(), registry_share(connections_max), silence)
}

/// The pool that the writers share.
pub(super) fn writer_pool(
    server: &Server,
    connections_max: usize,
    silence: &Arc<Silence>,
) -> Connections {
    let share = connections_max.saturating_sub(registry_share(connections_max));
    let server = server.clone().with_settings(WRITER_SETTINGS);
    Connections::new(server, share, silence)
}

/// How many of a database's connections are for the registry.
fn registry_share(connections_max: usize) -> usize {
    (connections_max / 5).clamp(1, REGISTRY_CONNECTIONS_MAX)
}
