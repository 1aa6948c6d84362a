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
use statements::{apply, move_checkpoint, write};

pub(crate) use rusqlite::Rusqlite;
pub(crate) use sqlx::Sqlx;

/// Events in a transaction of single statements.
const STATEMENTS_BATCH: i64 = 1_000;
/// Events that are folded, or read, together.
const BATCH: i64 = 20_000;

/// A statement for each event and table.
pub(crate) async fn statements<D: Driver>(
    events: &Path,
    read_models: &Path,
    task: Task,
) -> Result<()> {
    let mut writer = tables::make::<D>(read_models, task.models).await?;
    let mut pages = Pages::<D>::open(events, task, STATEMENTS_BATCH).await?;
    while let Some(page) = pages.next().await? {
        writer.execute("BEGIN IMMEDIATE", &[]).await?;
        for event in &page {
            apply(&mut writer, task.models, event).await?;
        }
        move_checkpoint(&mut writer, pages.after).await?;
        writer.execute("COMMIT", &[]).await?;
    }
    tables::finish(writer, task.models).await
}

/// Each key of a batch once.
pub(crate) async fn coalesced<D: Driver>(
    events: &Path,
    read_models: &Path,
    task: Task,
) -> Result<()> {
    let mut writer = tables::make::<D>(read_models, task.models).await?;
    let mut pages = Pages::<D>::open(events, task, BATCH).await?;
    while let Some(page) = pages.next().await? {
        let mut folded = Folded::new(task.models);
        for event in &page {
            folded.fold(event)?;
        }
        writer.execute("BEGIN IMMEDIATE", &[]).await?;
        write(&mut writer, &folded).await?;
        move_checkpoint(&mut writer, pages.after).await?;
        writer.execute("COMMIT", &[]).await?;
    }
    tables::finish(writer, task.models).await
}

/// Reads all events that matter, and does nothing with them.
pub(crate) async fn read<D: Driver>(events: &Path, task: Task) -> Result<()> {
    let mut pages = Pages::<D>::open(events, task, BATCH).await?;
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
