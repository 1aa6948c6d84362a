//! Connections to the server that `tests/bench` started.

use anyhow::{Context as _, Result};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::runtime::Runtime;

/// A runtime for one measurement.
pub(crate) fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// A connection to the server, beside the databases that are measured.
pub(crate) async fn server() -> Result<PgConnection> {
    let url = std::env::var("GNOMON_TEST_POSTGRES_URL")
        .context("there is no PostgreSQL server; `tests/bench` starts one")?;
    Ok(PgConnection::connect(&url).await?)
}

/// The number of the session's process.
pub(crate) async fn process(connection: &mut PgConnection) -> Result<u32> {
    let process: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    Ok(process.try_into()?)
}
