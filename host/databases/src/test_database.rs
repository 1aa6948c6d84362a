//! Databases for tests, of this crate and of those above it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::database_url::DatabaseUrl;

/// A new, empty PostgreSQL database on the throwaway server.
pub async fn postgres() -> DatabaseUrl {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let server = std::env::var("GNOMON_TEST_POSTGRES_URL").expect(
        "GNOMON_TEST_POSTGRES_URL is not set; `make test` sets it to a PostgreSQL server of its own",
    );
    let name = format!(
        "gnomon_unit_{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let mut connection = PgConnection::connect(&server).await.unwrap();
    for statement in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!("CREATE DATABASE {name}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    url.as_str().parse().unwrap()
}

/// A connection to a database that [`postgres`] made.
pub async fn connect(url: &DatabaseUrl) -> PgConnection {
    let DatabaseUrl::Postgres(url) = url else {
        panic!("{url} is not a PostgreSQL database");
    };
    PgConnection::connect(url.reveal()).await.unwrap()
}

/// Runs statements whose results do not matter.
pub async fn run(connection: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .unwrap();
}
