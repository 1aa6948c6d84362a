//! The views under the public names.

use std::path::Path;

use gnomon_model::{Description, Table};
use rusqlite::{Connection, OptionalExtension};

use super::tables::physical_name;
use super::user_objects::UserObjects;
use crate::generation::GenerationId;
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::storage::sqlite::error::shown;

/// What a generation declares, and for which projection.
pub(crate) struct Declared {
    pub(crate) projection: String,
    /// Under the module's own name.
    pub(crate) description: Description,
}

impl Declared {
    /// The name under which readers find a table. A copy's begin with the
    /// projection, as the declared ones are the original's.
    fn public_name(&self, table: &Table) -> String {
        if self.is_copy() {
            format!("{}_{}", self.projection, table.name)
        } else {
            table.name.clone()
        }
    }

    /// Whether it stands beside the projection that the module names.
    pub(crate) fn is_copy(&self) -> bool {
        self.description.name != self.projection
    }

    fn public_names(&self) -> impl Iterator<Item = String> {
        self.description
            .tables
            .iter()
            .map(|table| self.public_name(table))
    }
}

/// Why a projection cannot have its public names; `None` where they are free,
/// or its own already.
///
/// `live` is what the projection shows now, `others` what other projections
/// show or are about to.
pub(crate) fn taken_name(
    connection: &Connection,
    file: &Path,
    wanted: &Declared,
    live: Option<&Declared>,
    others: &[Declared],
) -> rusqlite::Result<Option<String>> {
    for name in wanted.public_names() {
        if let Some(reason) = why_taken(connection, file, &name, live, others)? {
            return Ok(Some(format!(
                "projection `{}` cannot have the table `{name}`: {reason}",
                wanted.projection
            )));
        }
    }
    Ok(None)
}

fn why_taken(
    connection: &Connection,
    file: &Path,
    name: &str,
    live: Option<&Declared>,
    others: &[Declared],
) -> rusqlite::Result<Option<String>> {
    for reserved in ["sqlite_", "gnomon_"] {
        if name.starts_with(reserved) {
            return Ok(Some(format!(
                "names that begin with `{reserved}` are reserved"
            )));
        }
    }
    let has_name = |declared: &&Declared| declared.public_names().any(|other| other == name);
    if let Some(owner) = others.iter().find(has_name) {
        return Ok(Some(format!(
            "it belongs to projection `{}`, and a SQLite file has one table of a name",
            owner.projection
        )));
    }
    let found: Option<String> = connection
        .query_row(
            "SELECT type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE",
            [name],
            |row| row.get(0),
        )
        .optional()?;
    let kind = match found.as_deref() {
        None => return Ok(None),
        Some("view") if live.as_ref().is_some_and(has_name) => return Ok(None),
        Some("index") => "an index",
        Some("view") => "a view",
        Some("trigger") => "a trigger",
        Some(_) => "a table",
    };
    Ok(Some(format!(
        "{} has {kind} `{name}` that is not Gnomon's; rename one of them",
        shown(file)
    )))
}

/// Shows the tables of `new` under their public names, in the place of those
/// of `old`. What users have made and cannot use any more is dropped, and
/// named in the answer: who does not want that rolls back.
pub(crate) fn replace(
    connection: &Connection,
    old: Option<&Declared>,
    new: Option<(GenerationId, &Declared)>,
) -> rusqlite::Result<Vec<String>> {
    let old_names: Vec<String> = old.iter().flat_map(|old| old.public_names()).collect();
    let users = UserObjects::find(connection, &old_names)?;
    for name in &old_names {
        let is_view: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?1)",
            [name],
            |row| row.get(0),
        )?;
        if is_view {
            connection.execute_batch(&format!("DROP VIEW {}", quoted(name)))?;
        }
    }
    if let Some((generation, declared)) = new {
        for table in &declared.description.tables {
            let all: Vec<usize> = (0..table.columns.len()).collect();
            connection.execute_batch(&format!(
                "CREATE VIEW {} AS SELECT {} FROM {}",
                quoted(&declared.public_name(table)),
                column_names(table, &all).join(", "),
                physical_name(generation, table),
            ))?;
        }
    }
    users.keep_what_works(connection)
}
