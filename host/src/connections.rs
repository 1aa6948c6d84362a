//! Connections to PostgreSQL, lent for one piece of work each.
//!
//! Work is given up in the middle: a lease is lost, a time is over, a reader
//! begins elsewhere. The driver does not always know where the connection
//! stands then. After a `COPY` that was cut off it takes the end of one answer
//! for the whole of the next, which then looks like a row that is not there;
//! after a `BEGIN` it lends a connection inside a transaction. So a connection
//! is lent again only when somebody said that its work came to its end.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts,
    WeakPool,
};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{Connection as _, Either, Error, Execute, Executor, Postgres, SqlStr};

use crate::silence::Silence;

/// How long a caller waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(10);
/// How long a connection may take to be made, and how long it is tried again
/// where the server is not there yet.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(10);
const CONNECT_AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);
/// A connection that rested longer is asked whether it still lives.
const TRUSTED_IDLE_TIME: Duration = Duration::from_secs(1);
/// A connection that rested longer is closed.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// An older connection is replaced: the server's process keeps what it has
/// learnt of every table, and never gives memory back.
const AGE_MAX: Duration = Duration::from_mins(30);

/// A pool of connections, made when they are needed. Clones share it.
///
/// The driver's own pool asks a connection whether it lives whenever it comes
/// back, which costs as much as the small commits that the pool is there for.
#[derive(Clone)]
pub(crate) struct Connections(Pool<Maker>);

impl Connections {
    /// At most so many connections, each with these settings. One that may
    /// have fallen silent meanwhile is asked first.
    pub(crate) fn new(
        options: PgConnectOptions,
        settings: &'static [&'static str],
        connections_max: usize,
        silence: &Arc<Silence>,
    ) -> Self {
        let maker = Maker {
            options,
            settings,
            silence: Arc::clone(silence),
        };
        let pool = Pool::builder(maker)
            .max_size(connections_max)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(TURN_TIME),
                ..Timeouts::default()
            })
            .build()
            .unwrap_or_else(|error| unreachable!("{error}"));
        tokio::spawn(close_idle(pool.weak()));
        Self(pool)
    }

    /// A connection for whatever takes more than one statement.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent> {
        match self.0.get().await {
            Ok(pooled) => Ok(Lent(Some(pooled))),
            Err(PoolError::Backend(error)) => Err(error),
            Err(_) => Err(Error::PoolTimedOut),
        }
    }

    /// A connection in a transaction.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction> {
        self.lend().await?.begin().await
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connections")
    }
}

/// Closes connections that nobody needs, as long as there is a pool.
async fn close_idle(pool: WeakPool<Maker>) {
    loop {
        tokio::time::sleep(IDLE_TIME_MAX / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        let idle = pool.retain(|pooled, _| pooled.rests_since.elapsed() <= IDLE_TIME_MAX);
        for pooled in idle.removed {
            if let Err(error) = pooled.connection.close().await {
                tracing::debug!(%error, "an idle connection was not closed properly");
            }
        }
    }
}

/// A connection of a pool.
struct Pooled {
    connection: PgConnection,
    process: i32,
    rests_since: Instant,
}

/// Makes connections, and decides which are lent again.
struct Maker {
    options: PgConnectOptions,
    settings: &'static [&'static str],
    silence: Arc<Silence>,
}

impl Maker {
    async fn connect(&self) -> sqlx::Result<Pooled> {
        let connect = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            for statements in self.settings {
                connection.execute(*statements).await?;
            }
            let process = sqlx::query_scalar("SELECT pg_backend_pid()")
                .fetch_one(&mut connection)
                .await?;
            Ok(Pooled {
                connection,
                process,
                rests_since: Instant::now(),
            })
        };
        tokio::time::timeout(CONNECT_TIME, connect)
            .await
            .unwrap_or(Err(Error::PoolTimedOut))
    }
}

impl Manager for Maker {
    type Type = Pooled;
    type Error = Error;

    async fn create(&self) -> sqlx::Result<Pooled> {
        let waits = ExponentialBuilder::default()
            .with_min_delay(CONNECT_AGAIN_AFTER)
            .with_max_delay(CONNECT_AGAIN_AFTER_MAX)
            .with_total_delay(Some(CONNECT_TIME))
            .without_max_times();
        (|| self.connect()).retry(waits).when(is_passing).await
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<Error> {
        let rested = pooled.rests_since.elapsed();
        if metrics.age() > AGE_MAX || self.silence.was_noticed_in(rested) {
            return Err(RecycleError::message("it is to be replaced"));
        }
        if rested > TRUSTED_IDLE_TIME && !self.silence.is_alive(&mut pooled.connection).await? {
            return Err(RecycleError::message("it is silent"));
        }
        Ok(())
    }
}

/// Whether the server is about to be there, or to have room.
fn is_passing(error: &Error) -> bool {
    const TOO_MANY_CONNECTIONS: &str = "53300";
    const CANNOT_CONNECT_NOW: &str = "57P03";
    match error {
        Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        Error::Database(error) => {
            let state = error.code();
            [TOO_MANY_CONNECTIONS, CANNOT_CONNECT_NOW].contains(&state.as_deref().unwrap_or(""))
        }
        _ => false,
    }
}

/// A connection that is closed with this value, unless its work has ended.
pub(crate) struct Lent(
    /// There until this is dropped.
    Option<Object<Maker>>,
);

impl Lent {
    /// The number of the server's process for it.
    pub(crate) fn process(&self) -> i32 {
        self.pooled().process
    }

    fn pooled(&self) -> &Pooled {
        match &self.0 {
            Some(pooled) => pooled,
            None => unreachable!("it is there until it ends"),
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(mut self) -> sqlx::Result<Transaction> {
        self.execute("BEGIN").await?;
        Ok(Transaction(self))
    }

    /// Gives it back: every answer has been read to its end.
    pub(crate) fn end(mut self) {
        if let Some(mut pooled) = self.0.take() {
            pooled.rests_since = Instant::now();
        }
    }

    /// Gives it back unless the connection itself failed.
    pub(crate) fn end_with<T>(self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        if matches!(answer, Ok(_) | Err(Error::Database(_))) {
            self.end();
        }
        answer
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.pooled().connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.0 {
            Some(pooled) => &mut pooled.connection,
            None => unreachable!("it is there until it ends"),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(pooled) = self.0.take() {
            drop(Object::take(pooled));
        }
    }
}

/// A transaction. It is rolled back with this value, and its connection
/// closed, unless it was ended.
pub(crate) struct Transaction(Lent);

impl Transaction {
    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        self.0.execute("COMMIT").await?;
        self.0.end();
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> sqlx::Result<()> {
        self.0.execute("ROLLBACK").await?;
        self.0.end();
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// One statement on a connection of its own. The answer is held as a whole.
impl<'c> Executor<'c> for &Connections {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connections = self.clone();
        let answer = async move {
            let mut lent = connections.lend().await?;
            let answer: sqlx::Result<Vec<_>> = lent.fetch_many(query).try_collect().await;
            lent.end_with(answer)
        };
        answer
            .map_ok(|answer| stream::iter(answer.into_iter().map(Ok)))
            .try_flatten_stream()
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let connections = self.clone();
        async move {
            let mut lent = connections.lend().await?;
            let answer = lent.fetch_optional(query).await;
            lent.end_with(answer)
        }
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        let connections = self.clone();
        async move {
            let mut lent = connections.lend().await?;
            let answer = lent.prepare_with(sql, parameters).await;
            lent.end_with(answer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database_url::DatabaseUrl;
    use crate::test_database::postgres;

    async fn options() -> PgConnectOptions {
        let DatabaseUrl::Postgres(url) = postgres().await else {
            panic!("it is a PostgreSQL database");
        };
        url.reveal().parse().unwrap()
    }

    async fn connections() -> Connections {
        let settings = &["SET lock_timeout = '7s'"];
        Connections::new(options().await, settings, 1, &Arc::default())
    }

    #[tokio::test]
    async fn a_connection_whose_work_has_ended_is_lent_again() {
        let connections = connections().await;
        let first = connections.lend().await.unwrap();
        let process = first.process();
        first.end();
        let mut second = connections.lend().await.unwrap();
        assert_eq!(second.process(), process);
        let setting: String = sqlx::query_scalar("SHOW lock_timeout")
            .fetch_one(&mut *second)
            .await
            .unwrap();
        assert_eq!(setting, "7s");
    }

    #[tokio::test]
    async fn a_connection_whose_work_was_cut_off_is_not() {
        let connections = connections().await;
        let first = connections.lend().await.unwrap();
        let process = first.process();
        drop(first.begin().await.unwrap());
        let second = connections.lend().await.unwrap();
        assert_ne!(second.process(), process);
    }

    #[tokio::test]
    async fn one_that_the_server_closed_while_it_rested_is_replaced() {
        let connections = connections().await;
        let first = connections.lend().await.unwrap();
        let process = first.process();
        first.end();
        let options: PgConnectOptions = connections.0.manager().options.clone();
        let mut other = PgConnection::connect_with(&options).await.unwrap();
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(process)
            .execute(&mut other)
            .await
            .unwrap();
        tokio::time::sleep(TRUSTED_IDLE_TIME * 2).await;
        let second = connections.lend().await.unwrap();
        assert_ne!(second.process(), process);
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_at_once() {
        let options = options().await.database("there_is_no_such_database");
        let connections = Connections::new(options, &[], 1, &Arc::default());
        let started = Instant::now();
        let error = connections.lend().await.err().unwrap().to_string();
        assert!(error.contains("there_is_no_such_database"), "{error}");
        assert!(started.elapsed() < CONNECT_TIME, "it was tried again");
    }
}
