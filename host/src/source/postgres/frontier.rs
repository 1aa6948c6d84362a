//! The frontier of a PostgreSQL table: how far its events are final.
//!
//! A sequence hands out positions before their transactions commit, so a
//! reader may see 7 before 6. The task here waits for writers, never for
//! clocks:
//!
//! 1. It reads the last number that the sequence has handed out: the head.
//! 2. In a later statement it reads who holds a `RowExclusiveLock` on the
//!    sequence or the table. `nextval` takes that lock on the sequence, and
//!    its transaction keeps it to its end, so whoever may still commit a
//!    position up to the head is among them.
//! 3. When all of those have ended, what can be seen up to the head is all
//!    that will ever be there.
//!
//! Rows that follow on the frontier without a hole are final in any case.

use std::time::{Duration, Instant};

use gnomon_model::Position;
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{Acquire as _, Row as _};
use tokio::sync::{mpsc, oneshot, watch};

use super::blockers;
use super::checks::{Watched, last_drawn, watched};
use super::samples::{Holders, Samples};
use crate::database_url::PostgresUrl;
use crate::event_store::postgres::{CHANNEL, pool, store_error};
use crate::source::{Frontier, SourceError};

/// How often to look while positions are being handed out.
const BUSY_INTERVAL: Duration = Duration::from_millis(5);
/// How often to look while a transaction stays open and nothing else happens.
const WAITING_INTERVAL: Duration = Duration::from_millis(20);
/// How often to look otherwise. Our own appends wake the task at once.
const IDLE_INTERVAL: Duration = Duration::from_millis(200);
/// How long after the last movement it counts as busy.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// How long a wait lasts before its cause is looked up, and how old the answer
/// may get.
const EXPLAIN_AFTER: Duration = Duration::from_millis(100);
const EXPLAIN_EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer means that the connection is gone.
const LOOK_TIMEOUT: Duration = Duration::from_secs(8);
/// How long to wait before connecting again, at first and at most.
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Rows behind the frontier that are checked for holes in one look.
const PREFIX_MAX_ROWS: i64 = 500;

/// Somebody who waits for a fresh look.
type Request = oneshot::Sender<Result<Frontier, SourceError>>;

/// Looks once, and goes on looking until the last receiver is gone.
pub(super) async fn watch(
    url: PostgresUrl,
    requests: mpsc::Receiver<Request>,
) -> Result<watch::Receiver<Frontier>, SourceError> {
    let mut session = Session::open(&url).await?;
    let first = session.look(&url, Position::START, false).await?;
    let (sender, receiver) = watch::channel(first);
    let task = Task {
        url,
        sender,
        requests,
        pending: Vec::new(),
    };
    tokio::spawn(task.run(session));
    Ok(receiver)
}

struct Task {
    url: PostgresUrl,
    sender: watch::Sender<Frontier>,
    requests: mpsc::Receiver<Request>,
    pending: Vec<Request>,
}

/// Why the task woke up.
enum Wake {
    Look,
    LostConnection(SourceError),
    Closed,
}

impl Task {
    async fn run(mut self, mut session: Session) {
        loop {
            let error = match self.watch(&mut session).await {
                Ok(()) => return,
                Err(error) => error,
            };
            // Transactions that end while nobody looks cannot be told from
            // those of a server that was started anew: begin afresh.
            drop(session);
            session = match self.reconnect(error).await {
                Some(session) => session,
                None => return,
            };
        }
    }

    /// Looks again and again; comes back when the connection is lost, or with
    /// `Ok` when nobody listens any more.
    async fn watch(&mut self, session: &mut Session) -> Result<(), SourceError> {
        loop {
            while let Ok(request) = self.requests.try_recv() {
                self.pending.push(request);
            }
            let safe = self.sender.borrow().safe;
            let frontier = session
                .look(&self.url, safe, !self.pending.is_empty())
                .await?;
            self.publish(&frontier);
            for request in self.pending.drain(..) {
                // Whoever asked may have gone away.
                let _ = request.send(Ok(frontier.clone()));
            }
            match self.wait(session).await {
                Wake::Look => {}
                Wake::LostConnection(error) => return Err(error),
                Wake::Closed => return Ok(()),
            }
        }
    }

    async fn wait(&mut self, session: &mut Session) -> Wake {
        let interval = session.interval();
        tokio::select! {
            () = self.sender.closed() => Wake::Closed,
            request = self.requests.recv() => match request {
                Some(request) => {
                    self.pending.push(request);
                    Wake::Look
                }
                // The source is gone; receivers may still be there.
                None => tokio::select! {
                    () = self.sender.closed() => Wake::Closed,
                    () = tokio::time::sleep(interval) => Wake::Look,
                },
            },
            woken = session.listener.try_recv() => match woken {
                Ok(Some(_)) => {
                    // One look serves all of them.
                    while session.listener.next_buffered().is_some() {}
                    Wake::Look
                }
                Ok(None) => Wake::LostConnection(SourceError::retry(
                    format!("the connection to {} was lost", self.url),
                    "the server closed it",
                )),
                Err(error) => Wake::LostConnection(failed(&self.url, error)),
            },
            () = tokio::time::sleep(interval) => Wake::Look,
        }
    }

    fn publish(&self, new: &Frontier) {
        self.sender.send_if_modified(|frontier| {
            let news = frontier != new;
            if news {
                frontier.clone_from(new);
            }
            news
        });
    }

    /// Connects again, for as long as somebody listens.
    async fn reconnect(&mut self, error: SourceError) -> Option<Session> {
        let mut error = error;
        let mut backoff = BACKOFF;
        loop {
            let reason = explained(&error);
            tracing::warn!(%reason, "cannot watch the event store, connecting again");
            let mut frontier = self.sender.borrow().clone();
            frontier.out_of_reach = Some(reason.clone());
            self.publish(&frontier);
            for request in self.pending.drain(..) {
                let _ = request.send(Err(SourceError::retry(reason.clone(), Unavailable)));
            }
            let jitter = backoff.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = self.sender.closed() => return None,
                () = tokio::time::sleep(jitter) => {}
            }
            while let Ok(request) = self.requests.try_recv() {
                self.pending.push(request);
            }
            match Session::open(&self.url).await {
                Ok(session) => return Some(session),
                Err(again) => error = again,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// The cause of an answer that was asked for while there is no connection; the
/// message says the rest.
#[derive(Debug, thiserror::Error)]
#[error("connecting again")]
struct Unavailable;

/// A message with its causes.
fn explained(error: &SourceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn failed(url: &PostgresUrl, error: sqlx::Error) -> SourceError {
    store_error(&format!("watch the events of {url}"), error).into()
}

/// One connection, and what was learnt on it.
struct Session {
    listener: PgListener,
    watched: Watched,
    samples: Samples,
    head: Position,
    /// When head or frontier moved last.
    moved: Instant,
    waiting_since: Option<Instant>,
    explanation: Option<(Instant, String)>,
}

impl Session {
    async fn open(url: &PostgresUrl) -> Result<Self, SourceError> {
        let pool = pool(url, 1, &[])?;
        let open = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            // A silent reconnect would keep samples of another server life.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok(listener)
        };
        let mut listener: PgListener = tokio::time::timeout(LOOK_TIMEOUT, open)
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .map_err(|error| failed(url, error))?;
        let connection = listener
            .acquire()
            .await
            .map_err(|error| failed(url, error))?;
        let watched = watched(connection, url).await?;
        Ok(Self {
            listener,
            watched,
            samples: Samples::default(),
            head: Position::START,
            moved: Instant::now(),
            waiting_since: None,
            explanation: None,
        })
    }

    fn interval(&self) -> Duration {
        if self.moved.elapsed() < BUSY_FOR {
            BUSY_INTERVAL
        } else if self.samples.is_empty() {
            IDLE_INTERVAL
        } else {
            WAITING_INTERVAL
        }
    }

    async fn look(
        &mut self,
        url: &PostgresUrl,
        safe: Position,
        explain: bool,
    ) -> Result<Frontier, SourceError> {
        match tokio::time::timeout(LOOK_TIMEOUT, self.look_now(safe, explain)).await {
            Ok(frontier) => frontier.map_err(|error| failed(url, error)),
            Err(_) => Err(SourceError::retry(
                format!("cannot watch the events of {url}"),
                format!("no answer within {} s", LOOK_TIMEOUT.as_secs()),
            )),
        }
    }

    async fn look_now(&mut self, safe: Position, explain: bool) -> Result<Frontier, sqlx::Error> {
        let connection = self.listener.acquire().await?;
        let head = last_drawn(connection, &self.watched).await?;
        if head < safe {
            return Ok(Frontier {
                safe,
                head,
                waiting_for: Some(format!(
                    "the position sequence {} stands at {head}, but position {safe} was read \
                     already: it was set back, or the database was restored from a backup; \
                     rebuild the projections, or set the sequence beyond {safe}",
                    self.watched.sequence
                )),
                out_of_reach: None,
            });
        }
        let mut frontier = Frontier {
            safe,
            head,
            waiting_for: None,
            out_of_reach: None,
        };
        if head > safe {
            let holders = holders(connection, &self.watched).await?;
            if let Some(free) = self.samples.look(head, &holders) {
                frontier.safe = frontier.safe.max(free);
            }
            if frontier.safe < head {
                frontier.safe = prefix_end(connection, frontier.safe, head).await?;
                self.samples.passed(frontier.safe);
            }
            frontier.waiting_for = self.explain(&frontier, &holders, explain).await?;
        }
        if head != self.head || frontier.safe != safe {
            self.head = head;
            self.moved = Instant::now();
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

/// The last of the rows that follow on `safe` without a hole.
async fn prefix_end(
    connection: &mut PgConnection,
    safe: Position,
    head: Position,
) -> Result<Position, sqlx::Error> {
    let end: Option<i64> = sqlx::query_scalar(
        "SELECT max(position) FROM (SELECT global_position::bigint AS position, \
           row_number() OVER (ORDER BY global_position) AS place FROM events \
           WHERE global_position > $1 AND global_position <= $2 \
           ORDER BY global_position LIMIT $3) AS r WHERE position = $1 + place",
    )
    .bind(safe.to_sql())
    .bind(head.to_sql())
    .bind(PREFIX_MAX_ROWS)
    .fetch_one(connection)
    .await?;
    Ok(end.and_then(Position::from_sql).unwrap_or(safe))
}
