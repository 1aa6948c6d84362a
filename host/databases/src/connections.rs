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
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};

use crate::postgres::error::{CANNOT_CONNECT_NOW, has_state};
use crate::postgres::room::{Release, Room, is_full};
use crate::postgres::server::{Connection, Server};
use crate::silence::Silence;

/// How long a caller waits for its turn.
const TURN_TIME: Duration = Duration::from_secs(10);
/// How long a connection may take to be made, and how long it is tried again
/// where the server is not there yet.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(10);
const CONNECT_AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);
/// How soon a server that takes no more connections is asked again.
const ROOM_AFTER: Duration = Duration::from_millis(5);
const ROOM_AFTER_MAX: Duration = Duration::from_millis(200);
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
pub struct Connections {
    pool: Pool<Maker>,
    /// While it is there, others may ask for what rests in the pool.
    _takes_part: Arc<Release>,
}

impl Connections {
    /// At most so many connections to a server. One that may have fallen silent
    /// meanwhile is asked first.
    pub fn new(server: Server, connections_max: usize, silence: &Arc<Silence>) -> Self {
        let room = server.room();
        let maker = Maker {
            server,
            silence: Arc::clone(silence),
            room: Arc::clone(&room),
        };
        let pool = Pool::builder(maker)
            .max_size(connections_max.max(1))
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(TURN_TIME),
                ..Timeouts::default()
            })
            .build()
            .unwrap_or_else(|error| unreachable!("{error}"));
        tokio::spawn(close_idle(pool.weak()));
        let weak = pool.weak();
        let takes_part = room.join(Box::new(move || {
            let pool = weak.upgrade();
            async move {
                if let Some(pool) = pool {
                    close_resting(&pool, Duration::ZERO).await;
                }
            }
            .boxed()
        }));
        Self {
            pool,
            _takes_part: takes_part,
        }
    }

    /// A connection for whatever takes more than one statement. Where the
    /// server takes no more, the pools of this process share those that it took.
    pub async fn lend(&self) -> sqlx::Result<Lent> {
        let started = Instant::now();
        let mut pause = ROOM_AFTER;
        loop {
            let refused = match self.pool.get().await {
                Ok(pooled) => return Ok(Lent(Some(pooled))),
                Err(PoolError::Backend(error)) => error,
                Err(_) => return Err(Error::PoolTimedOut),
            };
            if !is_full(&refused) || started.elapsed() >= TURN_TIME {
                return Err(refused);
            }
            self.pool.manager().room.ask().await;
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(ROOM_AFTER_MAX);
        }
    }

    /// A connection in a transaction.
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
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
        close_resting(&pool, IDLE_TIME_MAX).await;
    }
}

/// Closes connections that rested longer than this.
async fn close_resting(pool: &Pool<Maker>, longer_than: Duration) {
    let idle = pool.retain(|pooled, _| pooled.rests_since.elapsed() <= longer_than);
    for pooled in idle.removed {
        // A connection that is silent does not even say good-bye.
        let closed = tokio::time::timeout(CONNECT_TIME, pooled.connection.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::debug!(%error, "an idle connection was not closed properly");
        }
    }
}

/// A connection of a pool.
struct Pooled {
    connection: Connection,
    /// Whether no work has come to its end on it.
    is_new: bool,
    rests_since: Instant,
}

/// Makes connections, and decides which are lent again.
struct Maker {
    server: Server,
    silence: Arc<Silence>,
    room: Arc<Room>,
}

impl Maker {
    async fn connect(&self) -> sqlx::Result<Pooled> {
        let connect = async {
            Ok(Pooled {
                connection: self.server.connect().await?,
                is_new: true,
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
        if metrics.age() > AGE_MAX || self.silence.was_noticed_in(rested) || self.room.takes() {
            return Err(RecycleError::message("it is to be replaced"));
        }
        if rested > TRUSTED_IDLE_TIME && !self.silence.is_alive(&mut pooled.connection).await? {
            return Err(RecycleError::message("it is silent"));
        }
        Ok(())
    }
}

/// Whether the server is about to be there.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        error => has_state(error, CANNOT_CONNECT_NOW),
    }
}

/// A connection that is closed with this value, unless its work has ended.
pub struct Lent(
    /// There until this is dropped.
    Option<Object<Maker>>,
);

impl Lent {
    /// The number of the server's process for it.
    pub fn process(&self) -> i32 {
        self.pooled().connection.process()
    }

    /// Whether no work has come to its end on it.
    pub fn is_new(&self) -> bool {
        self.pooled().is_new
    }

    fn pooled(&self) -> &Pooled {
        match &self.0 {
            Some(pooled) => pooled,
            None => unreachable!("it is there until it ends"),
        }
    }

    /// Begins a transaction.
    pub async fn begin(mut self) -> sqlx::Result<Transaction> {
        self.execute("BEGIN").await?;
        Ok(Transaction(self))
    }

    /// Gives it back: every answer has been read to its end.
    pub fn end(mut self) {
        if let Some(mut pooled) = self.0.take() {
            pooled.rests_since = Instant::now();
            pooled.is_new = false;
        }
    }

    /// Gives it back unless the connection itself failed.
    pub fn end_with<T>(self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
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
pub struct Transaction(Lent);

impl Transaction {
    /// Commits, and gives the connection back.
    ///
    /// # Errors
    /// When the server cannot, or does not answer.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.0.execute("COMMIT").await?;
        self.0.end();
        Ok(())
    }

    /// Rolls back, and gives the connection back.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
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
    use crate::test_database::{postgres, run};

    async fn server() -> Server {
        let DatabaseUrl::Postgres(url) = postgres().await else {
            panic!("it is a PostgreSQL database");
        };
        Server::at(&url).unwrap()
    }

    async fn connections() -> Connections {
        let server = server().await.with_settings("SET lock_timeout = '7s'");
        Connections::new(server, 1, &Arc::default())
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
        let other = connections.pool.manager().server.clone();
        let mut other = other.connect().await.unwrap();
        sqlx::query("SELECT pg_terminate_backend($1)")
            .bind(process)
            .execute(&mut *other)
            .await
            .unwrap();
        tokio::time::sleep(TRUSTED_IDLE_TIME * 2).await;
        let second = connections.lend().await.unwrap();
        assert_ne!(second.process(), process);
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_at_once() {
        let url = "postgres:///there_is_no_such_database";
        let DatabaseUrl::Postgres(url) = of_same_server(url).parse().unwrap() else {
            panic!("{url}");
        };
        let connections = Connections::new(Server::at(&url).unwrap(), 1, &Arc::default());
        let started = Instant::now();
        let error = connections.lend().await.err().unwrap().to_string();
        assert!(error.contains("there_is_no_such_database"), "{error}");
        assert!(started.elapsed() < CONNECT_TIME, "it was tried again");
    }

    /// This database on the server of the tests.
    fn of_same_server(url: &str) -> String {
        let server = std::env::var("GNOMON_TEST_POSTGRES_URL").unwrap();
        let mut of_server = url::Url::parse(&server).unwrap();
        of_server.set_path(url::Url::parse(url).unwrap().path());
        of_server.to_string()
    }

    /// The role may have three connections, and each of the pools could use them
    /// all: none of them goes short.
    #[tokio::test(flavor = "multi_thread")]
    async fn pools_share_what_the_server_gives() {
        let DatabaseUrl::Postgres(owner) = postgres().await else {
            panic!("it is a PostgreSQL database");
        };
        let role = format!("limited_{}", std::process::id());
        let mut connection = Server::at(&owner).unwrap().connect().await.unwrap();
        run(
            &mut connection,
            &format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 3 PASSWORD 'secret'"),
        )
        .await;
        let mut limited = url::Url::parse(owner.reveal()).unwrap();
        limited.set_username(&role).unwrap();
        limited.set_password(Some("secret")).unwrap();
        let DatabaseUrl::Postgres(limited) = limited.as_str().parse().unwrap() else {
            panic!("{limited}");
        };
        let server = Server::at(&limited).unwrap();
        let pools: Vec<Connections> = (0..4)
            .map(|_| Connections::new(server.clone(), 3, &Arc::default()))
            .collect();
        let busy = (0..12).map(|task| {
            let pool = pools[task % 4].clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let answer: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await?;
                    assert_eq!(answer, 1);
                }
                Ok::<(), Error>(())
            })
        });
        for task in futures_util::future::join_all(busy).await {
            task.unwrap().unwrap();
        }
        drop(pools);
        // The role goes when its sessions have ended.
        while sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP ROLE {role}")))
            .execute(&mut *connection)
            .await
            .is_err()
        {}
    }
}
