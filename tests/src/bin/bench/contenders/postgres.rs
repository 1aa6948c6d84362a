//! By hand in PostgreSQL, through sqlx: events and read models in one database.

use anyhow::Result;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

mod expert;
mod reading;
mod statements;
mod tables;
mod whole;

pub(crate) use expert::expert;
pub(crate) use statements::statements;
pub(crate) use whole::{fold_and_copy, read, sql};

async fn connect(url: &str) -> Result<PgConnection> {
    Ok(PgConnection::connect(url).await?)
}
