//! The connection on which the frontier is looked at, and what was learnt on
//! it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::sessions;
use gnomon_databases::silence::{AnswerTime, Silence};
use gnomon_model::Position;
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{Acquire as _, AssertSqlSafe, Executor as _, Row as _};

use super::ALONG_THE_INDEX;
use super::blockers;
use super::checks::{Watched, drawn, watched};
use super::definition::{COMPARE_EVERY, IS_SAME_SEQUENCE, changed};
use super::guard::{Found, Guard, beyond_sequence};
use super::pace::Pace;
use super::rolled_back::RolledBack;
use super::samples::{Holders, Samples};
use super::tripwire::Tripwire;
use crate::source::{Frontier, LateEvent, SourceError};
use crate::table::Layout;
use crate::table::postgres::{Columns, listener, table_error};

/// How long a wait lasts before its cause is looked up, and how old the answer
/// may get.
const EXPLAIN_AFTER: Duration = Duration::from_millis(100);
const EXPLAIN_EVERY: Duration = Duration::from_secs(1);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Rows behind the frontier that are checked for holes in one query.
const PREFIX_MAX_ROWS: i64 = 500;

fn failed(url: &PostgresUrl, error: sqlx::Error) -> SourceError {
    table_error(&format!("watch the events of {url}"), error).into()
}

/// One connection. What was learnt on it ends with it.
pub(super) struct Session {
    url: PostgresUrl,
    _session: sessions::Session,
    listener: PgListener,
    watched: Watched,
    /// When the definition of the table is compared again.
    compare_at: Instant,
    /// Whether the table or its sequence is another than was looked at.
    is_outdated: bool,
    samples: Samples,
    head: Position,
    pace: Pace,
    waiting_since: Option<Instant>,
    explanation: Option<(Instant, String)>,
}

impl Session {
    /// Connects, and checks that the table can be read without loss.
    pub(super) async fn open(url: &PostgresUrl, layout: &Arc<Layout>) -> Result<Self, SourceError> {
        let (session, mut listener) = listener(url, CONNECT_TIMEOUT).await?;
        let listening = listener.listen(layout.channel);
        let listened = tokio::time::timeout(CONNECT_TIMEOUT, listening).await;
        listened
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| failed(url, error))?;
        let connection = listener
            .acquire()
            .await
            .map_err(|error| failed(url, error))?;
        let watched = watched(connection, url, layout).await?;
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
            compare_at: Instant::now() + COMPARE_EVERY,
            is_outdated: false,
            samples: Samples::default(),
            head: Position::START,
            pace: Pace::start(),
            waiting_since: None,
            explanation: None,
        })
    }

    /// The columns of the table.
    pub(super) const fn columns(&self) -> &Columns {
        &self.watched.columns
    }

    /// Whether the last look found the table changed.
    pub(super) const fn is_outdated(&self) -> bool {
        self.is_outdated
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
        let looked = patience.wait(&url, look).await?;
        self.is_outdated = looked.is_none();
        looked.ok_or_else(|| changed(&url, &self.columns().layout.table))
    }

    /// Whether the store is still the one that it was.
    pub(super) async fn guard(
        &mut self,
        guard: &mut Guard,
        patience: &mut Patience,
    ) -> Result<Found, SourceError> {
        let url = self.url.clone();
        let look = async {
            guard
                .look(self.listener.acquire().await?, &self.watched)
                .await
        };
        patience.wait(&url, look).await
    }

    /// Makes sure that the table and its sequence are those that are watched.
    ///
    /// # Errors
    /// When they have changed, or the connection is lost.
    pub(super) async fn compare(
        &mut self,
        safe: Position,
        patience: &mut Patience,
    ) -> Result<(), SourceError> {
        let url = self.url.clone();
        let compare = async {
            let connection = self.listener.acquire().await?;
            let looked = head_and_prefix_end(connection, &self.watched, safe, true).await?;
            Ok(looked.is_none())
        };
        self.is_outdated = patience.wait(&url, compare).await?;
        if self.is_outdated {
            return Err(changed(&url, &self.columns().layout.table));
        }
        Ok(())
    }

    /// Whether the last look saw this head, and everything up to it is final.
    pub(super) fn is_at_rest(&self, head: Position, safe: Position) -> bool {
        self.head == head && safe == head && self.samples.is_empty()
    }

    /// The frontier of a store that cannot be read on, with the reason.
    pub(super) fn stopped(&self, frontier: &Frontier, row: Position, drawn: Position) -> Frontier {
        Frontier {
            head: row.max(frontier.head),
            waiting_for: Some(beyond_sequence(&self.watched, row, drawn)),
            out_of_reach: None,
            ..frontier.clone()
        }
    }

    /// The first of the positions that were passed without an event and have one
    /// now.
    pub(super) async fn filled(
        &mut self,
        tripwire: &mut Tripwire,
        patience: &mut Patience,
    ) -> Result<Option<LateEvent>, SourceError> {
        if tripwire.is_idle() {
            return Ok(None);
        }
        let url = self.url.clone();
        let look = async {
            let connection = self.listener.acquire().await?;
            let statements = &self.watched.statements;
            tripwire.find_holes(connection, statements).await?;
            tripwire.look(connection, statements).await
        };
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
        let count = async {
            let connection = self.listener.acquire().await?;
            rolled_back
                .count_some(connection, &self.watched.statements)
                .await
        };
        patience.wait(&url, count).await
    }

    /// `None` if the table has changed.
    async fn look_now(
        &mut self,
        safe: Position,
        rolled_back: &mut RolledBack,
        explain: bool,
    ) -> Result<Option<Frontier>, sqlx::Error> {
        let compares = Instant::now() >= self.compare_at;
        if compares {
            self.compare_at = Instant::now() + COMPARE_EVERY;
        }
        let connection = self.listener.acquire().await?;
        let looked = head_and_prefix_end(connection, &self.watched, safe, compares).await?;
        let Some((head, prefix_end)) = looked else {
            return Ok(None);
        };
        let mut frontier = Frontier {
            safe,
            head,
            rolled_back: rolled_back.count(),
            ..Frontier::default()
        };
        if head < safe {
            // The task looks at once what that means.
            return Ok(Some(frontier));
        }
        if head > safe {
            // Where there is no hole, nobody needs to be asked who writes.
            frontier.safe = prefix_end;
            let mut writers = Holders::default();
            if frontier.safe < head {
                let Some(holders) = holders(connection, &self.watched).await? else {
                    return Ok(None);
                };
                writers = holders;
                let free = self.samples.look(head, &writers);
                if let Some(free) = free.filter(|free| *free > frontier.safe) {
                    rolled_back.passed(frontier.safe, free);
                    // Before anybody may pass them: a hole that is filled a
                    // moment later is one that was passed.
                    let statements = &self.watched.statements;
                    rolled_back
                        .tripwire
                        .find_holes(connection, statements)
                        .await?;
                    let looked =
                        head_and_prefix_end(connection, &self.watched, free, false).await?;
                    let Some((_, end)) = looked else {
                        return Ok(None);
                    };
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
        Ok(Some(frontier))
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

/// Who may still commit a position that has been handed out; `None` if the
/// sequence has changed since it was looked at.
async fn holders(
    connection: &mut PgConnection,
    watched: &Watched,
) -> Result<Option<Holders>, sqlx::Error> {
    let query = format!(
        "SELECT {IS_SAME_SEQUENCE}, l.virtualtransaction, l.pid FROM pg_sequence AS s LEFT JOIN \
           (SELECT DISTINCT virtualtransaction, pid FROM pg_locks \
            WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted \
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
              AND relation::bigint = ANY ($1)) AS l ON true \
         WHERE s.seqrelid = $2::bigint::oid"
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(&watched.relations)
        .bind(watched.sequence_id)
        .bind(&watched.sequence_written_by)
        .fetch_all(connection)
        .await?;
    let mut holders = Holders::default();
    for row in &rows {
        if !row.try_get::<bool, _>(0)? {
            return Ok(None);
        }
        if let Some(transaction) = row.try_get(1)? {
            holders.insert(transaction, row.try_get(2)?);
        }
    }
    Ok((!rows.is_empty()).then_some(holders))
}

/// The head, and the last of the rows that follow on `safe` without a hole;
/// `None` if the table is no longer what it was.
/// Behind a hole the rows may pile up, so where the first one is missing the
/// rest is not read.
///
/// One statement: all that it sees was committed before, so its position was
/// handed out before the sequence is read.
async fn head_and_prefix_end(
    connection: &mut PgConnection,
    watched: &Watched,
    safe: Position,
    compares: bool,
) -> Result<Option<(Position, Position)>, sqlx::Error> {
    let definition = &watched.definition;
    loop {
        let row = sqlx::query(AssertSqlSafe(Arc::clone(&watched.statements.look)))
            .bind(watched.sequence_id)
            .bind(safe.to_sql())
            .bind(PREFIX_MAX_ROWS)
            .bind(definition.table_id)
            .bind(&definition.written_by)
            .bind(compares.then_some(&definition.fingerprint))
            .bind(definition.has_schema_version)
            .bind(&watched.sequence_written_by)
            .fetch_one(&mut *connection)
            .await?;
        if !row.try_get::<bool, _>(4)? {
            return Ok(None);
        }
        if let Some(head) = drawn(&row)? {
            let end = row.try_get::<Option<i64>, _>(3)?;
            let end = end.and_then(Position::from_sql).unwrap_or(safe);
            // Rows beyond the head are those of a sequence that was set back.
            return Ok(Some((head, end.min(head).max(safe))));
        }
    }
}
