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
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, stream};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions, PgQueryResult, PgRow,
    PgStatement, PgTypeInfo,
};
use sqlx::{Either, Error, Execute, Executor, Postgres, SqlStr};

use crate::silence::Silence;

/// A connection that rested longer is asked whether it still lives.
const TRUSTED_IDLE_TIME: Duration = Duration::from_secs(1);

/// A pool of connections. Clones share it.
#[derive(Clone)]
pub(crate) struct Connections(PgPool);

impl Connections {
    /// Makes connections when they are needed. One that may have fallen silent
    /// meanwhile is asked first.
    pub(crate) fn new(
        pool: PgPoolOptions,
        options: PgConnectOptions,
        silence: &Arc<Silence>,
    ) -> Self {
        let (before, after) = (Arc::clone(silence), Arc::clone(silence));
        let pool = pool
            .test_before_acquire(false)
            .before_acquire(move |connection, metadata| {
                let silence = Arc::clone(&before);
                Box::pin(async move {
                    let rested = metadata.idle_for;
                    if silence.was_noticed_in(rested) {
                        return Ok(false);
                    }
                    Ok(rested <= TRUSTED_IDLE_TIME || silence.is_alive(connection).await?)
                })
            })
            .after_release(move |connection, _| {
                let silence = Arc::clone(&after);
                // The pool asks it too, and waits without end: a connection that
                // went silent would keep its place for many minutes.
                Box::pin(async move { silence.is_alive(connection).await })
            });
        Self(pool.connect_lazy_with(options))
    }

    /// A connection for whatever takes more than one statement.
    pub(crate) async fn lend(&self) -> sqlx::Result<Lent> {
        Ok(Lent {
            connection: self.0.acquire().await?,
            has_ended: false,
        })
    }

    /// A connection in a transaction.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction> {
        self.lend().await?.begin().await
    }

    /// A connection that listens.
    pub(crate) async fn listener(&self) -> sqlx::Result<PgListener> {
        PgListener::connect_with(&self.0).await
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connections")
    }
}

/// A connection that is closed with this value, unless its work has ended.
pub(crate) struct Lent {
    connection: PoolConnection<Postgres>,
    has_ended: bool,
}

impl Lent {
    /// Begins a transaction.
    pub(crate) async fn begin(mut self) -> sqlx::Result<Transaction> {
        self.execute("BEGIN").await?;
        Ok(Transaction(self))
    }

    /// Gives it back: every answer has been read to its end.
    pub(crate) fn end(mut self) {
        self.has_ended = true;
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
        &self.connection
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.has_ended {
            self.connection.close_on_drop();
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
