//! How a batch is committed.
//!
//! The checkpoint's row comes first: a host that was fenced does no work, and
//! whoever gets past it holds that row to the end, so that no other commit and
//! no new owner comes between.
//!
//! What one statement holds is sent as one, which is a transaction by itself:
//! one round trip, where `BEGIN`, a statement for each table and `COMMIT` are at
//! least four. Everything else is a transaction of several statements.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use gnomon_databases::connections::Lent;
use gnomon_model::{Description, Key, Table, TableWrites};
use sqlx::{AssertSqlSafe, PgConnection};

use super::dead_letters;
use super::parameters::{
    PreparedQuery, bind_keys, bind_row, bind_rows, chunks, is_one_chunk, row_size,
};
use super::statements::{self, Within, Writes};
use crate::generation::Lease;
use crate::read_models::Commit;
use crate::read_models::unknown;
use crate::registry::fenced;
use crate::storage::postgres::any_text;
use crate::storage::postgres::failure::Failure;

/// So many tables and kinds of write go into one statement: a statement has at
/// most 65,535 parameters, and a table at most 1,600 columns.
const PARTS_MAX: usize = 8;
/// Batches of a projection of many tables write to ever new sets of them, and
/// the server prepares each.
const TEXTS_MAX: usize = 32;

/// Moves the checkpoint if it is the expected one under our epoch.
const MOVE: &str = "UPDATE gnomon.checkpoints \
    SET checkpoint = $4, position = $5, rate = $6, updated_at = now(), \
        event_position = coalesce($7, event_position), event_id = coalesce($8, event_id), \
        event_rate = $9 \
    WHERE generation = $1 AND epoch = $2 AND checkpoint = $3";
/// The number of its parameters.
const MOVE_PARAMETERS: usize = 9;

/// What the text of a commit in one statement depends on: which tables lose
/// rows, and which get some.
type Shape = Vec<Part>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Delete(usize),
    Upsert(usize),
    UpsertOne(usize),
}

/// Commits of one generation.
pub(super) struct Commits {
    lease: Lease,
    description: Arc<Description>,
    schema: String,
    /// Of each table.
    writes: Vec<Writes>,
    at_once: HashMap<Shape, Arc<str>>,
}

impl Commits {
    /// Commits of a generation whose tables are in this quoted schema.
    pub(crate) fn new(lease: Lease, description: Arc<Description>, schema: String) -> Self {
        let tables = description.tables.iter().enumerate();
        Self {
            writes: tables
                .map(|(number, table)| Writes::new(&schema, number, table))
                .collect(),
            lease,
            description,
            schema,
            at_once: HashMap::new(),
        }
    }

    pub(crate) async fn commit(&mut self, lent: Lent, commit: Commit<'_>) -> Result<(), Failure> {
        match self.statement_at_once(&commit)? {
            Some((shape, text)) => self.commit_at_once(&shape, text, lent, &commit).await,
            None => self.commit_step_by_step(lent, commit).await,
        }
    }

    /// The statement that does all of it, if there is one.
    fn statement_at_once(
        &mut self,
        commit: &Commit<'_>,
    ) -> Result<Option<(Shape, Arc<str>)>, Failure> {
        if commit.into_empty || !commit.dead_letters.is_empty() {
            return Ok(None);
        }
        let upsert: fn(usize) -> Part = if is_of_single_rows(commit) {
            Part::UpsertOne
        } else {
            Part::Upsert
        };
        let mut shape = Shape::new();
        for writes in &*commit.writes {
            let is_small =
                is_one_chunk(&writes.deletes, Key::size) && is_one_chunk(&writes.upserts, row_size);
            if !is_small {
                return Ok(None);
            }
            if !writes.deletes.is_empty() {
                shape.push(Part::Delete(writes.table));
            }
            if !writes.upserts.is_empty() {
                shape.push(upsert(writes.table));
            }
        }
        if let Some(text) = self.at_once.get(&shape) {
            let text = Arc::clone(text);
            return Ok(Some((shape, text)));
        }
        if shape.len() > PARTS_MAX || self.at_once.len() >= TEXTS_MAX {
            return Ok(None);
        }
        let text: Arc<str> = self.write_text(&shape)?.into();
        self.at_once.insert(shape.clone(), Arc::clone(&text));
        Ok(Some((shape, text)))
    }

    /// ```sql
    /// WITH moved AS (UPDATE gnomon.checkpoints … RETURNING 1),
    ///      part_0 AS (DELETE FROM … USING moved, unnest(…) …),
    ///      part_1 AS (INSERT INTO … SELECT … FROM moved, unnest(…) …)
    /// SELECT 1 FROM moved
    /// ```
    ///
    /// Each part joins the row of `moved`, so it does nothing where there is
    /// none. All parts see the tables as they were before the statement, which
    /// is what they are: nobody else writes them while the checkpoint stays.
    fn write_text(&self, shape: &Shape) -> Result<String, Failure> {
        let mut text = format!("WITH moved AS ({MOVE} RETURNING 1)");
        let mut parameters = MOVE_PARAMETERS;
        for (number, part) in shape.iter().enumerate() {
            let within = Within {
                parameters,
                condition: Some("moved"),
            };
            let part = match *part {
                Part::Delete(table) => {
                    let table = self.declared(table)?;
                    parameters += table.primary_key.len();
                    statements::delete(&self.schema, table, within)
                }
                Part::Upsert(table) => {
                    let table = self.declared(table)?;
                    parameters += table.columns.len();
                    statements::upsert(&self.schema, table, within)
                }
                Part::UpsertOne(table) => {
                    let table = self.declared(table)?;
                    parameters += table.columns.len();
                    statements::upsert_one(&self.schema, table, within)
                }
            };
            text.push_str(&format!(", part_{number} AS ({part})"));
        }
        text.push_str(" SELECT 1 FROM moved");
        Ok(text)
    }

    async fn commit_at_once(
        &self,
        shape: &Shape,
        text: Arc<str>,
        mut lent: Lent,
        commit: &Commit<'_>,
    ) -> Result<(), Failure> {
        let mut query = self.bind_move(sqlx::query(AssertSqlSafe(text)), commit);
        for writes in &*commit.writes {
            let table = self.declared(writes.table)?;
            if !writes.deletes.is_empty() {
                query = bind_keys(query, table, &writes.deletes);
            }
            query = match &*writes.upserts {
                [] => query,
                [row] if shape.contains(&Part::UpsertOne(writes.table)) => {
                    bind_row(query, table, row)
                }
                rows => bind_rows(query, table, rows),
            };
        }
        let committed = query.execute(&mut *lent).await;
        self.fenced_unless_one(lent.end_with(committed)?.rows_affected())
    }

    async fn commit_step_by_step(&self, lent: Lent, commit: Commit<'_>) -> Result<(), Failure> {
        let mut transaction = lent.begin().await?;
        let moved = self.bind_move(sqlx::query(MOVE), &commit);
        let moved = moved.execute(&mut *transaction).await?;
        self.fenced_unless_one(moved.rows_affected())?;
        if commit.into_empty {
            self.fill(&mut transaction, commit.writes).await?;
        } else {
            for writes in &*commit.writes {
                let table = self.declared(writes.table)?;
                let statements = self.statements(writes.table)?;
                write_table(&mut transaction, table, statements, writes).await?;
            }
        }
        let generation = self.lease.generation;
        dead_letters::change(&mut transaction, generation, commit.dead_letters).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn fill(
        &self,
        connection: &mut PgConnection,
        writes: Cow<'_, [TableWrites]>,
    ) -> Result<(), Failure> {
        match writes {
            Cow::Borrowed(writes) => {
                for TableWrites { table, upserts, .. } in writes {
                    let filling = &self.statements(*table)?.filling;
                    filling.run(connection, upserts).await?;
                }
            }
            Cow::Owned(writes) => {
                for TableWrites { table, upserts, .. } in writes {
                    let filling = &self.statements(table)?.filling;
                    filling.run(connection, upserts).await?;
                }
            }
        }
        Ok(())
    }

    fn bind_move(&self, query: PreparedQuery, commit: &Commit<'_>) -> PreparedQuery {
        query
            .bind(self.lease.generation.to_sql())
            .bind(self.lease.epoch)
            .bind(commit.expected.as_str().to_owned())
            .bind(commit.next.as_str().to_owned())
            .bind(commit.position.to_sql())
            .bind(commit.rate.positions)
            .bind(commit.event.map(|event| event.position.to_sql()))
            .bind(
                commit
                    .event
                    .map(|event| any_text::stored(&event.id).into_owned()),
            )
            .bind(commit.rate.events)
    }

    fn fenced_unless_one(&self, moved: u64) -> Result<(), Failure> {
        match moved {
            1 => Ok(()),
            _ => Err(fenced(self.lease.generation).into()),
        }
    }

    fn statements(&self, table: usize) -> Result<&Writes, Failure> {
        let statements = self.writes.get(table);
        Ok(statements.ok_or_else(|| unknown("table", table))?)
    }

    fn declared(&self, table: usize) -> Result<&Table, Failure> {
        let declared = self.description.tables.get(table);
        Ok(declared.ok_or_else(|| unknown("table", table))?)
    }
}

/// Whether no table gets more than one row, as where each event is committed
/// when it comes. Tables are not told apart by it: each set of them would have
/// as many texts as it has subsets.
fn is_of_single_rows(commit: &Commit<'_>) -> bool {
    (commit.writes.iter()).all(|writes| writes.upserts.len() <= 1)
}

async fn write_table(
    connection: &mut PgConnection,
    table: &Table,
    statements: &Writes,
    writes: &TableWrites,
) -> sqlx::Result<()> {
    for keys in chunks(&writes.deletes, Key::size) {
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.delete)));
        bind_keys(query, table, keys)
            .execute(&mut *connection)
            .await?;
    }
    for rows in chunks(&writes.upserts, row_size) {
        let query = sqlx::query(AssertSqlSafe(Arc::clone(&statements.upsert)));
        bind_rows(query, table, rows)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
