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

use self::statements::{Reading, Watching};
use self::watching::Watch;
use super::batch::{Filling, empty_until, nothing_new, window_end};
use super::{Batch, BatchLimits, Checkpoint, Frontier, History, KnownEvent, Source, SourceError};
use crate::table::sqlite::{
    Columns, Scratch, blocking, columns, open_to_read, read_event, refuse_unruly, table_error,
};
use crate::table::{Layout, TableError, sql_limit};

mod statements;
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
        Self::open_table(file, Layout::built_in()).await
    }

    /// Opens a table of this layout.
    pub(super) async fn open_table(file: &Path, layout: Layout) -> Result<Self, SourceError> {
        let readers = Arc::new(Readers::new(file, layout));
        let opened = Arc::clone(&readers);
        let (watching, head) = blocking(move || {
            let watching = opened.open()?.0;
            let head = opened
                .head(&watching)
                .map_err(|error| opened.error(error))?;
            refuse_unruly(&watching, &opened.file, &opened.layout)?;
            Ok::<_, TableError>((watching, head))
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
    layout: Arc<Layout>,
    statements: Watching,
    idle: Mutex<Idle>,
}

/// Connections that nobody uses.
#[derive(Default)]
struct Idle {
    connections: Vec<Reader>,
    /// Grows when the file at the path is no longer the one that they lead to.
    replaced: u64,
    /// Why there is nothing to read: the file is gone.
    gone: Option<String>,
    /// Whether the path led to a file when it was opened.
    was_there: bool,
}

/// A connection, and the columns that it found in a version of the schema.
struct Reader {
    connection: Connection,
    table: Table,
    schema: Option<i64>,
}

/// How a table with these columns is read.
struct Table {
    columns: Columns,
    statements: Reading,
}

impl Table {
    fn new(columns: Columns) -> Self {
        Self {
            statements: Reading::new(&columns),
            columns,
        }
    }
}

impl Readers {
    fn new(file: &Path, layout: Layout) -> Self {
        Self {
            file: file.to_owned(),
            statements: Watching::new(&layout),
            layout: Arc::new(layout),
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

    fn error(&self, error: rusqlite::Error) -> TableError {
        table_error("read", &self.file, error)
    }

    fn open(&self) -> Result<(Connection, Columns), TableError> {
        open_to_read(&self.file, &self.layout)
    }

    fn head(&self, connection: &Connection) -> rusqlite::Result<Position> {
        let head: i64 = connection
            .prepare_cached(&self.statements.head)?
            .query_row([], |row| row.get(0))?;
        Ok(Position::from_sql(head).unwrap_or_default())
    }

    /// The last event at or below a position.
    fn last_event(
        &self,
        connection: &Connection,
        up_to: Position,
    ) -> rusqlite::Result<Option<KnownEvent>> {
        connection
            .prepare_cached(&self.statements.last_event)?
            .query_row([up_to.to_sql()], |row| {
                Ok(KnownEvent {
                    position: Position::from_sql(row.get(0)?).unwrap_or_default(),
                    id: row.get(1)?,
                })
            })
            .optional()
    }

    /// Reads on a connection that nobody else uses meanwhile, by the columns that
    /// the table has in the same snapshot.
    fn read<T>(
        &self,
        work: impl FnOnce(&Connection, &Table) -> rusqlite::Result<T>,
    ) -> Result<T, TableError> {
        let (parked, replaced, was_there) = {
            let mut idle = self.idle();
            if let Some(reason) = &idle.gone {
                return Err(TableError::retry(reason.clone()));
            }
            (idle.connections.pop(), idle.replaced, idle.was_there)
        };
        let mut reader = match parked {
            Some(reader) => reader,
            None if was_there && !self.file.exists() => {
                let file = self.file.display();
                let reason = format!("the event store sqlite:{file} was deleted or moved");
                return Err(TableError::retry(reason));
            }
            None => {
                let (connection, columns) = self.open()?;
                Reader {
                    connection,
                    table: Table::new(columns),
                    schema: None,
                }
            }
        };
        let connection = &reader.connection;
        let snapshot = || -> rusqlite::Result<_> {
            let transaction = connection.unchecked_transaction()?;
            let schema = connection
                .prepare_cached("PRAGMA schema_version")?
                .query_row([], |row| row.get::<_, i64>(0))?;
            Ok((transaction, schema))
        };
        let (transaction, schema) = snapshot().map_err(|error| self.error(error))?;
        if reader.schema != Some(schema) {
            let found = columns(connection, &self.file, &self.layout)?;
            if found != reader.table.columns {
                reader.table = Table::new(found);
            }
            reader.schema = Some(schema);
        }
        let result = work(connection, &reader.table).map_err(|error| self.error(error))?;
        transaction.finish().map_err(|error| self.error(error))?;
        // After an error the connection is dropped: the file may be another.
        let mut idle = self.idle();
        if idle.replaced == replaced {
            idle.connections.push(reader);
        }
        Ok(result)
    }
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
        let head = blocking(move || readers.read(|connection, _| readers.head(connection))).await?;
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
            readers.read(|connection, table| {
                let (query, texts) = table.statements.events(&subscription);
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
                    if !filling.add(read_event(row, &table.columns, &mut scratch)?) {
                        break;
                    }
                }
                if end == safe || !filling.is_empty() {
                    return Ok(filling.finish(end, safe));
                }
                let next: Option<i64> = connection
                    .prepare_cached(&table.statements.next_position)?
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
        let read = move || readers.read(|connection, _| readers.last_event(connection, up_to));
        Ok(blocking(read).await?)
    }

    async fn recorded_after(&self, position: Position) -> Result<Option<i64>, SourceError> {
        let readers = Arc::clone(&self.readers);
        let recorded_at = blocking(move || {
            readers.read(|connection, table| {
                connection
                    .prepare_cached(&table.statements.first_behind)?
                    .query_row([position.to_sql()], |row| time(row, &table.columns))
                    .optional()
            })
        })
        .await?;
        Ok(recorded_at.flatten())
    }

    async fn position_at(&self, at: i64) -> Result<Position, SourceError> {
        let readers = Arc::clone(&self.readers);
        let position = blocking(move || {
            readers.read(|connection, table| {
                let mut statement = connection.prepare_cached(&table.statements.backwards)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    if time(row, &table.columns)?.is_some_and(|time| time <= at) {
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
fn time(row: &Row<'_>, columns: &Columns) -> rusqlite::Result<Option<i64>> {
    let mut scratch = Scratch::default();
    let event = read_event(row, columns, &mut scratch)?;
    let is_readable = !matches!(event.data, PayloadRef::Unreadable(_));
    Ok(is_readable.then_some(event.recorded_at))
}
