//! The tables of generations.

use gnomon_model::{ColumnType, Description, Table};
use rusqlite::Connection;

use crate::generation::GenerationId;
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::storage::sqlite::cell::sql_type;

/// The quoted name of a generation's table.
pub(super) fn physical_name(generation: GenerationId, table: &Table) -> String {
    quoted(&format!("gnomon_{generation}_{}", table.name))
}

/// Makes the tables of a generation, without secondary indexes.
pub(crate) fn create(
    connection: &Connection,
    generation: GenerationId,
    description: &Description,
) -> rusqlite::Result<()> {
    for table in &description.tables {
        connection.execute_batch(&create_table(generation, table))?;
    }
    Ok(())
}

/// The statements that drop what there is of a generation's tables, the
/// indexes first: each is then done sooner.
pub(crate) fn drops(
    connection: &Connection,
    generation: GenerationId,
) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT type, name FROM sqlite_schema
             WHERE type IN ('index', 'table') AND tbl_name GLOB ?1 AND sql IS NOT NULL
             ORDER BY type, name",
        )?
        .query_map([format!("gnomon_{generation}_*")], |row| {
            let kind: String = row.get(0)?;
            let name: String = row.get(1)?;
            Ok(format!("DROP {kind} IF EXISTS {}", quoted(&name)))
        })?
        .collect()
}

/// A table without a rowid is one tree instead of two, and its secondary
/// indexes end with the primary key, so that they give rows in its order. A
/// single integer key has that by being the rowid.
fn create_table(generation: GenerationId, table: &Table) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            format!(
                "{} {}{}",
                quoted(&column.name),
                sql_type(column.column_type),
                if column.nullable { "" } else { " NOT NULL" },
            )
        })
        .collect();
    let key_is_rowid = matches!(
        table.primary_key.as_slice(),
        [column] if table.columns.get(*column).is_some_and(|column| column.column_type == ColumnType::Integer)
    );
    format!(
        "CREATE TABLE {} ({}, PRIMARY KEY ({})) {}",
        physical_name(generation, table),
        columns.join(", "),
        column_names(table, &table.primary_key).join(", "),
        if key_is_rowid {
            "STRICT"
        } else {
            "STRICT, WITHOUT ROWID"
        },
    )
}
