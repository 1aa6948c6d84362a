//! What both drivers do, each in its own way.

use std::path::Path;

use anyhow::Result;

use crate::contenders::Event;

/// Pages of the write-ahead log before SQLite copies them to the file, as
/// Gnomon has it.
pub(super) const LOG_PAGES: &str = "8000";
/// Kibibytes of the page cache, as Gnomon has them; a negative number says
/// that they are kibibytes.
pub(super) const CACHE: &str = "-8192";

/// A value of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
}

/// A connection to a file.
pub(crate) trait Driver: Sized {
    /// Opens a file, or makes it, with Gnomon's settings.
    async fn open(file: &Path) -> Result<Self>;

    /// Carries a statement out, which is prepared once.
    async fn execute(&mut self, sql: &'static str, cells: &[Cell<'_>]) -> Result<()>;

    /// The events that a query gives for a range, and the position of the last.
    async fn events(&mut self, query: &str, range: [i64; 3]) -> Result<(Vec<Event>, Option<i64>)>;

    /// Closes the file, whose write-ahead log then ends in it.
    async fn close(self) -> Result<()>;
}

/// Microseconds since the Unix epoch of a time as the event store writes it.
pub(super) fn microseconds(time: &str) -> Result<i64> {
    Ok(time.parse::<jiff::Timestamp>()?.as_microsecond())
}
