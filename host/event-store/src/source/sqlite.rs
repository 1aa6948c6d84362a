//! Events in a SQLite file.
//!
//! SQLite has one writer at a time, so the order of positions is the order of
//! commits and every event that can be seen is final. A thread looks every few
//! milliseconds at `PRAGMA data_version`, which tells cheaply whether another
//! connection has committed something.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use gnomon_model::{PayloadRef, Position, Subscription};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql};
use tokio::sync::watch;

use self::watching::Watch;
use super::batch::{Filling, empty_until, nothing_new, window_end};
use super::{Batch, BatchLimits, Checkpoint, Frontier, History, KnownEvent, Source, SourceError};
use crate::store::EventStoreError;
use crate::store::sqlite::{
    Layout, Scratch, blocking, event_columns, layout, open_to_read, read_event, refuse_unruly,
    sql_limit, store_error,
};

mod watching;

/// A SQLite file as a source.
pub struct SqliteSource {
    readers: Arc<Readers>,
    sender: Arc<watch::Sender<Frontier>>,
    /// While one is there, the thread goes on.
    frontier: watch::Receiver<Frontier>,
    history: Arc<History>,
}

impl SqliteSource {
    /// Opens a file to read it only, and starts to watch it.
    ///
    /// # Errors
    /// [`SourceError`] if the file cannot be opened or holds no events table;
    /// [`SourceErrorKind::Retry`](super::SourceErrorKind::Retry) if there is none
    /// yet.
    pub async fn open(file: &Path) -> Result<Self, SourceError> {
        let readers = Arc::new(Readers::new(file));
        let opened = Arc::clone(&readers);
        let (watching, head) = blocking(move || {
            let watching = open_to_read(&opened.file)?.0;
            let head = head(&watching).map_err(|error| opened.error(error))?;
            refuse_unruly(&watching, &opened.file)?;
            Ok((watching, head))
        })
        .await?;
        let (sender, frontier) = watch::channel(frontier_at(head));
        let sender = Arc::new(sender);
        let history = Arc::new(History::default());
        let watch = Watch::begin(
            watching,
            Arc::clone(&readers),
            Arc::clone(&sender),
            Arc::clone(&history),
        );
        std::thread::Builder::new()
            .name("sqlite-frontier".to_owned())
            .spawn(move || watch.run())
            .map_err(|error| SourceError::retry("cannot start a thread to watch events", error))?;
        Ok(Self {
            readers,
            sender,
            frontier,
            history,
        })
    }
}

/// Everything that SQLite shows is final.
const fn frontier_at(head: Position) -> Frontier {
    Frontier {
        safe: head,
        head,
        rolled_back: 0,
        waiting_for: None,
        out_of_reach: None,
    }
}

fn head(connection: &Connection) -> rusqlite::Result<Position> {
    let head: i64 = connection
        .prepare_cached("SELECT coalesce(max(global_position), 0) FROM events")?
        .query_row([], |row| row.get(0))?;
    Ok(Position::from_sql(head).unwrap_or_default())
}

/// The last event at or below a position.
fn last_event(connection: &Connection, up_to: Position) -> rusqlite::Result<Option<KnownEvent>> {
    connection
        .prepare_cached(
            "SELECT global_position, substr(CAST(id AS TEXT), 1, 65536) FROM events WHERE global_position <= ?1 \
             ORDER BY global_position DESC LIMIT 1",
        )?
        .query_row([up_to.to_sql()], |row| {
            Ok(KnownEvent {
                position: Position::from_sql(row.get(0)?).unwrap_or_default(),
                id: row.get(1)?,
            })
        })
        .optional()
}

/// Moves the frontier forward; two who look at the same time may come here in
/// the wrong order.
fn publish(sender: &watch::Sender<Frontier>, head: Position) {
    sender.send_if_modified(|frontier| {
        let new = frontier_at(head.max(frontier.safe));
        let news = *frontier != new;
        *frontier = new;
        news
    });
}

/// Connections for reading; as many as read at the same time.
struct Readers {
    file: PathBuf,
    idle: Mutex<Idle>,
}

/// Connections that nobody uses.
#[derive(Default)]
struct Idle {
    connections: Vec<Reading>,
    /// Grows when the file at the path is no longer the one that they lead to.
    replaced: u64,
    /// Why there is nothing to read: the file is gone.
    gone: Option<String>,
    /// Whether the path led to a file when it was opened.
    was_there: bool,
}

/// A connection, and the columns that it found in a version of the schema.
struct Reading {
    connection: Connection,
    layout: Layout,
    schema: Option<i64>,
}

impl Readers {
    fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up all connections: the path leads to another file, or, with the
    /// reason, to none.
    fn give_up(&self, gone: Option<String>) {
        let mut idle = self.idle();
        idle.connections.clear();
        idle.replaced += 1;
        idle.gone = gone;
    }

    fn error(&self, error: rusqlite::Error) -> EventStoreError {
        store_error("read", &self.file, error)
    }

    /// Reads on a connection that nobody else uses meanwhile, by the columns that
    /// the table has in the same snapshot.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection, Layout) -> rusqlite::Result<T>,
    ) -> Result<T, EventStoreError> {
        let (parked, replaced, was_there) = {
            let mut idle = self.idle();
            if let Some(reason) = &idle.gone {
                return Err(EventStoreError::retry(reason.clone()));
            }
            (idle.connections.pop(), idle.replaced, idle.was_there)
        };
        let mut reading = match parked {
            Some(reading) => reading,
            None if was_there && !self.file.exists() => {
                let file = self.file.display();
                let reason = format!("the event store sqlite:{file} was deleted or moved");
                return Err(EventStoreError::retry(reason));
            }
            None => {
                let (connection, layout) = open_to_read(&self.file)?;
                Reading {
                    connection,
                    layout,
                    schema: None,
                }
            }
        };
        let connection = &reading.connection;
        let snapshot = || -> rusqlite::Result<_> {
            let transaction = connection.unchecked_transaction()?;
            let schema = connection
                .prepare_cached("PRAGMA schema_version")?
                .query_row([], |row| row.get::<_, i64>(0))?;
            Ok((transaction, schema))
        };
        let (transaction, schema) = snapshot().map_err(|error| self.error(error))?;
        if reading.schema != Some(schema) {
            reading.layout = layout(connection, &self.file)?;
            reading.schema = Some(schema);
        }
        let result = work(connection, reading.layout).map_err(|error| self.error(error))?;
        transaction.finish().map_err(|error| self.error(error))?;
        // After an error the connection is dropped: the file may be another.
        let mut idle = self.idle();
        if idle.replaced == replaced {
            idle.connections.push(reading);
        }
        Ok(result)
    }
}

/// The query for a subscription, and the texts that it compares with.
fn query(layout: Layout, subscription: &Subscription) -> (String, Vec<String>) {
    let mut query = format!(
        "SELECT {} FROM events WHERE global_position > ? AND global_position <= ?",
        event_columns(layout, subscription.metadata)
    );
    let mut texts = Vec::new();
    let category = "CASE instr(stream_id, '-') WHEN 0 THEN stream_id \
                    ELSE substr(stream_id, 1, instr(stream_id, '-') - 1) END";
    for (column, wanted) in [
        // The sign keeps SQLite from walking along the index by type, which
        // would have to be sorted by position.
        ("+event_type", &subscription.event_types),
        (category, &subscription.categories),
    ] {
        if !wanted.is_empty() {
            query.push_str(" AND ");
            query.push_str(column);
            query.push_str(" IN (");
            query.push_str(&vec!["?"; wanted.len()].join(", "));
            query.push(')');
            texts.extend(wanted.iter().cloned());
        }
    }
    query.push_str(" ORDER BY global_position LIMIT ?");
    (query, texts)
}

#[async_trait]
impl Source for SqliteSource {
    fn start(&self) -> Checkpoint {
        Checkpoint::behind(Position::START)
    }

    fn position(&self, checkpoint: &Checkpoint) -> Result<Position, SourceError> {
        checkpoint.number()
    }

    fn behind(&self, position: Position) -> Checkpoint {
        Checkpoint::behind(position)
    }

    fn frontier(&self) -> watch::Receiver<Frontier> {
        self.frontier.clone()
    }

    async fn look(&self) -> Result<Frontier, SourceError> {
        let readers = Arc::clone(&self.readers);
        let head = blocking(move || {
            let head = readers.read(|connection, _| head(connection))?;
            Ok(head)
        })
        .await?;
        publish(&self.sender, head);
        Ok(self.frontier.borrow().clone())
    }

    async fn read(
        &self,
        after: &Checkpoint,
        subscription: &Subscription,
        limits: BatchLimits,
    ) -> Result<Batch, SourceError> {
        let after = after.number()?;
        let safe = limits.end(self.frontier.borrow().safe);
        if safe <= after {
            return Ok(nothing_new(after));
        }
        let end = window_end(after, safe);
        let readers = Arc::clone(&self.readers);
        let subscription = subscription.clone();
        let batch = blocking(move || {
            readers.read(|connection, layout| {
                let (query, texts) = query(layout, &subscription);
                let mut scratch = Scratch::default();
                let mut filling = Filling::new(limits);
                let mut parameters: Vec<ToSqlOutput<'_>> =
                    vec![after.to_sql().into(), end.to_sql().into()];
                for text in &texts {
                    parameters.push(text.to_sql()?);
                }
                parameters.push(sql_limit(filling.wanted()).into());
                let mut statement = connection.prepare_cached(&query)?;
                let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
                while let Some(row) = rows.next()? {
                    if !filling.add(read_event(row, layout, &mut scratch)?) {
                        break;
                    }
                }
                if end == safe || !filling.is_empty() {
                    return Ok(filling.finish(end, safe));
                }
                let next: Option<i64> = connection
                    .prepare_cached(
                        "SELECT min(global_position) FROM events \
                         WHERE global_position > ?1 AND global_position <= ?2",
                    )?
                    .query_row([end.to_sql(), safe.to_sql()], |row| row.get(0))?;
                let end = empty_until(next.and_then(Position::from_sql), safe);
                Ok(filling.finish(end, safe))
            })
        })
        .await?;
        Ok(batch)
    }

    fn history(&self) -> &Arc<History> {
        &self.history
    }

    async fn last_event(&self, up_to: Position) -> Result<Option<KnownEvent>, SourceError> {
        let readers = Arc::clone(&self.readers);
        let read = move || readers.read(|connection, _| last_event(connection, up_to));
        Ok(blocking(read).await?)
    }

    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError> {
        let readers = Arc::clone(&self.readers);
        let recorded_at = blocking(move || {
            readers.read(|connection, layout| {
                connection
                    .prepare_cached(&format!(
                        "SELECT {} FROM events WHERE global_position > ?1 \
                         ORDER BY global_position LIMIT 1",
                        event_columns(layout, false)
                    ))?
                    .query_row([position.to_sql()], |row| time(row, layout))
                    .optional()
            })
        })
        .await?;
        Ok(recorded_at.flatten())
    }

    async fn position_at(&self, at: i64) -> Result<Position, SourceError> {
        let readers = Arc::clone(&self.readers);
        let position = blocking(move || {
            readers.read(|connection, layout| {
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT {} FROM events ORDER BY global_position DESC",
                    event_columns(layout, false)
                ))?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    if time(row, layout)?.is_some_and(|time| time <= at) {
                        return Ok(Position::from_sql(row.get(0)?).unwrap_or_default());
                    }
                }
                Ok(Position::START)
            })
        })
        .await?;
        Ok(position)
    }
}

/// When the event of a row was recorded, if it can be read.
fn time(row: &Row<'_>, layout: Layout) -> rusqlite::Result<Option<i64>> {
    let mut scratch = Scratch::default();
    let event = read_event(row, layout, &mut scratch)?;
    let is_readable = !matches!(event.data, PayloadRef::Unreadable(_));
    Ok(is_readable.then_some(event.recorded_at))
}
