//! Views and triggers that users have made on the public views.
//!
//! SQLite finds the names in them when they are used, so they survive a view
//! that is dropped and made again, unless they use a column that is gone.
//! Triggers on the view itself are dropped with it and made again.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use crate::read_models::identifier::quoted;

/// What users have made and can use now.
pub(super) struct UserObjects {
    views: Vec<String>,
    /// By the table or view that they are on.
    triggers: BTreeMap<String, Triggers>,
}

struct Triggers {
    /// Whether they are dropped with a public view.
    on_public_view: bool,
    /// Names and definitions.
    definitions: Vec<(String, String)>,
    /// The changes that can be made now.
    possible: Vec<Change>,
}

#[derive(Clone, Copy)]
enum Change {
    Insert,
    Update,
    Delete,
}

impl UserObjects {
    /// What there is beside these views.
    pub(crate) fn find(connection: &Connection, public_views: &[String]) -> rusqlite::Result<Self> {
        let mut views = Vec::new();
        for name in names(
            connection,
            "SELECT name FROM sqlite_schema WHERE type = 'view'",
        )? {
            if !public_views.contains(&name) && can_read(connection, &name)? {
                views.push(name);
            }
        }
        let mut triggers = BTreeMap::new();
        for table in names(
            connection,
            "SELECT DISTINCT tbl_name FROM sqlite_schema WHERE type = 'trigger' ORDER BY 1",
        )? {
            let found = Triggers {
                on_public_view: public_views.contains(&table),
                definitions: definitions(connection, &table)?,
                possible: possible_changes(connection, &table)?,
            };
            triggers.insert(table, found);
        }
        Ok(Self { views, triggers })
    }

    /// Drops what can be used no longer, and names it.
    pub(super) fn keep_what_works(&self, connection: &Connection) -> rusqlite::Result<Vec<String>> {
        let mut broken = Vec::new();
        for view in &self.views {
            if !can_read(connection, view)? {
                connection.execute_batch(&format!("DROP VIEW IF EXISTS {}", quoted(view)))?;
                broken.push(format!("the view `{view}`"));
            }
        }
        for (table, triggers) in &self.triggers {
            let gone = triggers.keep_what_works(connection, table)?;
            broken.extend(gone.map(|name| format!("the trigger `{name}`")));
        }
        Ok(broken)
    }
}

impl Triggers {
    fn keep_what_works(
        &self,
        connection: &Connection,
        table: &str,
    ) -> rusqlite::Result<impl Iterator<Item = &str>> {
        let mut works = vec![true; self.definitions.len()];
        let is_there = exists(connection, table)?;
        // Those on a user's view that was dropped went with it.
        if is_there && (self.on_public_view || !self.all_possible(connection, table)?) {
            for (name, _) in &self.definitions {
                drop_trigger(connection, name)?;
            }
            for ((name, definition), works) in self.definitions.iter().zip(&mut works) {
                *works = self.works_alone(connection, table, definition)?;
                drop_trigger(connection, name)?;
            }
            for ((_, definition), works) in self.definitions.iter().zip(&works) {
                if *works {
                    connection.execute_batch(definition)?;
                }
            }
        } else if !is_there && self.on_public_view {
            works.fill(false);
        }
        let tried = self.definitions.iter().zip(works);
        Ok(tried
            .filter(|(_, works)| !works)
            .map(|((name, _), _)| name.as_str()))
    }

    /// A view takes only the change that its trigger is for.
    fn works_alone(
        &self,
        connection: &Connection,
        table: &str,
        definition: &str,
    ) -> rusqlite::Result<bool> {
        if !is_accepted(connection.execute_batch(definition))? {
            return Ok(false);
        }
        if !self.on_public_view {
            return self.all_possible(connection, table);
        }
        Ok(!possible_changes(connection, table)?.is_empty())
    }

    fn all_possible(&self, connection: &Connection, table: &str) -> rusqlite::Result<bool> {
        for change in &self.possible {
            if !can_change(connection, table, *change)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn names(connection: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(query)?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn definitions(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare(
            "SELECT name, sql FROM sqlite_schema
             WHERE type = 'trigger' AND tbl_name = ?1 ORDER BY rowid",
        )?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn exists(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let found = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view') AND name = ?1",
            [table],
            |_| Ok(()),
        )
        .optional()?;
    Ok(found.is_some())
}

fn drop_trigger(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("DROP TRIGGER IF EXISTS {}", quoted(name)))
}

fn can_read(connection: &Connection, view: &str) -> rusqlite::Result<bool> {
    is_accepted(connection.prepare(&format!("SELECT * FROM {}", quoted(view))))
}

fn possible_changes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Change>> {
    let mut possible = Vec::new();
    for change in [Change::Insert, Change::Update, Change::Delete] {
        if can_change(connection, table, change)? {
            possible.push(change);
        }
    }
    Ok(possible)
}

/// Whether SQLite prepares a statement that makes the change, with all the
/// triggers that it runs.
fn can_change(connection: &Connection, table: &str, change: Change) -> rusqlite::Result<bool> {
    let name = quoted(table);
    let statement = match change {
        Change::Insert => format!("INSERT INTO {name} DEFAULT VALUES"),
        Change::Delete => format!("DELETE FROM {name}"),
        Change::Update => {
            let columns = connection
                .prepare("SELECT name FROM pragma_table_info(?1)")?
                .query_map([table], |row| row.get(0))?
                .collect::<rusqlite::Result<Vec<String>>>()?;
            let same: Vec<String> = columns
                .iter()
                .map(|column| format!("{0} = {0}", quoted(column)))
                .collect();
            format!("UPDATE {name} SET {}", same.join(", "))
        }
    };
    is_accepted(connection.prepare(&statement))
}

/// Tells what SQLite does not understand from what it cannot do now.
fn is_accepted<T>(result: rusqlite::Result<T>) -> rusqlite::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(
            rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. },
        ) if error.code == ErrorCode::Unknown => Ok(false),
        Err(error) => Err(error),
    }
}
