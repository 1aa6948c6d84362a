//! Through sqlx, which has a thread for each connection and a channel to it.

use std::path::Path;

use anyhow::Result;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::driver::{CACHE, Cell, Driver, LOG_PAGES, microseconds};
use crate::contenders::Event;

pub(crate) struct Sqlx(SqliteConnection);

impl Driver for Sqlx {
    async fn open(file: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("wal_autocheckpoint", LOG_PAGES)
            .pragma("cache_size", CACHE);
        Ok(Self(options.connect().await?))
    }

    async fn execute(&mut self, sql: &'static str, cells: &[Cell<'_>]) -> Result<()> {
        let mut query = sqlx::query(sql);
        for cell in cells {
            query = match *cell {
                Cell::Null => query.bind(None::<i64>),
                Cell::Integer(number) => query.bind(number),
                Cell::Text(text) => query.bind(text),
            };
        }
        query.execute(&mut self.0).await?;
        Ok(())
    }

    async fn events(&mut self, query: &str, range: [i64; 3]) -> Result<(Vec<Event>, Option<i64>)> {
        let [after, until, limit] = range;
        let rows = sqlx::query(AssertSqlSafe(query))
            .bind(after)
            .bind(until)
            .bind(limit)
            .fetch_all(&mut self.0)
            .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(Event {
                event_type: row.try_get(1)?,
                data: row.try_get(2)?,
                at: microseconds(row.try_get(3)?)?,
            });
        }
        let last = rows.last().map(|row| row.try_get(0)).transpose()?;
        Ok((events, last))
    }

    async fn close(self) -> Result<()> {
        Ok(self.0.close().await?)
    }
}
