//! The writer of one generation's tables: a connection of its own, with its
//! statements prepared.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use gnomon_event_store::source::Checkpoint;
use gnomon_model::{
    Column, Description, FoundRows, Key, PAGE_BYTES, Position, Row, Table, Value, row_size,
};
use rusqlite::types::Type;
use rusqlite::{
    CachedStatement, Connection, Params, Transaction, TransactionBehavior, params, params_from_iter,
};

use super::checkpoint::is_ours;
use super::dead_letters;
use super::history;
use super::indexes::{self, KnownIndexes};
use super::skips;
use super::statements::{Statements, sorts_by_text};
use crate::dead_letter::{DeadLetter, PageLimits, RetryRequest, Skip};
use crate::generation::Lease;
use crate::read_models::unknown;
use crate::read_models::{Commit, KeptHistory, Writer};
use crate::registry::fenced;
use crate::storage::sqlite::cell::{Cell, read};
use crate::storage::sqlite::database::{Database, Gate, connect};
use crate::storage::sqlite::error::failed;
use crate::storage::sqlite::place::Place;
use crate::storage_error::StorageError;

pub(super) struct SqliteWriter {
    file: PathBuf,
    place: Place,
    gate: Arc<Gate>,
    connection: Connection,
    lease: Lease,
    description: Arc<Description>,
    statements: Vec<Statements>,
    indexes: KnownIndexes,
}

impl SqliteWriter {
    pub(crate) fn open(
        database: &Database,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            file: database.file.clone(),
            place: database.place.clone(),
            gate: Arc::clone(&database.gate),
            connection: connect(&database.file)?,
            lease,
            statements: description
                .tables
                .iter()
                .map(|table| Statements::new(lease.generation, table))
                .collect(),
            indexes: KnownIndexes::none(&description),
            description,
        })
    }

    /// A table's declaration and statements.
    fn table(&self, number: usize) -> Result<(&Table, &Statements), StorageError> {
        self.description
            .tables
            .get(number)
            .zip(self.statements.get(number))
            .ok_or_else(|| unknown("table", number))
    }

    fn read_rows(&self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        let (table, statements) = self.table(table)?;
        let attempt = || {
            // One transaction, so that the file is looked at once and not for
            // every key.
            let transaction = self.connection.unchecked_transaction()?;
            let mut get = transaction.prepare_cached(&statements.get)?;
            let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
            for key in keys {
                let key = params_from_iter(key.values().iter().map(Cell));
                let mut rows = get.query(key)?;
                let row = rows.next()?.map(|row| read_row(&table.columns, row));
                let row = row.transpose()?;
                bytes += row.as_deref().map_or(0, row_size);
                found.push(row);
                if bytes >= PAGE_BYTES {
                    break;
                }
            }
            Ok(found)
        };
        attempt().map_err(|error| self.not_read(error))
    }

    fn find_rows(
        &self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        let (table, statements) = self.table(table)?;
        let find = statements
            .finds
            .get(index)
            .ok_or_else(|| unknown("index", index))?;
        let attempt = || {
            if sorts_by_text(table) {
                let statement = self.connection.prepare_cached(&find.first_page)?;
                return find_sorted_here(table, statement, values, after, limit);
            }
            let text = match after {
                Some(_) => &find.next_page,
                None => &find.first_page,
            };
            let rows_max = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
            let after = after.map_or(&[][..], Key::values);
            let params = values.iter().chain(after).chain([&rows_max]).map(Cell);
            collect(
                table,
                self.connection.prepare_cached(text)?,
                params_from_iter(params),
                limit,
            )
        };
        attempt().map_err(|error| self.not_read(error))
    }

    /// The tables of a generation that was dropped are gone at any moment.
    fn not_read(&self, error: rusqlite::Error) -> StorageError {
        match is_ours(&self.connection, self.lease) {
            Ok(false) => fenced(self.lease.generation),
            _ => failed(&self.file, "read rows from")(error),
        }
    }

    fn make_index(&mut self, table: usize, index: usize) -> Result<(), StorageError> {
        let _turn = self.gate.enter();
        let made = indexes::make(
            &mut self.connection,
            self.lease,
            &self.description,
            table,
            index,
        );
        match made.map_err(failed(&self.file, "make an index in"))? {
            true => self.indexes.add(table, index),
            false => return Err(fenced(self.lease.generation)),
        }
        Ok(())
    }

    fn write(&mut self, commit: Commit<'_>) -> Result<(), StorageError> {
        let failed = failed(&self.file, "commit a batch to");
        self.place.check()?;
        let _turn = self.gate.enter();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        // First, so that a host that was fenced does no work.
        if !move_checkpoint(&transaction, self.lease, &commit).map_err(&failed)? {
            return Err(fenced(self.lease.generation));
        }
        for writes in &*commit.writes {
            let statements = self
                .statements
                .get(writes.table)
                .ok_or_else(|| unknown("table", writes.table))?;
            delete_rows(&transaction, &statements.delete, &writes.deletes).map_err(&failed)?;
            let put = if commit.into_empty {
                &statements.insert
            } else {
                &statements.upsert
            };
            write_rows(&transaction, put, &writes.upserts).map_err(&failed)?;
        }
        dead_letters::change(&transaction, self.lease.generation, commit.dead_letters)
            .map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }
}

#[async_trait]
impl Writer for SqliteWriter {
    async fn checkpoint(&mut self) -> Result<Checkpoint, StorageError> {
        self.connection
            .prepare_cached(
                "SELECT checkpoint FROM gnomon_checkpoints WHERE generation = ?1 AND epoch = ?2",
            )
            .and_then(|mut statement| {
                statement.query_row(
                    params![self.lease.generation.to_sql(), self.lease.epoch],
                    |row| row.get(0),
                )
            })
            .map(Checkpoint::from_stored)
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => fenced(self.lease.generation),
                error => failed(&self.file, "read a checkpoint from")(error),
            })
    }

    async fn history(&mut self) -> Result<KeptHistory, StorageError> {
        let kept = history::kept(&self.connection, self.lease);
        kept.map_err(failed(&self.file, "read a checkpoint from"))?
            .ok_or_else(|| fenced(self.lease.generation))
    }

    async fn keep_history(&mut self, kept: &KeptHistory) -> Result<(), StorageError> {
        let _turn = self.gate.enter();
        let is_kept = history::keep(&self.connection, self.lease, kept);
        match is_kept.map_err(failed(&self.file, "write a checkpoint to"))? {
            true => Ok(()),
            false => Err(fenced(self.lease.generation)),
        }
    }

    async fn rows(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        self.read_rows(table, keys)
    }

    async fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        if !self.indexes.has(table, index) {
            self.make_index(table, index)?;
        }
        self.find_rows(table, index, values, after, limit)
    }

    async fn parked_streams(&mut self, streams: &[&str]) -> Result<Vec<String>, StorageError> {
        dead_letters::parked_streams(&self.connection, self.lease.generation, streams)
            .map_err(failed(&self.file, "read the dead letters in"))
    }

    async fn count_dead_letters(&mut self) -> Result<u64, StorageError> {
        dead_letters::count(&self.connection, self.lease.generation)
            .map_err(failed(&self.file, "read the dead letters in"))
    }

    async fn dead_letters(
        &mut self,
        stream: Option<&str>,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError> {
        dead_letters::page(
            &self.connection,
            self.lease.generation,
            stream,
            after,
            limits,
        )
        .map_err(failed(&self.file, "read the dead letters in"))
    }

    async fn skips(&mut self, after: Position, limit: usize) -> Result<Vec<Skip>, StorageError> {
        skips::page_of(&self.connection, self.lease.generation, after, limit)
            .map_err(failed(&self.file, "read the skips in"))
    }

    async fn skipped_letters(
        &mut self,
        limit: usize,
    ) -> Result<Vec<(Position, String)>, StorageError> {
        skips::letters(&self.connection, self.lease.generation, limit)
            .map_err(failed(&self.file, "read the skips in"))
    }

    async fn next_request(&mut self) -> Result<Option<RetryRequest>, StorageError> {
        dead_letters::next_request(&self.connection, self.lease.generation)
            .map_err(failed(&self.file, "read the requests in"))
    }

    async fn complete(&mut self) -> Result<(), StorageError> {
        let description = Arc::clone(&self.description);
        for (table, declared) in description.tables.iter().enumerate() {
            for index in 0..declared.indexes.len() {
                self.make_index(table, index)?;
            }
        }
        Ok(())
    }

    async fn commit(&mut self, commit: Commit<'_>) -> Result<(), StorageError> {
        self.write(commit)
    }
}

/// Moves the checkpoint if it is the expected one under our epoch.
fn move_checkpoint(
    transaction: &Transaction<'_>,
    lease: Lease,
    commit: &Commit<'_>,
) -> rusqlite::Result<bool> {
    let moved = transaction
        .prepare_cached(
            "UPDATE gnomon_checkpoints
             SET checkpoint = ?4, position = ?5, rate = ?6,
                 event_position = coalesce(?7, event_position),
                 event_id = coalesce(?8, event_id), event_rate = ?9,
                 updated_at = strftime('%Y-%m-%dT%H:%M:%fZ')
             WHERE generation = ?1 AND epoch = ?2 AND checkpoint = ?3",
        )?
        .execute(params![
            lease.generation.to_sql(),
            lease.epoch,
            commit.expected.as_str(),
            commit.next.as_str(),
            commit.position.to_sql(),
            commit.rate.positions,
            commit.event.map(|event| event.position.to_sql()),
            commit.event.map(|event| event.id.as_str()),
            commit.rate.events,
        ])?;
    Ok(moved == 1)
}

fn delete_rows(
    transaction: &Transaction<'_>,
    statement: &str,
    keys: &[Key],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(statement)?;
    for key in keys {
        statement.execute(params_from_iter(key.values().iter().map(Cell)))?;
    }
    Ok(())
}

fn write_rows(
    transaction: &Transaction<'_>,
    statement: &str,
    rows: &[Row],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(statement)?;
    for row in rows {
        statement.execute(params_from_iter(row.iter().map(Cell)))?;
    }
    Ok(())
}

fn collect(
    table: &Table,
    mut statement: CachedStatement<'_>,
    params: impl Params,
    limit: usize,
) -> rusqlite::Result<FoundRows> {
    let mut rows = statement.query(params)?;
    let (mut found, mut bytes) = (FoundRows::default(), 0);
    while let Some(row) = rows.next()? {
        let row = read_row(&table.columns, row)?;
        bytes += row_size(&row);
        found.rows.push(row);
        if bytes >= PAGE_BYTES || found.rows.len() >= limit {
            found.more = true;
            break;
        }
    }
    Ok(found)
}

/// Reads all rows that match and keeps the first ones. It takes longer than
/// reading them in order, and no more memory.
fn find_sorted_here(
    table: &Table,
    mut statement: CachedStatement<'_>,
    values: &[Value],
    after: Option<&Key>,
    limit: usize,
) -> rusqlite::Result<FoundRows> {
    let mut rows = statement.query(params_from_iter(values.iter().map(Cell)))?;
    let (mut first, mut bytes, mut more) = (BTreeMap::new(), 0, false);
    while let Some(row) = rows.next()? {
        let row = read_row(&table.columns, row)?;
        let key = table.key_of(&row);
        if after.is_none_or(|after| key > *after) {
            bytes += row_size(&row);
            first.insert(key, row);
        }
        while first.len() > limit || (first.len() > 1 && bytes > PAGE_BYTES) {
            let last = first.pop_last();
            bytes -= last.map_or(0, |(_, row)| row_size(&row));
            more = true;
        }
    }
    Ok(FoundRows {
        rows: first.into_values().collect(),
        more,
    })
}

pub(super) fn read_row(columns: &[Column], row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    columns
        .iter()
        .enumerate()
        .map(|(number, column)| {
            read(column.column_type, row.get_ref(number)?).map_err(|error| {
                let error = format!("column `{}`: {error}", column.name);
                rusqlite::Error::FromSqlConversionFailure(number, Type::Null, error.into())
            })
        })
        .collect()
}
