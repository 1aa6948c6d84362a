//! Readers of `spending` who ask without pause, on connections of their own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::TransactionBehavior;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::{Database, System};

/// What an answer is made of: rows, payments and cents by customer, and the two
/// sums of the other table, which must be the same.
type Answer = [i64; 5];

const BY_CUSTOMER: &str = "SELECT count(*), CAST(sum(payments) AS BIGINT),
         CAST(sum(paid_cents) AS BIGINT)
     FROM {spending}";
const TOTAL: &str = "SELECT payments, paid_cents FROM {total}";
/// The same in one statement.
const BOTH: &str = "SELECT c.*, t.payments, t.paid_cents
     FROM (SELECT count(*), CAST(sum(payments) AS BIGINT), CAST(sum(paid_cents) AS BIGINT)
           FROM {spending}) AS c
     LEFT JOIN {total} AS t ON true";

/// Readers, while other things go on. An error, a missing row, sums that do
/// not agree or that go back: each is remembered.
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    answers: AtomicU64,
    failure: Mutex<Option<String>>,
}

/// How a reader asks for both tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In one statement.
    Statement,
    /// In two, within a transaction that sees one state of the database.
    Transaction,
}

impl Readers {
    /// Starts one that asks in single statements, and one in transactions.
    /// There must be rows already.
    ///
    /// # Panics
    /// When the database cannot be reached.
    #[must_use]
    pub fn start(read_models: &Arc<Database>) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = [Way::Statement, Way::Transaction]
            .into_iter()
            .map(|way| {
                let (shared, read_models) = (Arc::clone(&shared), Arc::clone(read_models));
                std::thread::spawn(move || read(&read_models, way, &shared))
            })
            .collect();
        Self { shared, threads }
    }

    /// Panics if one of them has seen anything wrong so far.
    ///
    /// # Panics
    /// See above.
    pub fn check(&self) {
        if let Some(failure) = &*self.shared.failure() {
            panic!("{failure}");
        }
    }

    /// Ends them, and gives the number of their answers.
    ///
    /// # Panics
    /// If one of them saw anything wrong.
    #[must_use]
    pub fn end(mut self) -> u64 {
        self.shared.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.check();
        let answers = self.shared.answers.load(Ordering::Relaxed);
        assert!(answers > 0, "the readers got no answer");
        answers
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn failure(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(read_models: &Database, way: Way, shared: &Shared) {
    let mut reader = Reader::connect(read_models);
    let mut last: Answer = [0; 5];
    while !shared.ends.load(Ordering::Relaxed) {
        let wrong = match reader.ask(way) {
            Ok(answer) => {
                let wrong = wrong_with(answer, last, way, read_models.system());
                last = answer;
                wrong
            }
            Err(error) => Some(error),
        };
        if let Some(wrong) = wrong {
            let failure = format!("a reader ({way:?}) saw something wrong: {wrong}");
            *shared.failure() = Some(failure);
            return;
        }
        shared.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is wrong with an answer.
fn wrong_with(answer: Answer, last: Answer, way: Way, system: System) -> Option<String> {
    let [rows, payments, cents, total_payments, total_cents] = answer;
    if rows == 0 {
        return Some(format!("no rows, after {last:?}"));
    }
    if (payments, cents) != (total_payments, total_cents) {
        return Some(format!("a mixture: {answer:?}, after {last:?}"));
    }
    // PostgreSQL may fix what a transaction sees of the rows just before a
    // promotion, and the names just after it.
    let may_go_back = system == System::Postgres && way == Way::Transaction;
    if payments < last[1] && !may_go_back {
        return Some(format!("it went back: {answer:?}, after {last:?}"));
    }
    None
}

/// A connection, and how to ask on it.
enum Reader {
    Sqlite(rusqlite::Connection),
    Postgres(tokio::runtime::Runtime, Box<PgConnection>),
}

impl Reader {
    fn connect(read_models: &Database) -> Self {
        match read_models {
            Database::Sqlite { file, .. } => {
                let connection = rusqlite::Connection::open(file).unwrap();
                // Only whoever comes first after a crash has to recover the log.
                connection
                    .busy_timeout(std::time::Duration::from_secs(60))
                    .unwrap();
                Self::Sqlite(connection)
            }
            Database::Postgres { url, .. } => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let connection = runtime.block_on(PgConnection::connect(url.as_str()));
                Self::Postgres(runtime, Box::new(connection.unwrap()))
            }
        }
    }

    fn ask(&mut self, way: Way) -> Result<Answer, String> {
        match self {
            Self::Sqlite(connection) => {
                ask_sqlite(connection, way).map_err(|error| format!("{error:?}"))
            }
            Self::Postgres(runtime, connection) => runtime
                .block_on(ask_postgres(connection, way))
                .map_err(|error| format!("{error:?}")),
        }
    }
}

fn ask_sqlite(connection: &mut rusqlite::Connection, way: Way) -> rusqlite::Result<Answer> {
    let sql = |text: &str| named(text, "spending", "spending_total");
    let numbers = |row: &rusqlite::Row<'_>, columns: usize| -> rusqlite::Result<Vec<i64>> {
        (0..columns)
            .map(|column| Ok(row.get::<_, Option<i64>>(column)?.unwrap_or(0)))
            .collect()
    };
    let found = match way {
        Way::Statement => connection
            .prepare_cached(&sql(BOTH))?
            .query_row([], |row| numbers(row, 5))?,
        Way::Transaction => {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let mut found = transaction.query_row(&sql(BY_CUSTOMER), [], |row| numbers(row, 3))?;
            found.extend(transaction.query_row(&sql(TOTAL), [], |row| numbers(row, 2))?);
            transaction.commit()?;
            found
        }
    };
    Ok(answer(&found))
}

async fn ask_postgres(connection: &mut PgConnection, way: Way) -> sqlx::Result<Answer> {
    let sql = |text: &str| {
        sqlx::AssertSqlSafe(named(text, "spending.spending", "spending.spending_total"))
    };
    let numbers = |row: &sqlx::postgres::PgRow, columns: usize| -> sqlx::Result<Vec<i64>> {
        (0..columns)
            .map(|column| Ok(row.try_get::<Option<i64>, _>(column)?.unwrap_or(0)))
            .collect()
    };
    let found = match way {
        // Prepared once, as programs do, and used again after a promotion.
        Way::Statement => {
            let row = sqlx::query(sql(BOTH)).fetch_one(&mut *connection).await?;
            numbers(&row, 5)?
        }
        Way::Transaction => {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            sqlx::query(begin).execute(&mut *connection).await?;
            let row = sqlx::query(sql(BY_CUSTOMER))
                .fetch_one(&mut *connection)
                .await?;
            let mut found = numbers(&row, 3)?;
            let row = sqlx::query(sql(TOTAL)).fetch_one(&mut *connection).await?;
            found.extend(numbers(&row, 2)?);
            sqlx::query("COMMIT").execute(&mut *connection).await?;
            found
        }
    };
    Ok(answer(&found))
}

fn named(text: &str, spending: &str, total: &str) -> String {
    text.replace("{spending}", spending)
        .replace("{total}", total)
}

fn answer(numbers: &[i64]) -> Answer {
    numbers.try_into().unwrap()
}
