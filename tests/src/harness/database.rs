//! Databases of a test, and their rows in one form on both systems.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use url::Url;

use super::{Disk, Server};

/// Rows as text, in the order of their first column; `None` is null.
pub type Rows = Vec<Vec<Option<String>>>;

/// A database system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// A file in a directory of its own.
    Sqlite,
    /// A database of its own on the test server.
    Postgres,
}

/// An empty database; it vanishes with this value.
pub enum Database {
    /// A file.
    Sqlite {
        /// Where it is.
        file: PathBuf,
        /// Holds it, where it is not on a test's own disk.
        _directory: Option<TempDir>,
    },
    /// A database on the test server.
    Postgres {
        /// Its URL.
        url: Url,
        /// The connection for queries; boxed, as it is large.
        client: Mutex<Box<Client>>,
    },
}

/// A connection and what drives it.
pub struct Client {
    runtime: Runtime,
    connection: PgConnection,
}

impl Client {
    fn connect(url: &Url) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let connection = runtime
            .block_on(PgConnection::connect(url.as_str()))
            .expect("the server of GNOMON_TEST_POSTGRES_URL can be reached");
        let mut client = Self {
            runtime,
            connection,
        };
        client.query("SET TIME ZONE 'UTC'");
        client
    }

    fn query(&mut self, sql: &str) -> Vec<PgRow> {
        // Only the simple protocol gives all values as text.
        let query = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut self.connection);
        self.runtime
            .block_on(query)
            .unwrap_or_else(|error| panic!("{error}\n{sql}"))
    }
}

/// The test server, as `make test` sets it.
fn server() -> Url {
    let text = std::env::var("GNOMON_TEST_POSTGRES_URL").expect(
        "GNOMON_TEST_POSTGRES_URL is not set; run the tests by `make test`, which starts a server",
    );
    Url::parse(&text).expect("GNOMON_TEST_POSTGRES_URL is a URL")
}

impl Database {
    /// Makes an empty database.
    #[must_use]
    pub fn new(system: System) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        match system {
            System::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                Self::Sqlite {
                    file: directory.path().join("test.db"),
                    _directory: Some(directory),
                }
            }
            System::Postgres => {
                let mut url = server();
                let name = format!(
                    "gnomon_test_{}_{}",
                    std::process::id(),
                    NUMBER.fetch_add(1, Ordering::Relaxed)
                );
                Client::connect(&url).query(&format!(
                    "CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0"
                ));
                url.set_path(&name);
                let client = Mutex::new(Box::new(Client::connect(&url)));
                Self::Postgres { url, client }
            }
        }
    }

    /// An empty file on a disk of the test's own.
    #[must_use]
    pub fn on_disk(disk: &Disk) -> Self {
        Self::Sqlite {
            file: disk.path().join("test.db"),
            _directory: None,
        }
    }

    /// An empty database of a server of the test's own.
    #[must_use]
    pub fn of_server(server: &Server) -> Self {
        Self::create(server, "test", "")
    }

    /// An empty database, all files of which are on a disk of the test's own.
    #[must_use]
    pub fn of_server_on_disk(server: &Server, disk: &Disk) -> Self {
        let directory = disk.path().join("tablespace");
        server.make_directory(&directory);
        Client::connect(&server.url()).query(&format!(
            "CREATE TABLESPACE small LOCATION '{}'",
            directory.display()
        ));
        Self::create(server, "small", "TABLESPACE small")
    }

    fn create(server: &Server, name: &str, place: &str) -> Self {
        let mut url = server.url();
        Client::connect(&url).query(&format!("CREATE DATABASE {name} {place}"));
        url.set_path(name);
        let client = Mutex::new(Box::new(Client::connect(&url)));
        Self::Postgres { url, client }
    }

    /// Connects again after its server was stopped.
    pub fn reconnect(&self) {
        if let Self::Postgres { url, client } = self {
            **client.lock().unwrap() = Client::connect(url);
        }
    }

    /// Its system.
    #[must_use]
    pub const fn system(&self) -> System {
        match self {
            Self::Sqlite { .. } => System::Sqlite,
            Self::Postgres { .. } => System::Postgres,
        }
    }

    /// Its URL, as the configuration has it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => format!("sqlite:{}", file.display()),
            Self::Postgres { url, .. } => url.to_string(),
        }
    }

    /// The result of a query.
    ///
    /// # Panics
    /// When the database refuses it.
    #[must_use]
    pub fn rows(&self, sql: &str) -> Rows {
        let mut rows = match self {
            Self::Sqlite { file, .. } => sqlite_rows(file, sql),
            Self::Postgres { client, .. } => {
                let mut client = client.lock().unwrap();
                client.query(sql).iter().map(postgres_row).collect()
            }
        };
        rows.sort();
        rows
    }

    /// Carries statements out; a session of another program would do the same.
    ///
    /// # Panics
    /// When the database refuses one.
    pub fn execute(&self, statements: &str) {
        match self {
            Self::Sqlite { file, .. } => sqlite(file).execute_batch(statements).unwrap(),
            Self::Postgres { client, .. } => {
                let _ = client.lock().unwrap().query(statements);
            }
        }
    }

    /// Holds the write lock of a SQLite file, as another program may, for that
    /// long.
    ///
    /// # Panics
    /// On another system.
    pub fn hold_write_lock(&self, time: std::time::Duration) {
        let Self::Sqlite { file, .. } = self else {
            panic!("PostgreSQL has no such lock");
        };
        let connection = sqlite(file);
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        std::thread::sleep(time);
        connection.execute_batch("ROLLBACK").unwrap();
    }

    /// Writes to the file as another program would, until the lock is released.
    ///
    /// # Panics
    /// On PostgreSQL, which has no such lock.
    #[must_use]
    pub fn lock_for_writing(&self) -> WriteLock {
        let Self::Sqlite { file, .. } = self else {
            panic!("PostgreSQL has no such lock");
        };
        let connection = sqlite(file);
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        WriteLock(connection)
    }

    /// The number that a query gives; zero where a table is missing.
    #[must_use]
    pub fn number(&self, sql: &str) -> i64 {
        self.rows(sql)[0][0]
            .as_deref()
            .map_or(0, |text| text.parse().unwrap())
    }

    /// Makes an empty event store, unless there is a table `events`.
    ///
    /// # Panics
    /// When the database refuses it.
    pub fn make_event_store(&self) {
        if !self.has_table("events") {
            let url = self.url().parse().unwrap();
            block_on(async { gnomon_event_store::open(&url).await.map(drop) }).unwrap();
        }
    }

    /// Makes the registry, as a host does that starts.
    ///
    /// # Panics
    /// When the database refuses it.
    pub fn make_registry(&self) {
        let url = self.url().parse().unwrap();
        block_on(async { gnomon::storage::open(&url).await.map(drop) }).unwrap();
    }

    /// Whether there is a table of this name.
    #[must_use]
    pub fn has_table(&self, name: &str) -> bool {
        let sql = match self {
            Self::Sqlite { .. } => {
                format!("SELECT count(*) FROM sqlite_schema WHERE name = '{name}'")
            }
            Self::Postgres { .. } => {
                format!(
                    "SELECT count(*) FROM information_schema.tables WHERE table_name = '{name}'"
                )
            }
        };
        self.number(&sql) > 0
    }
}

/// A lock on a SQLite file, which ends with this value.
pub struct WriteLock(rusqlite::Connection);

impl WriteLock {
    /// Ends it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { url, .. } = self {
            if url.port() != server().port() {
                // It goes with its server.
                return;
            }
            let name = url.path().trim_start_matches('/').to_owned();
            if std::thread::panicking() {
                // A failed test may leave what cannot be dropped, and its own
                // message is what counts.
                return;
            }
            // A host may still be connected, and a server does not always let go
            // at once of what it was asked for.
            let mut client = Client::connect(&server());
            client.query(&format!(
                "SELECT pg_terminate_backend(pid, 120000) FROM pg_stat_activity \
                 WHERE datname = '{name}'"
            ));
            client.query(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

fn sqlite(file: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection
        .busy_timeout(std::time::Duration::from_secs(30))
        .unwrap();
    connection
}

fn sqlite_rows(file: &Path, sql: &str) -> Rows {
    let connection = sqlite(file);
    let mut statement = connection
        .prepare(sql)
        .unwrap_or_else(|error| panic!("{error}\n{sql}"));
    let columns = statement.column_count();
    statement
        .query_map([], |row| {
            (0..columns).map(|column| row.get(column)).collect()
        })
        .unwrap()
        .map(|row: rusqlite::Result<Vec<rusqlite::types::Value>>| {
            row.unwrap().into_iter().map(sqlite_cell).collect()
        })
        .collect()
}

fn sqlite_cell(value: rusqlite::types::Value) -> Option<String> {
    use rusqlite::types::Value;
    match value {
        Value::Null => None,
        Value::Integer(number) => Some(number.to_string()),
        Value::Real(number) => Some(format!("{number:?}")),
        Value::Text(text) => Some(text),
        Value::Blob(bytes) => Some(
            bytes
                .iter()
                .fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
        ),
    }
}

fn postgres_row(row: &PgRow) -> Vec<Option<String>> {
    row.columns()
        .iter()
        .map(|column| {
            let value = row.try_get_raw(column.ordinal()).unwrap();
            (!value.is_null())
                .then(|| postgres_cell(column.type_info().name(), value.as_str().unwrap()))
        })
        .collect()
}

/// A value as the SQLite read models hold it.
fn postgres_cell(type_name: &str, text: &str) -> String {
    match type_name {
        "BOOL" => if text == "t" { "1" } else { "0" }.to_owned(),
        "TIMESTAMPTZ" => {
            let time: Timestamp = text.parse().unwrap();
            format!("{time:.6}")
        }
        "FLOAT8" => format!("{:?}", text.parse::<f64>().unwrap()),
        _ => text.to_owned(),
    }
}
