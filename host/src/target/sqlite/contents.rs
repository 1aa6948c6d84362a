//! All rows of a generation's tables, for tests of projections.

use gnomon_model::{Description, Row};

use super::database::{Database, connect};
use super::error::failed;
use super::tables::physical_name;
use super::writer::read_row;
use crate::generation::GenerationId;
use crate::target::TargetError;
use crate::target::identifier::column_names;

/// The rows of each table, in no order.
pub(super) fn rows(
    database: &Database,
    generation: GenerationId,
    description: &Description,
) -> Result<Vec<Vec<Row>>, TargetError> {
    let connection = connect(&database.file)?;
    let tables = description.tables.iter().map(|table| {
        let columns: Vec<usize> = (0..table.columns.len()).collect();
        let columns = column_names(table, &columns).join(", ");
        let name = physical_name(generation, table);
        connection
            .prepare(&format!("SELECT {columns} FROM {name}"))?
            .query_map([], |row| read_row(&table.columns, row))?
            .collect()
    });
    tables
        .collect::<rusqlite::Result<_>>()
        .map_err(failed(&database.file, "read rows from"))
}
