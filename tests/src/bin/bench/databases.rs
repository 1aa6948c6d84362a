//! The machine, and connections to the server that `tests/bench` started.

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};
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

/// What the figures were taken on, as a line.
pub(crate) fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |name| {
            name.trim_start_matches([' ', '\t', ':'])
        });
    let version: String = runtime()?.block_on(async {
        let row = server().await?.fetch_one("SHOW server_version").await?;
        anyhow::Ok(row.try_get(0)?)
    })?;
    Ok(format!(
        "{cores} cores of {processor}; PostgreSQL {version} on the same machine"
    ))
}
