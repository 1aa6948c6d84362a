//! The tables of generations, and the views under their public names.

use std::path::Path;

use gnomon_model::{ColumnType, Description, Table};
use rusqlite::{Connection, OptionalExtension};

use super::cell::sql_type;
use super::database::Failure;
use crate::generation::GenerationId;
use crate::target::identifier::{column_names, quoted};
use crate::target::registry::{other_owner, shown};
use crate::target::{TargetError, TargetErrorKind};

/// The quoted name of a generation's table.
pub(super) fn physical_name(generation: GenerationId, table: &Table) -> String {
    quoted(&format!("gnomon_{generation}_{}", table.name))
}

/// Makes the tables of a generation, with their indexes.
pub(super) fn create(
    connection: &Connection,
    generation: GenerationId,
    description: &Description,
) -> rusqlite::Result<()> {
    for table in &description.tables {
        connection.execute_batch(&create_table(generation, table))?;
        for (number, index) in table.indexes.iter().enumerate() {
            connection.execute_batch(&format!(
                "CREATE INDEX {} ON {} ({})",
                quoted(&format!(
                    "gnomon_index_{generation}_{}_{number}",
                    table.name
                )),
                physical_name(generation, table),
                column_names(table, &index.columns).join(", "),
            ))?;
        }
    }
    Ok(())
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

/// Whether the public names of a projection are free, or its own already.
///
/// `live` is what the projection shows now, `others` what other projections
/// declare.
pub(super) fn check_public_names(
    connection: &Connection,
    file: &Path,
    description: &Description,
    live: Option<&Description>,
    others: &[(String, Description)],
) -> Result<(), Failure> {
    for table in &description.tables {
        let name = &table.name;
        let refuse = |reason: String| {
            TargetError::new(
                TargetErrorKind::Refused,
                format!(
                    "projection `{}` cannot have the table `{name}`: {reason}",
                    description.name
                ),
            )
        };
        for reserved in ["sqlite_", "gnomon_"] {
            if name.starts_with(reserved) {
                return Err(
                    refuse(format!("names that begin with `{reserved}` are reserved")).into(),
                );
            }
        }
        if let Some(owner) = other_owner(others, name) {
            return Err(refuse(format!(
                "it belongs to projection `{owner}`, and a SQLite file has one table of a name"
            ))
            .into());
        }
        if live.is_some_and(|live| live.table(name).is_some()) {
            continue;
        }
        let taken: Option<String> = connection
            .query_row(
                "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE",
                [name],
                |row| row.get(0),
            )
            .optional()?;
        if let Some(taken) = taken {
            return Err(refuse(format!(
                "{} has {} `{name}` that is not Gnomon's; rename one of them",
                shown(file),
                match taken.as_str() {
                    "index" => "an index",
                    "view" => "a view",
                    "trigger" => "a trigger",
                    _ => "a table",
                },
            ))
            .into());
        }
    }
    Ok(())
}

/// Shows a generation's tables under their public names, in the place of what
/// `live` showed.
pub(super) fn show(
    connection: &Connection,
    generation: GenerationId,
    description: &Description,
    live: Option<&Description>,
) -> rusqlite::Result<()> {
    for table in live.iter().flat_map(|live| &live.tables) {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {}", quoted(&table.name)))?;
    }
    for table in &description.tables {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        connection.execute_batch(&format!(
            "CREATE VIEW {} AS SELECT {} FROM {}",
            quoted(&table.name),
            column_names(table, &all).join(", "),
            physical_name(generation, table),
        ))?;
    }
    Ok(())
}
