//! Events in a SQLite file.
//!
//! SQLite has one writer at a time, so the order of positions is the order of
//! commits and every event that can be seen is final. A thread looks every few
//! milliseconds at `PRAGMA data_version`, which tells cheaply whether another
//! connection has committed something.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gnomon_model::{Position, Subscription};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension as _, ToSql};
use tokio::sync::watch;

use super::batch::{Filling, nothing_new, window_end};
use super::{Batch, BatchLimits, Checkpoint, Frontier, Source, SourceError};
use crate::event_store::EventStoreError;
use crate::event_store::sqlite::{
    Layout, blocking, event_columns, open_to_read, read_event, sql_limit, store_error,
};

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A SQLite file as a source.
pub struct SqliteSource {
    readers: Arc<Readers>,
    layout: Layout,
    sender: Arc<watch::Sender<Frontier>>,
    /// While one is there, the thread goes on.
    frontier: watch::Receiver<Frontier>,
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
        let (watching, layout, head) = blocking(move || {
            let (watching, layout) = open_to_read(&opened.file)?;
            let head = head(&watching).map_err(|error| opened.error(error))?;
            Ok((watching, layout, head))
        })
        .await?;
        let (sender, frontier) = watch::channel(frontier_at(head));
        let sender = Arc::new(sender);
        let thread = std::thread::Builder::new().name("sqlite-frontier".to_owned());
        let watched = (Arc::clone(&readers), Arc::clone(&sender));
        thread
            .spawn(move || watch_file(&watching, &watched.0, &watched.1))
            .map_err(|error| SourceError::retry("cannot start a thread to watch events", error))?;
        Ok(Self {
            readers,
            layout,
            sender,
            frontier,
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

fn watch_file(connection: &Connection, readers: &Readers, sender: &watch::Sender<Frontier>) {
    let mut seen = None;
    while !sender.is_closed() {
        match look(connection, seen) {
            Ok((version, head)) => {
                seen = Some(version);
                if let Some(head) = head {
                    publish(sender, head);
                }
            }
            Err(error) => {
                seen = None;
                let error = readers.error(error);
                let message = match std::error::Error::source(&error) {
                    Some(cause) => format!("{error}: {cause}"),
                    None => error.to_string(),
                };
                sender.send_if_modified(|frontier| {
                    let news = frontier.out_of_reach.as_ref() != Some(&message);
                    frontier.out_of_reach = Some(message);
                    news
                });
            }
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The version of the file's data, and the head if that version is not the one
/// that was seen before.
fn look(connection: &Connection, seen: Option<i64>) -> rusqlite::Result<(i64, Option<Position>)> {
    // The version first: a commit between the two shows again next time.
    let version = connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))?;
    if seen == Some(version) {
        return Ok((version, None));
    }
    Ok((version, Some(head(connection)?)))
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
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            idle: Mutex::new(Vec::new()),
        }
    }

    fn error(&self, error: rusqlite::Error) -> EventStoreError {
        store_error("read", &self.file, error)
    }

    /// Reads on a connection that nobody else uses meanwhile.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, EventStoreError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let parked = idle().pop();
        let connection = match parked {
            Some(connection) => connection,
            None => open_to_read(&self.file)?.0,
        };
        let result = work(&connection).map_err(|error| self.error(error))?;
        // After an error the connection is dropped: the file may be another.
        idle().push(connection);
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
        let head = blocking(move || readers.read(head)).await?;
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
        let (query, texts) = query(self.layout, subscription);
        let batch = blocking(move || {
            readers.read(|connection| {
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
                    if !filling.add(read_event(row)?) {
                        break;
                    }
                }
                Ok(filling.finish(end, safe))
            })
        })
        .await?;
        Ok(batch)
    }

    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError> {
        let readers = Arc::clone(&self.readers);
        let layout = self.layout;
        let recorded_at = blocking(move || {
            readers.read(|connection| {
                connection
                    .prepare_cached(&format!(
                        "SELECT {} FROM events WHERE global_position > ?1 \
                         ORDER BY global_position LIMIT 1",
                        event_columns(layout, false)
                    ))?
                    .query_row([position.to_sql()], |row| {
                        read_event(row).map(|event| event.recorded_at)
                    })
                    .optional()
            })
        })
        .await?;
        Ok(recorded_at)
    }

    async fn position_at(&self, time: i64) -> Result<Position, SourceError> {
        let readers = Arc::clone(&self.readers);
        let layout = self.layout;
        let position = blocking(move || {
            readers.read(|connection| {
                let mut statement = connection.prepare_cached(&format!(
                    "SELECT {} FROM events ORDER BY global_position DESC",
                    event_columns(layout, false)
                ))?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let event = read_event(row)?;
                    if event.recorded_at <= time {
                        return Ok(event.position);
                    }
                }
                Ok(Position::START)
            })
        })
        .await?;
        Ok(position)
    }
}
