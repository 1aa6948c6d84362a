//! Through rusqlite, on the thread that asks.

use std::path::Path;

use anyhow::Result;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::driver::{CACHE, Cell, Driver, LOG_PAGES, microseconds};
use crate::contenders::Event;

pub(crate) struct Rusqlite(Connection);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl Driver for Rusqlite {
    async fn open(file: &Path) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        Ok(Self(connection))
    }

    async fn execute(&mut self, sql: &'static str, cells: &[Cell<'_>]) -> Result<()> {
        let mut statement = self.0.prepare_cached(sql)?;
        statement.execute(params_from_iter(cells))?;
        Ok(())
    }

    async fn events(&mut self, query: &str, range: [i64; 3]) -> Result<(Vec<Event>, Option<i64>)> {
        let mut statement = self.0.prepare_cached(query)?;
        let mut rows = statement.query(range)?;
        let (mut events, mut last) = (Vec::new(), None);
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            events.push(Event {
                event_type: row.get(1)?,
                data: row.get(2)?,
                at: microseconds(row.get_ref(3)?.as_str()?)?,
            });
        }
        Ok((events, last))
    }

    async fn close(self) -> Result<()> {
        self.0.close().map_err(|(_, error)| error.into())
    }
}
