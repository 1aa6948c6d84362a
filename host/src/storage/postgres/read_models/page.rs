//! Rows of which only so many are kept as fill a page.

use futures_util::{Stream, TryStreamExt as _};
use gnomon_databases::connections::Connections;
use gnomon_model::{PAGE_BYTES, Row, row_size};
use sqlx::postgres::PgRow;

use super::parameters::PreparedQuery;

/// What is still read behind a full page, so that the connection can be used
/// again. Beyond it a new one costs less.
const DRAINED_BYTES_MAX: usize = 2 * PAGE_BYTES;

/// Rows that were read, up to a full page.
pub(super) struct Page<T> {
    pub(crate) rows: Vec<(T, Row)>,
    /// Whether nothing was left out.
    pub(super) is_whole: bool,
    bytes: usize,
}

impl<T> Page<T> {
    /// Keeps what fits of an answer; `read` gives a row and what else is kept
    /// of it.
    pub(crate) async fn read(
        pool: &Connections,
        query: PreparedQuery,
        read: impl Fn(&PgRow) -> sqlx::Result<(T, Row)>,
    ) -> sqlx::Result<Self> {
        let mut lent = pool.lend().await?;
        let answer = Self::keep(query.fetch(&mut *lent), read).await;
        match answer {
            // The connection is closed, and the server gives up the rest.
            Ok((page, false)) => Ok(page),
            answer => lent.end_with(answer.map(|(page, _)| page)),
        }
    }

    /// The page, and whether the answer was read to its end.
    async fn keep(
        mut answer: impl Stream<Item = sqlx::Result<PgRow>> + Unpin,
        read: impl Fn(&PgRow) -> sqlx::Result<(T, Row)>,
    ) -> sqlx::Result<(Self, bool)> {
        let mut page = Self {
            rows: Vec::new(),
            is_whole: true,
            bytes: 0,
        };
        let mut drained = 0;
        while let Some(row) = answer.try_next().await? {
            if page.bytes < PAGE_BYTES {
                let (kept, row) = read(&row)?;
                page.bytes += row_size(&row);
                page.rows.push((kept, row));
                continue;
            }
            page.is_whole = false;
            drained += read(&row).map_or(0, |(_, row)| row_size(&row));
            if drained > DRAINED_BYTES_MAX {
                return Ok((page, false));
            }
        }
        Ok((page, true))
    }

    /// How many rows to ask for the next time, if so many were asked for now.
    pub(super) fn next_rows(&self, asked: usize) -> usize {
        match self.is_whole {
            true if self.bytes < PAGE_BYTES / 2 => asked.saturating_mul(2),
            true => asked,
            false => (self.rows.len() / 2).max(1),
        }
    }
}
