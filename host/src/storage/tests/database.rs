//! A database for one test, of either kind.

use gnomon_databases::database_url::DatabaseUrl;
use rusqlite::types::Value as SqliteValue;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::storage::{Storage, open};

/// A database that goes away with the test.
pub(super) enum Database {
    Sqlite(TempDir),
    Postgres { server: Url, name: String },
}

impl Database {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(super) async fn postgres() -> Self {
        Self::postgres_with("ENCODING 'UTF8'").await
    }

    pub(super) async fn postgres_with(options: &str) -> Self {
        let server: Url = std::env::var("GNOMON_TEST_POSTGRES_URL")
            .expect("GNOMON_TEST_POSTGRES_URL is not set; `make test` starts a server and sets it")
            .parse()
            .unwrap();
        let name = format!("gnomon_storage_{}", Uuid::new_v4().simple());
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 {options}");
        let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        Self::Postgres { server, name }
    }

    pub(super) fn url(&self) -> DatabaseUrl {
        match self {
            Self::Sqlite(_) => DatabaseUrl::Sqlite(self.file()),
            Self::Postgres { .. } => self.postgres_url().as_str().parse().unwrap(),
        }
    }

    pub(super) fn file(&self) -> std::path::PathBuf {
        match self {
            Self::Sqlite(directory) => directory.path().join("read models.db"),
            Self::Postgres { .. } => panic!("PostgreSQL has no file"),
        }
    }

    pub(super) fn postgres_url(&self) -> Url {
        match self {
            Self::Sqlite(_) => panic!("SQLite has no URL"),
            Self::Postgres { server, name } => {
                let mut url = server.clone();
                url.set_path(name);
                url
            }
        }
    }

    pub(super) async fn open(&self) -> Storage {
        open(&self.url()).await.unwrap()
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres { .. })
    }

    /// The name under which readers find a table.
    pub(super) fn public(&self, projection: &str, table: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("\"{table}\""),
            Self::Postgres { .. } => format!("\"{projection}\".\"{table}\""),
        }
    }

    /// The name of a table of the registry.
    pub(super) fn registry(&self, table: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("gnomon_{table}"),
            Self::Postgres { .. } => format!("gnomon.{table}"),
        }
    }

    /// Runs statements as somebody else than Gnomon.
    pub(super) async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => {
                rusqlite::Connection::open(self.file())
                    .unwrap()
                    .execute_batch(sql)
                    .unwrap();
            }
            Self::Postgres { .. } => {
                self.connect()
                    .await
                    .execute(AssertSqlSafe(sql.to_owned()))
                    .await
                    .unwrap();
            }
        }
    }

    pub(super) async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.postgres_url().as_str())
            .await
            .unwrap()
    }

    /// The first column of a query as texts.
    pub(super) async fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Self::Sqlite(_) => {
                let connection = rusqlite::Connection::open(self.file()).unwrap();
                let mut statement = connection.prepare(sql).unwrap();
                let rows = statement
                    .query_map([], |row| row.get::<_, SqliteValue>(0))
                    .unwrap();
                rows.map(|value| match value.unwrap() {
                    SqliteValue::Null => "null".to_owned(),
                    SqliteValue::Integer(value) => value.to_string(),
                    SqliteValue::Text(value) => value,
                    other => panic!("{other:?}"),
                })
                .collect()
            }
            Self::Postgres { .. } => {
                let sql = format!("SELECT coalesce(q.c::text, 'null') FROM ({sql}) q (c)");
                let rows = self
                    .connect()
                    .await
                    .fetch_all(AssertSqlSafe(sql))
                    .await
                    .unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Self::Postgres { server, name } = self else {
            return;
        };
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let server = server.to_string();
        // The test's runtime is busy with this very call.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async {
                    let mut connection = PgConnection::connect(&server).await?;
                    connection.execute(AssertSqlSafe(drop)).await
                })
        });
        // A database that stays behind is no reason to fail.
        let _ = dropped.join();
    }
}
