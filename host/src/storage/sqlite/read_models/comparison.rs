//! Comparing two generations in one read transaction, on a connection of its
//! own.

use gnomon_model::{Column, Position, Table};
use rusqlite::{Connection, OptionalExtension};

use self::pair::Pair;
use super::tables::physical_name;
use crate::generation::GenerationId;
use crate::read_models::{Compared, Comparison, TableComparison};
use crate::registry::{read_description, unknown_generation};
use crate::storage::sqlite::database::{Database, Failure, connect};
use crate::storage::sqlite::error::failed;
use crate::storage_error::StorageError;

mod pair;

/// One of the two generations.
struct Side {
    generation: GenerationId,
    position: Position,
    tables: Vec<Table>,
}

pub(crate) fn compare(
    database: &Database,
    left: GenerationId,
    right: GenerationId,
    samples: usize,
) -> Result<Compared, StorageError> {
    let mut connection = connect(&database.file)?;
    let mut attempt = || {
        let snapshot = connection.transaction()?;
        let left = side(&snapshot, left)?;
        let right = side(&snapshot, right)?;
        if left.position != right.position {
            return Ok(Compared::Apart {
                left: left.position,
                right: right.position,
            });
        }
        let mut names: Vec<&str> = [&left, &right]
            .iter()
            .flat_map(|side| side.tables.iter().map(|table| table.name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        let tables = names
            .into_iter()
            .map(|name| compare_tables(&snapshot, &left, &right, name, samples))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Compared::Together(Comparison {
            position: left.position,
            tables,
        }))
    };
    attempt().map_err(|failure| match failure {
        Failure::Sqlite(error) => failed(&database.file, "compare tables in")(error),
        Failure::Storage(error) => error,
    })
}

fn side(connection: &Connection, generation: GenerationId) -> Result<Side, Failure> {
    let found: Option<(String, i64)> = connection
        .query_row(
            "SELECT g.description, c.position
             FROM gnomon_generations g
             JOIN gnomon_checkpoints c ON c.generation = g.id
             WHERE g.id = ?1 AND g.state <> 'dropped'",
            [generation.to_sql()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let (description, position) = found.ok_or_else(|| unknown_generation(generation))?;
    Ok(Side {
        generation,
        position: Position::from_sql(position).unwrap_or(Position::START),
        tables: read_description(&description)?.tables,
    })
}

impl Side {
    fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

fn compare_tables(
    connection: &Connection,
    left: &Side,
    right: &Side,
    name: &str,
    samples: usize,
) -> rusqlite::Result<TableComparison> {
    let mut found = TableComparison {
        table: name.to_owned(),
        incomparable: None,
        only_left_columns: Vec::new(),
        only_right_columns: Vec::new(),
        left_rows: 0,
        right_rows: 0,
        only_left: 0,
        only_right: 0,
        different: 0,
        different_columns: Vec::new(),
        samples: Vec::new(),
    };
    let (here, there) = match (left.table(name), right.table(name)) {
        (Some(here), Some(there)) => (here, there),
        (here, there) => {
            let missing = if here.is_none() { left } else { right };
            found.incomparable = Some(format!(
                "generation {} has no such table",
                missing.generation
            ));
            for (table, side, rows) in [
                (here, left, &mut found.left_rows),
                (there, right, &mut found.right_rows),
            ] {
                if let Some(table) = table {
                    *rows = count(connection, &physical_name(side.generation, table))?;
                }
            }
            return Ok(found);
        }
    };
    found.only_left_columns = columns_beside(here, there);
    found.only_right_columns = columns_beside(there, here);
    let pair = Pair {
        left: physical_name(left.generation, here),
        right: physical_name(right.generation, there),
        here,
        there,
        common: here
            .columns
            .iter()
            .filter(|column| has_column(there, column))
            .filter(|column| key_columns(here).all(|key| key.name != column.name))
            .collect(),
    };
    found.left_rows = count(connection, &pair.left)?;
    found.right_rows = count(connection, &pair.right)?;
    if !same_key(here, there) {
        found.incomparable = Some("the primary keys have other columns".to_owned());
        return Ok(found);
    }
    pair.count_differences(connection, &mut found)?;
    if samples > 0 && found.only_left + found.only_right + found.different > 0 {
        found.samples = pair.samples(connection, samples)?;
    }
    Ok(found)
}

fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    let columns = table.primary_key.iter();
    columns.filter_map(|column| table.columns.get(*column))
}

/// Whether both have the same key columns, of the same types, in any order.
fn same_key(here: &Table, there: &Table) -> bool {
    here.primary_key.len() == there.primary_key.len()
        && key_columns(here).all(|column| {
            key_columns(there)
                .any(|other| other.name == column.name && other.column_type == column.column_type)
        })
}

fn has_column(table: &Table, column: &Column) -> bool {
    table
        .columns
        .iter()
        .any(|other| other.name == column.name && other.column_type == column.column_type)
}

/// The columns of the first that the second does not have.
fn columns_beside(table: &Table, other: &Table) -> Vec<String> {
    let columns = table.columns.iter();
    columns
        .filter(|column| !has_column(other, column))
        .map(|column| column.name.clone())
        .collect()
}

fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let count = format!("SELECT count(*) FROM {table}");
    connection.query_row(&count, [], |row| Ok(number(row.get(0)?)))
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
