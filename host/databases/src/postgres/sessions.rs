//! The server sessions behind this process's connections.
//!
//! A connection pooler in transaction pooling lends one session of the server
//! to several connections in turn. Settings, prepared statements and `LISTEN`
//! then go astray, some of them silently and some in other people's
//! transactions. Two connections that are open at the same time and have the
//! same session prove it.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgConnection;
use sqlx::{Error, Executor as _, Row as _};

/// A session of the server; the time of its start tells it from those of other
/// servers.
type Identity = (i32, i64);

static OPEN: LazyLock<Mutex<HashSet<Identity>>> = LazyLock::new(Mutex::default);

fn open() -> MutexGuard<'static, HashSet<Identity>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a pooler is refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "a connection pooler lends one server session to several connections at a time, as pgbouncer \
     does with `pool_mode = transaction` or `statement`: settings, prepared statements and LISTEN \
     get lost there; set `pool_mode = session` for this database, or name the server itself in \
     the URL"
)]
pub struct SharedSession;

/// A session that is ours alone. Dropped before its connection, so that a pooler
/// that lends the session on at once is no reason for suspicion.
#[derive(Debug)]
pub struct Session(Identity);

impl Session {
    /// The session behind a new connection, before anything is set on it.
    pub async fn of(connection: &mut PgConnection) -> sqlx::Result<Self> {
        // Unprepared, as a pooler may have used the name of a prepared one.
        let row = connection
            .fetch_one(
                "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint \
                 FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())",
            )
            .await?;
        let identity = (row.try_get(0)?, row.try_get(1)?);
        if open().insert(identity) {
            return Ok(Self(identity));
        }
        // What the first connection has set must not meet somebody else.
        let _ = connection.execute("DISCARD ALL").await;
        Err(Error::Configuration(SharedSession.into()))
    }

    /// The number of the server's process for it.
    pub const fn process(&self) -> i32 {
        self.0.0
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        open().remove(&self.0);
    }
}
