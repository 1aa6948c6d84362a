//! The connection on which the frontier is looked at, and what was learnt on
//! it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{Acquire as _, AssertSqlSafe, Executor as _, Row as _};

use super::ALONG_THE_INDEX;
use super::blockers;
use super::checks::{DRAWN, Watched, drawn, watched};
use super::pace::Pace;
use super::rolled_back::RolledBack;
use super::samples::{Holders, Samples};
use crate::database_url::PostgresUrl;
use crate::event_store::postgres::{CHANNEL, listener, store_error};
use crate::postgres::sessions;
use crate::silence::{AnswerTime, Silence};
use crate::source::{Frontier, SourceError};

/// How long a wait lasts before its cause is looked up, and how old the answer
/// may get.
const EXPLAIN_AFTER: Duration = Duration::from_millis(100);
const EXPLAIN_EVERY: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Rows behind the frontier that are checked for holes in one query.
const PREFIX_MAX_ROWS: i64 = 500;

fn failed(url: &PostgresUrl, error: sqlx::Error) -> SourceError {
    store_error(&format!("watch the events of {url}"), error).into()
}

/// One connection. What was learnt on it ends with it.
pub(super) struct Session {
    url: PostgresUrl,
    _session: sessions::Session,
    listener: PgListener,
    watched: Watched,
    samples: Samples,
    head: Position,
    pace: Pace,
    waiting_since: Option<Instant>,
    explanation: Option<(Instant, String)>,
}

impl Session {
    /// Connects, and checks that the table can be read without loss.
    pub(super) async fn open(url: &PostgresUrl) -> Result<Self, SourceError> {
        let (session, mut listener) = listener(url, CONNECT_TIMEOUT).await?;
        let listened = tokio::time::timeout(CONNECT_TIMEOUT, listener.listen(CHANNEL)).await;
        listened
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| failed(url, error))?;
        let connection = listener
            .acquire()
            .await
            .map_err(|error| failed(url, error))?;
        let watched = watched(connection, url).await?;
        // After the checks, which may have to read the whole table.
        let settings = ALONG_THE_INDEX.map(|(name, value)| format!("SET {name} = {value}"));
        connection
            .execute(AssertSqlSafe(settings.join("; ")))
            .await
            .map_err(|error| failed(url, error))?;
        Ok(Self {
            url: url.clone(),
            _session: session,
            listener,
            watched,
            samples: Samples::default(),
            head: Position::START,
            pace: Pace::start(),
            waiting_since: None,
            explanation: None,
        })
    }

    /// How long to wait for a wake-up before the next look.
    pub(super) fn interval(&self) -> Duration {
        self.pace.interval(!self.samples.is_empty())
    }

    /// Waits until somebody says that there is something new. Cancelling the
    /// wait loses nothing.
    pub(super) async fn woken(&mut self) -> Result<(), SourceError> {
        match self.listener.try_recv().await {
            Ok(Some(_)) => {
                // One look serves all of them.
                while self.listener.next_buffered().is_some() {}
                Ok(())
            }
            Ok(None) => Err(SourceError::retry(
                format!("the connection to {} was lost", self.url),
                "the server closed it",
            )),
            Err(error) => Err(failed(&self.url, error)),
        }
    }

    /// The first look at a source: nobody asks what was rolled back before.
    pub(super) async fn first_look(
        &mut self,
        patience: &mut Patience,
    ) -> Result<Frontier, SourceError> {
        self.look(Position::START, &mut RolledBack::default(), false, patience)
            .await
    }

    /// Looks how far the events are final, from `safe` on. The reason of a wait
    /// is in the answer after a while, or at once where somebody asks.
    pub(super) async fn look(
        &mut self,
        safe: Position,
        rolled_back: &mut RolledBack,
        explain: bool,
        patience: &mut Patience,
    ) -> Result<Frontier, SourceError> {
        let url = self.url.clone();
        let look = self.look_now(safe, rolled_back, explain);
        patience.wait(&url, look).await
    }

    /// Counts some of the positions that were passed without an event.
    pub(super) async fn count_rolled_back(
        &mut self,
        rolled_back: &mut RolledBack,
        patience: &mut Patience,
    ) -> Result<(), SourceError> {
        if rolled_back.is_counted() {
            return Ok(());
        }
        let url = self.url.clone();
        let count = async { rolled_back.count_some(self.listener.acquire().await?).await };
        patience.wait(&url, count).await
    }

    async fn look_now(
        &mut self,
        safe: Position,
        rolled_back: &mut RolledBack,
        explain: bool,
    ) -> Result<Frontier, sqlx::Error> {
        let connection = self.listener.acquire().await?;
        let (head, prefix_end) = head_and_prefix_end(connection, &self.watched, safe).await?;
        let mut frontier = Frontier {
            safe,
            head,
            rolled_back: rolled_back.count(),
            ..Frontier::default()
        };
        if head < safe {
            frontier.waiting_for = Some(format!(
                "the position sequence {} stands at {head}, but position {safe} was read already: \
                 it was set back, or the database was restored from a backup; rebuild the \
                 projections, or set the sequence beyond {safe}",
                self.watched.sequence
            ));
            return Ok(frontier);
        }
        if head > safe {
            // Where there is no hole, nobody needs to be asked who writes.
            frontier.safe = prefix_end;
            let mut writers = Holders::default();
            if frontier.safe < head {
                writers = holders(connection, &self.watched).await?;
                let free = self.samples.look(head, &writers);
                if let Some(free) = free.filter(|free| *free > frontier.safe) {
                    rolled_back.passed(frontier.safe, free);
                    let (_, end) = head_and_prefix_end(connection, &self.watched, free).await?;
                    frontier.safe = end.min(head);
                }
            }
            self.samples.passed(frontier.safe);
            frontier.waiting_for = self.explain(&frontier, &writers, explain).await?;
        }
        if head != self.head || frontier.safe != safe {
            self.head = head;
            self.pace.moved();
        }
        if frontier.safe == head || frontier.safe != safe {
            self.waiting_since = None;
            self.explanation = None;
        }
        Ok(frontier)
    }

    /// Says why the frontier does not move, once that has lasted a while.
    async fn explain(
        &mut self,
        frontier: &Frontier,
        holders: &Holders,
        at_once: bool,
    ) -> Result<Option<String>, sqlx::Error> {
        let Some((head, blockers)) = self.samples.blockers() else {
            return Ok(None);
        };
        if frontier.safe == frontier.head {
            return Ok(None);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if !at_once && since.elapsed() < EXPLAIN_AFTER {
            return Ok(None);
        }
        if let Some((when, sentence)) = &self.explanation
            && !at_once
            && when.elapsed() < EXPLAIN_EVERY
        {
            return Ok(Some(sentence.clone()));
        }
        let connection = self.listener.acquire().await?;
        let sentence = blockers::sentence(connection, head, &blockers, holders).await?;
        self.explanation = Some((Instant::now(), sentence.clone()));
        Ok(Some(sentence))
    }
}

/// How long an answer is waited for, on a connection that may have fallen
/// silent.
pub(super) struct Patience {
    time: AnswerTime,
    /// For the readers' connections: they have the same way to the server.
    silence: Arc<Silence>,
    is_growing: bool,
}

impl Patience {
    pub(super) fn new(silence: Arc<Silence>) -> Self {
        Self {
            time: AnswerTime::default(),
            silence,
            is_growing: false,
        }
    }

    /// Whether no answer came, and the next one is waited for longer.
    pub(super) const fn is_growing(&self) -> bool {
        self.is_growing
    }

    async fn wait<T>(
        &mut self,
        url: &PostgresUrl,
        answer: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, SourceError> {
        let answered = self.time.wait(answer).await;
        self.is_growing = answered.as_ref().is_err_and(|silent| !silent.is_final());
        if answered.is_err() {
            self.silence.notice();
        }
        answered
            .unwrap_or_else(|silent| Err(silent.into()))
            .map_err(|error| failed(url, error))
    }
}

/// Who may still commit a position that has been handed out.
async fn holders(connection: &mut PgConnection, watched: &Watched) -> Result<Holders, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT DISTINCT virtualtransaction, pid FROM pg_locks \
         WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted \
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           AND relation::bigint = ANY ($1)",
    )
    .bind(&watched.relations)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// The head, and the last of the rows that follow on `safe` without a hole.
/// Behind a hole the rows may pile up, so where the first one is missing the
/// rest is not read.
///
/// One statement: all that it sees was committed before, so its position was
/// handed out before the sequence is read.
async fn head_and_prefix_end(
    connection: &mut PgConnection,
    watched: &Watched,
    safe: Position,
) -> Result<(Position, Position), sqlx::Error> {
    let query: Arc<str> = format!(
        "SELECT {DRAWN}, (SELECT max(position) FROM (\
           SELECT global_position::bigint AS position, \
             row_number() OVER (ORDER BY global_position) AS place FROM events \
           WHERE global_position > $2 \
             AND EXISTS (SELECT 1 FROM events WHERE global_position = $2 + 1) \
           ORDER BY global_position LIMIT $3) AS r WHERE position = $2 + place) \
         FROM {}",
        watched.sequence
    )
    .into();
    loop {
        let row = sqlx::query(AssertSqlSafe(Arc::clone(&query)))
            .bind(watched.sequence_id)
            .bind(safe.to_sql())
            .bind(PREFIX_MAX_ROWS)
            .fetch_one(&mut *connection)
            .await?;
        if let Some(head) = drawn(&row)? {
            let end = row.try_get::<Option<i64>, _>(3)?;
            let end = end.and_then(Position::from_sql).unwrap_or(safe);
            // Rows beyond the head are those of a sequence that was set back.
            return Ok((head, end.min(head).max(safe)));
        }
    }
}
