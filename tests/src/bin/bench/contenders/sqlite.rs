//! By hand in SQLite, through both drivers: events in one file, read models in
//! another, as Gnomon has them.

use std::path::Path;

use anyhow::Result;

use super::{Event, Folded, Task};

mod driver;
mod rusqlite;
mod sqlx;
mod statements;
mod tables;

use driver::Driver;
use statements::{move_checkpoint, write};

pub(crate) use rusqlite::Rusqlite;
pub(crate) use sqlx::Sqlx;

/// Events that are read at a time where nothing is done with them.
const PAGE: i64 = 20_000;

/// What is done together.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    /// Events in a transaction.
    transaction: i64,
    /// Those of them whose changes to one row are one statement.
    folded: usize,
}

impl Batch {
    /// A statement for each event and table.
    pub(crate) const STATEMENTS: Self = Self {
        transaction: 1_000,
        folded: 1,
    };
    /// A statement for each key.
    pub(crate) const COALESCED: Self = Self {
        transaction: 20_000,
        folded: 20_000,
    };
}

/// Builds the read models.
pub(crate) async fn build<D: Driver>(
    events: &Path,
    read_models: &Path,
    task: Task,
    batch: Batch,
) -> Result<()> {
    let mut writer = tables::make::<D>(read_models, task.models).await?;
    let mut pages = Pages::<D>::open(events, task, batch.transaction).await?;
    while let Some(page) = pages.next().await? {
        writer.execute("BEGIN IMMEDIATE", &[]).await?;
        for together in page.chunks(batch.folded) {
            let mut folded = Folded::new(task.models);
            for event in together {
                folded.fold(event)?;
            }
            write(&mut writer, &folded).await?;
        }
        move_checkpoint(&mut writer, pages.after).await?;
        writer.execute("COMMIT", &[]).await?;
    }
    tables::finish(writer, task.models).await
}

/// Reads all events that matter, and does nothing with them.
pub(crate) async fn read<D: Driver>(events: &Path, task: Task) -> Result<()> {
    let mut pages = Pages::<D>::open(events, task, PAGE).await?;
    while pages.next().await?.is_some() {}
    Ok(())
}

/// The events of a task, so many at a time.
struct Pages<D> {
    reader: D,
    query: String,
    until: i64,
    size: i64,
    /// The position of the last one.
    after: i64,
}

impl<D: Driver> Pages<D> {
    async fn open(events: &Path, task: Task, size: i64) -> Result<Self> {
        let types = task.models.event_types().join("', '");
        Ok(Self {
            reader: D::open(events).await?,
            // The sign keeps SQLite from walking along the index by type.
            query: format!(
                "SELECT global_position, event_type, event_data, created_at FROM events \
                 WHERE global_position > ? AND global_position <= ? \
                   AND +event_type IN ('{types}') ORDER BY global_position LIMIT ?"
            ),
            until: task.until,
            size,
            after: 0,
        })
    }

    async fn next(&mut self) -> Result<Option<Vec<Event>>> {
        let range = [self.after, self.until, self.size];
        let (events, last) = self.reader.events(&self.query, range).await?;
        self.after = last.unwrap_or(self.after);
        Ok((!events.is_empty()).then_some(events))
    }
}
