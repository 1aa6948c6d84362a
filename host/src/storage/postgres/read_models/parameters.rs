//! Rows and keys as parameters of statements: an array for each column, or a
//! value where there is one row.

use gnomon_model::{Key, Row, Table, Value};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::storage::postgres::binary::{Cell, Cells, ColumnArray};

/// How much goes into one statement: arrays are built in memory and a message
/// of the protocol ends at 1 GiB.
const STATEMENT_ROWS_MAX: usize = 10_000;
const STATEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) type PreparedQuery = Query<'static, Postgres, PgArguments>;

pub(super) fn bind_keys(mut query: PreparedQuery, table: &Table, keys: &[Key]) -> PreparedQuery {
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

pub(super) fn bind_row(mut query: PreparedQuery, table: &Table, row: &Row) -> PreparedQuery {
    for (column, value) in table.columns.iter().zip(row) {
        query = query.bind(Cell {
            column_type: column.column_type,
            value,
        });
    }
    query
}

pub(super) fn bind_rows(mut query: PreparedQuery, table: &Table, rows: &[Row]) -> PreparedQuery {
    for (number, column) in table.columns.iter().enumerate() {
        query = query.bind(ColumnArray {
            column_type: column.column_type,
            cells: Cells::Rows(rows, number),
        });
    }
    query
}

/// The bytes of a row's values.
pub(super) fn row_size(row: &Row) -> usize {
    row.iter().map(Value::size).sum()
}

/// Cuts a list into what goes into one statement each.
pub(super) fn chunks<T>(items: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let (chunk, after) = rest.split_at_checked(chunk_length(rest, &size))?;
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Whether a list goes into one statement as a whole.
pub(super) fn is_one_chunk<T>(items: &[T], size: impl Fn(&T) -> usize) -> bool {
    chunk_length(items, &size) == items.len()
}

fn chunk_length<T>(items: &[T], size: &impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0_usize;
    items
        .iter()
        .take(STATEMENT_ROWS_MAX)
        .take_while(|item| {
            let fits = bytes < STATEMENT_BYTES_MAX;
            bytes = bytes.saturating_add(size(item));
            fits
        })
        .count()
}
