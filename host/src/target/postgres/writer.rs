//! The writer of one generation's tables. It borrows a connection for each
//! call.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use gnomon_model::{Column, Description, Key, Position, Row, Table, TableWrites, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row as _};

use super::binary::{Cell, Cells, ColumnArray, decode};
use super::dead_letters;
use super::error::failed;
use super::failure::Failure;
use super::silence::{Asking, unless_silent};
use super::statements::Statements;
use super::tables::physical_schema;
use super::{copy, indexes};
use crate::connections::{Connections, Lent};
use crate::dead_letter::{DeadLetter, DeadLetterRequest};
use crate::generation::Lease;
use crate::silence::Silence;
use crate::source::Checkpoint;
use crate::target::registry::{fenced, unknown};
use crate::target::{Commit, TargetError, Writer};

/// How much goes into one statement: arrays are built in memory and a message
/// of the protocol ends at 1 GiB.
const STATEMENT_ROWS_MAX: usize = 10_000;
const STATEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) struct PostgresWriter {
    pool: Connections,
    /// Where the server is asked about a connection of `pool`.
    registry: Connections,
    silence: Arc<Silence>,
    place: Arc<str>,
    lease: Lease,
    description: Arc<Description>,
    statements: Vec<Statements>,
    /// Indexes that are known to be there, by table and number.
    made: HashSet<(usize, usize)>,
}

impl PostgresWriter {
    pub(super) fn new(
        pool: Connections,
        registry: Connections,
        silence: Arc<Silence>,
        place: Arc<str>,
        lease: Lease,
        description: Arc<Description>,
    ) -> Self {
        let schema = physical_schema(&description.name, lease.generation);
        let statements = description
            .tables
            .iter()
            .map(|table| Statements::new(&schema, table))
            .collect();
        Self {
            pool,
            registry,
            silence,
            place,
            lease,
            description,
            statements,
            made: HashSet::new(),
        }
    }

    /// Makes an index that a build has not made yet.
    async fn make_index(&mut self, table: usize, index: usize) -> Result<(), Failure> {
        if !self.made.contains(&(table, index)) {
            indexes::ensure(&self.pool, self.lease, &self.description, table, index).await?;
            self.made.insert((table, index));
        }
        Ok(())
    }

    /// A table's declaration and statements.
    fn table(&mut self, number: usize) -> Result<(&Table, &mut Statements), TargetError> {
        self.description
            .tables
            .get(number)
            .zip(self.statements.get_mut(number))
            .ok_or_else(|| unknown("table", number))
    }

    async fn read_rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, Failure> {
        let (pool, silence) = (self.pool.clone(), Arc::clone(&self.silence));
        let (table, statements) = self.table(table)?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in chunks(keys, Key::size) {
            let mut chunk: Vec<Option<Row>> = vec![None; keys.len()];
            let read = || {
                let query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.get)));
                bind_keys(query, table, keys).fetch_all(&pool)
            };
            for row in silence.retry(read).await? {
                let number: i64 = row.try_get(0)?;
                let place = usize::try_from(number - 1)
                    .ok()
                    .and_then(|number| chunk.get_mut(number));
                if let Some(place) = place {
                    *place = Some(read_row(&table.columns, &row, 1)?);
                }
            }
            found.append(&mut chunk);
        }
        Ok(found)
    }

    async fn find_rows(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure> {
        self.make_index(table, index).await?;
        let (pool, silence) = (self.pool.clone(), Arc::clone(&self.silence));
        let (table, statements) = self.table(table)?;
        let columns = &table
            .indexes
            .get(index)
            .ok_or_else(|| unknown("index", index))?
            .columns;
        let text = statements.find(table, index, values, after.is_some());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
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
            query.bind(limit).fetch_all(&pool)
        };
        let rows = silence.retry(read).await?;
        Ok(rows
            .iter()
            .map(|row| read_row(&table.columns, row, 0))
            .collect::<sqlx::Result<Vec<Row>>>()?)
    }

    async fn write(&self, commit: Commit<'_>) -> Result<(), Failure> {
        // To wait for one's turn is not a silence.
        let lent = self.pool.lend().await?;
        unless_silent(
            self.write_on(lent, commit),
            Asking {
                generation: self.lease.generation,
                description: &self.description,
                registry: &self.registry,
                silence: &self.silence,
            },
        )
        .await
    }

    async fn write_on(&self, lent: Lent, commit: Commit<'_>) -> Result<(), Failure> {
        let mut transaction = lent.begin().await?;
        // First: a host that was fenced does no work, and whoever gets past
        // this holds the checkpoint's row, so that no other commit and no new
        // owner comes between until the transaction ends.
        if !move_checkpoint(&mut transaction, self.lease, &commit).await? {
            return Err(fenced(self.lease.generation).into());
        }
        for writes in commit.writes {
            let (table, statements) = self
                .description
                .tables
                .get(writes.table)
                .zip(self.statements.get(writes.table))
                .ok_or_else(|| unknown("table", writes.table))?;
            if commit.into_empty {
                copy::fill(&mut transaction, &statements.copy, &writes.upserts).await?;
            } else {
                write_table(&mut transaction, table, statements, writes).await?;
            }
        }
        let dead_letters = commit.dead_letters;
        dead_letters::change(&mut transaction, self.lease.generation, dead_letters).await?;
        transaction.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl Writer for PostgresWriter {
    async fn checkpoint(&mut self) -> Result<Checkpoint, TargetError> {
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

    async fn rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, TargetError> {
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
    ) -> Result<Vec<Row>, TargetError> {
        let place = Arc::clone(&self.place);
        self.find_rows(table, index, values, after, limit)
            .await
            .map_err(|failure| failure.into_error(&place, "read rows from"))
    }

    async fn parked_streams(&mut self, streams: &[&str]) -> Result<Vec<String>, TargetError> {
        self.silence
            .retry(|| dead_letters::parked_streams(&self.pool, self.lease.generation, streams))
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn has_dead_letters(&mut self) -> Result<bool, TargetError> {
        self.silence
            .retry(|| dead_letters::exist(&self.pool, self.lease.generation))
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn dead_letters(
        &mut self,
        stream: Option<&str>,
        after: Position,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        self.silence
            .retry(|| dead_letters::page(&self.pool, self.lease.generation, stream, after, limit))
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn next_request(&mut self) -> Result<Option<DeadLetterRequest>, TargetError> {
        self.silence
            .retry(|| dead_letters::next_request(&self.pool, self.lease.generation))
            .await
            .map_err(failed(&self.place, "read the requests in"))
    }

    async fn complete(&mut self) -> Result<(), TargetError> {
        indexes::complete(&self.pool, self.lease, &self.description)
            .await
            .map_err(|failure| failure.into_error(&self.place, "make the indexes in"))
    }

    async fn commit(&mut self, commit: Commit<'_>) -> Result<(), TargetError> {
        self.write(commit)
            .await
            .map_err(|failure| failure.into_error(&self.place, "commit a batch to"))
    }
}

/// Moves the checkpoint if it is the expected one under our epoch.
async fn move_checkpoint(
    connection: &mut PgConnection,
    lease: Lease,
    commit: &Commit<'_>,
) -> sqlx::Result<bool> {
    let moved = sqlx::query(
        "UPDATE gnomon.checkpoints SET checkpoint = $4, position = $5, rate = $6, updated_at = now()
         WHERE generation = $1 AND epoch = $2 AND checkpoint = $3",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .bind(commit.expected.as_str())
    .bind(commit.next.as_str())
    .bind(commit.position.to_sql())
    .bind(commit.rate)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() == 1)
}

async fn write_table(
    connection: &mut PgConnection,
    table: &Table,
    statements: &Statements,
    writes: &TableWrites,
) -> sqlx::Result<()> {
    for keys in chunks(&writes.deletes, Key::size) {
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.delete)));
        bind_keys(query, table, keys)
            .execute(&mut *connection)
            .await?;
    }
    let row_size = |row: &Row| row.iter().map(Value::size).sum();
    for rows in chunks(&writes.upserts, row_size) {
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.upsert)));
        for (number, column) in table.columns.iter().enumerate() {
            query = query.bind(ColumnArray {
                column_type: column.column_type,
                cells: Cells::Rows(rows, number),
            });
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

type PreparedQuery = Query<'static, Postgres, PgArguments>;

fn bind_keys(mut query: PreparedQuery, table: &Table, keys: &[Key]) -> PreparedQuery {
    for (place, column) in table.primary_key.iter().enumerate() {
        if let Some(column) = table.columns.get(*column) {
            query = query.bind(ColumnArray {
                column_type: column.column_type,
                cells: Cells::Keys(keys, place),
            });
        }
    }
    query
}

/// Cuts a list into what goes into one statement each.
fn chunks<T>(items: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let length = rest
            .iter()
            .take(STATEMENT_ROWS_MAX)
            .take_while(|item| {
                let fits = bytes < STATEMENT_BYTES_MAX;
                bytes = bytes.saturating_add(size(item));
                fits
            })
            .count();
        let (chunk, after) = rest.split_at_checked(length)?;
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
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
