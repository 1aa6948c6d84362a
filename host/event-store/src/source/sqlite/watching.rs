//! The thread that watches the file: whether something was committed, and
//! whether the path still leads to the file that is open.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_databases::error_chain::chain;
use gnomon_model::Position;
use rusqlite::Connection;
use tokio::sync::watch;

use super::{Readers, frontier_at, publish};
use crate::source::{Alarm, Frontier, History};
use crate::table::TableError;
use crate::table::sqlite::refuse_unruly;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often its path is.
const PATH_INTERVAL: Duration = Duration::from_secs(1);

/// Which file a path leads to; `None` if it leads to none.
type Identity = Option<(u64, u64)>;

pub(super) struct Watch {
    /// `None` while there is no file.
    connection: Option<Connection>,
    readers: Arc<Readers>,
    sender: Arc<watch::Sender<Frontier>>,
    history: Arc<History>,
    identity: Identity,
    path_looked: Instant,
    /// The version of the data that was seen last.
    seen: Option<i64>,
}

impl Watch {
    pub(super) fn begin(
        connection: Connection,
        readers: Arc<Readers>,
        sender: Arc<watch::Sender<Frontier>>,
        history: Arc<History>,
    ) -> Self {
        let identity = identity(&readers);
        readers.idle().was_there = identity.is_some();
        Self {
            identity,
            connection: Some(connection),
            readers,
            sender,
            history,
            path_looked: Instant::now(),
            seen: None,
        }
    }

    /// Until nobody listens any more.
    pub(super) fn run(mut self) {
        while !self.sender.is_closed() {
            if self.path_looked.elapsed() >= PATH_INTERVAL {
                self.look_at_path();
                self.path_looked = Instant::now();
            }
            if let Err(error) = self.look() {
                self.seen = None;
                self.say(chain(&error));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Says why the store cannot be looked at.
    fn say(&self, reason: String) {
        self.sender.send_if_modified(|frontier| {
            let news = frontier.out_of_reach.as_ref() != Some(&reason);
            frontier.out_of_reach = Some(reason);
            news
        });
    }

    /// Notices that the file was deleted, or that another one took its place,
    /// and opens the one that is there.
    fn look_at_path(&mut self) {
        let found = identity(&self.readers);
        if found == self.identity && self.connection.is_some() {
            return;
        }
        let file = self.readers.file.display();
        if found.is_none() {
            let reason = format!(
                "the event store sqlite:{file} was deleted or moved while this host reads it; put it \
                 back, with its `-wal` file if it has one"
            );
            if self.connection.take().is_some() {
                tracing::error!("{reason}");
                self.readers.give_up(Some(reason.clone()));
            }
            self.identity = None;
            self.say(reason);
            return;
        }
        if self.connection.take().is_some() {
            tracing::warn!("another file took the place of the event store sqlite:{file}");
        }
        match self.readers.open() {
            Ok((connection, _)) => {
                self.readers.give_up(None);
                self.identity = found;
                self.connection = Some(connection);
                self.seen = None;
            }
            Err(error) => {
                let reason = chain(&error);
                self.readers.give_up(Some(reason.clone()));
                self.say(reason);
            }
        }
    }

    /// Whether something was committed, by the version of the file's data, and
    /// whether the store still has the last event that it showed.
    fn look(&mut self) -> Result<(), TableError> {
        let Some(connection) = &self.connection else {
            return Ok(());
        };
        let failed = |error| self.readers.error(error);
        // The version first: a commit between the two shows again next time.
        let version = version(connection).map_err(failed)?;
        if self.seen == Some(version) {
            return Ok(());
        }
        if let Some(known) = self.history.newest() {
            let found = self
                .readers
                .last_event(connection, known.position)
                .map_err(failed)?;
            if found.as_ref() != Some(&known) {
                tracing::error!(
                    "the event store is not what it was: event {} is no longer at position {}; it was \
                     restored, emptied or exchanged",
                    known.id,
                    known.position
                );
                self.sender.send_modify(|frontier| {
                    *frontier = frontier_at(Position::START);
                });
                self.history.raise(Alarm::Gone(known));
            }
        }
        let last = self
            .readers
            .last_event(connection, Position::MAX)
            .map_err(failed)?;
        let head = (last.as_ref()).map_or(Position::START, |event| event.position);
        refuse_unruly(connection, &self.readers.file, &self.readers.layout)?;
        if head < self.sender.borrow().safe {
            self.sender
                .send_modify(|frontier| *frontier = frontier_at(Position::START));
            self.history.raise(Alarm::SetBack);
        }
        if let Some(last) = last {
            self.history.note(last);
        }
        publish(&self.sender, head);
        self.seen = Some(version);
        Ok(())
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("PRAGMA data_version")?
        .query_row([], |row| row.get(0))
}

fn identity(readers: &Readers) -> Identity {
    let file = std::fs::metadata(&readers.file).ok()?;
    Some((file.dev(), file.ino()))
}
