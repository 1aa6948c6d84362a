//! The writer of one generation's tables. It borrows a connection for each
//! call.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use gnomon_databases::connections::Connections;
use gnomon_databases::silence::Silence;
use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Column, Description, FoundRows, Key, Position, Row, Table, Value};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::commit::Commits;
use super::dead_letters;
use super::history;
use super::indexes;
use super::page::Page;
use super::parameters::{bind_keys, chunks};
use super::silence::Asking;
use super::skips;
use super::statements::Reads;
use super::tables::physical_schema;
use crate::dead_letter::{DeadLetter, PageLimits, RetryRequest, Skip};
use crate::generation::Lease;
use crate::read_models::unknown;
use crate::read_models::{Commit, KeptHistory, Writer};
use crate::registry::fenced;
use crate::storage::postgres::binary::{Cell, decode};
use crate::storage::postgres::error::failed;
use crate::storage::postgres::failure::Failure;
use crate::storage_error::StorageError;

pub(super) struct PostgresWriter {
    pool: Connections,
    /// Where the server is asked about a connection of `pool`.
    asking: Asking,
    silence: Arc<Silence>,
    place: Arc<str>,
    lease: Lease,
    description: Arc<Description>,
    /// Of each table.
    reads: Vec<Reads>,
    commits: Commits,
    /// Indexes that are known to be there, by table and number.
    made: HashSet<(usize, usize)>,
}

impl PostgresWriter {
    pub(crate) fn new(
        pool: Connections,
        registry: Connections,
        silence: Arc<Silence>,
        place: Arc<str>,
        lease: Lease,
        description: Arc<Description>,
    ) -> Self {
        let schema = physical_schema(&description.name, lease.generation);
        let tables = description.tables.iter();
        let reads = tables.map(|table| Reads::new(&schema, table)).collect();
        let commits = Commits::new(lease, Arc::clone(&description), schema);
        let asking = Asking {
            generation: lease.generation,
            description: Arc::clone(&description),
            registry,
            silence: Arc::clone(&silence),
        };
        Self {
            pool,
            asking,
            silence,
            place,
            lease,
            description,
            reads,
            commits,
            made: HashSet::new(),
        }
    }

    /// Makes an index that a build has not made yet.
    async fn make_index(&mut self, table: usize, index: usize) -> Result<(), Failure> {
        if !self.made.contains(&(table, index)) {
            self.ensure_index(table, index).await?;
            self.made.insert((table, index));
        }
        Ok(())
    }

    async fn ensure_index(&self, table: usize, index: usize) -> Result<(), Failure> {
        let lent = self.pool.lend().await?;
        let ensure = |lent| indexes::ensure(lent, self.lease, &self.description, table, index);
        self.asking.unless_silent(lent, ensure).await
    }

    /// Makes all indexes that are missing or unusable, and the statistics.
    async fn complete_tables(&self) -> Result<(), Failure> {
        for (number, table) in self.description.tables.iter().enumerate() {
            for index in 0..table.indexes.len() {
                self.ensure_index(number, index).await?;
            }
            let lent = self.pool.lend().await?;
            let analyze = |lent| indexes::analyze(lent, self.lease, &self.description, table);
            self.asking.unless_silent(lent, analyze).await?;
        }
        Ok(())
    }

    /// A table's declaration and statements.
    fn table(&mut self, number: usize) -> Result<(&Table, &mut Reads), StorageError> {
        self.description
            .tables
            .get(number)
            .zip(self.reads.get_mut(number))
            .ok_or_else(|| unknown("table", number))
    }

    async fn read_rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, Failure> {
        let (pool, silence) = (self.pool.clone(), Arc::clone(&self.silence));
        let (table, statements) = self.table(table)?;
        let keys = chunks(keys, Key::size).next().unwrap_or_default();
        // They come in any order, so a part of the answer is of no use.
        loop {
            let asked = keys.len().min(statements.page_rows);
            let keys = keys.get(..asked).unwrap_or(keys);
            let read = || {
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.get)));
                Page::read(&pool, bind_keys(query, table, keys), |row| {
                    let number: i64 = row.try_get(0)?;
                    Ok((number, read_row(&table.columns, row, 1)?))
                })
            };
            let page = silence.retry(read).await?;
            statements.page_rows = page.next_rows(statements.page_rows);
            if !page.is_whole {
                continue;
            }
            let mut found: Vec<Option<Row>> = vec![None; keys.len()];
            for (number, row) in page.rows {
                let place = usize::try_from(number - 1).ok();
                if let Some(place) = place.and_then(|number| found.get_mut(number)) {
                    *place = Some(row);
                }
            }
            return Ok(found);
        }
    }

    async fn find_rows(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, Failure> {
        self.make_index(table, index).await?;
        let (pool, silence) = (self.pool.clone(), Arc::clone(&self.silence));
        let (table, statements) = self.table(table)?;
        let columns = &table
            .indexes
            .get(index)
            .ok_or_else(|| unknown("index", index))?
            .columns;
        let text = statements.find(table, index, values, after.is_some());
        let rows_max = limit.min(statements.page_rows);
        let read = || {
            let searched = columns
                .iter()
                .zip(values)
                .filter(|(_, value)| **value != Value::Null);
            let begin = table
                .primary_key
                .iter()
                .zip(after.map_or(&[][..], Key::values));
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&text)));
            for (column, value) in searched.chain(begin) {
                if let Some(column) = table.columns.get(*column) {
                    query = query.bind(Cell {
                        column_type: column.column_type,
                        value,
                    });
                }
            }
            let query = query.bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
            Page::read(&pool, query, |row| {
                Ok(((), read_row(&table.columns, row, 0)?))
            })
        };
        let page = silence.retry(read).await?;
        statements.page_rows = page.next_rows(statements.page_rows);
        Ok(FoundRows {
            more: !page.is_whole || page.rows.len() >= rows_max,
            rows: page.rows.into_iter().map(|((), row)| row).collect(),
        })
    }

    async fn write(&mut self, commit: Commit<'_>) -> Result<(), Failure> {
        // To wait for one's turn is not a silence.
        let lent = self.pool.lend().await?;
        let commits = &mut self.commits;
        self.asking
            .unless_silent(lent, |lent| commits.commit(lent, commit))
            .await
    }
}

#[async_trait]
impl Writer for PostgresWriter {
    async fn checkpoint(&mut self) -> Result<Checkpoint, StorageError> {
        let read = || {
            sqlx::query_scalar(
                "SELECT checkpoint FROM gnomon.checkpoints WHERE generation = $1 AND epoch = $2",
            )
            .bind(self.lease.generation.to_sql())
            .bind(self.lease.epoch)
            .fetch_optional(&self.pool)
        };
        let stored: Option<String> = self
            .silence
            .retry(read)
            .await
            .map_err(failed(&self.place, "read a checkpoint from"))?;
        stored
            .map(Checkpoint::from_stored)
            .ok_or_else(|| fenced(self.lease.generation))
    }

    async fn history(&mut self) -> Result<KeptHistory, StorageError> {
        let lease = self.lease;
        let read = || history::kept(&self.pool, lease);
        let kept = self.silence.retry(read).await;
        kept.map_err(failed(&self.place, "read a checkpoint from"))?
            .ok_or_else(|| fenced(lease.generation))
    }

    async fn keep_history(&mut self, kept: &KeptHistory) -> Result<(), StorageError> {
        let lease = self.lease;
        let is_kept = history::keep(&self.pool, lease, kept).await;
        match is_kept.map_err(failed(&self.place, "write a checkpoint to"))? {
            true => Ok(()),
            false => Err(fenced(lease.generation)),
        }
    }

    async fn rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        let place = Arc::clone(&self.place);
        self.read_rows(table, keys)
            .await
            .map_err(|failure| failure.into_error(&place, "read rows from"))
    }

    async fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        let place = Arc::clone(&self.place);
        self.find_rows(table, index, values, after, limit)
            .await
            .map_err(|failure| failure.into_error(&place, "read rows from"))
    }

    async fn parked_streams(&mut self, streams: &[&str]) -> Result<Vec<String>, StorageError> {
        self.silence
            .retry(|| dead_letters::parked_streams(&self.pool, self.lease.generation, streams))
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn count_dead_letters(&mut self) -> Result<u64, StorageError> {
        self.silence
            .retry(|| dead_letters::count(&self.pool, self.lease.generation))
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn dead_letters(
        &mut self,
        stream: Option<&str>,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError> {
        self.silence
            .retry(|| dead_letters::page(&self.pool, self.lease.generation, stream, after, limits))
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn skips(&mut self, after: Position, limit: usize) -> Result<Vec<Skip>, StorageError> {
        self.silence
            .retry(|| skips::page_of(&self.pool, self.lease.generation, after, limit))
            .await
            .map_err(failed(&self.place, "read the skips in"))
    }

    async fn skipped_letters(
        &mut self,
        limit: usize,
    ) -> Result<Vec<(Position, String)>, StorageError> {
        self.silence
            .retry(|| skips::letters(&self.pool, self.lease.generation, limit))
            .await
            .map_err(failed(&self.place, "read the skips in"))
    }

    async fn next_request(&mut self) -> Result<Option<RetryRequest>, StorageError> {
        self.silence
            .retry(|| dead_letters::next_request(&self.pool, self.lease.generation))
            .await
            .map_err(failed(&self.place, "read the requests in"))
    }

    async fn complete(&mut self) -> Result<(), StorageError> {
        self.complete_tables()
            .await
            .map_err(|failure| failure.into_error(&self.place, "make the indexes in"))
    }

    async fn commit(&mut self, commit: Commit<'_>) -> Result<(), StorageError> {
        self.write(commit)
            .await
            .map_err(|failure| failure.into_error(&self.place, "commit a batch to"))
    }
}

/// Reads a row whose columns begin at number `first` of the result.
fn read_row(columns: &[Column], row: &PgRow, first: usize) -> sqlx::Result<Row> {
    columns
        .iter()
        .enumerate()
        .map(|(number, column)| {
            decode(column.column_type, &row.try_get_raw(first + number)?).map_err(|source| {
                sqlx::Error::ColumnDecode {
                    index: column.name.clone(),
                    source,
                }
            })
        })
        .collect()
}
